"""The kinds of findings: each a function over the dataset, with its code and what to say of it."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module

from .model import Hit, Subject

__all__ = ["SEVERITIES", "Check", "Finding", "all_checks", "check", "find_all", "noted"]

SEVERITIES = ("error", "warning", "note")

Find = Callable[[Subject], Iterable[Hit]]


@dataclass(frozen=True)
class Check:
    """A kind of finding.

    Attributes:
        code: stable, such as ``"D201"``.
        severity: one of :data:`SEVERITIES`.
        title: what it is, in a few words.
        advice: what to do about it.
        fix: what ``--fix`` does about it; empty where it leaves it.
        find: gives its cases.
    """

    code: str
    severity: str
    title: str
    advice: str
    fix: str
    find: Find


@dataclass
class Finding:
    """A kind of finding with its cases in one dataset."""

    check: Check
    hits: list[Hit]


# What readers note of single objects; of files that hold the same, one tells of them.
_OF_SHAPES = frozenset({"D209", "D219", "D220", "D221", "D222", "D223", "D226", "D408", "D414"})
_checks: dict[str, Check] = {}


def check(code: str, severity: str, title: str, advice: str, fix: str = "") -> Callable[[Find], Find]:
    """Register a function as the search for a kind of finding; see :class:`Check`.

    Raises:
        ValueError: for a code that is taken, or an unknown severity.
    """
    if severity not in SEVERITIES:
        raise ValueError(f"{code}: {severity!r} is no severity.")

    def register(find: Find) -> Find:
        if code in _checks:
            raise ValueError(f"The code {code} is taken by {_checks[code].title!r}.")
        _checks[code] = Check(code, severity, title, advice, fix, find)
        return find

    return register


def noted(code: str, severity: str, title: str, advice: str, fix: str = "") -> None:
    """Register a kind of finding that the readers note themselves (:meth:`.model.Part.note`)."""

    def find(subject: Subject) -> Iterator[Hit]:
        parts = subject.counted_parts if code in _OF_SHAPES else subject.parts
        return (hit for part in parts for hit in part.notes.get(code, ()))

    check(code, severity, title, advice, fix)(find)


@cache
def all_checks() -> list[Check]:
    """Return all kinds of findings by code. Every module of ``checks/`` is one file of them."""
    from . import checks

    for module in pkgutil.iter_modules(checks.__path__):
        import_module(f"{checks.__name__}.{module.name}")
    return [_checks[code] for code in sorted(_checks)]


def find_all(subject: Subject) -> list[Finding]:
    """Run all checks; those without a case are left out. Errors come first, then by code."""
    found = [Finding(kind, list(kind.find(subject))) for kind in all_checks()]
    found = [finding for finding in found if finding.hits]
    return sorted(found, key=lambda f: (SEVERITIES.index(f.check.severity), f.check.code))
