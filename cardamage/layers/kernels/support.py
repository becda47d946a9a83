"""Whether kernels written in Triton can run."""

from __future__ import annotations

import functools
import importlib.util
import os
import warnings

import torch

__all__ = ["give_up", "usable"]

_failed: list[str] = []


def usable(device: torch.device) -> bool:
    """Tell whether to run Triton's kernels on tensors of a device.

    Args:
        device: an NVIDIA or AMD GPU; or, for tests, the CPU where Triton interprets (``TRITON_INTERPRET=1``).

    Returns:
        False where Triton is missing, or a kernel failed before.
    """
    if _failed or not _installed():
        return False
    return device.type == "cuda" or (device.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1")


def give_up(error: Exception) -> None:
    """Use plain operations from now on, and say so once."""
    if not _failed:
        warnings.warn(
            f"A Triton kernel failed ({type(error).__name__}: {error}), so slower operations take its place.",
            RuntimeWarning,
            stacklevel=3,
        )
    _failed.append(str(error))


@functools.cache
def _installed() -> bool:
    return importlib.util.find_spec("triton") is not None
