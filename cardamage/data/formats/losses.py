"""What a target format has no place for, told field by field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pycocotools.mask as mask_util

from ..annotations.checks import RawAnnotation
from ..annotations.report import AnnotationReport

__all__ = ["tell_box", "tell_fields"]

# Pixels. Boxes that differ from their outline's by no more are rounded.
_BOX_SLACK = 1.0

# Bookkeeping of readers, and what every format numbers anew.
_SILENT = frozenset({"id", "category_ids", "categories", "splits", "via_shape"})
# Names of our own, which say nothing to a user.
_IN_WORDS = {"parts": "what each of its parts says"}
# Which of VIA's attributes was the class; the class itself goes along.
_CLASS_ATTRIBUTE = {"class_attribute"}


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
        if key not in _SILENT and key not in carried and not _is_empty(key, value):
            losses.add("lost", f"{format} has no place for {_IN_WORDS.get(key, f'its {key!r}')}", place)


def _is_empty(key: str, value: Any) -> bool:
    if key == "via" and isinstance(value, Mapping):
        return value.keys() <= _CLASS_ATTRIBUTE
    return value is None or (isinstance(value, (str, list, dict, tuple)) and not value)


def tell_box(
    raw: RawAnnotation, outline: Sequence[np.ndarray] | Mapping[str, Any], losses: AnnotationReport
) -> None:
    """List a given box as lost where it is another than the outline's, for formats that hold one of them.

    Args:
        raw: the annotation.
        outline: its polygons of shape (points, 2), or its run-length mask, compressed.
        losses: is told.
    """
    if raw.bbox is None or len(raw.bbox) != 4 or not outline:
        return
    if isinstance(outline, Mapping):
        low, size = np.split(mask_util.toBbox(outline), 2)
        around = np.concatenate([low, low + size])
    else:
        points = np.concatenate(list(outline))
        around = np.concatenate([points.min(axis=0), points.max(axis=0)])
    if not np.abs(around - np.asarray(raw.bbox, dtype=np.float64)).max() <= _BOX_SLACK:
        losses.add("lost", "its box is another than that of its outline", raw.place)
