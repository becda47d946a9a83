"""Where the time of a step goes: moments at which its parts begin and end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from cardamage.benchmark.device import synchronize

__all__ = ["Marks", "marked"]


class Marks:
    """Moments of one run. What lies between two of them belongs to the name that the later one was given.

    So the parts add up to the whole. On a GPU the moments are those of its own queue, and the run isn't
    stopped at any of them.
    """

    def __init__(self, device: torch.device) -> None:
        """Begin.

        Args:
            device: where the work is done.
        """
        self._device = device
        self._moments: list[tuple[str, Any]] = [("", self._now())]

    def end(self, name: str) -> None:
        """Say that what happened since the last moment was `name`."""
        self._moments.append((name, self._now()))

    def parts(self) -> dict[str, float]:
        """Return the seconds of every name, in the order they first ended."""
        synchronize(self._device)
        seconds: dict[str, float] = {}
        for (_, before), (name, after) in zip(self._moments, self._moments[1:], strict=False):
            seconds[name] = seconds.get(name, 0.0) + self._between(before, after)
        return seconds

    def total(self) -> float:
        """Return the seconds from the first moment to the last."""
        synchronize(self._device)
        return self._between(self._moments[0][1], self._moments[-1][1])

    def _now(self) -> Any:
        if self._device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        return event

    def _between(self, before: Any, after: Any) -> float:
        return before.elapsed_time(after) / 1000 if self._device.type == "cuda" else after - before


@contextmanager
def marked(
    marks: Callable[[], Marks],
    root: nn.Module,
    parts: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer | None = None,
) -> Iterator[None]:
    """Have a model's parts mark their ends inside the ``with`` block.

    Args:
        marks: gives the moments of the present run.
        root: the model; what goes on before it is called is ``waiting``, and inside it but outside of all
            parts ``prep`` before the first of them, else ``rest``.
        parts: what to tell apart, by name, in the order they run.
        optimizer: where given, what goes on between the model and its step is ``backward``.
    """
    with ExitStack() as stack:
        stack.enter_context(_around(root, marks, "waiting", "rest"))
        for index, (name, module) in enumerate(parts.items()):
            before = "rest" if index else "prep"
            stack.enter_context(_around(module, marks, before, name))
        if optimizer is not None:
            pre = optimizer.register_step_pre_hook(lambda *_: marks().end("backward"))
            stack.callback(pre.remove)
            stack.callback(optimizer.register_step_post_hook(lambda *_: marks().end("optimizer")).remove)
        yield


@contextmanager
def _around(module: nn.Module, marks: Callable[[], Marks], before: str, name: str) -> Iterator[None]:
    """Mark the beginning and the end of a module's calls."""
    compiled = getattr(module, "_compiled_call_impl", None)
    if compiled is None:
        hooks = (
            module.register_forward_pre_hook(lambda *_: marks().end(before)),
            module.register_forward_hook(lambda *_: marks().end(name)),
        )
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
        return

    def call(*args: Any, **kwargs: Any) -> Any:
        # A module that was compiled in place doesn't see hooks that come later.
        marks().end(before)
        result = compiled(*args, **kwargs)
        marks().end(name)
        return result

    module._compiled_call_impl = call
    try:
        yield
    finally:
        module._compiled_call_impl = compiled
