"""Data assimilation: the initial state of Burgers' equation from a few sensors with noise, through a trained SPON.

y_k = u(x_i, t_k) + ε, ε ~ N(0, σ²), at six points and 17 times. The prior of u(0) is Gaussian, with mean 0 and the covariance of the
training data, in its leading modes: u(0) = Σ_j √λ_j ξ_j φ_j. The maximum a posteriori minimises Σ_k ‖u(x_i, t_k; ξ) − y_k‖²/(2σ²) + ½ ‖ξ‖²
by L-BFGS-B through the rollout of a SPON that steps from frame to frame. Beside it: what the first readings alone say (kriging, with
the same prior and no dynamics). Both states are then advanced by the reference solver. Run it by ``python examples/initial_state.py``.
"""

from pathlib import Path

import firedrake as fd
import numpy as np
import torch
from torch import Tensor

from thalweg import control, data, operators, solvers, training
from thalweg.visualization import plot_over_time

VISCOSITY = 0.02
SENSORS, MODES = 6, 24
NOISE = 0.02  # of the root mean square of the readings


def train(dataset: data.FieldDataset, valid: data.FieldDataset, epochs: int, folder: str) -> operators.SPON:
    """A time stepper, trained along six frames at a time. It is told the convection (u·∇)u that the weak form gives at a frame."""
    torch.manual_seed(0)
    disc = dataset.discretization
    V = disc["V"]
    now = {"u_previous": "u", "dt": 1.0, "viscosity": 0.0}
    acceleration = operators.FormEncoder(V, disc.form("residual"), now)
    encoder = operators.JointEncoder([operators.InterpolationEncoder(V, {"u": None}), acceleration])
    processor = operators.MultigridProcessor(disc.hierarchy_below("V"), in_channels=2, channels=16, blocks=3)
    spon = operators.SPON(encoder, processor, operators.IncrementDecoder(V, "u"))
    spon.set_scales(dataset.fields)
    objective = training.Rollout(training.RelativeNorm(V, "u", "L2"), ["u"], horizon=6, noise=0.01)
    training.Trainer(spon, dataset, valid, objective, training.Settings(epochs, batch_size=16), folder).run()
    return spon.double().eval()


def rollout(spon: operators.SPON, start: Tensor, frames: int) -> Tensor:
    """``(batch, dofs)`` to ``(batch, frames + 1, dofs)``."""
    states = [start]
    for _ in range(frames):
        states.append(spon({"u": states[-1]})["u"])
    return torch.stack(states, dim=1)


def main(samples: int = 320, epochs: int = 24, frames: int = 16, truths: int = 4, folder: str = "outputs/initial_state"):
    """Return mean relative L2 errors of u(0) and of the last frame, and the lowest rate of the Taylor test."""
    problem = solvers.Burgers(mesh=16, degree=1, refinements=3, viscosity=VISCOSITY, final_time=frames / 40, frames=frames)
    data.generate(problem, f"{folder}/data", samples)
    eighth = samples // 8
    tested, valid, known = range(truths), range(truths, eighth), range(eighth, samples)
    test, valid, known = (data.FieldDataset(f"{folder}/data", split) for split in (tested, valid, known))
    V, times = test.discretization["V"], test.times
    spon = train(known, valid, epochs, folder)

    _, size, basis = np.linalg.svd(known.fields["u"][:, 0].double().numpy(), full_matrices=False)
    basis = torch.from_numpy(size[:MODES, None] / len(known) ** 0.5 * basis[:MODES])  # √λ_j φ_j at the dofs
    order = V.points[:, 0].argsort()
    at = order[torch.arange(SENSORS) * len(order) // SENSORS]
    truth = test.fields["u"].double()
    sigma = NOISE * truth[..., at].square().mean().sqrt()
    y = truth[..., at] + sigma * torch.randn(truth[..., at].shape, generator=torch.Generator().manual_seed(0), dtype=truth.dtype)

    def functional(readings: Tensor) -> control.TorchFunctional:
        def objective(m: dict[str, Tensor]) -> Tensor:
            u = rollout(spon, (m["xi"] @ basis)[None], len(times) - 1)[0]
            return 0.5 * ((u[:, at] - readings) / sigma).square().sum() + 0.5 * m["xi"].square().sum()

        return control.TorchFunctional(objective, [control.Control("xi", np.zeros(MODES))], torch.float64)

    H = basis[:, at].T
    gain = basis.T @ H.T @ torch.linalg.inv(H @ H.T + sigma**2 * torch.eye(SENSORS, dtype=sigma.dtype))
    minima = [control.minimize(functional(readings), 60, tolerance=1e-3) for readings in y]
    found = {
        "first readings": y[:, 0] @ gain.T,
        "SPON": torch.from_numpy(np.stack([minimum.controls["xi"] for minimum in minima])) @ basis,
    }
    result = {"taylor": float(control.taylor_test(functional(y[0]), {"xi": np.zeros(MODES)}, {"xi": np.ones(MODES)}).min())}
    for name, start in found.items():
        solved = np.stack([_solve(problem, state) for state in start.numpy()])
        norms = V.double().norm(start - truth[:, 0], "L2") / V.norm(truth[:, 0], "L2")
        last = V.norm(torch.from_numpy(solved) - truth[:, -1], "L2") / V.norm(truth[:, -1], "L2")
        result |= {name: norms.mean().item(), f"{name}, at the end": last.mean().item()}
        print(f"{name:>15}: error of u(0) {norms.mean():.3f}, of the reference solver's last frame from there {last.mean():.3f}")
    x = V.points[order, 0]
    curves = {"reference": (x, truth[0, 0, order])} | {name: (x, start[0, order]) for name, start in found.items()}
    plot_over_time(curves, Path(folder) / "initial_state.png", label="u(0)", time="x")
    return result


def _solve(problem: solvers.Burgers, state: np.ndarray) -> np.ndarray:
    start = fd.Function(problem.spaces["V"])
    start.dat.data[:] = state
    return problem.solve({"u0": start})["u"][-1].dat.data_ro.copy()


if __name__ == "__main__":
    main()
