"""The inverse problem of Darcy flow: a permeability from pressures at a few points, with noise.

−div(a grad u) = 1, u = 0 at the boundary; y = u(x_i) + ε, ε ~ N(0, σ²). The prior is log a = Σ_k √λ_k ξ_k φ_k, ξ_k ~ N(0, 1), cut
after the largest λ_k (Karhunen-Loève). The maximum a posteriori minimises ‖u(x_i; ξ) − y‖²/(2σ²) + ½ ‖ξ‖², by L-BFGS-B on the
adjoint of the solver. It is compared with the prior's mean, with a network from y to ξ trained on samples of the prior, and with itself
started from that network. The truths have all the modes of a grid twice as fine. Run it by ``python examples/inverse_darcy.py``.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from thalweg import control
from thalweg.control.darcy_permeability import DarcyObservations
from thalweg.fem import Grid
from thalweg.visualization import plot_comparison

NOISE = 0.001  # standard deviation; the pressure averages 0.045
SLOPE = 0.3  # largest entry of the gradient of −log of the density at which searches end


def noise(like: Tensor, seed: int) -> Tensor:
    return NOISE * torch.randn(like.shape, generator=torch.Generator().manual_seed(seed), dtype=like.dtype)


def train_inverse(experiment: DarcyObservations, samples: int, steps: int) -> nn.Module:
    """A network from standardised observations to the mean of the modes given them; the noise is drawn anew each step."""
    torch.manual_seed(0)
    modes = len(experiment.basis)
    xi = torch.randn(samples, modes, dtype=torch.float64)
    u = experiment.observe(experiment.log_a(xi))
    mean, deviation = u.mean(0), u.std(0)
    layers = nn.Sequential(nn.Linear(u.shape[1], 128), nn.GELU(), nn.Dropout(0.1), nn.Linear(128, modes)).double()
    optimizer = torch.optim.AdamW(layers.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for step in range(steps):
        loss = (layers((u + noise(u, step) - mean) / deviation) - xi).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return nn.Sequential(Standardise(mean, deviation), layers).eval()


class Standardise(nn.Module):
    def __init__(self, mean: Tensor, deviation: Tensor):
        super().__init__()
        self.mean, self.deviation = mean, deviation

    def forward(self, y: Tensor) -> Tensor:
        return (y - self.mean) / self.deviation


def main(
    cells: int = 32, modes: int = 40, sensors: int = 7, truths: int = 4, samples: int = 512, folder: str = "outputs/examples"
):
    """Return mean relative L2 errors of log a, mean evaluations of both searches, and the lowest rate of the Taylor test."""
    experiment = DarcyObservations(cells, modes, sensors)
    fine = experiment.refined()
    network = train_inverse(experiment, samples, steps=600)
    grid = Grid((cells + 1, cells + 1))
    fine_truth = fine.field.sample(seed=1, samples=range(truths), dtype=torch.float64)
    y, truth = fine.observe(fine_truth), fine_truth[..., ::2, ::2]
    y = y + noise(y, seed=truths)
    with torch.no_grad():
        guess = network(y)
    found = {"prior mean": torch.zeros_like(guess), "network": guess}
    evaluations = {}
    for name, starts in {"MAP": torch.zeros_like(guess), "MAP from network": guess}.items():
        posteriors = [experiment.posterior(y[i], NOISE, [control.Control("xi", starts[i].numpy())]) for i in range(truths)]
        minima = [control.minimize(posterior, 300, tolerance=0, absolute_tolerance=SLOPE) for posterior in posteriors]
        found[name] = torch.from_numpy(np.stack([minimum.controls["xi"] for minimum in minima]))
        evaluations[name] = float(np.mean([minimum.evaluations for minimum in minima]))
    fields = {name: experiment.log_a(xi) for name, xi in found.items()}
    errors = {name: (grid.norm(u - truth, "L2") / grid.norm(truth, "L2")).mean().item() for name, u in fields.items()}
    for name, error in errors.items():
        print(f"{name:>17}: error {error:.3f}" + (f", {evaluations[name]:.0f} evaluations" if name in evaluations else ""))
    at, along = {"xi": guess[0].numpy()}, {"xi": np.ones(modes) / modes**0.5}
    rates = control.taylor_test(experiment.posterior(y[0], NOISE, [control.Control("xi", at["xi"])]), at, along)
    Path(folder).mkdir(parents=True, exist_ok=True)
    panels = {"reference log a": truth[0], "prediction log a by MAP": fields["MAP"][0]}
    panels |= {f"error by {name}": (fields[name] - truth)[0] for name in ("MAP", "network")}
    plot_comparison(grid, panels, Path(folder) / "inverse_darcy.png", columns=4)
    return {"errors": errors, "evaluations": evaluations, "taylor": float(rates.min())}


if __name__ == "__main__":
    main()
