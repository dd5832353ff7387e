"""The examples in docstrings run, and say what they print."""

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest
import torch

import thalweg

MODULES = [m.name for m in pkgutil.walk_packages(thalweg.__path__, "thalweg.") if not m.ispkg and "__main__" not in m.name]
FINDER = doctest.DocTestFinder(exclude_empty=True)


def examples(module: str) -> list[doctest.DocTest]:
    found = FINDER.find(importlib.import_module(module), extraglobs={"torch": torch})
    return [test for test in found if test.examples]


WITH_EXAMPLES = [name for name in MODULES if ">>> " in Path(importlib.util.find_spec(name).origin).read_text(encoding="utf-8")]


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_the_examples_of_a_module(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    for test in examples(module):
        report: list[str] = []
        assert runner.run(test, out=report.append).failed == 0, "".join(report)
    assert runner.tries > 0
