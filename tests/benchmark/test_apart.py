"""Sides in processes of their own."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from cardamage.benchmark.sides.apart import apart
from cardamage.benchmark.sides.side import Side


def _writes_its_process(path: Path) -> Side:
    def run() -> None:
        with path.open("a") as stream:
            stream.write(f"{os.getpid()}\n")

    return Side("other", run, 7, "peer")


def _fails_at_once() -> Side:
    raise ValueError("no such thing")


def _fails_later() -> Side:
    return Side("other", partial(int, "x"), 1)


def test_it_runs_elsewhere(tmp_path: Path) -> None:
    side = apart(partial(_writes_its_process, tmp_path / "pids"))
    assert (side.name, side.images, side.role) == ("other", 7, "peer")
    side()
    side()
    first, second = (tmp_path / "pids").read_text().split()
    assert first == second != str(os.getpid())


def test_failures_come_back() -> None:
    with pytest.raises(RuntimeError, match="ValueError: no such thing"):
        apart(_fails_at_once)
    side = apart(_fails_later)
    with pytest.raises(RuntimeError, match="ValueError: invalid literal"):
        side()
