"""The catalog of datasets: names and the functions that load them."""

from __future__ import annotations

import builtins
import os
from collections import UserDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import DataError, UnknownDatasetError
from ..utils.suggest import closest, did_you_mean
from .schemes import find_ad_hoc, forget_ad_hoc, schemes

__all__ = ["DatasetCatalog"]

Loader = Callable[[], list[dict[str, Any]]]


class _DatasetCatalog(UserDict[str, Loader]):
    """Maps a dataset's name to a function without arguments that returns its dicts, as Detectron2's does."""

    def register(self, name: str, func: Loader) -> None:
        """Register a dataset.

        Args:
            name: how configs call it.
            func: returns the same list of dataset dicts each time it is called.

        Raises:
            DataError: where `func` is no function or the name is taken.
        """
        if not callable(func):
            raise DataError(f"Dataset {name!r} needs a function that loads it, not {type(func).__name__}.")
        if name in self:
            raise DataError(f"Dataset {name!r} is already registered; remove it first or take another name.")
        self[name] = func

    def get(self, name: str) -> builtins.list[dict[str, Any]]:  # type: ignore[override]
        """Load a registered dataset, or one whose name says where it is.

        Args:
            name: a registered name, or an ad-hoc one such as ``labelme:/photos/train``.

        Returns:
            The dataset dicts.

        Raises:
            UnknownDatasetError: where the name is unknown, with the closest one.
            DataError: where the data can't be read.
        """
        if name in self:
            return self[name]()
        found = find_ad_hoc(name)
        if found is None:
            raise UnknownDatasetError(self._unknown_message(name))
        return found.load()

    def list(self) -> builtins.list[str]:
        """Return the registered names."""
        return [*self.keys()]

    def remove(self, name: str) -> None:
        """Remove a dataset; an ad-hoc one is read again the next time it is asked for.

        Raises:
            UnknownDatasetError: where a name that is no ad-hoc one is not registered.
        """
        found = self.pop(name, None) is not None
        if not found and ":" not in name:
            raise UnknownDatasetError(self._unknown_message(name))
        forget_ad_hoc(name)

    def _unknown_message(self, name: str) -> str:
        at_place = self._ad_hoc_names_of(name)
        if at_place:
            return (
                f"Dataset {name!r} is not registered, but there is such a path: "
                f"say how to read it, as {' or '.join(at_place)}."
            )
        scheme, _, place = name.partition(":")
        near = closest(scheme, schemes()) if place else None
        hint = f"; did you mean {near}:{place}?" if near else did_you_mean(name, self)
        if hint:
            return f"Dataset {name!r} is not registered{hint}"
        forms = ", ".join(f"{scheme}:..." for scheme in schemes())
        listed = ", ".join(sorted(self)) or "none"
        return f"Dataset {name!r} is not registered; registered are {listed}" + (
            f", and names of the form {forms} need no registration." if forms else "."
        )

    @staticmethod
    def _ad_hoc_names_of(place: str) -> builtins.list[str]:
        """Return the names under which a folder or file can be read without registering it."""
        path = Path(os.path.expanduser(place))
        by_suffix = {".json": ("coco", "via"), ".yaml": ("yolo",), ".yml": ("yolo",)}
        fitting: tuple[str, ...] = ("labelme",) if path.is_dir() else ()
        if path.is_dir() and ((path / "data.yaml").is_file() or any(path.glob("*/_annotations.coco.json"))):
            fitting = ("roboflow",)
        if path.is_file():
            fitting = by_suffix.get(path.suffix.lower(), ())
        return [f"{scheme}:{place}" for scheme in fitting if scheme in schemes()]

    def __str__(self) -> str:
        return f"DatasetCatalog(registered datasets: {', '.join(self)})"

    __repr__ = __str__


DatasetCatalog = _DatasetCatalog()
