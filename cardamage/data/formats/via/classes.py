"""Which of VIA's region attributes is the class, and what the others are.

People set VIA up in three ways: the class is the value of an attribute (``{"type": "dent"}``), one of its
ticked boxes (``{"type": {"dent": true}}``), or an attribute of its own (``{"dent": "1"}``).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..shared.values import as_flag, as_id, as_name, as_number

__all__ = [
    "IMAGE_FLAGS",
    "NEUTRAL",
    "ClassAttribute",
    "find_class_attribute",
    "image_fields",
    "neutral_fields",
]

# For attributes that as many regions fill in, one with the first of these words is taken.
_LIKELY = ("class", "label", "name", "category", "type", "damage")
# With one of these words in its name, an attribute is no class of its own.
_NOT_A_CLASS = frozenset(_LIKELY[:5])
_TICKS = frozenset({"1", "true", "yes", "y", "x", "on"})
_NO_TICKS = frozenset({"0", "false", "no", "n", "off", ""})
# Fields of annotations in memory that are attributes here.
NEUTRAL = ("iscrowd", "group_id", "description", "score", "flags", "shape_type")
# The file attribute of an image's flags. VIA's table of regions shows a file attribute in place of a region's
# attribute of the same name.
IMAGE_FLAGS = "image_flags"


@dataclass(frozen=True)
class ClassAttribute:
    """Where the class of a region is.

    Attributes:
        name: the attribute whose value is the class, or one of whose boxes is ticked.
        keys: attributes that are classes themselves; empty for the other ways.
    """

    name: str = ""
    keys: frozenset[str] = frozenset()

    def labels(self, attributes: dict[str, Any]) -> list[str]:
        """Return the classes of a region by name: none, one, or several where several are ticked."""
        if self.keys:
            return sorted(as_name(key) for key in self.keys if _is_tick(key, attributes.get(key)))
        value = attributes.get(self.name, "")
        if isinstance(value, dict):
            return sorted(
                text for name, ticked in value.items() if ticked and (text := as_name(name).strip())
            )
        text = "" if value is None else as_name(value).strip()
        return [text] if text else []

    def others(self, attributes: dict[str, Any]) -> dict[str, Any]:
        """Return the attributes that don't tell the class; all of them where several classes are ticked."""
        taken = {*self.keys, self.name} if len(self.labels(attributes)) < 2 else set()
        return {key: value for key, value in attributes.items() if key not in taken}


def find_class_attribute(regions: Iterable[dict[str, Any]], asked: str | None) -> ClassAttribute:
    """Find where the class is.

    Attributes that are only ever ticked are classes themselves, if there is no other attribute, or if every
    region ticks exactly one of several and no other attribute is named like a class.

    Args:
        regions: the ``region_attributes`` of all regions.
        asked: the attribute whose value is the class, where the user says so.
    """
    if asked is not None:
        return ClassAttribute(asked)
    found = [{k: v for k, v in region.items() if k not in NEUTRAL} for region in regions]
    filled: Counter[str] = Counter()
    ticked: Counter[str] = Counter()
    valued: set[str] = set()
    for attributes in found:
        for key, value in attributes.items():
            filled[key] += bool(value)
            ticked[key] += _is_tick(key, value)
            if not _is_tick(key, value) and not _is_no_tick(value):
                valued.add(key)
    keys = frozenset(key for key in ticked if ticked[key] and key not in valued and not _likely(key))
    values = [key for key in filled if filled[key] and key not in keys]
    if keys and (not values or _divide(found, keys, values)):
        return ClassAttribute(keys=keys)
    rank = {key: i for i, key in enumerate(reversed(_LIKELY), start=1)}
    likely = {key: max((rank.get(word, 0) for word in _words(key)), default=0) for key in values}
    return ClassAttribute(max(values, key=lambda key: (filled[key], likely[key], key), default="name"))


def neutral_fields(attributes: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Sort attributes into the fields of annotations in memory.

    Returns:
        The fields, further attributes in ``attributes``, and whether it is a region of uncounted objects.
    """
    fields = {key: attributes[key] for key in NEUTRAL[1:] if attributes.get(key) not in (None, "", {})}
    if "group_id" in fields:
        number = as_id(fields["group_id"])
        fields["group_id"] = str(fields["group_id"]) if number is None else number
    if "score" in fields and as_number(fields["score"]) is not None:
        fields["score"] = as_number(fields["score"])
    further = {key: value for key, value in attributes.items() if key not in NEUTRAL}
    if further:
        fields["attributes"] = further
    return fields, as_flag(attributes.get("iscrowd", 0))


def image_fields(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is stored of an image with its flags by their name in memory."""
    attributes = stored.get("file_attributes")
    flags = attributes.get(IMAGE_FLAGS) if isinstance(attributes, dict) else None
    if not isinstance(flags, dict) or not all(isinstance(value, bool) for value in flags.values()):
        return dict(stored)
    others = {key: value for key, value in attributes.items() if key != IMAGE_FLAGS} if attributes else {}
    fields = {key: value for key, value in stored.items() if key != "file_attributes"}
    return {
        **fields,
        **({"file_attributes": others} if others else {}),
        **({"flags": flags} if flags else {}),
    }


def _divide(regions: list[dict[str, Any]], keys: frozenset[str], values: list[str]) -> bool:
    if len(keys) < 2 or any(_likely(key) for key in values):
        return False
    return all(
        sum(_is_tick(key, region.get(key)) for key in keys) == 1 for region in regions if any(region.values())
    )


def _likely(key: str) -> bool:
    return not _NOT_A_CLASS.isdisjoint(_words(key))


def _words(key: str) -> list[str]:
    return re.split(r"[\W_]+", key.lower())


def _is_tick(key: str, value: Any) -> bool:
    if isinstance(value, (bool, int)):
        return value == 1
    return isinstance(value, str) and value.strip().lower() in {*_TICKS, key.strip().lower()} - {""}


def _is_no_tick(value: Any) -> bool:
    return not value or (isinstance(value, str) and value.strip().lower() in _NO_TICKS)
