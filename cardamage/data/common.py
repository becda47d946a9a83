"""Datasets that wrap others: a list kept as bytes, a mapped dataset, a stream made of indices."""

from __future__ import annotations

import contextlib
import copy as copy_module
import copyreg
import logging
import pickle
import random
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, Sampler, get_worker_info

from cardamage.data.samplers.grouped_batch_sampler import group_stream
from cardamage.errors import DataError
from cardamage.utils.serialize import PicklableWrapper

__all__ = [
    "AspectRatioGroupedDataset",
    "DatasetFromList",
    "MapDataset",
    "ToIterableDataset",
    "aspect_groups",
    "aspect_ratios",
    "set_default_dataset_from_list_serialize_method",
]

logger = logging.getLogger(__name__)


def aspect_groups(items: Iterable[Any]) -> np.ndarray | None:
    """Group images by shape: 0 for those wider than high, 1 for the others.

    Args:
        items: dataset dicts.

    Returns:
        (N,) uint8 groups, or None where an item doesn't tell its "width" and "height".
    """
    groups = bytearray()
    for item in items:
        if not isinstance(item, Mapping) or "width" not in item or "height" not in item:
            return None
        groups.append(0 if item["width"] > item["height"] else 1)
    return np.frombuffer(bytes(groups), dtype=np.uint8)


def aspect_ratios(items: Iterable[Any]) -> np.ndarray | None:
    """Return the shapes of images.

    Args:
        items: dataset dicts.

    Returns:
        (N,) float64 height by width, or None where an item doesn't tell them.
    """
    ratios = []
    for item in items:
        if not isinstance(item, Mapping) or not item.get("width") or "height" not in item:
            return None
        ratios.append(item["height"] / item["width"])
    return np.array(ratios)


class _SerializedList:
    """A list as one buffer of pickles: worker processes share it, where Python objects would be copied.

    (Touching an object writes its reference count, which makes the operating system copy its memory page.)
    The buffers are torch tensors, which also spawned processes get as shared memory.
    """

    def __init__(self, items: Sequence[Any]) -> None:
        pickles = [np.frombuffer(pickle.dumps(item, protocol=-1), dtype=np.uint8) for item in items]
        self._ends = torch.from_numpy(np.cumsum([len(p) for p in pickles], dtype=np.int64))
        self._bytes = torch.from_numpy(np.concatenate(pickles) if pickles else np.zeros(0, dtype=np.uint8))
        logger.info("%d dataset entries take %.2f MiB.", len(pickles), len(self._bytes) / 2**20)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> Any:
        place = range(len(self))[index]
        begin = int(self._ends[place - 1]) if place else 0
        return pickle.loads(self._bytes[begin : int(self._ends[place])].numpy().data)


Storage = Callable[[Sequence[Any]], Any]
_default_storage: Storage = _SerializedList


@contextlib.contextmanager
def set_default_dataset_from_list_serialize_method(new: Storage) -> Iterator[None]:
    """Let every :class:`DatasetFromList` made within keep its items in another way.

    Args:
        new: from a list to a list-like object; used where ``serialize`` is True.

    Yields:
        Nothing.
    """
    global _default_storage
    before, _default_storage = _default_storage, new
    try:
        yield
    finally:
        _default_storage = before


class DatasetFromList(Dataset[Any]):
    """A list as a torch dataset."""

    def __init__(self, lst: Sequence[Any], copy: bool = True, serialize: bool | Storage = True) -> None:
        """Wrap the list.

        Args:
            lst: the items.
            copy: give a copy of each item, so that changing it leaves the list alone (serialized items always
                are).
            serialize: keep the items as bytes that worker processes share; or a function from the list to a
                list-like object of another storage.

        Raises:
            TypeError: If ``serialize`` is neither.
        """
        if not isinstance(serialize, bool) and not callable(serialize):
            raise TypeError(f"serialize must be a bool or a function; got {serialize!r}.")
        self.aspect_groups = aspect_groups(lst)
        self.aspect_ratios = aspect_ratios(lst)
        self._copy = copy and serialize is False
        store = _default_storage if serialize is True else serialize
        self._lst: Any = store(lst) if callable(store) else lst

    def __len__(self) -> int:
        return len(self._lst)

    def __getitem__(self, idx: int) -> Any:
        return copy_module.deepcopy(self._lst[idx]) if self._copy else self._lst[idx]


