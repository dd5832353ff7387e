"""Bodies are drawn where their displacement takes them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from thalweg.errors import InputError
from thalweg.solvers import HyperelasticBeam
from thalweg.visualization import plot_deformed
from thalweg.visualization.deformed import _outline


@pytest.fixture(scope="module")
def disc():
    return HyperelasticBeam((5, 1), (1.0, 0.2), refinements=0).export()


def test_the_outline_goes_where_the_displacement_takes_it(disc):
    V = disc["V"]
    shift = torch.tensor([0.3, -0.1], dtype=torch.float64).repeat(V.num_nodes)
    still, moved = (np.concatenate(_outline(V, u)) for u in (None, shift))
    assert np.allclose(moved, still + [0.3, -0.1])
    assert np.allclose([still.min(0), still.max(0)], [[0, 0], [1, 0.2]])


def test_two_displacements_are_drawn_over_each_other(disc, tmp_path: Path):
    V = disc["V"]
    bend = torch.zeros(V.num_dofs, dtype=torch.float64)
    bend[1::2] = -0.1 * torch.sin(np.pi * V.points[:, 0])
    plot_deformed(V, {"bent": bend, "still": 0 * bend}, tmp_path / "both.png", compared={"bent": 0.9 * bend})
    image = imread(tmp_path / "both.png")[..., :3]
    assert image.shape[0] > 400
    red = (image[..., 0] > 0.8) & (image[..., 1:].max(-1) < 0.3)
    assert red[: len(red) // 2].sum() > 5 * red[len(red) // 2 :].sum()  # the dashed outline is in the first panel alone


def test_scalars_are_no_displacements(disc, tmp_path: Path):
    with pytest.raises(InputError, match="vectors in the plane"):
        plot_deformed(disc["S"], {"E": torch.zeros(disc["S"].num_dofs)}, tmp_path / "e.png")
