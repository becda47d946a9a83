"""Whether a model's numbers leave the range of float16, which ends at 65504."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch

from ..proposal_generator.rpn import RPN

__all__ = ["Overflow", "watched_proposals"]


class Overflow:
    """Collects, thread by thread, whether parts of a call's numbers were finite."""

    def __init__(self) -> None:
        self._local = threading.local()

    def clear(self) -> None:
        """Forget what earlier calls noted."""
        self._local.flags = []

    def note(self, finite: torch.Tensor) -> None:
        """Keep a 0-d bool, without reading it."""
        self._local.flags = [*getattr(self._local, "flags", []), finite]

    def seen(self) -> bool:
        """Tell whether something was not finite; here the host waits for the device."""
        flags, self._local.flags = getattr(self._local, "flags", []), []
        return bool(flags) and not bool(torch.stack(flags).all())


def watched_proposals(rpn: RPN, overflow: Overflow) -> Callable[..., Any]:
    """The network's choice of proposals, which finds what is not finite in the maps it was given, too."""

    def predict(*args: Any, **kwargs: Any) -> Any:
        found = type(rpn).predict_proposals(rpn, *args, **kwargs)
        if found.finite is not None:
            overflow.note(found.finite)
        return found

    return predict
