"""The device that is measured: waiting for it, timing it, and its settings."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from cardamage.errors import ConfigValueError

__all__ = ["BackendFlags", "check_device", "precision_of", "synchronize", "timed"]


def check_device(name: str) -> torch.device:
    """Return the device of a name; ``auto`` is the GPU where there is one.

    Raises:
        ConfigValueError: it isn't one, or isn't there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise ConfigValueError(f"--device is {name!r}: use cpu, cuda or cuda:NUMBER.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigValueError(
            f"--device is {name}, but torch finds {torch.cuda.device_count()} GPUs: use --device cpu, "
            "or a machine that has one."
        )
    return device


def precision_of(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[Any]:
    """Return a context that computes in autocast's precision `dtype`; None is float32, without autocast."""
    return torch.autocast(device.type, dtype=dtype) if dtype else nullcontext()


def synchronize(device: torch.device) -> None:
    """Wait until all that was asked of a GPU is done; the processor is never behind."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(run: Callable[[], Any], device: torch.device, repeat: int = 1) -> Callable[[], float]:
    """Return a function that runs `run` so often and returns the seconds of one, a GPU's work included."""

    def measure() -> float:
        synchronize(device)
        start = time.perf_counter()
        for _ in range(repeat):
            run()
        synchronize(device)
        return (time.perf_counter() - start) / repeat

    return measure


@dataclass(frozen=True)
class BackendFlags:
    """Settings of torch that hold for the whole process, so that no side runs with another's."""

    benchmark: bool
    deterministic: bool
    cudnn_tf32: bool
    matmul: str

    @classmethod
    def now(cls) -> BackendFlags:
        """Read them."""
        cudnn = torch.backends.cudnn
        return cls(
            cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, torch.get_float32_matmul_precision()
        )

    def apply(self) -> None:
        """Set them."""
        cudnn = torch.backends.cudnn
        cudnn.benchmark, cudnn.deterministic = self.benchmark, self.deterministic
        cudnn.allow_tf32 = self.cudnn_tf32
        torch.set_float32_matmul_precision(self.matmul)
