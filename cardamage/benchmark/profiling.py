"""Traces of a side's run, to look at in chrome://tracing or Perfetto."""

from __future__ import annotations

import re
from pathlib import Path

from torch.profiler import ProfilerActivity, profile

from cardamage.benchmark.settings import Settings
from cardamage.benchmark.sides.side import Side

__all__ = ["trace"]

_SHOWN = 15


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
    order = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    table = profiler.key_averages().table(sort_by=order, row_limit=_SHOWN, max_name_column_width=40)
    print(f"{section}, {side.name}: {path}\n{table}")
    return path
