"""Giving modules another forward for a while, and taking it back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from .overflow import Overflow

__all__ = ["Overrides", "has_hooks"]


def has_hooks(module: nn.Module) -> bool:
    """Tell whether somebody watches the calls of a module or of one inside it."""
    return any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


class Overrides:
    """Methods of single modules that hold inside a ``with`` block.

    The modules stay who they are: parameters, names, settings and hooks are the model's own, so whatever is
    changed on the model counts, and its state dict never differs.

    Attributes:
        overflow: what they note in float16; None in other precisions.
    """

    def __init__(self, overflow: Overflow | None = None) -> None:
        self.overflow = overflow
        self._methods: list[tuple[nn.Module, str, Callable[..., Any]]] = []
        self._lock = threading.Lock()
        self._users = 0

    def __len__(self) -> int:
        return len(self._methods)

    def add(self, module: nn.Module, method: Callable[..., Any], name: str = "forward") -> None:
        """Plan to put ``method`` in place of ``module.<name>``."""
        self._methods.append((module, name, method))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let them hold; several threads may be inside."""
        with self._lock:
            self._users += 1
            if self._users == 1:
                for module, name, method in self._methods:
                    module.__dict__[name] = method
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    for module, name, _ in self._methods:
                        module.__dict__.pop(name, None)
