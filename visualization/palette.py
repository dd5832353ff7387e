"""The few colours of a GIF or an indexed PNG, chosen for pictures of fields: those of their colour maps, and greys for letters."""

from collections.abc import Iterable

import numpy as np
from matplotlib import colormaps
from PIL import Image

_GREYS = 32


def indexed(picture: Image.Image, maps: Iterable[str]) -> Image.Image:
    """A picture in 256 colours: a chosen palette has no bands where one that fits the frame has, and is the same for all frames."""
    names = sorted(set(maps))
    counts = {"gray": _GREYS} | dict.fromkeys(names, (256 - _GREYS) // len(names))
    colours = np.concatenate([colormaps[name](np.linspace(0, 1, count))[:, :3] for name, count in counts.items()])
    palette = Image.new("P", (1, 1))
    palette.putpalette((255 * colours).round().astype(np.uint8).tobytes())
    return picture.convert("RGB").quantize(palette=palette, dither=Image.Dither.NONE)
