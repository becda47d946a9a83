"""Finding Python objects by name: registered ones, and any by the path to it."""

from __future__ import annotations

import builtins
import functools
import importlib
from typing import Any

from fvcore.common.registry import Registry

__all__ = ["Registry", "locate"]


def locate(name: str) -> Any:
    """Import the object that a dotted path names.

    Args:
        name: module and qualified name, ``package.module.Class.Inner``, or that of a builtin.

    Returns:
        The object.

    Raises:
        ImportError: there is none.
    """
    parts = name.split(".")
    for end in range(len(parts), -1, -1) if all(parts) else ():
        module = _import(".".join(parts[:end])) if end else builtins
        try:
            if module is not None:
                return functools.reduce(getattr, parts[end:], module)
        except AttributeError:
            continue
    raise ImportError(f"There is no '{name}' to import: write the module's full path, then the name in it.")


def _import(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        # The path leads on into a class, or nowhere; what a module of the path itself lacks is an error.
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        return None


def _convert_target_to_string(t: Any) -> str:
    """Return the shortest path by which :func:`locate` finds an object."""
    module, qualname = t.__module__, t.__qualname__
    parts = module.split(".")
    for end in range(1, len(parts)):
        candidate = ".".join((*parts[:end], qualname))
        try:
            if locate(candidate) is t:
                return candidate
        except ImportError:
            continue
    return f"{module}.{qualname}"
