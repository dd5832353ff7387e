"""A flow at the resolution that is wanted: one sub-grid of a NeuralStagger, some of them, or all.

A shared network is trained on the residual of the vorticity equation alone, without any solution beyond the first two frames. After
that every sub-grid is a coarse solver of its own, and how many of them run is a choice that costs no training. Run it by
``python examples/coarse_to_fine.py``; it takes less than a minute.
"""

from functools import partial
from pathlib import Path

import torch

from thalweg import data, training
from thalweg.operators import Decomposition, DilatedResNet, NeuralStagger, WithTransport
from thalweg.operators.neuralstagger import error_against_cost
from thalweg.operators.neuralstagger.ensemble import interpolated
from thalweg.solvers.grid import PeriodicField, VorticityEquation, VorticityResidual
from thalweg.solvers.grid.problems import VorticityFlow
from thalweg.visualization import plot_comparison

VISCOSITY, DRAG, INTERVAL, BLOCK = 2e-3, 0.1, 0.02, 2
PERIODIC = (True, True)


def flow(points: int, frames: int) -> VorticityFlow:
    """Random forced flows with velocities of about 1 in the unit square, a frame every half cell or so."""
    return VorticityFlow(
        partial(PeriodicField, alpha=4, tau=5, sigma=2000),
        random_forcing=partial(PeriodicField, alpha=4, tau=5, sigma=600),
        viscosity=VISCOSITY,
        drag=DRAG,
        points=points,
        every=1,
        interval=INTERVAL,
        frames=frames - 1,
        dt=INTERVAL / 2,
    )


def trained(points: int, train: data.Dataset, valid: data.Dataset, width: int, epochs: int, folder: str) -> NeuralStagger:
    """Four coarse solvers in each of two time sequences, all with the same weights."""
    torch.manual_seed(0)
    network = partial(DilatedResNet, width=width, blocks=1, dilations=(1, 2, 1), padding_mode="circular")
    decomposition = Decomposition((2, 2), time=BLOCK)
    operator = NeuralStagger(partial(WithTransport, network), decomposition, {"w": 1}, inputs={"g": 1}, weights="shared")
    operator.set_scales(train.fields)
    equation = VorticityEquation((points, points), viscosity=VISCOSITY, drag=DRAG)
    loss = training.VorticityLoss(VorticityResidual(equation, INTERVAL), forcing="g", logarithm=True)
    objective = training.Blocks(training.Pool(loss, ["w"], size=32, reset=0.2), ["w"], BLOCK, start_only=True)
    training.Trainer(
        operator,
        train,
        valid,
        objective,
        training.Settings(epochs, batch_size=4),
        folder,
        metrics={"relative_l2": training.RelativeNorm(train.discretization["grid"], "w", "L2")},
    ).run()
    return operator.eval()


def main(
    points: int = 32, samples: int = 80, width: int = 16, epochs: int = 8, folder: str = "outputs/coarse_to_fine"
) -> dict[str, float]:
    """Return relative errors after 14 frames: of a start that never changes, of one sub-grid everywhere, of two, and of all."""
    frames = 16
    data.generate(flow(points, frames), f"{folder}/data", samples)
    eighth = samples // 8
    splits = (range(eighth), range(eighth, 2 * eighth), range(2 * eighth, samples))
    test, valid, train = (data.FieldDataset(f"{folder}/data", split) for split in splits)
    operator = trained(points, train, valid, width, epochs, folder)

    fields = test.batch(slice(0, len(test)))
    w, steps = fields["w"], frames // BLOCK - 1
    given, reference = {"w": w[:, :BLOCK], "g": fields["g"]}, w[:, -BLOCK:]
    rows = error_against_cost(operator, given, reference, "w", steps, PERIODIC)
    for row in rows:
        spread = f", spread {row['spread_skill']:.2f} of the error" if "spread_skill" in row else ""
        print(
            f"{row['sub_grids']} of 4 sub-grids: {row['seconds']:.3f} s, error {row['coarse_error']:.3f} on their own points, "
            f"{row['full_error']:.3f} everywhere{spread}"
        )

    with torch.no_grad():
        part = operator.coarse_rollout(given, steps, [0], [BLOCK - 1])["w"][0, 0, 0, -1]
        whole = operator.rollout(given, steps)["w"][0, -1]
    one = interpolated(part, operator.decomposition, 0, (points, points), PERIODIC)
    truth = reference[0, -1]
    found = {"one": one, "all": whole}
    panels = {"reference w": truth} | {f"prediction w by {name}": w for name, w in found.items()}
    panels |= {f"error by {name}": w - truth for name, w in found.items()}
    plot_comparison(train.discretization["grid"], panels, Path(folder) / "coarse_to_fine.png")
    persistence = float((w[:, BLOCK - 1 : BLOCK] - reference).norm() / reference.norm())
    print(f"a start that never changes: error {persistence:.3f}")
    return {"persistence": persistence} | {str(row["sub_grids"]): row["full_error"] for row in rows}


if __name__ == "__main__":
    main()
