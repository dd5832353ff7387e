"""``thalweg plot``: the pictures of a run."""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from ..data.shards import Spaces
from ..fem import Space
from ..operators.export import Recorder
from ..training import BodyForces, Objective
from ..visualization import animate, energy_spectrum, plot_losses, plot_over_time, plot_spectra
from ..visualization.panel import Where
from .field_pictures import columns_of, draw_fields, is_flat
from .run import Run, require_sample

log = logging.getLogger("thalweg")

#: Frames of a film, at most.
_FRAMES = 60

#: For each panel, where a field lives and its values: one frame, or a trajectory.
Panels = dict[str, tuple[Where, Tensor]]


def run(config: DictConfig) -> list[Path]:
    """Draw what fits the run: fields, in three dimensions too, the loss, and of trajectories a film, the error over time, forces, spectra.

    Returns:
        The files.
    """
    trained = Run(config.run, config.device)
    disc = trained.discretization()
    data = trained.data("test", disc)
    require_sample(config.sample, data)
    batch, objective = data.batch([config.sample]), trained.objective(disc)
    # Further outputs in the data are no inputs. Other objectives hand on parts of trajectories, and what is read of them is not known.
    given = Recorder(batch) if type(objective) is Objective else batch
    with torch.no_grad():
        prediction, fields = objective.predict(trained.operator(disc), given)
    inputs = {name: u for name, u in batch.items() if not isinstance(given, Recorder) or name in given.asked}
    disc, spaces = trained.place(disc, batch), trained.spaces()
    panels = _panels(disc, spaces, inputs, prediction, fields)
    moving = {
        name
        for name in prediction
        if data.times is not None and name in data.trajectories and _frames(prediction, fields, name) > 1
    }
    drawn = draw_fields({title: (where, _last(where, values)) for title, (where, values) in panels.items()}, trained.folder)
    plot_losses(trained.folder / "metrics.jsonl", trained.folder / "loss.png")
    drawn.append("loss.png")
    if moving and data.times is not None:
        frames = {_frames(prediction, fields, name) for name in moving}
        times = data.times[-frames.pop() :]
        drawn += _draw_film(trained, panels, times, config.get("film", "gif"))  # a report's pictures move as GIF
        errors = {name: (times, _relative_errors(disc[spaces[name]], prediction[name][0], fields[name][0])) for name in moving}
        plot_over_time(errors, trained.folder / "error_over_time.png", label="relative L² error", logarithmic=True)
        drawn += ["error_over_time.png", *_draw_forces(trained, prediction, fields, times)]
        drawn += _draw_spectra(trained, disc, spaces, panels)
    log.info("%s in %s", ", ".join(drawn), trained.folder)
    return [trained.folder / name for name in drawn]


def _panels(
    disc: Spaces,
    spaces: Mapping[str, str],
    inputs: Mapping[str, Tensor],
    prediction: Mapping[str, Tensor],
    fields: Mapping[str, Tensor],
) -> Panels:
    """Inputs, and of each output the reference, the prediction and the error."""
    panels: Panels = {}
    for name, values in inputs.items():
        where = disc[spaces[name]]
        if name not in prediction:
            panels[_input_title(name, values[0], where)] = (where, values[0])
    for name, values in prediction.items():
        where, reference = disc[spaces[name]], fields[name][0]
        panels[f"reference {name}"] = (where, reference)
        panels[f"prediction {name}"] = (where, values[0])
        panels[f"error of {name}"] = (where, values[0] - reference)
    return panels


def _draw_film(trained: Run, panels: Panels, times: np.ndarray, kind: str) -> list[str]:
    """What moves in the plane; returns the names of the files."""
    moving = {title: panel for title, panel in panels.items() if _last(*panel) is not panel[1] and is_flat(panel[0])}
    if not moving:
        return []
    every = -(-len(times) // _FRAMES)
    # Inputs that move may begin before what is predicted.
    film = {title: (where, values[-len(times) :][::every]) for title, (where, values) in moving.items()}
    animate(film, times[::every], trained.folder / f"rollout.{kind}", columns=min(columns_of(moving), 3))
    return [f"rollout.{kind}"]


def _frames(prediction: Mapping[str, Tensor], fields: Mapping[str, Tensor], name: str) -> int:
    return prediction[name].shape[1] if prediction[name].ndim == fields[name].ndim else 1


def _last(where: Where, values: Tensor) -> Tensor:
    """The last frame of a trajectory; a field as it is."""
    axes = 1 if isinstance(where, Space) else where.dim + 1
    return values[-1] if values.ndim > axes else values


def _relative_errors(where: Where, prediction: Tensor, reference: Tensor) -> np.ndarray:
    return (where.norm(prediction - reference, "L2") / where.norm(reference, "L2")).cpu().numpy()


def _draw_forces(trained: Run, prediction: Mapping[str, Tensor], fields: Mapping[str, Tensor], times: np.ndarray) -> list[str]:
    """Drag and lift over time, if the run's metrics have them; returns the names of the files."""
    forces = next((metric for metric in trained.metrics().values() if isinstance(metric, BodyForces)), None)
    if forces is None:
        return []
    forces = forces.to(trained.device)
    both = {"reference": {**fields}, "prediction": {**fields, **prediction}}
    found = {kind: forces.coefficients({name: u.double() for name, u in part.items()})[0].cpu() for kind, part in both.items()}
    for i, name in enumerate(("drag", "lift")):
        curves = {kind: (times, values[i].numpy()) for kind, values in found.items()}
        plot_over_time(curves, trained.folder / f"{name}.png", label=f"{name} coefficient")
    return ["drag.png", "lift.png"]


def _draw_spectra(trained: Run, disc: Spaces, spaces: Mapping[str, str], panels: Panels) -> list[str]:
    """Spectra of the last frames on periodic grids; returns the names of the files."""
    written = []
    for name in spaces:
        where = disc[spaces[name]]
        pair = {kind: panels[f"{kind} {name}"][1] for kind in ("reference", "prediction") if f"{kind} {name}" in panels}
        if len(pair) < 2 or isinstance(where, Space) or not all(where.periodic):
            continue
        spectra = {kind: energy_spectrum(where, _last(where, values)) for kind, values in pair.items()}
        curves = {kind: (k.cpu().numpy(), E.cpu().numpy()) for kind, (k, E) in spectra.items()}
        file = f"spectrum_{name}.png"
        plot_spectra(curves, trained.folder / file)
        written.append(file)
    return written


def _input_title(name: str, values: Tensor, where: Where) -> str:
    """A field that vanishes inside the domain carries boundary values."""
    if not isinstance(where, Space) or values.ndim > 1:
        return f"input {name}"
    inside = values.clone()
    inside[where.boundary_dofs()] = 0
    return f"input {name}" if inside.any() else f"input {name} (boundary)"
