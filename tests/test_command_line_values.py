"""Values on the command line that cannot be right are answered at once, with what was expected."""

import sys

import pytest

from thalweg import __main__ as command_line
from thalweg.__main__ import main


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (
            ["train", "experiment=quickstart", "training.loop.epochs=abc"],
            "training.loop.epochs is a number, such as 6, not 'abc'",
        ),
        (["train", "experiment=quickstart", "overwrite=maybe"], "overwrite is true or false"),
        (["train", "experiment=quickstart", "training.loop=5"], "training.loop is a mapping"),
        (["train", "experiment=neuralstagger_cavity", "factors=[2,2]"], "factors has 3 values, such as [2,2,2], not 2: [2,2]"),
        (["train", "experiment=neuralstagger_taylor_green", "factors=[2,2,2]"], "factors has 4 values"),
        (["train", "experiment=neuralstagger_cavity", "factors=4"], "factors is a list, such as [2, 2, 2], not 4"),
        (["train", "experimnt=quickstart"], "Did you mean 'experiment'?"),
        (["train", "experiment=quickstart", "training/optimiser=lion"], "Did you mean 'training/optimizer'?"),
        (["generate", "experiment=quickstart", "folder=mine"], "Did you mean 'data.folder'?"),
        (["predict", "run=outputs/quickstart", "inputs={f: x>0.5}"], "quotes of both kinds"),
        (["train", "=5"], "must be a string"),
        (["evaluate", "run=läufe hier/a&b"], "läufe hier/a&b"),
        (["evaluate", "", "run=nowhere"], "nowhere"),
        (["evaluate"], "Missing mandatory value: run. Give the folder of a run"),
        (["train", "experiment=quickstart", "~problem.dirichlet"], "'problem.dirichlet' not found, but"),
        (["train"], "Choose an experiment, such as experiment=quickstart"),
        (["compare"], "Give the folders of runs"),
        (["control", "model=firedrake"], "Choose an experiment by experiment=...: cylinder_jets"),
        (
            ["train", "-m", "experiment=quickstart", "seed=0,1", "folder=${hydra.job.num}"],
            "Missing mandatory value: hydra.job.num",
        ),
    ],
)
def test_it_is_said_what_was_expected(
    arguments: list[str], answer: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(sys, "argv", ["thalweg", *arguments])
    monkeypatch.setattr(sys, "path", sys.path.copy())
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 1
    assert answer in capsys.readouterr().err


def test_an_interrupt_is_no_error_wherever_it_comes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def interrupt(arguments: list[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "_run", interrupt)
    with pytest.raises(SystemExit) as stopped:
        command_line.main()
    assert stopped.value.code == 130
    assert "interrupted" in capsys.readouterr().err
