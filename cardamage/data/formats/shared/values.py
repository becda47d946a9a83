"""Values in COCO files that were written as something else than they are."""

from __future__ import annotations

import json
import math
import re
from typing import Any

__all__ = ["as_flag", "as_id", "as_name", "as_number", "unpacked"]

_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,30}")


def as_id(value: Any) -> int | None:
    """Return an id as a number, also from a string of digits; None for anything else."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    # Only what prints back the same: "007" is a name, not the number 7.
    match = _WHOLE.fullmatch(str(value).strip())
    return int(match.group()) if match else None


def as_name(value: Any) -> str:
    """Return a class name that can be written as text: JSON can name halves of characters, files can't."""
    return str(value).encode("utf-8", "backslashreplace").decode()


def as_flag(value: Any) -> int:
    """Return 1 for what means yes, 0 otherwise; the string ``"False"`` means no."""
    if isinstance(value, str):
        return int(value.strip().lower() in ("1", "true", "yes"))
    return int(bool(value))


def as_number(value: Any) -> float | None:
    """Return a finite number, also from a string; None for anything else."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def unpacked(value: Any) -> Any:
    """Return what a string of JSON holds, and anything else as it is."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return None
    return value
