"""The order in which people number files."""

from __future__ import annotations

import re

__all__ = ["natural_key"]


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """Sort key by which ``2.jpg`` comes before ``10.jpg``; no two texts have the same."""
    pieces = [piece for piece in re.split(r"([0-9]+)", text) if piece]
    # Digits such as a raised 2 are letters here: they make no numbers.
    parts = [(0, int(piece), "") if piece.isdecimal() else (1, 0, piece) for piece in pieces]
    # 1.jpg and 01.jpg are equal so far.
    return [*parts, (-1, 0, text)]
