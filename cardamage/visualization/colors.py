"""Choosing colors: by class, by instance, and for text on top of them."""

from __future__ import annotations

import colorsys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import matplotlib.colors as mplc
import numpy as np

from cardamage.utils.colormap import colormap

__all__ = ["Color", "class_color", "contrast", "luminance", "parse_color", "shades"]

Color = tuple[int, int, int]
"""RGB, each from 0 to 255."""

_PALETTE: list[Color] = [(int(r), int(g), int(b)) for r, g, b in colormap(rgb=True)]


def parse_color(color: Any) -> Color:
    """Read a color in any of matplotlib's formats (``"g"``, ``"#ff8800"``, floats from 0 to 1).

    Raises:
        ValueError: it is none.
    """
    red, green, blue = mplc.to_rgb(tuple(color) if isinstance(color, np.ndarray) else color)
    return round(255 * red), round(255 * green), round(255 * blue)


def class_color(index: int, thing_colors: Sequence[Sequence[int]] | None = None) -> Color:
    """Return the color of class ``index``: its entry in ``thing_colors`` if it has one, else the palette's.

    Past the end of the palette, the colors come again darker.
    """
    if thing_colors is not None and index < len(thing_colors):
        red, green, blue = (int(v) for v in thing_colors[index])
        return red, green, blue
    turn, place = divmod(index, len(_PALETTE))
    return _scale_lightness(_PALETTE[place], 0.7**turn)


def shades(classes: Sequence[int], thing_colors: Sequence[Sequence[int]] | None = None) -> list[Color]:
    """Return one color per instance: its class's hue, in alternating lightness to tell neighbors apart."""
    factors = (1.0, 0.78, 1.16, 0.89)
    seen: Counter[int] = Counter()
    colors = []
    for label in classes:
        colors.append(_scale_lightness(class_color(label, thing_colors), factors[seen[label] % len(factors)]))
        seen[label] += 1
    return colors


def luminance(color: Color) -> float:
    """Return the relative luminance of WCAG 2.1 (https://www.w3.org/TR/WCAG21/), 0 to 1."""
    values = np.array(color) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def contrast(color: Color) -> Color:
    """Return near-black or white, whichever reads better on ``color``."""
    # Where both have the same contrast ratio: (1.05 / (l + 0.05)) = ((l + 0.05) / 0.05).
    return (16, 16, 16) if luminance(color) > 0.179 else (255, 255, 255)


def _scale_lightness(color: Color, factor: float) -> Color:
    hue, lightness, saturation = colorsys.rgb_to_hls(*(v / 255 for v in color))
    red, green, blue = colorsys.hls_to_rgb(hue, min(lightness * factor, 0.9), saturation)
    return round(255 * red), round(255 * green), round(255 * blue)
