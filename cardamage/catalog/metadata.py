"""What is known about each dataset apart from its contents: class names, colors, files."""

from __future__ import annotations

import builtins
import types
from collections import UserDict
from typing import Any

from ..errors import DataError, UnknownDatasetError
from .schemes import find_ad_hoc, scheme_of
from .sides import find_flip_map

__all__ = ["Metadata", "MetadataCatalog"]


class Metadata(types.SimpleNamespace):
    """Attributes of one dataset; each can be set once, so that all who ask get the same answer.

    Example::

        MetadataCatalog.get("cars").thing_classes = ["dent", "scratch"]

    ``thing_flip_map``, the pairs of classes that a mirrored picture exchanges, is found in the names of
    ``thing_classes`` where it is not set; an empty list says that there are none.
    """

    name: str = "N/A"

    def __getattr__(self, key: str) -> Any:
        """Find the pairs of classes, and explain what there is for an attribute that there isn't.

        Raises:
            AttributeError: for any other attribute.
        """
        if key == "thing_flip_map" and "thing_classes" in self.__dict__:
            return find_flip_map(self.__dict__["thing_classes"])
        present = [k for k in self.__dict__ if k != "name"]
        there = f"it has {', '.join(present)}" if present else "it is empty"
        raise AttributeError(f"The metadata of dataset {self.name!r} has no {key!r}: {there}.")

    def __setattr__(self, key: str, val: Any) -> None:
        """Set an attribute that is not set yet.

        Raises:
            DataError: where it is set to another value.
        """
        old = self.__dict__.get(key, val)
        if old != val:
            raise DataError(
                f"{key!r} in the metadata of {self.name!r} is already {old!r} and can't become {val!r}."
            )
        super().__setattr__(key, val)

    def as_dict(self) -> dict[str, Any]:
        """Return a copy of all attributes."""
        return dict(self.__dict__)

    def set(self, **kwargs: Any) -> Metadata:
        """Set several attributes and return the metadata itself.

        Raises:
            DataError: where one is set to another value.
        """
        for key, value in kwargs.items():
            setattr(self, key, value)
        return self

    def get(self, key: str, default: Any = None) -> Any:
        """Return an attribute, or `default` where it is not set."""
        return getattr(self, key, default) if key == "thing_flip_map" else self.__dict__.get(key, default)

    def replace(self, **kwargs: Any) -> Metadata:
        """Set attributes over what they were; a value of None removes the attribute."""
        for key, value in kwargs.items():
            if value is None:
                self.__dict__.pop(key, None)
            else:
                self.__dict__[key] = value
        return self


class _MetadataCatalog(UserDict[str, Metadata]):
    """Maps a dataset's name to its one :class:`Metadata`, as Detectron2's does."""

    def get(self, name: str) -> Metadata:  # type: ignore[override]
        """Return a dataset's metadata, made empty where there is none yet.

        An ad-hoc name is read first, so that its class names are there.

        Args:
            name: the dataset.

        Raises:
            DataError: for an empty name, or an ad-hoc one that can't be read.
        """
        if not name:
            raise DataError("A dataset needs a name, but the one asked for is empty.")
        if name not in self:
            found = find_ad_hoc(name) if scheme_of(name) else None
            self[name] = Metadata(name=name, **(found.metadata if found else {}))
        return self[name]

    def list(self) -> builtins.list[str]:
        """Return the names that have metadata."""
        return [*self.keys()]

    def remove(self, name: str) -> None:
        """Remove a dataset's metadata.

        Raises:
            UnknownDatasetError: where there is none.
        """
        if self.pop(name, None) is None:
            raise UnknownDatasetError(f"There is no metadata for dataset {name!r} to remove.")

    def __str__(self) -> str:
        return f"MetadataCatalog(registered metadata: {', '.join(self)})"

    __repr__ = __str__


MetadataCatalog = _MetadataCatalog()
