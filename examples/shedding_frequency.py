"""Vortices shed at a wanted frequency: the speed of a channel's inflow, found through a trained NeuralStagger.

The wake of a disc has developed at the inflow 1; at time 0 the inflow becomes m. Minimised is (E[f] − f*)², where E[f] is the expected
frequency of the transverse velocity at a probe in the wake, by L-BFGS-B on the gradient through the rollout of one coarse solver. The
speed found is run in the reference solver, and what the surrogate is off by there corrects the target of the next search: the gradients
are the surrogate's, the verdict is the solver's. First train the surrogate, then run this:

    thalweg generate experiment=neuralstagger_channel
    thalweg train experiment=neuralstagger_channel
    python examples/shedding_frequency.py
"""

from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from omegaconf import OmegaConf
from torch import Tensor

from thalweg import control
from thalweg.configuration import build
from thalweg.operators import load_operator
from thalweg.training import Checkpoints
from thalweg.visualization.figure import save
from thalweg.visualization.grid_fields import plot_grid_field

STYLES = {
    "uncontrolled, reference": {"color": "#999999"},
    "controlled, surrogate": {"color": "#d95f02"},
    "controlled, reference": {"color": "#222222", "linestyle": "--"},
}


def draw(wake: control.Shedding, flows: dict[str, Tensor], target: float, path: Path) -> None:
    """Signals at the probe, their spectra, and the vorticity at the end of the controlled flows."""
    figure = Figure(figsize=(10, 5.6), layout="constrained")
    over_time, spectra, *pictures = figure.subplots(2, 2).flat
    for name, style in STYLES.items():
        signal = wake.signal(flows[name])
        over_time.plot(wake.interval * (wake.skipped + np.arange(len(signal))), signal, linewidth=1.2, label=name, **style)
        f, power = control.power_spectrum(signal, wake.interval)
        spectra.plot(f, power, linewidth=1.5, **style)
    spectra.axvline(target, color="#1b9e77", linestyle=":", label="target")
    over_time.set(xlabel="time", ylabel="transverse velocity at the probe")
    spectra.set(xlabel="frequency", ylabel="share of the power", xlim=(0, 2 * target))
    figure.legend(loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    for ax, name in zip(pictures, list(STYLES)[1:], strict=True):
        w = wake.vorticity(flows[name][-1])
        figure.colorbar(
            plot_grid_field(ax, wake.grid, w[None], limits=(-20, 20), colours="RdBu_r"), ax=ax, shrink=0.8, extend="both"
        )
        ax.set_title(f"vorticity at the end, {name}", fontsize=10)
    save(figure, path)


def main(
    run: str = "outputs/neuralstagger_channel",
    target: float = 1.7,
    searches: int = 2,
    duration: float = 5.0,
    skip: float = 1.0,
    folder: str = "outputs/examples",
) -> dict[str, float]:
    """Return expected frequencies without and with control, those after the first search, the speed found, and the lowest Taylor rate."""
    problem = build(OmegaConf.to_container(OmegaConf.load(Path(run) / "config.yaml").problem, resolve=True))
    operator = load_operator(Checkpoints(Path(run) / "checkpoints").best(), problem.export())
    wake = control.Shedding(problem, operator, duration, skip)

    def functional(aim: float, start: float) -> control.TorchFunctional:
        return control.TorchFunctional(wake.objective(aim), [control.Control("inflow", start, *problem.speeds)], torch.float64)

    at, along = {"inflow": np.array(1.03)}, {"inflow": np.array(1.0)}
    rates = control.taylor_test(functional(target, 1.0), at, along, steps=(1e-3, 5e-4, 2.5e-4))
    print(f"Taylor rates {rates.round(3)}")
    flows, aim, inflow, rows = {"uncontrolled, reference": wake.reference(torch.tensor(1.0))}, target, 1.0, []
    for _ in range(searches):
        found = control.minimize(functional(aim, inflow), 20, tolerance=1e-2)
        inflow = float(found.controls["inflow"])
        with torch.no_grad():
            m = torch.tensor(inflow, dtype=torch.float64)
            flows |= {"controlled, surrogate": wake.surrogate(m), "controlled, reference": wake.reference(m)}
        rows.append({name: wake.frequency(flows[name]).item() for name in STYLES})
        print(f"inflow {inflow:.4f} after {found.evaluations} evaluations, {found.seconds:.0f} s; expected frequencies:", end=" ")
        print(", ".join(f"{name} {f:.4f}" for name, f in rows[-1].items()))
        aim += target - rows[-1]["controlled, reference"]
    Path(folder).mkdir(parents=True, exist_ok=True)
    draw(wake, flows, target, Path(folder) / "shedding_frequency.png")
    first = {f"first search, {name}": f for name, f in rows[0].items()}
    return {**rows[-1], **first, "inflow": inflow, "taylor": float(rates.min())}


if __name__ == "__main__":
    main()
