"""What was found: rows of sides, parts of a step, checks; and how it is written as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cardamage.benchmark.rounds import Timing
from cardamage.utils.files import atomic_write

__all__ = ["FORMAT", "Report", "Row", "Section", "write_json"]

FORMAT = 1
"""Of the JSON file; counts up when a reader has to know."""


@dataclass
class Row:
    """One side's result.

    Attributes:
        side: its name.
        role: ``own``, ``peer`` or ``floor``.
        timing: its times; None where it didn't run.
        items: what a run deals with (photos, files), so many in a second; None where that says nothing.
        memory: peak bytes; None where unknown.
        note: a few words, such as why it didn't run.
        values: numbers of its own, such as an AP.
    """

    side: str
    role: str
    timing: Timing | None
    items: int | None = None
    memory: int | None = None
    note: str = ""
    values: dict[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float | None:
        """Items a second."""
        return self.items / self.timing.median if self.items and self.timing else None


@dataclass
class Section:
    """What one thing takes.

    Attributes:
        key: what the command calls it.
        title: what the table calls it.
        item: what is counted, such as ``img``; empty for nothing.
        rows: the sides; the first one is what the ratios are of.
        parts: for each side, seconds of every part of a step.
        checks: sentences about what was found equal, or not.
    """

    key: str
    title: str
    item: str
    rows: list[Row]
    parts: dict[str, dict[str, float]] = field(default_factory=dict)
    checks: list[str] = field(default_factory=list)

    def ratio(self, row: Row) -> float | None:
        """Return how many times as long a row takes as the first one."""
        first = self.rows[0]
        if row is first or row.timing is None or first.timing is None:
            return None
        return row.timing.median / first.timing.median


@dataclass
class Report:
    """A whole run.

    Attributes:
        created: when, ISO 8601.
        command: the words of the command line.
        machine: see :func:`cardamage.benchmark.machine.describe_machine`.
        versions: by package.
        settings: sizes, batches, rounds, photos.
        sections: the results.
    """

    created: str
    command: list[str]
    machine: dict[str, Any]
    versions: dict[str, str]
    settings: dict[str, Any]
    sections: list[Section] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return it in types that JSON knows; times in seconds, memory in bytes."""
        head = {"created": self.created, "command": self.command, "machine": self.machine}
        sections = [_section(section) for section in self.sections]
        return {
            "format": FORMAT,
            **head,
            "versions": self.versions,
            "settings": self.settings,
            "sections": sections,
        }


def _section(section: Section) -> dict[str, Any]:
    rows = [{**_row(row), "ratio": section.ratio(row)} for row in section.rows]
    parts: Mapping[str, Mapping[str, float]] = section.parts
    return {
        "key": section.key,
        "title": section.title,
        "item": section.item,
        "rows": rows,
        "parts": {side: dict(seconds) for side, seconds in parts.items()},
        "checks": section.checks,
    }


def _row(row: Row) -> dict[str, Any]:
    timing = row.timing
    return {
        "side": row.side,
        "role": row.role,
        "seconds": list(timing.seconds) if timing else [],
        "median": timing.median if timing else None,
        "spread": timing.spread if timing else None,
        "rate": row.rate,
        "memory": row.memory,
        "note": row.note,
        "values": row.values,
    }


def write_json(report: Report, path: Path) -> None:
    """Write a report, whole or not at all.

    Args:
        report: the run.
        path: the file; its folder is made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        json.dump(report.as_json(), file, indent=1)
