"""Colors that stay apart from each other, also for colour-blind readers."""

from __future__ import annotations

import random

import numpy as np

__all__ = ["colormap", "random_color", "random_colors"]

# The seven chromatic colors of Okabe and Ito (https://jfly.uni-koeln.de/color/), then colors picked for their
# distance in CIELAB, lightness at half weight, in normal, protan and deutan vision (Machado et al. 2009).
_HEX = (
    "D55E00 0072B2 F0E442 CC79A7 009E73 56B4E9 E69F00 5549FF E70055 9EFF6D 55F3FF F318C2 "
    "AA5524 FFDB92 9E9EFF 9EB649 FF8692 C200DB 00FFC2 61C261 5579F3 C23179 AA4992 8C8C00"
)
_COLORS = np.array([list(bytes.fromhex(color)) for color in _HEX.split()], dtype=np.float32)


def colormap(rgb: bool = False, maximum: int = 255) -> np.ndarray:
    """Return all colors, most distinct first.

    Args:
        rgb: RGB order; BGR otherwise.
        maximum: 255 or 1.

    Returns:
        float32 (N, 3) in [0, maximum].

    Raises:
        ValueError: ``maximum`` is neither.
    """
    if maximum not in (1, 255):
        raise ValueError(f"The maximum of a colormap is 1 or 255, not {maximum}.")
    colors = _COLORS * (maximum / 255)
    return np.ascontiguousarray(colors if rgb else colors[:, ::-1])


def random_color(rgb: bool = False, maximum: int = 255) -> np.ndarray:
    """Return one of the colors at random, float32 (3,); arguments as in :func:`colormap`."""
    return random.choice(colormap(rgb, maximum))


def random_colors(N: int, rgb: bool = False, maximum: int = 255) -> list[np.ndarray]:
    """Return ``N`` colors in random order, without repeats as long as there are enough."""
    colors = list(colormap(rgb, maximum))
    drawn: list[np.ndarray] = []
    while len(drawn) < N:
        drawn += random.sample(colors, min(N - len(drawn), len(colors)))
    return drawn
