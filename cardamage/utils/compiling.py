"""Compiling the parts of a model, with ``torch.compile``, and going on without where that fails.

A part is a *region*: a pure function marked by :func:`region`, or a module given to
:meth:`Compiler.install`. Regions run as plain torch unless a ``with compiling(...)`` block is open, so nobody
who calls them directly notices anything. No module is wrapped or renamed: names in checkpoints, copies and
pickles are those of a model that was never compiled.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

__all__ = ["Compiler", "compiling", "region"]

logger = logging.getLogger(__name__)

Function = TypeVar("Function", bound=Callable[..., Any])

# Blocks of a trunk share their code, so one function has that many shapes of weights.
_MAX_VARIANTS = 128
_CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"

_active: list[Compiler | None] = []


@contextmanager
def compiling(compiler: Compiler | None) -> Iterator[None]:
    """Run regions compiled inside a ``with`` block.

    Args:
        compiler: who compiles them; None runs them as plain torch.
    """
    _active.append(compiler)
    try:
        yield
    finally:
        _active.pop()


def region(function: Function) -> Function:
    """Mark a function of tensors and constants, without side effects, as one that may be compiled."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        # First: while a region is compiled, those inside it become part of it.
        if torch.compiler.is_compiling() or not _active or _active[-1] is None:
            return function(*args, **kwargs)
        return _active[-1].run(function, *args, **kwargs)

    return run  # type: ignore[return-value]


def _call_module(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
    return module._call_impl(*args, **kwargs)


class _ModuleRegion:
    """A module's call; torch keeps it where copies and pickles leave it out."""

    def __init__(self, module: nn.Module) -> None:
        self._run = region(_call_module)
        self._module = module

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._run(self._module, *args, **kwargs)


class Compiler:
    """Compiles regions when they first run, each once for all sizes of images and batches.

    What can't be compiled runs as plain torch from then on, after one warning. A copy or pickle of a compiler
    is None: the model it belongs to is then a plain one.
    """

    def __init__(self, backend: str | Callable[..., Any] = "inductor") -> None:
        """Prepare torch, which takes a second or two where it was not used for compiling before.

        Args:
            backend: what ``torch.compile`` takes.
        """
        self._backend = backend
        self._compiled: dict[Callable[..., Any], Callable[..., Any]] = {}
        self._told = False
        self.broken = False
        if backend == "inductor":
            _keep_cache()
        _prepare_dynamo()

    @staticmethod
    def install(modules: Iterable[nn.Module]) -> None:
        """Make modules regions.

        Args:
            modules: modules whose call has no side effects but on their buffers.
        """
        for module in modules:
            module._compiled_call_impl = _ModuleRegion(module)

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function, compiled if that is possible.

        Args:
            function: the function.
            args: its arguments; one compilation serves tensors of all sizes, but for sizes of 1.
            kwargs: its keyword arguments.
        """
        if self.broken:
            return function(*args, **kwargs)
        from torch._dynamo.exc import TorchDynamoException

        compiled = self._compiled.get(function)
        if compiled is None:
            compiled = torch.compile(function, dynamic=True, backend=self._backend)
            self._compiled[function] = compiled
        self._tell()
        try:
            return compiled(*args, **kwargs)
        except TorchDynamoException as error:
            self._give_up(error)
            return function(*args, **kwargs)

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            logger.info(
                "Compiling the model: about a minute the first time, seconds once %s has it. "
                "MODEL.COMPILE False goes without.",
                os.environ.get(_CACHE_VARIABLE, "torch's cache"),
            )

    def _give_up(self, error: Exception) -> None:
        self.broken = True
        self._compiled.clear()
        reason = " ".join(str(error).split("\n")[:2]).strip()
        logger.warning(
            "The model can't be compiled here, so the run goes on without, slower: %s",
            reason or type(error).__name__,
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> None:
        return None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()


def _keep_cache() -> None:
    """Keep compiled code where a reboot leaves it, unless the user has chosen a place."""
    if _CACHE_VARIABLE in os.environ:
        return
    root = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    folder = Path(root) / "cardamage" / "inductor"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        logger.info("Compiled code goes to torch's temporary folder, as %s can't be made: %s", folder, error)
        return
    if os.access(folder, os.W_OK):
        os.environ[_CACHE_VARIABLE] = str(folder)


def _prepare_dynamo() -> None:
    """Allow as many variants of a function as a trunk has shapes of blocks."""
    import torch._dynamo
    import torch._functorch.config
    import torch.fx.experimental._config

    config: Any = torch._dynamo.config
    # Torch before 2.7 calls it by the second name.
    name = "recompile_limit" if hasattr(config, "recompile_limit") else "cache_size_limit"
    setattr(config, name, max(getattr(config, name), _MAX_VARIANTS))
    # Or sizes that happen to be equal at first, such as those of a square picture, would have to stay so.
    torch.fx.experimental._config.use_duck_shape = False
    # Compiled together with the forward pass, a backward pass that can't be compiled fails there, where plain
    # torch can take over.
    functorch: Any = torch._functorch.config
    if hasattr(functorch, "force_non_lazy_backward_lowering"):
        functorch.force_non_lazy_backward_lowering = True
    # Regions are far smaller than DDP's buckets, which the hooks of their weights serve as in plain torch.
    config.optimize_ddp = False
