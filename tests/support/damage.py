"""Content of JSON files with anything in place of any value."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

Place = tuple[Any, ...]

REMOVED = object()
"""Put in the place of a value, it takes its key away."""


def places(value: Any, place: Place = ()) -> Iterator[Place]:
    """Every place in a content, as the keys and indices that lead to it; its own first."""
    yield place
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in inner:
        yield from places(below, (*place, key))


def replaced(content: Any, place: Place, value: Any) -> Any:
    """A copy of a content with another value in a place; nothing is left of a whole that is removed."""
    if not place:
        return None if value is REMOVED else value
    content = copy.deepcopy(content)
    at = content
    for key in place[:-1]:
        at = at[key]
    if value is REMOVED:
        del at[place[-1]]
    else:
        at[place[-1]] = value
    return content
