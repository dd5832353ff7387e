"""Data of your own, values at scattered points, onto a mesh of your own, and a SPON trained on them.

Run ``python examples/your_own_data.py``. Here the "measurements" are sources and solutions of −Δu = f with u = 0 on the boundary of the
unit square, made of random sines, at 500 random points; put in your own arrays.
"""

import firedrake as fd
import numpy as np
import torch

from thalweg import data, fem, operators, training


def measurements(samples: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points ``(n, 2)`` and the values there of sources and of solutions, ``(samples, n)``."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(size=(500, 2))
    k, m = np.meshgrid([1, 2, 3], [1, 2, 3])
    sines = np.sin(np.pi * points[:, :1] * k.ravel()) * np.sin(np.pi * points[:, 1:] * m.ravel())
    coefficients = rng.standard_normal((samples, 9))
    return points, coefficients @ sines.T, (coefficients / (np.pi**2 * (k**2 + m**2).ravel())) @ sines.T


def main(samples: int = 160, epochs: int = 8, folder: str = "outputs/your_own_data") -> dict[str, float | int]:
    """Store, train and evaluate; returns the metrics on the first 20 samples, which training does not see."""
    points, f, u = measurements(samples)

    coarse, fine = fem.mesh_hierarchy(fd.UnitSquareMesh(8, 8), 1)
    spaces = {"V": fd.FunctionSpace(fine, "CG", 1), "V1": fd.FunctionSpace(coarse, "CG", 1)}
    disc = fem.export(spaces, transfers=[("V1", "V")])
    fields = {name: data.scattered(points, values, disc["V"]) for name, values in {"f": f, "u": u}.items()}
    data.FieldArrays(disc, fields, "V", description="Values at 500 points of the unit square.").store(f"{folder}/data")

    test, valid, train = (data.FieldDataset(f"{folder}/data", r) for r in (range(20), range(20, 40), range(40, samples)))
    torch.manual_seed(0)
    V = train.discretization["V"]
    encoder = operators.InterpolationEncoder(V, {"f": None})
    processor = operators.MultigridProcessor(
        train.discretization.hierarchy("V", "V1"), in_channels=1, channels=8, blocks=2, dirichlet=["on_boundary"]
    )
    spon = operators.SPON(encoder, processor, operators.DirichletDecoder(V, "u"))
    spon.set_scales(train.fields)
    loss = training.RelativeNorm(V, "u", "L2")
    training.Trainer(spon, train, valid, loss, training.Settings(epochs, batch_size=8), folder).run()
    return training.evaluate(spon, test, {"relative_l2": loss})


if __name__ == "__main__":
    print(main())
