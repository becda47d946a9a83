"""The order in which people number files."""

from __future__ import annotations

import re

__all__ = ["natural_key"]


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """Sort key by which ``2.jpg`` comes before ``10.jpg``."""
    return [
        (0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"([0-9]+)", text) if part
    ]
