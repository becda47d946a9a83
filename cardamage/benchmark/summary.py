"""The result in one table: how many times as fast as each project, section by section."""

from __future__ import annotations

from collections.abc import Sequence

from cardamage.benchmark.report import Row, Section

__all__ = ["format_summary", "ratios"]

_WIDTH = 100
_COLUMN = 14


def ratios(section: Section) -> dict[str, float]:
    """Return how many times as long as the section's first row each project takes, by its fastest row.

    Args:
        section: its rows' names begin with the project's, up to a comma.
    """
    found: dict[str, float] = {}
    for row in section.rows:
        ratio = section.ratio(row)
        if row.role == "peer" and ratio is not None:
            project = _project(row)
            found[project] = min(ratio, found.get(project, ratio))
    return found


def format_summary(sections: Sequence[Section]) -> str:
    """Return a line for each section that has peers, and a column for each project; empty where none has.

    Args:
        sections: what was measured.
    """
    lines = {section.title: ratios(section) for section in sections}
    lines = {title: found for title, found in lines.items() if found}
    projects = list(dict.fromkeys(project for found in lines.values() for project in found))
    if not projects:
        return ""
    room = _WIDTH - _COLUMN * len(projects)
    head = "cardamage is times as fast as"
    text = [f"{head:<{room}}" + "".join(f"{project:>{_COLUMN}}" for project in projects), "-" * _WIDTH]
    for title, found in lines.items():
        cells = [f"{found[project]:.2f}" if project in found else "-" for project in projects]
        text.append(
            f"{'  ' + _shortened(title, room - 4):<{room}}" + "".join(f"{c:>{_COLUMN}}" for c in cells)
        )
    return "\n".join([*text, "The fastest setting of each project; numbers of both sides are above."])


def _project(row: Row) -> str:
    return row.side.partition(",")[0]


def _shortened(title: str, room: int) -> str:
    """Return a title cut at a comma, else anywhere."""
    while len(title) > room and "," in title:
        title = title.rpartition(",")[0]
    return title[:room]
