"""Detectron2's public names stand under the same sub-paths and take its arguments."""

from __future__ import annotations

import importlib
import inspect
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from cardamage.absent import ABSENT

# What differs on purpose, and why.
DIFFERENT = {
    "modeling.backbone.backbone: Backbone.forward": "an abstract method, whose argument is named here",
    "modeling.roi_heads.box_head: FastRCNNConvFCHead.forward": "torch's own forward, called by position",
}


def _read() -> dict[str, dict[str, str | None]]:
    """Return name to parameters by module; None for names without."""
    table: dict[str, dict[str, str | None]] = defaultdict(dict)
    for line in (Path(__file__).parent / "detectron2_names.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        module, _, entry = line.partition(": ")
        name, bracket, parameters = entry.partition("(")
        table[module][name] = parameters.removesuffix(")") if bracket else None
    return table


NAMES = _read()


def _find(module: Any, name: str) -> Any:
    for part in name.split("."):
        module = getattr(module, part)
    return module


def _complain(function: Any, wanted: str) -> list[str]:
    """Say how a function or class fails to take the wanted parameters."""
    function = function.__init__ if inspect.isclass(function) else function
    mine = [p for p in inspect.signature(function).parameters.values() if p.name != "self"]
    kinds = {p.kind for p in mine}
    any_keyword, any_position = (
        inspect.Parameter.VAR_KEYWORD in kinds,
        inspect.Parameter.VAR_POSITIONAL in kinds,
    )
    complaints, names, by_position = [], [p.name for p in mine], True
    theirs = [part for part in wanted.split(", ") if part]
    for place, part in enumerate(theirs):
        if part.startswith("*"):
            by_position = by_position and part.startswith("**")
            continue
        name, optional = part.rstrip("="), part.endswith("=")
        if name not in names:
            if not (any_keyword or (any_position and by_position)):
                complaints.append(f"has no {name}")
            continue
        found = mine[names.index(name)]
        if by_position and not any_position:
            if found.kind is inspect.Parameter.KEYWORD_ONLY or names.index(name) != place:
                complaints.append(f"{name} is not parameter {place}")
        if optional and found.default is inspect.Parameter.empty:
            complaints.append(f"{name} has no default")
    known = {part.rstrip("=") for part in theirs}
    flexible = any(part.startswith("*") and len(part) > 1 for part in theirs)
    for parameter in mine:
        needed = parameter.default is inspect.Parameter.empty and parameter.kind in (
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            inspect.Parameter.KEYWORD_ONLY,
        )
        if needed and parameter.name not in known and not flexible:
            complaints.append(f"needs {parameter.name}")
    return complaints


@pytest.mark.parametrize("module", sorted(NAMES))
def test_names_and_parameters(module: str) -> None:
    loaded = importlib.import_module(f"cardamage.{module}")
    problems = []
    for name, parameters in NAMES[module].items():
        if name.endswith(" absent"):
            _find(loaded, name.removesuffix(" absent"))
            continue
        try:
            found = _find(loaded, name)
        except AttributeError:
            problems.append(f"{module}: {name} is missing")
            continue
        if parameters is not None and f"{module}: {name}" not in DIFFERENT:
            problems += [f"{module}: {name} {complaint}" for complaint in _complain(found, parameters)]
    assert problems == []


def test_absent_names_are_listed() -> None:
    for module, names in NAMES.items():
        for name in names:
            if name.endswith(" absent"):
                listed = {n for group in ABSENT.get(module, {}).values() for n in group}
                assert name.removesuffix(" absent") in listed or "*" in listed


def test_complaints() -> None:
    """What the comparison itself tells apart."""

    def mine(a: int, b: int = 1, *, c: int = 2) -> None:
        pass

    assert _complain(mine, "a, b=, *, c=") == []
    assert _complain(mine, "a") == []
    assert _complain(mine, "b=, a") == ["b is not parameter 0", "a is not parameter 1"]
    assert _complain(mine, "a, b=, c=") == ["c is not parameter 2"]
    assert _complain(mine, "a=, d=") == ["a has no default", "has no d"]
    assert _complain(mine, "b=") == ["b is not parameter 0", "needs a"]
