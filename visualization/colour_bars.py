"""Colour bars below panels: one for neighbours whose colours mean the same."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from .figure import decimals

#: Inches: of a bar with its numbers and label, of the bar alone, and its length from which it has more numbers.
_HEIGHT, _THICKNESS, _LONG = 0.55, 0.11, 3.0


def draw_bars(figure: Figure, axes: Mapping[str, Axes], drawn: Mapping[str, ScalarMappable], labels: Mapping[str, str]) -> None:
    """One bar for all panels if their colours mean the same, else one for neighbours in a row; the figure shrinks by those saved.

    Args:
        axes, drawn, labels: of each panel by its name, row by row: where and what is drawn, and what its colours mean.
    """
    meanings = {name: (drawn[name].get_clim(), drawn[name].cmap.name, label) for name, label in labels.items()}
    rows = _rows(axes)
    if len(set(meanings.values())) == 1:
        groups = [list(axes)]
        figure.set_figheight(figure.get_figheight() - (len(rows) - 1) * _HEIGHT)
    else:
        groups = [group for row in rows for group in _neighbours(row, meanings)]
    for group in groups:
        length = figure.get_figwidth() * min(1, len(group) / max(map(len, rows)))
        _draw_bar(figure, [axes[name] for name in group], drawn[group[0]], labels[group[0]], length)


def _rows(axes: Mapping[str, Axes]) -> list[list[str]]:
    rows: dict[int, list[str]] = {}
    for name, ax in axes.items():
        spec = ax.get_subplotspec()
        rows.setdefault(spec.rowspan.start if spec else 0, []).append(name)
    return list(rows.values())


def _neighbours(row: Sequence[str], meanings: Mapping[str, object]) -> list[list[str]]:
    """Runs of panels whose colours mean the same."""
    groups: list[list[str]] = []
    for name in row:
        if groups and meanings[groups[-1][0]] == meanings[name]:
            groups[-1].append(name)
        else:
            groups.append([name])
    return groups


def _draw_bar(figure: Figure, axes: Sequence[Axes], drawn: ScalarMappable, label: str, length: float) -> None:
    """A bar of about this length below some panels, with three numbers or five."""
    bar = figure.colorbar(drawn, ax=list(axes), location="bottom", aspect=length / _THICKNESS, pad=0.02)
    ticks = np.linspace(*drawn.get_clim(), 3 if length < _LONG else 5)
    digits = decimals(float(np.ptp(ticks)))
    numbers = [f"{round(x, digits) + 0.0:.4g}".replace("-", "\N{MINUS SIGN}") for x in ticks]
    bar.set_ticks(list(ticks), labels=numbers)
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=8, length=2)
    for number, side in zip((bar.ax.get_xticklabels()[i] for i in (0, -1)), ("left", "right"), strict=True):
        number.set_horizontalalignment(side)  # within the bar, so that numbers of neighbours keep apart
    bar.outline.set_visible(False)
