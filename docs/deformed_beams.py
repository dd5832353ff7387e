"""The picture of deformed beams in the documentation: test samples of a trained run, as the solver and as the operator have them.

python docs/deformed_beams.py outputs/hyperelastic_beam docs/images/deformed_beams.png
"""

import sys

import torch

from thalweg.commands.run import Run
from thalweg.visualization import plot_deformed

SAMPLES = (3, 4, 8)


def main(folder: str, path: str) -> None:
    run = Run(folder, "cpu")
    disc = run.discretization()
    batch = run.data("test", disc).batch(SAMPLES)
    with torch.no_grad():
        u = run.operator(disc)(batch)["u"]
    shortening = -batch["g"].unflatten(-1, (-1, 2))[..., 0].amin(-1)
    titles = [f"test sample {i}, shortened by {100 * part:.1f} %" for i, part in zip(SAMPLES, shortening.tolist(), strict=True)]
    references, predictions = (dict(zip(titles, fields, strict=True)) for fields in (batch["u"], u))
    plot_deformed(disc["V"], references, path, compared=predictions)


if __name__ == "__main__":
    main(*sys.argv[1:])
