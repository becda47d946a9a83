"""What the doctor found, as text for a terminal and as JSON."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from ...utils.counting import counted
from .model import Hit, Subject
from .registry import SEVERITIES, Finding
from .tables import overview, split_order

__all__ = ["as_json", "as_text", "exit_status"]

VERSION = 1
_WIDEST = 110


def exit_status(findings: Sequence[Finding], strict: bool = False) -> int:
    """Return 1 where there is an error, or with `strict` a warning, else 0."""
    bad = ("error", "warning") if strict else ("error",)
    return int(any(finding.check.severity in bad for finding in findings))


def as_json(subject: Subject, findings: Sequence[Finding]) -> dict[str, Any]:
    """Return all that was found; ``docs/check-dataset.md`` says what the keys mean."""
    return {
        "version": VERSION,
        "sources": subject.sources,
        "summary": _summary(findings),
        "overview": overview(subject),
        "findings": [
            {
                "code": finding.check.code,
                "severity": finding.check.severity,
                "title": finding.check.title,
                "advice": finding.check.advice,
                "fix": finding.check.fix,
                "count": len(finding.hits),
                "cases": [_case(hit) for hit in finding.hits],
            }
            for finding in findings
        ],
    }


def _case(hit: Hit) -> dict[str, Any]:
    return {"file": hit.file, "index": hit.index, "text": hit.text, "others": list(hit.others)}


def _summary(findings: Sequence[Finding]) -> dict[str, int]:
    kinds = Counter(finding.check.severity for finding in findings)
    return {f"{severity}s": kinds[severity] for severity in SEVERITIES}


def as_text(
    subject: Subject,
    findings: Sequence[Finding],
    shown: int = 2,
    width: int | None = None,
    tables: bool = True,
) -> str:
    """Return what was found, the worst first, for people to read.

    Args:
        subject: what was checked.
        findings: what was found.
        shown: cases of each finding that are named.
        width: columns; by default those of the terminal, up to 110.
        tables: whether to add those of classes and sizes.
    """
    columns = width or min(_WIDEST, shutil.get_terminal_size((100, 24)).columns)
    facts = overview(subject)
    blocks = [_head(subject, facts)]
    root = _root(subject)
    grave = [finding for finding in findings if finding.check.severity != "note"]
    notes = [finding for finding in findings if finding.check.severity == "note"]
    blocks += ["\n".join(_lines(finding, root, shown, columns)) for finding in grave]
    blocks += ["\n".join(line for finding in notes for line in _lines(finding, root, shown, columns))]
    blocks = [block for block in blocks if block]
    if tables and facts["classes"]:
        blocks.append(_table(subject, facts, columns))
    blocks.append(_foot(findings))
    # Half characters in names can't be printed.
    return "\n\n".join(blocks).encode("utf-8", errors="backslashreplace").decode("utf-8")


def _head(subject: Subject, facts: dict[str, Any]) -> str:
    images = facts["images"]
    splits = ", ".join(f"{name or 'no split'} {count}" for name, count in images.items())
    named = f" ({splits})" if len(images) > 1 or any(images) else ""
    kinds = "/".join(facts["formats"]) or "no annotations"
    where = ", ".join(subject.sources)
    crowds = f", {counted(facts['crowds'], 'crowd region')} beside them" if facts["crowds"] else ""
    return (
        f"{where}: {kinds}, {counted(sum(images.values()), 'image')}{named}, "
        f"{counted(facts['objects'], 'object')}{crowds}, {counted(len(facts['classes']), 'class')}"
    )


def _lines(finding: Finding, root: str, shown: int, columns: int) -> list[str]:
    kind = finding.check
    count = f"{len(finding.hits):,}"
    head = f"{kind.severity:<7} {kind.code} {count:>4}  "
    lines, indent = [f"{head}{kind.title[0].upper()}{kind.title[1:]}"], " " * len(head)
    shown = min(shown, 1) if kind.severity == "note" else shown
    examples = [_example(hit, root, columns - len(indent)) for hit in finding.hits[:shown]]
    if len(finding.hits) > shown > 0:
        more = f" ... and {len(finding.hits) - shown:,} more"
        if len(indent) + len(examples[-1]) + len(more) <= columns:
            examples[-1] += more
        else:
            examples.append(more.strip())
    lines += [indent + example for example in examples]
    if kind.severity != "note":
        fixed = f" (--fix: {kind.fix})" if kind.fix else ""
        lines += _wrapped(f"-> {kind.advice}{fixed}", indent, columns)
    return lines


def _example(hit: Hit, root: str, room: int) -> str:
    place = _short(hit.file, root) + ("" if hit.index is None else f" #{hit.index}")
    text = hit.text.replace(f"{root}{os.sep}", "") if root else hit.text
    if hit.others and os.path.splitext(hit.others[0])[1].lower() not in (".txt", ".csv"):
        other = _short(hit.others[0], root)
        text = ", ".join([part for part in (text, f"with {_tail(other, room // 3)}") if part])
    space = max(room // 3, room - len(text) - 2)
    line = ": ".join(part for part in (_tail(place, space), text) if part)
    return line if len(line) <= room else f"{line[: room - 3]}..."


def _tail(text: str, room: int) -> str:
    """The end of a path, which tells more than its beginning."""
    return text if len(text) <= room else f"...{text[3 - room :]}"


def _wrapped(text: str, indent: str, columns: int) -> list[str]:
    lines, line = [], ""
    for word in text.split(" "):
        if line and len(indent) + len(line) + 1 + len(word) > columns:
            lines.append(indent + line)
            line = f"   {word}"
        else:
            line = f"{line} {word}" if line else word
    return [*lines, indent + line]


def _root(subject: Subject) -> str:
    places = [os.path.dirname(s) if os.path.isfile(s) else s.rstrip(os.sep) for s in subject.sources]
    try:
        return os.path.commonpath(places)
    except ValueError:
        return ""


# The end of the names that Roboflow gives tells nothing.
_HEX = re.compile(r"(\.rf\.[0-9a-f]{4})[0-9a-f]{20,}")


def _short(path: str, root: str) -> str:
    if path == root:
        return ""
    inside = root and path.startswith(root + os.sep)
    return _HEX.sub(r"\1..", path[len(root) + 1 :] if inside else path)


def _table(subject: Subject, facts: dict[str, Any], columns: int) -> str:
    splits = split_order(subject)
    several = len(splits) > 1
    heads = ["class", "objects", *([s or "no split" for s in splits] if several else [])]
    rows = []
    for name, row in facts["classes"].items():
        counts = row["objects"]
        label = name if len(name) <= columns // 3 else f"{name[: columns // 3 - 3]}..."
        split_counts = [counts.get(split, 0) for split in splits] if several else []
        sizes = [row["sizes"][key] for key in ("small", "medium", "large")]
        rows.append([label, sum(counts.values()), *split_counts, *sizes])
    if len(rows) > 1:
        totals = [sum(int(row[i]) for row in rows) for i in range(1, len(rows[0]))]
        rows.append(["all", *totals])
    return tabulate(rows, headers=[*heads, "small", "medium", "large"])


def _foot(findings: Sequence[Finding]) -> str:
    summary = _summary(findings)
    if not findings:
        return "Nothing found."
    counts = ", ".join(f"{summary[s + 's']} {s}{'' if summary[s + 's'] == 1 else 's'}" for s in SEVERITIES)
    cases = sum(len(finding.hits) for finding in findings)
    return f"{counts} (kinds of findings), {cases:,} case{'' if cases == 1 else 's'}."
