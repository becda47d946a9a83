"""Dataset names that say where the data is, such as ``labelme:/photos/train``.

A scheme is the word before the first colon. Its resolver is asked the first time a name of that scheme is
met; what it answers is kept, so that metadata and contents come from one reading.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["AdHocDataset", "find_ad_hoc", "forget_ad_hoc", "register_scheme", "scheme_of", "schemes"]


@dataclass(frozen=True)
class AdHocDataset:
    """What a resolver found.

    Attributes:
        dicts: the dataset dicts.
        metadata: attributes of the dataset's metadata, such as ``thing_classes``.
    """

    dicts: list[dict[str, Any]]
    metadata: dict[str, Any] = field(default_factory=dict)

    def load(self) -> list[dict[str, Any]]:
        """Return a copy of the dicts that the caller may change."""
        return copy.deepcopy(self.dicts)


Resolver = Callable[[str], AdHocDataset]

_resolvers: dict[str, Resolver] = {}
_resolved: dict[str, AdHocDataset] = {}
_lock = threading.RLock()


def register_scheme(scheme: str, resolver: Resolver) -> None:
    """Make names that begin with ``scheme:`` datasets.

    Args:
        scheme: the word before the colon.
        resolver: gets what follows the colon; raises a DataError where it can't be read.
    """
    _resolvers[scheme] = resolver


def schemes() -> list[str]:
    """Return the known schemes."""
    return list(_resolvers)


def scheme_of(name: str) -> str | None:
    """Return the scheme of an ad-hoc name, or None for any other name."""
    scheme, colon, rest = name.partition(":")
    return scheme if colon and rest and scheme in _resolvers else None


def find_ad_hoc(name: str) -> AdHocDataset | None:
    """Read the dataset that a name describes, once; None where the name is of no scheme.

    Raises:
        DataError: from the resolver.
    """
    scheme = scheme_of(name)
    if scheme is None:
        return None
    with _lock:
        if name not in _resolved:
            _resolved[name] = _resolvers[scheme](name.partition(":")[2])
        return _resolved[name]


def forget_ad_hoc(name: str) -> None:
    """Drop what was read for a name, so that it is read again."""
    _resolved.pop(name, None)
