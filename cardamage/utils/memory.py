"""Going on where a GPU's memory is full."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import torch

__all__ = ["retry_if_cuda_oom"]

T = TypeVar("T")

logger = logging.getLogger(__name__)


def retry_if_cuda_oom(func: Callable[..., T]) -> Callable[..., T]:
    """Make a function try again when the GPU's memory runs out: with the cache emptied, then on the CPU.

    Args:
        func: a function without side effects. Of its arguments, those that are on a GPU and have ``to``
            (tensors, boxes, masks) are moved for the last attempt; what is nested in others stays.

    Returns:
        The function that retries. Its result is on the CPU if the last attempt made it.
    """

    @functools.wraps(func)
    def retrying(*args: Any, **kwargs: Any) -> T:
        """Try on the GPU, again with its cache emptied, then on the CPU."""
        with suppress(torch.cuda.OutOfMemoryError):
            return func(*args, **kwargs)
        # Outside the handler of the first error, which keeps the tensors of the failed attempt alive.
        torch.cuda.empty_cache()
        with suppress(torch.cuda.OutOfMemoryError):
            return func(*args, **kwargs)
        logger.warning("The GPU's memory is too small for %s: running it on the CPU, slowly.", _name(func))
        return func(*map(_to_cpu, args), **{key: _to_cpu(value) for key, value in kwargs.items()})

    return retrying


def _name(func: Callable[..., Any]) -> str:
    return getattr(func, "__qualname__", repr(func))


def _to_cpu(value: Any) -> Any:
    device = getattr(value, "device", None)
    on_gpu = isinstance(device, torch.device) and device.type == "cuda"
    return value.to("cpu") if on_gpu and hasattr(value, "to") else value
