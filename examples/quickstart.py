"""The quickstart from Python: random Poisson problems on a plate with a hole, and a SPON that solves them.

Run ``python examples/quickstart.py``; it takes about three minutes on two cores. Fewer samples or epochs: ``main(samples=64, epochs=2)``.
"""

import torch

from thalweg import data, operators, solvers, training

TAGS = ["left", "right", "bottom", "top", "notch", "hole"]


def main(samples: int = 640, epochs: int = 6, folder: str = "outputs/example") -> dict[str, float | int]:
    """Generate, train and evaluate; returns the metrics on the first fifth of the samples, which training does not see."""
    problem = solvers.Poisson("plate_with_hole.msh", dirichlet=TAGS, source={"length": 0.3, "deviation": 10})
    data.generate(problem, f"{folder}/data", samples)
    fifth = samples // 5
    splits = (range(fifth), range(fifth, 2 * fifth), range(2 * fifth, samples))
    test, valid, train = (data.FieldDataset(f"{folder}/data", split) for split in splits)

    torch.manual_seed(0)
    disc = train.discretization
    V = disc["V"]
    encoder = operators.JointEncoder([operators.InterpolationEncoder(V, {"f": None}), operators.TraceEncoder(V, "g", TAGS)])
    processor = operators.MultigridProcessor(disc.hierarchy("V", "V1", "V2"), in_channels=2, channels=8, blocks=3, dirichlet=TAGS)
    spon = operators.SPON(encoder, processor, operators.DirichletDecoder(V, "u", data="g", tags=TAGS))
    spon.set_scales(train.fields)

    loss = training.RelativeNorm(V, "u", "H1")
    training.Trainer(spon, train, valid, loss, training.Settings(epochs, batch_size=8), folder).run()
    boundary = training.BoundaryError(V, "u", data="g", tags=TAGS)
    return training.evaluate(spon, test, {"relative_h1": loss, "boundary_error": boundary})


if __name__ == "__main__":
    print(main())
