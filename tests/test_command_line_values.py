"""Values on the command line that cannot be right are answered at once, with what was expected."""

import sys

import pytest

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
        (["train", "experimnt=quickstart"], "Did you mean 'experiment'?"),
        (["train", "experiment=quickstart", "training/optimiser=lion"], "Did you mean 'training/optimizer'?"),
        (["predict", "run=outputs/quickstart", "inputs={f: x>0.5}"], "quotes of both kinds"),
        (["train", "=5"], "must be a string"),
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