def _portable(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The function itself, or where pickle can't send it to another process, what stands for it."""
    try:
        pickle.dumps(function)
    except (pickle.PicklingError, AttributeError, TypeError):
        return PicklableWrapper(function)
    return function


class _MapIterableDataset(IterableDataset[Any]):
    """A function over an iterable dataset; what it maps to None is left out."""

    def __init__(self, dataset: Any, map_func: Callable[[Any], Any]) -> None:
        self._dataset = dataset
        self._map_func = map_func

    def __len__(self) -> int:
        return len(self._dataset)

    def __iter__(self) -> Iterator[Any]:
        return (item for item in map(self._map_func, self._dataset) if item is not None)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return _MapIterableDataset, (self._dataset, _portable(self._map_func))


class MapDataset(Dataset[Any]):
    """A function over a dataset; an iterable dataset stays iterable.

    The function may return None to skip an item. A stream then goes on with its next item; where there are
    indices, another item is drawn at random, from Python's generator, until one can be used.
    """

    def __new__(cls, dataset: Any, map_func: Callable[[Any], Any]) -> Any:
        """Make an iterable dataset from an iterable one."""
        if isinstance(dataset, IterableDataset):
            return _MapIterableDataset(dataset, map_func)
        return super().__new__(cls)

    def __init__(self, dataset: Any, map_func: Callable[[Any], Any]) -> None:
        """Wrap the dataset.

        Args:
            dataset: a torch dataset, by index or iterable.
            map_func: takes an item and returns the mapped one, or None.
        """
        self._dataset = dataset
        self._map_func = map_func

    def __reduce__(self) -> tuple[Any, ...]:
        function = _portable(self._map_func)
        made_from = (type(self), self._dataset, function)
        return copyreg.__newobj__, made_from, {**vars(self), "_map_func": function}  # type: ignore[attr-defined]

    @property
    def source(self) -> Any:
        """The dataset that the function is over."""
        return self._dataset

    @property
    def function(self) -> Callable[[Any], Any]:
        """The function."""
        return self._map_func

    @property
    def aspect_groups(self) -> np.ndarray | None:
        """The groups of the wrapped dataset's images, where it knows them."""
        return getattr(self._dataset, "aspect_groups", None)

    @property
    def aspect_ratios(self) -> np.ndarray | None:
        """The shapes of the wrapped dataset's images, where it knows them."""
        return getattr(self._dataset, "aspect_ratios", None)

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, idx: int) -> Any:
        tried: set[int] = set()
        current = int(idx)
        while True:
            mapped = self._map_func(self._dataset[current])
            if mapped is not None:
                return mapped
            tried.add(current)
            if len(tried) >= 3:
                logger.warning("No usable sample yet for index %d after %d tries.", int(idx), len(tried))
            current = self._another(tried)

    def _another(self, tried: set[int]) -> int:
        left = [index for index in range(len(self)) if index not in tried]
        if not left:
            raise DataError(
                f"The mapper skipped all {len(self)} samples of the dataset; check what it returns None for."
            )
        return random.choice(left)


class ToIterableDataset(IterableDataset[Any]):
    """A dataset by index and a sampler as one stream of samples."""

    def __init__(
        self, dataset: Any, sampler: Iterable[int], shard_sampler: bool = True, shard_chunk_size: int = 1
    ) -> None:
        """Join the two.

        Args:
            dataset: a torch dataset by index.
            sampler: gives indices.
            shard_sampler: deal the indices out over the loader's worker processes, each of which runs the
                whole sampler; False for samplers that do it themselves.
            shard_chunk_size: how many neighbouring indices a worker takes at once.

        Raises:
            TypeError: If the dataset is iterable already, or ``sampler`` isn't a Sampler.
        """
        if isinstance(dataset, IterableDataset) or not isinstance(sampler, Sampler):
            raise TypeError("ToIterableDataset needs a dataset by index and a torch Sampler.")
        self.dataset = dataset
        self.sampler = sampler
        self.shard_sampler = shard_sampler
        self.shard_chunk_size = shard_chunk_size

    def __iter__(self) -> Iterator[Any]:
        for index in self._indices():
            yield self.dataset[index]

    def _indices(self) -> Iterator[int]:
        worker = get_worker_info() if self.shard_sampler else None
        if worker is None:
            yield from self.sampler
            return
        for place, index in enumerate(self.sampler):
            if place // self.shard_chunk_size % worker.num_workers == worker.id:
                yield index

    def __len__(self) -> int:
        return len(self.sampler)  # type: ignore[arg-type]


class AspectRatioGroupedDataset(IterableDataset[list[Any]]):
    """Batches of samples of one shape each, wide or high, from a stream of mapped samples.

    Unfinished batches stay for the next iteration.
    """

    def __init__(self, dataset: Iterable[Any], batch_size: int) -> None:
        """Wrap the stream.

        Args:
            dataset: gives dicts with "width" and "height".
            batch_size: samples in a batch.
        """
        self.dataset = dataset
        self.batch_size = batch_size
        self._waiting: dict[Hashable, list[Any]] = {}

    @property
    def _buckets(self) -> list[list[Any]]:
        """The unfinished batches, under the name by which Detectron2's users look at them."""
        return list(self._waiting.values())

    def __iter__(self) -> Iterator[list[Any]]:
        return group_stream(self.dataset, is_wide, self.batch_size, self._waiting)


def is_wide(item: Mapping[str, Any]) -> bool:
    """Tell whether an image is wider than high.

    Args:
        item: has "width" and "height" in pixels.
    """
    return item["width"] > item["height"]
