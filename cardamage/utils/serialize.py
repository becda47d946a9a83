"""Sending functions that pickle can't to another process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["PicklableWrapper"]


class PicklableWrapper:
    """Stands for an object, mostly a closure, and can be pickled where the object can't.

    It needs ``cloudpickle``, which is not among the project's requirements, when it is pickled; unpickled,
    it is the object itself.
    """

    def __init__(self, obj: Any) -> None:
        """Wrap an object; a wrapper stands for what it wraps."""
        self._obj: Any = obj._obj if isinstance(obj, PicklableWrapper) else obj

    def __reduce__(self) -> tuple[Callable[[bytes], Any], tuple[bytes]]:
        try:
            import cloudpickle
        except ImportError as error:
            raise ImportError("Pickling closures needs cloudpickle: pip install cloudpickle.") from error
        return cloudpickle.loads, (cloudpickle.dumps(self._obj),)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the object."""
        return self._obj(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        # Without the guard, a wrapper that was made without __init__ would look for "_obj" for ever.
        if name == "_obj":
            raise AttributeError(name)
        return getattr(self._obj, name)
