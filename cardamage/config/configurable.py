"""Constructors that take explicit arguments, and a config as well."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any, cast

from yacs.config import CfgNode as _YacsNode

__all__ = ["configurable"]

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def configurable(
    init_func: Callable[..., Any] | None = None, *, from_config: Callable[..., dict[str, Any]] | None = None
) -> Any:
    """Let an ``__init__`` or a function be called with a config in place of its arguments.

    On an ``__init__``, the class has a classmethod ``from_config(cls, cfg, ...)`` that returns the arguments
    as a dict. On a function, pass ``from_config=``. Called without a config, nothing changes. Called with
    one, arguments that ``from_config`` takes go there, and the others overrule what it returned::

        class Head(nn.Module):
            @configurable
            def __init__(self, *, classes: int, width: int = 256): ...

            @classmethod
            def from_config(cls, cfg):
                return {"classes": cfg.MODEL.ROI_HEADS.NUM_CLASSES}

        Head(cfg)
        Head(cfg, width=64)
        Head(classes=6)

    Args:
        init_func: the ``__init__``, where used without parentheses.
        from_config: for functions; its first parameter must be named ``cfg``.

    Returns:
        The decorated ``__init__``, or a decorator.

    Raises:
        TypeError: for anything else decorated, or a ``from_config`` of another form.
        AttributeError: on construction, where the class has no ``from_config``.
    """
    if init_func is not None:
        if not inspect.isfunction(init_func) or init_func.__name__ != "__init__" or from_config is not None:
            raise TypeError(
                "@configurable without arguments decorates an __init__; for a function pass from_config."
            )
        return _wrap_init(init_func)
    if from_config is None:
        return configurable
    if not inspect.isfunction(from_config):
        raise TypeError("from_config of @configurable must be a function.")
    return functools.partial(_wrap_function, from_config=from_config)


def _wrap_init(init: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(init)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> None:
        """Ask the object's own class for from_config, so that a subclass may have another."""
        from_config = getattr(type(self), "from_config", None)
        if from_config is None:
            raise AttributeError(
                f"{type(self).__name__} uses @configurable, so it needs a classmethod 'from_config'."
            )
        if not inspect.ismethod(from_config):
            raise TypeError(f"'from_config' of {type(self).__name__} must be a classmethod.")
        if _has_cfg(args, kwargs):
            init(self, **_arguments(from_config, args, kwargs))
        else:
            init(self, *args, **kwargs)

    return wrapped


def _wrap_function(
    func: Callable[..., Any], from_config: Callable[..., dict[str, Any]]
) -> Callable[..., Any]:
    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if _has_cfg(args, kwargs):
            return func(**_arguments(from_config, args, kwargs))
        return func(*args, **kwargs)

    cast(Any, wrapped).from_config = from_config
    return wrapped


def _has_cfg(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    cfg = args[0] if args else kwargs.get("cfg")
    if isinstance(cfg, _YacsNode):
        return True
    # A config of OmegaConf, as Hydra gives, serves as well; it is asked for only where somebody uses it.
    omegaconf = sys.modules.get("omegaconf")
    return omegaconf is not None and isinstance(cfg, omegaconf.DictConfig)


def _arguments(
    from_config: Callable[..., dict[str, Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    parameters = inspect.signature(from_config).parameters
    if next(iter(parameters), None) != "cfg":
        raise TypeError(f"{from_config.__qualname__} must take 'cfg' as its first argument.")
    if any(parameter.kind in _VARIADIC for parameter in parameters.values()):
        return from_config(*args, **kwargs)
    taken = {name: value for name, value in kwargs.items() if name in parameters}
    others = {name: value for name, value in kwargs.items() if name not in parameters}
    return {**from_config(*args, **taken), **others}
