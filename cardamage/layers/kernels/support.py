"""Whether kernels written in Triton can run, and what happens when one can't."""

from __future__ import annotations

import functools
import importlib.util
import os
import warnings
from collections.abc import Callable
from typing import TypeVar

import torch

__all__ = ["attempt", "usable"]

Result = TypeVar("Result")

_failed: set[str] = set()


def usable(device: torch.device) -> bool:
    """Tell whether Triton is there for tensors of a device.

    Args:
        device: a GPU; or, for tests, the CPU where Triton interprets (``TRITON_INTERPRET=1``).

    Returns:
        True where kernels may be tried.
    """
    interpreted = device.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1"
    return (device.type == "cuda" or interpreted) and _installed()


def attempt(name: str, device: torch.device, launch: Callable[[], Result]) -> Result | None:
    """Run a kernel if it can run; if it fails, warn once and don't try it again.

    Args:
        name: the kernel's.
        device: where its tensors are.
        launch: imports and runs it.

    Returns:
        What ``launch`` returns, or None where plain operations have to do.
    """
    if name in _failed or not usable(device):
        return None
    try:
        return launch()
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # Triton and the compilers below it raise errors of many classes.
        _failed.add(name)
        warnings.warn(
            f"The Triton kernel of {name} failed ({type(error).__name__}: {error}), so slower operations "
            "take its place.",
            RuntimeWarning,
            stacklevel=2,
        )
        return None


@functools.cache
def _installed() -> bool:
    return importlib.util.find_spec("triton") is not None
