"""A run that torch.compile compiles ends where the eager one does."""

import logging
import shutil
from pathlib import Path

import pytest
import torch

from heat import Linear, pairs, trainer
from test_resume import final_state, rows


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_run_ends_where_the_eager_one_does(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    short = {"train": pairs(16), "valid": pairs(8, seed=1), "make_operator": Linear}  # each graph takes seconds to compile
    with caplog.at_level(logging.INFO, logger="thalweg"):
        trainer(tmp_path / "compiled", {"compile": "default"}, **short).run()
    assert "the operator is compiled by torch.compile" in caplog.text
    trainer(tmp_path / "eager", **short).run()
    compiled, eager = (final_state(tmp_path / name)[0] for name in ("compiled", "eager"))
    torch.testing.assert_close(compiled, eager, rtol=1e-3, atol=1e-5)
    losses = [[row["train_loss"] for row in rows(tmp_path / name)] for name in ("compiled", "eager")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
