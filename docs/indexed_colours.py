"""Pictures of fields in a quarter of the bytes: the colours of their maps instead of all, and no more than 1600 pixels across.

python docs/indexed_colours.py docs/images/stokes.png ...
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from thalweg.visualization.palette import indexed

WIDTH = 1600  # twice that of a page's text
ERRORS = "magma_r", "RdBu_r"  # of magnitudes and of values with a sign


def shrink(path):
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    if picture.width > WIDTH:
        picture = picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.LANCZOS)
    candidates = [indexed(picture, ["viridis", *maps]) for maps in ((), *((name,) for name in ERRORS), ERRORS)]
    min(candidates, key=lambda one: distance(one, picture)).save(path, optimize=True)


def distance(one, other):
    return np.abs(np.asarray(one.convert("RGB"), np.float32) - np.asarray(other)).mean()


if __name__ == "__main__":
    for name in sys.argv[1:]:
        before = Path(name).stat().st_size
        shrink(name)
        print(f"{name}: {before // 1000} to {Path(name).stat().st_size // 1000} KB")
