"""Pictures of fields in a quarter of the bytes: the 256 colours of our maps instead of all, and no more than 1600 pixels across.

python docs/indexed_colours.py docs/images/stokes.png ...
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from PIL import Image

WIDTH = 1600  # twice that of a page's text
ERRORS = "magma_r", "RdBu_r"  # of magnitudes and of values with a sign; a picture has one of them


def palette(errors):
    counts = {"viridis": 124, errors: 100, "gray": 32}
    colours = np.concatenate([colormaps[name](np.linspace(0, 1, count))[:, :3] for name, count in counts.items()])
    image = Image.new("P", (1, 1))
    image.putpalette((255 * colours).round().astype(np.uint8).tobytes())
    return image


def shrink(path):
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    if picture.width > WIDTH:
        picture = picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.LANCZOS)
    indexed = [picture.quantize(palette=palette(errors), dither=Image.Dither.NONE) for errors in ERRORS]
    min(indexed, key=lambda one: distance(one, picture)).save(path, optimize=True)


def distance(one, other):
    return np.abs(np.asarray(one.convert("RGB"), np.float32) - np.asarray(other)).mean()


if __name__ == "__main__":
    for name in sys.argv[1:]:
        before = Path(name).stat().st_size
        shrink(name)
        print(f"{name}: {before // 1000} to {Path(name).stat().st_size // 1000} KB")
