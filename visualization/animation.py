"""Trajectories as moving pictures: GIF by Pillow, MP4 by ffmpeg."""

import os
import shutil
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.animation import AbstractMovieWriter, FFMpegWriter, PillowWriter
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ..errors import InputError, MissingPackageError
from ..storage import atomic
from .colour_bars import draw_bars
from .comparison import Panel, Scale, arrange, bar_label, common_scale
from .palette import indexed
from .panel import Values, Where, draw

_DOTS_PER_INCH = 100


def animate(
    trajectories: Mapping[str, tuple[Where, Values]],
    times: Sequence[float] | np.ndarray,
    path: str | os.PathLike,
    *,
    columns: int = 3,
    per_second: int = 10,
) -> None:
    """Draw trajectories side by side, a frame for each time, to a GIF or MP4 file.

    Names mean what they mean to :func:`plot_comparison`; each panel has one colour scale for all times.

    Args:
        trajectories: for each panel, a space or a grid and its fields ``(time, num_dofs)`` or ``(time, channel, x, y[, z])``.
        times: of the frames.
        path: something.gif or something.mp4.
        columns: panels in a row, at most.
        per_second: frames.

    Raises:
        InputError: lengths differ, there is nothing to draw, or the file has another suffix.
        MissingPackageError: MP4 needs ffmpeg.
        FileError: the file cannot be written.
    """
    lengths = {name: len(values) for name, (_, values) in trajectories.items()}
    if not lengths or set(lengths.values()) != {len(times)}:
        raise InputError(f"Each trajectory needs one frame for each of the {len(times)} times; got {lengths or 'none'}.")
    scales = _scales(trajectories)
    writer = _writer(path, per_second, {colours for _, colours in scales.values()})
    figure, axes = arrange(_frame(trajectories, 0), columns, " ")
    FigureCanvasAgg(figure)
    title = figure.suptitle("", fontsize=11)
    first = True
    with atomic(path) as partial, writer.saving(figure, str(partial), _DOTS_PER_INCH):
        for number, time in enumerate(times):
            panels = _frame(trajectories, number)
            drawn = {}
            for name, ax in axes.items():
                for artist in (*ax.images, *ax.collections):
                    artist.remove()
                drawn[name] = draw(ax, *panels[name], *scales[name])
            title.set_text(f"t = {time:.4g}")
            if first:
                draw_bars(figure, axes, drawn, {name: bar_label(name, panels) for name in panels})
                figure.draw_without_rendering()
                figure.set_layout_engine("none")  # or panels would move from frame to frame
                first = False
            writer.grab_frame()


def _frame(trajectories: Mapping[str, tuple[Where, Values]], number: int) -> dict[str, Panel]:
    return {name: (where, values[number]) for name, (where, values) in trajectories.items()}


def _scales(trajectories: Mapping[str, tuple[Where, Values]]) -> dict[str, Scale]:
    """Of each panel, limits that hold for all frames."""
    frames = [_frame(trajectories, number) for number in range(len(next(iter(trajectories.values()))[1]))]
    scales = {}
    for name in trajectories:
        found = [common_scale(name, panels) for panels in frames]
        colours = found[-1][1]
        low, high = min(limits[0] for limits, _ in found), max(limits[1] for limits, _ in found)
        scales[name] = ((low, high), colours)
    return scales


def _writer(path: str | os.PathLike, per_second: int, colours: set[str]) -> AbstractMovieWriter:
    suffix = Path(path).suffix
    if suffix == ".gif":
        return _Gif(colours, fps=per_second)
    if suffix != ".mp4":
        raise InputError(f"A moving picture is called something.gif or something.mp4, not {Path(path).name!r}.")
    if shutil.which("ffmpeg"):
        return _Mp4(fps=per_second)
    if find_spec("imageio_ffmpeg"):
        mpl.rcParams["animation.ffmpeg_path"] = import_module("imageio_ffmpeg").get_ffmpeg_exe()
        return _Mp4(fps=per_second)
    raise MissingPackageError("MP4 needs ffmpeg. Install it by `pip install imageio-ffmpeg`, or write a GIF.")


class _Gif(PillowWriter):
    """Has the colours of the fields' maps, and tells Pillow the format, which it would else take from the temporary file's name."""

    def __init__(self, colours: set[str], fps: int):
        super().__init__(fps=fps)
        self._colours = colours

    def finish(self) -> None:
        frames = [indexed(frame, self._colours) for frame in self._frames]  # pyright: ignore[reportAttributeAccessIssue]
        frames[0].save(
            self.outfile, format="GIF", save_all=True, append_images=frames[1:], duration=round(1000 / self.fps), loop=0
        )


class _Mp4(FFMpegWriter):
    """Tells ffmpeg the format, and how to make a film that every player shows."""

    @property
    def output_args(self) -> list[str]:
        arguments = list(super().output_args)
        even = ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p"]
        return [*even, "-f", "mp4", *[a for a in arguments if a not in ("-pix_fmt", "yuv420p")]]
