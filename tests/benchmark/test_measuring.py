"""Building and measuring sides: who may fail, and what comes back."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from cardamage.benchmark.measuring import build_sides, measure, measure_parts, measure_results
from cardamage.benchmark.settings import Settings
from cardamage.benchmark.sides.side import Side


def broken() -> Side:
    raise OSError("libsomething.so is missing\nand more")


def test_a_peer_that_breaks_is_a_row_that_says_so(settings: Settings) -> None:
    works = partial(Side, "a", lambda: None, 1)
    sides, failed = build_sides({"a": ("own", works), "b": ("peer", broken)}, settings)
    assert [side.name for side in sides] == ["a"]
    (row,) = failed
    assert (row.side, row.role, row.timing) == ("b", "peer", None)
    assert row.note == "doesn't run here: OSError: libsomething.so is missing"


def test_cardamage_breaking_is_not_hidden(settings: Settings) -> None:
    with pytest.raises(OSError, match="libsomething"):
        build_sides({"a": ("own", broken)}, settings)


def test_every_run_is_counted(settings: Settings) -> None:
    runs = {"a": 0, "b": 0}

    def run(name: str) -> None:
        runs[name] += 1

    settings = replace(settings, rounds=3, repeat=2, warmup=1)
    sides, _ = build_sides(
        {name: ("own", partial(Side, name, partial(run, name), 4)) for name in runs}, settings
    )
    rows = measure(sides, settings, "test")
    assert [len(row.timing.seconds) for row in rows if row.timing] == [3, 3]
    # One to warm up, three rounds of two, one for the memory.
    assert runs == {"a": 8, "b": 8}
    assert all(row.items == 4 for row in rows)


def test_what_sides_return_is_in_their_rows(settings: Settings) -> None:
    makers = {"a": ("own", partial(Side, "a", lambda: 7, 1)), "b": ("peer", broken)}
    (row,), (failed,) = measure_results(makers, settings, "test", "objects")
    assert row.values == {"objects": 7}
    assert row.memory is None
    assert (failed.side, failed.timing) == ("b", None)


def test_parts_and_a_trace_of_sides_that_have_them(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    side = Side("A net", lambda: model(torch.ones(1, 4)), 1, root=model, parts=lambda: {"first": model[0]})
    settings = replace(settings, profile=settings.scratch / "traces")
    parts = measure_parts([side, Side("bare", lambda: None, 1)], settings, "test")
    assert list(parts) == ["A net"]
    assert list(parts["A net"]) == ["waiting", "prep", "first", "rest", "after"]
    trace = json.loads((settings.scratch / "traces/test-a-net.json").read_text())
    assert any("linear" in event.get("name", "") for event in trace["traceEvents"])
    assert "linear" in capsys.readouterr().out
