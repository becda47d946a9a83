"""The objects of one image, as named columns of equal length."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import numpy as np
import torch


class Instances:
    """A table of objects: each field (boxes, masks, scores, classes ...) has one entry per object.

    Fields are set and read as attributes: ``instances.scores = tensor``. Indexing selects objects in every
    field at once: ``instances[instances.scores > 0.5]``. Attribute
    names that begin with an underscore are not fields.
    """

    def __init__(self, image_size: tuple[int, int], **fields: Any) -> None:
        """Begin with an image of (height, width) in pixels and any fields.

        Raises:
            ValueError: fields differ in length.
        """
        self._image_size = image_size
        self._fields: dict[str, Any] = {}
        for name, value in fields.items():
            self.set(name, value)

    @property
    def image_size(self) -> tuple[int, int]:
        """The image's (height, width) in pixels."""
        return self._image_size

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            super().__setattr__(name, value)
        else:
            self.set(name, value)

    def __getattr__(self, name: str) -> Any:
        # Guarding "_fields" keeps copying and unpickling, which look before __init__ ran, from recursing.
        if name == "_fields" or name not in self._fields:
            known = "" if name == "_fields" else f"; it has {sorted(self._fields)}"
            raise AttributeError(f"Instances have no field '{name}'{known}.")
        return self._fields[name]

    def set(self, name: str, value: Any) -> None:
        """Add or replace a field.

        Raises:
            ValueError: its length is not the number of objects.
        """
        if self._fields and len(value) != len(self):
            raise ValueError(f"Field '{name}' has {len(value)} entries, but there are {len(self)} instances.")
        self._fields[name] = value

    def has(self, name: str) -> bool:
        """Tell whether the field exists."""
        return name in self._fields

    def remove(self, name: str) -> None:
        """Drop a field.

        Raises:
            KeyError: there is none of that name.
        """
        del self._fields[name]

    def get(self, name: str) -> Any:
        """Return a field.

        Raises:
            KeyError: there is none of that name.
        """
        return self._fields[name]

    def get_fields(self) -> dict[str, Any]:
        """Return the fields by name: the live dict, so that changing it changes the instances."""
        return self._fields

    def to(self, *args: Any, **kwargs: Any) -> Instances:
        """Call ``to`` on every field that has it and return the result."""
        moved = Instances(self._image_size)
        for name, value in self._fields.items():
            moved.set(name, value.to(*args, **kwargs) if hasattr(value, "to") else value)
        return moved

    def __getitem__(self, item: Any) -> Instances:
        """Select objects in all fields by int, slice, or a bool or integer vector.

        Raises:
            IndexError: an int outside the range.
        """
        if isinstance(item, (int, np.integer)) and not isinstance(item, bool):
            if not -len(self) <= item < len(self):
                raise IndexError(f"Instance {item} was asked for, but there are {len(self)}.")
            start = int(item) % len(self)
            item = slice(start, start + 1)
        selected = Instances(self._image_size)
        for name, value in self._fields.items():
            selected.set(name, _select(value, item))
        return selected

    def __len__(self) -> int:
        for value in self._fields.values():
            return len(value)
        raise NotImplementedError("Instances without any field have no length.")

    def __iter__(self) -> Iterator[NoReturn]:
        raise NotImplementedError("Instances are not iterable: loop over get_fields(), or index with an int.")

    @staticmethod
    def cat(instance_lists: Sequence[Instances]) -> Instances:
        """Join instances of one image; every one must have the first one's fields.

        Raises:
            ValueError: none given, image sizes differ, or a field's type can't be joined.
        """
        if not instance_lists:
            raise ValueError("Instances.cat needs at least one Instances.")
        first = instance_lists[0]
        if len(instance_lists) == 1:
            return first
        sizes = {tuple(instances.image_size) for instances in instance_lists}
        if len(sizes) > 1:
            raise ValueError(f"Instances of images of different sizes can't be joined: {sorted(sizes)}.")
        joined = Instances(first.image_size)
        for name in first.get_fields():
            joined.set(name, _join(name, [instances.get(name) for instances in instance_lists]))
        return joined

    def __str__(self) -> str:
        height, width = self._image_size
        count = len(self) if self._fields else 0
        fields = ", ".join(f"{name}: {value}" for name, value in self._fields.items())
        return (
            f"Instances(num_instances={count}, image_height={height}, image_width={width}, fields=[{fields}])"
        )

    __repr__ = __str__


def _select(value: Any, item: Any) -> Any:
    """Index a field; plain lists learn the vector indices that tensors know."""
    if not isinstance(value, (list, tuple)) or isinstance(item, slice):
        return value[item]
    index = np.asarray(item.cpu() if isinstance(item, torch.Tensor) else item)
    chosen = np.flatnonzero(index) if index.dtype == bool else index
    return type(value)(value[i] for i in chosen.tolist())


def _join(name: str, values: list[Any]) -> Any:
    first = values[0]
    if isinstance(first, torch.Tensor):
        return torch.cat(values, dim=0)
    if isinstance(first, np.ndarray):
        return np.concatenate(values, axis=0)
    if isinstance(first, list):
        return list(itertools.chain.from_iterable(values))
    if hasattr(type(first), "cat"):
        return type(first).cat(values)
    raise ValueError(
        f"Field '{name}' of type {type(first).__name__} can't be joined: its class has no `cat`."
    )
