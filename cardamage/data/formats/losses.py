"""What a target format has no place for, told field by field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..annotation_report import AnnotationReport

__all__ = ["tell_fields"]

# Bookkeeping of readers, and what every format numbers anew.
_SILENT = frozenset({"id", "category_ids", "categories", "splits"})


def tell_fields(
    fields: Mapping[str, Any],
    format: str,
    place: str,
    losses: AnnotationReport,
    carried: Sequence[str] = (),
) -> None:
    """List the fields of an annotation, image or dataset as lost, but for those without value.

    Args:
        fields: further fields by name.
        format: what the target is called.
        place: whose they are.
        losses: is told.
        carried: names of those that the target does hold.
    """
    for key, value in fields.items():
        empty = value is None or (isinstance(value, (str, list, dict, tuple)) and not value)
        if not empty and key not in _SILENT and key not in carried:
            losses.add("lost", f"{format} has no place for its {key!r}", place)
