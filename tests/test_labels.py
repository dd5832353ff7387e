"""Names beside points of a picture cover no point and no other name."""

from itertools import combinations, pairwise

import numpy as np
from matplotlib.figure import Figure

from thalweg.visualization.labels import label_points


def test_names_cover_neither_points_nor_lines_nor_each_other():
    figure = Figure(figsize=(7, 4.6), layout="constrained")
    ax = figure.subplots()
    levels = [("32x32, dt 0.01", 0.02, 3e-7), ("32x32, dt 0.02", 0.0105, 3e-6), ("24x24", 0.0104, 0.033), ("16x16", 0.01, 0.09)]
    markers = [(0.0125, 0.04), (0.0063, 0.038), (0.0071, 0.091), (0.0105, 0.2)]
    ax.plot(*np.transpose([point[1:] for point in levels]), "-o")
    ax.plot(*np.transpose(markers), "o")
    ax.set(xscale="log", yscale="log")
    ax.margins(0.15)
    label_points(ax, levels, markers)
    boxes = [note.get_window_extent() for note in ax.texts]
    assert [note.get_text() for note in ax.texts] == [name for name, _, _ in levels]
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    place = ax.transData.transform
    points = [place(point[1:]) for point in levels]
    line = np.concatenate([np.linspace(a, b, 100) for a, b in pairwise(points)])
    for box in boxes:
        assert not any(box.contains(*at) for at in [*line, *place(markers)])
        assert ax.bbox.x0 < box.x0
        assert box.x1 < ax.bbox.x1
