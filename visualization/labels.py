"""Names beside points, where they cover neither points nor lines nor each other."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from .figure import INK

#: Places around a point in units of the distance, from the one that is liked best.
_DIRECTIONS = ((1, 1), (1, -1), (-1, 1), (-1, -1), (0, 1), (0, -1), (1, 0), (-1, 0))
_DISTANCES = (6, 10, 16)  # points
_MARKER = 7  # pixels at 100 dots per inch, half of a marker's width


def label_points(
    ax: Axes, named: Sequence[tuple[str, float, float]], markers: Sequence[tuple[float, float]] = (), size: float = 8.0
) -> None:
    """Write names ``(name, x, y)`` beside points that are joined by a line in this order; the axes must have their final limits.

    Args:
        named: what is to be labelled.
        markers: further points that are to stay free.
        size: of the letters.
    """
    assert isinstance(ax.figure, Figure)
    FigureCanvasAgg(ax.figure)
    ax.figure.draw_without_rendering()  # lays the axes out
    place = ax.transData.transform
    points = [place((x, y)) for _, x, y in named]
    along = [np.linspace(a, b, 40) for a, b in pairwise(points)]
    dots = np.concatenate([np.reshape([place(m) for m in markers], (-1, 2)), np.reshape(points, (-1, 2))])
    line = np.concatenate([*along, np.empty((0, 2))])
    taken: list[np.ndarray] = []
    left, bottom, right, top = ax.bbox.extents
    for name, x, y in named:
        best, least = (_DIRECTIONS[0], _DISTANCES[0]), np.inf
        note = ax.annotate(name, (x, y), xytext=(0, 0), textcoords="offset points", fontsize=size, color=INK)
        for distance in _DISTANCES:
            for direction in _DIRECTIONS:
                box = _moved(note, direction, distance)
                cost = (
                    10 * _inside(dots, box, _MARKER) + _inside(line, box, 1) + 10 * sum(_overlap(box, other) for other in taken)
                )
                cost += 100 * (box[0] < left or box[1] < bottom or box[2] > right or box[3] > top)
                if cost < least:
                    best, least = (direction, distance), cost
        taken.append(_moved(note, *best))


def _moved(note: Annotation, direction: tuple[int, int], distance: float) -> np.ndarray:
    """The box ``(left, bottom, right, top)`` in pixels of a note that is put there."""
    across, up = direction
    factor = distance / np.hypot(across, up)
    note.set_position((across * factor, up * factor))
    note.set(ha={1: "left", 0: "center", -1: "right"}[across], va={1: "bottom", 0: "center", -1: "top"}[up])
    return np.array(note.get_window_extent().extents)


def _inside(points: np.ndarray, box: np.ndarray, margin: float) -> int:
    return int(np.sum(np.all((points > box[:2] - margin) & (points < box[2:] + margin), axis=1)))


def _overlap(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.all(a[:2] < b[2:]) and np.all(b[:2] < a[2:]))
