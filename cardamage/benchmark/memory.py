"""How much memory a run takes."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from cardamage.benchmark.device import synchronize

__all__ = ["peak_memory", "used_memory"]

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


def used_memory(device: torch.device) -> int | None:
    """Return the bytes in use: tensors on a GPU, else this process's; None where that can't be known."""
    return int(torch.cuda.memory_allocated(device)) if device.type == "cuda" else _status("VmRSS")


def peak_memory(run: Callable[[], Any], device: torch.device) -> int | None:
    """Run once and return how many bytes more than before were in use at the worst moment.

    On the processor the kernel's high-water mark is read, which Linux alone lets a process reset.

    Args:
        run: what to measure; run before, or it counts what is allocated once and kept.
        device: where it runs.
    """
    synchronize(device)
    if device.type == "cpu":
        _give_back()
    before = used_memory(device)
    if before is None or not _reset_peak(device):
        return None
    run()
    synchronize(device)
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device)) - before
    peak = _status("VmHWM")
    return None if peak is None else max(0, peak - before)


def _reset_peak(device: torch.device) -> bool:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return True
    try:
        _RESET.write_text("5")
    except OSError:
        return False
    return True


def _give_back() -> None:
    """Return what was freed to the system, or a run would take it again unnoticed; glibc alone has a way."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _status(name: str) -> int | None:
    try:
        found = re.search(rf"^{name}:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None
