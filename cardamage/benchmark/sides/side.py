"""What a side is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from cardamage.benchmark.device import BackendFlags

__all__ = ["Side", "counts"]


@dataclass
class Side:
    """One way of doing what a section measures.

    Attributes:
        name: how the table calls it.
        run: does it once.
        images: photos, or whatever is counted, of a run.
        role: ``own``, ``peer`` or ``floor``; the floor is what can't be left out.
        root: the model, where it can be told where the time goes.
        parts: gives its parts by name, in the order they run.
        optimizer: of a training.
        with_loader: a context in which `run` takes its photos from files, as a real run does.
        detections: from what `run` returns to the number of objects of each photo.
        flags: settings of torch that hold while it runs.
        resident: bytes that its weights and what it keeps take.
    """

    name: str
    run: Callable[[], Any]
    images: int
    role: str = "own"
    root: nn.Module | None = None
    parts: Callable[[], Mapping[str, nn.Module]] = dict
    optimizer: torch.optim.Optimizer | None = None
    with_loader: Callable[[], AbstractContextManager[Any]] = nullcontext
    detections: Callable[[Any], list[int]] | None = None
    flags: BackendFlags = field(default_factory=BackendFlags.now)
    resident: int = 0

    def __call__(self) -> Any:
        """Run once under its own settings."""
        self.flags.apply()
        return self.run()


def counts(outputs: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the objects of every photo, from what Detectron2-like models return."""
    return [len(output["instances"]) for output in outputs]
