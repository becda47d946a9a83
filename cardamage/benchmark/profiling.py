"""Traces of a side's run, to look at in chrome://tracing or Perfetto."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tabulate import tabulate
from torch.profiler import ProfilerActivity, profile

from cardamage.benchmark.settings import Settings
from cardamage.benchmark.sides.side import Side

__all__ = ["trace"]

_SHOWN, _NAME = 15, 60


def trace(side: Side, settings: Settings, section: str) -> Path:
    """Profile one run of a warm side: write its trace, print the operators that take most.

    Args:
        side: what to run.
        settings: the device, and the folder.
        section: goes into the file's name.

    Returns:
        The file.
    """
    folder = settings.profile or settings.scratch
    folder.mkdir(parents=True, exist_ok=True)
    on_gpu = settings.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as profiler:
        side()
    path = folder / f"{section}-{re.sub(r'[^a-z0-9]+', '-', side.name.lower())}.json"
    profiler.export_chrome_trace(str(path))
    print(f"\n{section}, {side.name}: {path}\n{_top(profiler.key_averages(), on_gpu)}")
    return path


def _top(operators: Any, on_gpu: bool) -> str:
    """Return the operators that take most by themselves, on the GPU where there is one."""
    kind = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    taken = sorted(((getattr(one, kind), one) for one in operators), key=lambda pair: -pair[0])
    whole = sum(time for time, _ in taken) or 1
    rows = [
        (one.key[:_NAME], f"{time / 1000:.2f}", f"{time / whole:.0%}", one.count)
        for time, one in taken[:_SHOWN]
    ]
    return tabulate(rows, headers=("operator", "own ms", "share", "calls"), disable_numparse=True)
