"""The closest known name for a misspelled one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["closest", "did_you_mean"]


def closest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Find the known name most like `name`, upper and lower case alike.

    Args:
        name: what was written.
        known: the names that exist.
        cutoff: least similarity in [0, 1] (``difflib`` ratio) that counts as alike.

    Returns:
        The closest known name, or None where none is alike.
    """
    by_folded: dict[str, str] = {}
    for candidate in known:
        by_folded.setdefault(candidate.casefold(), candidate)
    matches = difflib.get_close_matches(name.casefold(), list(by_folded), n=1, cutoff=cutoff)
    return by_folded[matches[0]] if matches else None


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return ``"; did you mean X?"`` for the closest known name, or an empty string."""
    match = closest(name, known, cutoff)
    return f"; did you mean {match}?" if match is not None else ""
