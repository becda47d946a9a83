"""A report as text, for a terminal of 100 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from cardamage.benchmark.report import Report, Row, Section

__all__ = ["format_head", "format_report", "format_section"]

WIDTH = 100
_NAME, _CELL = 34, 11
_RULE = "-" * WIDTH
_PART_NAME, _PART = 14, 17


def format_report(report: Report) -> str:
    """Return the whole report: what was measured on, then every section."""
    return "\n\n".join([format_head(report), *map(format_section, report.sections)])


def format_head(report: Report) -> str:
    """Return what was measured on and with."""
    machine, settings = report.machine, report.settings
    bfloat16 = "multiplies bfloat16" if machine["bfloat16"] else "has no bfloat16"
    isa = " ".join(machine["isa"])
    processor = (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads; {bfloat16} ({isa})"
    )
    gpu = "none used"
    if machine["gpu"]:
        gpu = f"{machine['gpu']}, {machine['gpu_memory'] / 2**30:.0f} GiB"
    lines = [
        ("processor", processor),
        ("GPU", gpu),
        ("versions", ", ".join(f"{name} {version}" for name, version in report.versions.items())),
        *((name, str(value)) for name, value in settings.items()),
    ]
    title = f"cardamage benchmark, {report.created}"
    return "\n".join([title, "=" * WIDTH, *(_wrapped(name, text) for name, text in lines)])


def _wrapped(name: str, text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=f"{name:<14}", subsequent_indent=" " * 14)


def format_section(section: Section) -> str:
    """Return a section's table, where its time goes, and what was checked."""
    own = textwrap.shorten(section.rows[0].side.partition(",")[0], 16, placeholder="")
    columns = {name or f"{section.item}/s": cell for name, cell in _COLUMNS.items()}
    used = {name: cell for name, cell in columns.items() if any(map(cell, section.rows))}
    head = "".join(f"{name:>{_CELL}}" for name in used)
    lines = [section.title, _RULE, f"{'':<{_NAME}}{head}   {own} is"]
    floor = False
    for row in section.rows:
        if row.role == "floor" and not floor:
            lines.append("floor")
        floor = floor or row.role == "floor"
        lines += _row(section, row, list(used.values()))
    if section.parts:
        lines += ["", *_parts(section)]
    if section.checks:
        lines += ["", *(line for check in section.checks for line in textwrap.wrap(check, WIDTH))]
    return "\n".join(lines)


def _row(section: Section, row: Row, columns: Sequence[Callable[[Row], str]]) -> list[str]:
    name = f"  {row.side}"
    if row.timing is None:
        first = f"{name:<{_NAME}}"
        return textwrap.wrap(row.note, WIDTH, initial_indent=first, subsequent_indent=" " * _NAME)
    cells = "".join(f"{cell(row):>{_CELL}}" for cell in columns)
    line = f"{name:<{_NAME}}{cells}   {_said(section.ratio(row))}".rstrip()
    values = ", ".join(f"{key} {value:.1f}" for key, value in row.values.items())
    extra = "; ".join(filter(None, (values, row.note)))
    return [line, *textwrap.wrap(extra, WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)]


def _time(row: Row) -> str:
    return _seconds(row.timing.median) if row.timing else ""


def _spread(row: Row) -> str:
    return f"{row.timing.spread:.1%}" if row.timing and len(row.timing.seconds) > 1 else ""


def _rate(row: Row) -> str:
    return "" if row.rate is None else f"{row.rate:.3g}" if row.rate < 100 else f"{row.rate:.0f}"


def _memory(row: Row) -> str:
    return "" if row.memory is None else _bytes(row.memory)


_COLUMNS: dict[str, Callable[[Row], str]] = {"time": _time, "+-": _spread, "": _rate, "memory": _memory}


def _said(ratio: float | None) -> str:
    if ratio is None:
        return ""
    return f"{ratio:.2f} x as fast" if ratio < 100 else f"{ratio:.0f} x as fast"


def _seconds(value: float) -> str:
    """Return a time with three digits that count."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            scaled = value / size
            return f"{scaled:.{max(0, 2 - len(str(int(scaled))) + 1)}f} {unit}"
    return f"{value * 1e6:.0f} us"


def _bytes(value: int) -> str:
    return f"{value / 2**20:.0f} MiB" if value < 10 * 2**30 else f"{value / 2**30:.1f} GiB"


def _parts(section: Section) -> list[str]:
    """Return the seconds of every part and its share, a column for each side."""
    sides = list(section.parts)
    names = list(dict.fromkeys(name for parts in section.parts.values() for name in parts))
    names.sort(key=_place)
    lines: list[str] = []
    for begin in range(0, len(sides), (WIDTH - _PART_NAME) // _PART):
        block = sides[begin : begin + (WIDTH - _PART_NAME) // _PART]
        titles = [textwrap.wrap(side, _PART - 2) for side in block]
        depth = max(map(len, titles))
        for level in range(depth):
            left = "where it goes" if level == depth - 1 else ""
            words = [
                title[level - depth + len(title)] if level >= depth - len(title) else "" for title in titles
            ]
            lines.append(_joined(left, words))
        for name in names:
            lines.append(_joined(f"  {name}", [_cell(section.parts[side], name) for side in block]))
        lines.append(_joined("  in all", [_seconds(sum(section.parts[s].values())) + "     " for s in block]))
    return lines


def _joined(left: str, cells: Sequence[str]) -> str:
    return (f"{left:<{_PART_NAME}}" + "".join(f"{cell:>{_PART}}" for cell in cells)).rstrip()


_ORDER = (
    "waiting",
    "prep",
    "trunk",
    "RPN",
    "ROI heads",
    "rest",
    "paste masks",
    "backward",
    "optimizer",
    "after",
)


def _place(name: str) -> int:
    return _ORDER.index(name) if name in _ORDER else len(_ORDER)


def _cell(parts: dict[str, float], name: str) -> str:
    if name not in parts:
        return "-     "
    total: Any = sum(parts.values())
    return f"{_seconds(parts[name])} {parts[name] / total:>4.0%}"
