"""The programs in the documentation run, and say what their text says."""

import re
from pathlib import Path

import pytest
import torch

from thalweg import visualization
from thalweg.visualization import read_vtu_field

DOCS = Path(__file__).resolve().parent.parent / "docs"


def program(page: Path) -> str:
    return "\n".join(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))


def test_the_bridge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    from thalweg.solvers.problem import resolve_mesh

    (tmp_path / "plate_with_hole.msh").write_bytes(resolve_mesh("plate_with_hole.msh").read_bytes())
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(program(DOCS / "finite_element_bridge.md"), "finite_element_bridge.md", "exec"), names)
    assert names["r"].abs().max() < 1e-8
    assert (names["u"][:, names["fixed"]] == 0).all()
    assert (names["V"].norm(names["u"], "H1") > 0.01).all()
    assert torch.all(names["loss"](u=names["u"], a=names["a"], f=1.0) < 1e-12)
    assert (tmp_path / "bridge.png").stat().st_size > 10_000
    assert "Lagrange 2 on triangle" in capsys.readouterr().out


def test_the_first_program_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    monkeypatch.chdir(tmp_path)
    text = program(DOCS.parent / "README.md")
    for full, small in {
        "192, 640": "8, 24",
        "128, 192": "4, 8",
        "range(128)": "range(4)",
        "=640": "=24",
        "epochs=6": "epochs=1",
    }.items():
        assert full in text
        text = text.replace(full, small)
    names: dict = {}
    exec(compile(text, "README.md", "exec"), names)
    assert "relative_h1" in capsys.readouterr().out
    fields = names["test"].fields
    boundary = names["V"].boundary_dofs()
    assert torch.equal(names["spon"](fields)["u"][:, boundary], fields["g"][:, boundary])


def test_your_own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(program(DOCS / "your_own_data.md"), "your_own_data.md", "exec"), names)
    assert "torch.Size([15, 5, 1, 32, 32])" in capsys.readouterr().out
    assert len(names["steps"]) == 15 * 4
    assert torch.equal(names["train"].fields["u"][0], torch.from_numpy(names["temperature"][0][::-1].copy()).float())
    assert names["one_run"].fields["u"].shape == (1, 3, 121)
    again = names["well"].dataset().fields
    assert torch.equal(again["c"], names["dataset"].fields["c"])
    normalised = names["normalise"](names["train"].fields)
    assert abs(names["V"].inner(normalised["u"], torch.ones(121).expand(15, -1)).mean()) < 1e-4


def test_visualization(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(program(DOCS / "visualization.md"), "visualization.md", "exec"), names)
    assert (tmp_path / "u.png").stat().st_size > 10_000
    assert torch.equal(read_vtu_field("u.vtu", "u", names["V"]), names["u"])
    text = (DOCS / "visualization.md").read_text()
    assert all(f"`{name}`" in text for name in visualization.__all__ if name not in ("write_report", "energy_spectrum"))


def test_control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(program(DOCS / "control.md"), "control.md", "exec"), names)
    assert abs(names["rates"] - 2).max() < 1e-2
    assert abs(names["found"].controls["strength"] - [2, -1]).max() < 1e-4
    assert (tmp_path / "sources/controls.npz").exists()
