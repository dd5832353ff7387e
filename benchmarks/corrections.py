"""What steps of Newton's method make of a trained operator's predictions, and of the extension of the boundary values, on unseen samples.

Relative L2 errors of a run whose operator is a :class:`~thalweg.operators.NewtonCorrection`: after no step they are those of the network
alone. The harmonic extension of the boundary values is the start that costs nothing; what Newton's method makes of it says what the network
is for.

    python benchmarks/corrections.py outputs/hyperelastic_beam --json corrections.json
"""

import argparse
from typing import Any

import report
import scipy.sparse
import scipy.sparse.linalg
import torch
from torch import Tensor

from thalweg.commands.run import Run
from thalweg.errors import InputError
from thalweg.fem import Space
from thalweg.operators import NewtonCorrection, Operator


class Extension(Operator):
    """The boundary values, continued harmonically."""

    def __init__(self, space: Space, data: str, tags: list[str]):
        super().__init__()
        self.data = data
        self.fixed = space.boundary_dofs(tags)
        is_free = torch.ones(space.num_dofs, dtype=torch.bool)
        is_free[self.fixed] = False
        self.free = is_free.nonzero().flatten()
        K = scipy.sparse.csc_matrix(space.stiffness.to_scipy(), dtype="float64")
        free, fixed = self.free.numpy(), self.fixed.numpy()
        self.K_free, self.K_fixed = K[free][:, free], K[free][:, fixed]

    def forward(self, fields: dict[str, Tensor]) -> dict[str, Tensor]:
        u, g = torch.zeros_like(fields[self.data]), fields[self.data][:, self.fixed]
        u[:, self.fixed] = g
        inside = scipy.sparse.linalg.splu(self.K_free).solve(-(self.K_fixed @ g.double().numpy().T))
        u[:, self.free] = torch.from_numpy(inside.T).to(u)
        return {"u": u}


def errors(operator: NewtonCorrection, space: Space, fields: dict[str, Tensor], steps: int) -> Tensor:
    """Relative L2 errors ``(samples,)`` after some steps."""
    operator.steps = steps
    name = operator.step.field
    with torch.no_grad():
        u = operator(fields)[name]
    return space.norm(u - fields[name], "L2") / space.norm(fields[name], "L2")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder of a run")
    parser.add_argument("--steps", type=int, nargs="+", default=[0, 1, 2, 3], help="of Newton's method from the prediction")
    parser.add_argument("--extended", type=int, nargs="+", default=[0, 5, 20], help="of Newton's method from the extension")
    parser.add_argument("--json", help="file for the figures")
    args = parser.parse_args()
    run = Run(args.run, "cpu")
    disc = run.discretization()
    data = run.data("test", disc)
    fields, operator = data.batch(range(len(data))), run.operator(disc)
    if not isinstance(operator, NewtonCorrection):
        raise InputError(f"The operator of {args.run} is a {type(operator).__name__}, without steps of Newton's method.")
    config = run.config.operator
    space, tags = disc[config.step.space["_space_"]], list(config.step.dirichlet)
    extended = NewtonCorrection(Extension(space, "g", tags), operator.step, 1, operator.energy).eval()
    rows: list[dict[str, Any]] = []
    for start, corrected, counts in (("prediction", operator, args.steps), ("extension", extended, args.extended)):
        for steps in counts:
            e = errors(corrected, space, fields, steps).double()
            rows.append(
                {
                    "from": start,
                    "steps": steps,
                    "mean": e.mean().item(),
                    "median": e.median().item(),
                    "largest": e.max().item(),
                    "above 0.01": int((e > 0.01).sum()),
                    "samples": len(e),
                }
            )
    report.print_table(f"Relative L2 errors after steps of Newton's method, {run.folder.name}", rows)
    if args.json:
        report.write_json(args.json, "corrections", vars(args), rows)


if __name__ == "__main__":
    main()
