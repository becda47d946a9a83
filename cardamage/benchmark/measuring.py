"""Measuring the sides of a section: times in turn, memory, parts, a trace."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from cardamage.benchmark.device import synchronize, timed
from cardamage.benchmark.marks import Marks, marked
from cardamage.benchmark.memory import peak_memory, used_memory
from cardamage.benchmark.profiling import trace
from cardamage.benchmark.report import Row
from cardamage.benchmark.rounds import take_turns, totals
from cardamage.benchmark.settings import Settings
from cardamage.benchmark.sides.side import Side
from cardamage.errors import CardamageError

__all__ = ["Maker", "build_sides", "measure", "measure_parts", "measure_results", "quiet", "say"]

_LINE = 78

Maker = Callable[[], Side]


def say(text: str) -> None:
    """Tell on stderr how far it is, in one line of a terminal; stdout is for the tables.

    Args:
        text: what it does; empty clears the line.
    """
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text[:_LINE]}")
    elif text:
        sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


@contextmanager
def quiet(level: int = logging.INFO) -> Iterator[None]:
    """Keep what is measured from logging, and torch from warning of what other projects do.

    Args:
        level: up to which logs are dropped; cardamage's own warnings come through by default.
    """
    before = logging.root.manager.disable
    logging.disable(level)
    logging.getLogger("torch.fx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def build_sides(makers: dict[str, tuple[str, Maker]], settings: Settings) -> tuple[list[Side], list[Row]]:
    """Build the sides and warm each up.

    Args:
        makers: by name, the role of the side and what builds it.
        settings: how often to warm up.

    Returns:
        The sides, and a row for each peer that doesn't work here, which says why.

    Raises:
        CardamageError: if cardamage itself can't be built.
    """
    sides: list[Side] = []
    failed: list[Row] = []
    for name, (role, make) in makers.items():
        say(f"building {name}")
        before = used_memory(settings.device) or 0
        try:
            side = make()
            for _ in range(settings.warmup):
                side()
            synchronize(settings.device)
        # Another project can fail with anything, and the others' figures are wanted all the same.
        except Exception as error:
            if role == "own" or isinstance(error, CardamageError):
                raise
            failed.append(Row(name, role, None, note=f"doesn't run here: {_first_line(error)}"))
            continue
        side.resident = max(0, (used_memory(settings.device) or 0) - before)
        sides.append(side)
    return sides, failed


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def measure(sides: Sequence[Side], settings: Settings, section: str) -> list[Row]:
    """Time the sides in turn, then take each one's memory.

    Args:
        sides: warm ones.
        settings: rounds, runs of a round, device.
        section: for the progress.

    Returns:
        A row a side, in their order.
    """
    runs = {side.name: timed(side, settings.device, settings.repeat) for side in sides}
    timings = take_turns(
        runs, settings.rounds, lambda n, name: say(f"{section}: round {n + 1}/{settings.rounds}, {name}")
    )
    rows = []
    for side in sides:
        peak = peak_memory(side, settings.device)
        # What a process keeps after freeing tells little of one of several models in it.
        kept = side.resident if settings.device.type == "cuda" else 0
        memory = None if peak is None else peak + kept
        rows.append(Row(side.name, side.role, timings[side.name], side.images, memory))
    return rows


def measure_results(
    makers: dict[str, tuple[str, Maker]], settings: Settings, section: str, value: str
) -> tuple[list[Row], list[Row]]:
    """Measure sides that each return a number, whose memory tells nothing.

    Args:
        makers: as for :func:`build_sides`.
        settings: rounds, runs of a round, device.
        section: for the progress.
        value: what the number is called in the rows.

    Returns:
        A row a side, and a row for each peer that doesn't work here.
    """
    with quiet():
        sides, failed = build_sides(makers, settings)
        rows = measure(sides, settings, section)
    for side, row in zip(sides, rows, strict=True):
        row.values[value] = side()
        row.memory = None
    return rows, failed


def measure_parts(sides: Sequence[Side], settings: Settings, section: str) -> dict[str, dict[str, float]]:
    """Return the seconds of every part of a step of the sides that have parts, with photos from files.

    Args:
        sides: warm ones.
        settings: rounds, device, folder of traces.
        section: for the progress and the traces' names.
    """
    found: dict[str, dict[str, float]] = {}
    for side in sides:
        if side.root is None:
            continue
        say(f"{section}: where the time of {side.name} goes")
        with side.with_loader():
            found[side.name] = _parts_of(side, settings)
        if settings.profile is not None:
            trace(side, settings, section)
    return found


def _parts_of(side: Side, settings: Settings) -> dict[str, float]:
    current: list[Marks] = [Marks(settings.device)]
    assert side.root is not None
    runs = []
    with marked(lambda: current[0], side.root, side.parts(), side.optimizer):
        # The loader's processes start with the first run.
        for _ in range(max(2, settings.rounds // 2) * settings.repeat + 1):
            current[0] = Marks(settings.device)
            side()
            current[0].end("after")
            runs.append(current[0])
    return totals([marks.parts() for marks in runs[1:]])
