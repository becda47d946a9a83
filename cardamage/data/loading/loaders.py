"""Data loaders that keep errors readable and can start at any batch."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from cardamage.data.common import is_wide
from cardamage.data.loading.parcel import Parcel, pack_masks
from cardamage.data.loading.prefetch import hand_out
from cardamage.data.loading.seeding import seeded, worker_init_reset_seed
from cardamage.data.loading.slabs import forget
from cardamage.data.samplers.grouped_batch_sampler import PositionedBatchSampler, SamplePosition, group_stream
from cardamage.errors import CardamageError, DataError

__all__ = ["InferenceLoader", "StreamLoader", "TrainLoader", "trivial_batch_collator"]

Collate = Callable[[list[Any]], Any]


def trivial_batch_collator(batch: list[Any]) -> list[Any]:
    """Return the list of samples as it is.

    Args:
        batch: mapped samples.

    Returns:
        The same list.
    """
    return batch


_END = object()


class _Failure(NamedTuple):
    """An error on its way to the main process: raised in a worker, it would arrive wrapped in a traceback."""

    error: CardamageError


class _Guarded(Dataset[Any]):
    """A dataset by index that hands over errors instead of raising them, and seeds each sample."""

    def __init__(self, source: Any, seed: int) -> None:
        self.source = source
        self.seed = seed

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: Any) -> Any:
        try:
            place = index if isinstance(index, SamplePosition) else SamplePosition(index, int(index))
            with seeded(self.seed, place.position, place.batch):
                return self.source[place.item]
        except CardamageError as error:
            return _Failure(error)


class _GuardedStream(IterableDataset[Any]):
    """An iterable dataset that hands over errors instead of raising them."""

    def __init__(self, source: Iterable[Any]) -> None:
        self.source = source

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from self.source
        except CardamageError as error:
            while True:  # or it would be dropped with the incomplete batch it ends
                yield _Failure(error)


class _Collator:
    """Collates a batch, or picks out its first error; in a worker, wraps it for the way."""

    def __init__(self, collate: Collate, pinned: bool = False) -> None:
        self.collate = collate
        self.pinned = pinned

    def __call__(self, batch: list[Any]) -> Any:
        failures = [item for item in batch if isinstance(item, _Failure)]
        if failures:
            return failures[0]
        collated = pack_masks(self.collate(batch))
        in_worker = get_worker_info() is not None
        return Parcel.pack(collated, shared=in_worker) if in_worker or self.pinned else collated


def _defaults(kwargs: dict[str, Any], seed: int) -> dict[str, Any]:
    """Torch's arguments: no draw from the global generator, which belongs to the training step."""
    if not kwargs.get("num_workers"):
        kwargs = {**kwargs, "prefetch_factor": None, "persistent_workers": False}
    generator = torch.Generator().manual_seed(seed)
    return {"worker_init_fn": worker_init_reset_seed, "generator": generator, **kwargs}


class _Prefetching:
    """Where a loader's batches shall be."""

    _device: torch.device | None = None

    def prefetch_to(self, device: torch.device | None) -> None:
        """Have the next passes give batches whose pictures and masks are on a device.

        They are copied there a batch ahead, beside the device's work if ``pin_memory`` is on.

        Args:
            device: the device; None, or the CPU, for batches in the host's memory.
        """
        self._device = device


class _CarefulLoader(_Prefetching, DataLoader[Any]):
    """Raises, in the main process and unchanged, the errors its dataset met."""

    def __init__(self, dataset: Any, *, collate_fn: Collate, **kwargs: Any) -> None:
        collate = _Collator(collate_fn, pinned=kwargs.get("pin_memory", False))
        super().__init__(dataset, collate_fn=collate, **kwargs)

    def check_worker_number_rationality(self) -> None:
        """Leave out torch's warning of more workers than cores: trainings tell whether they wait for them."""

    def __iter__(self) -> Any:
        # Generators hold the only reference to torch's iterator: whoever drops them ends the worker
        # processes.
        return hand_out(self._checked(super().__iter__()), self._device)

    def _checked(self, batches: Iterator[Any]) -> Iterator[Any]:
        workers: set[int] = set()
        try:
            while (batch := next(batches, _END)) is not _END:
                if isinstance(batch, _Failure):
                    # The error's traceback would keep the iterator, and with it the workers, alive.
                    del batches
                    raise batch.error
                if isinstance(batch, Parcel) and batch.worker is not None:
                    workers.add(batch.worker)
                yield batch
        finally:
            forget(workers)


class InferenceLoader(_CarefulLoader):
    """Goes once through a dataset, in the sampler's order."""

    def __init__(self, dataset: Any, *, collate_fn: Collate | None = None, **kwargs: Any) -> None:
        """Wrap the dataset.

        Args:
            dataset: mapped dataset, by index or iterable.
            collate_fn: makes a batch of a list of samples; the list itself when None.
            kwargs: of :class:`torch.utils.data.DataLoader`.
        """
        guarded: Any = (
            _GuardedStream(dataset) if isinstance(dataset, IterableDataset) else _Guarded(dataset, 0)
        )
        super().__init__(guarded, collate_fn=collate_fn or trivial_batch_collator, **_defaults(kwargs, 0))


class _Resumable:
    """Which batch of the stream comes first, and how many were given out."""

    _start: int
    _given: int

    def skip(self, batches: int) -> None:
        """Begin the next pass at some batch of the stream.

        Args:
            batches: how many batches, from the stream's first on, to leave out.

        Raises:
            ValueError: If negative.
        """
        if batches < 0:
            raise ValueError(f"A loader can't start before its first batch; got {batches}.")
        self._start = self._given = batches

    def state_dict(self) -> dict[str, int]:
        """Tell where the loader stands.

        Returns:
            ``{"batches": n}``, the batches of the stream given out so far, those left out at the start
            included.
        """
        return {"batches": self._given}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Begin the next pass where another loader stood.

        Args:
            state: what :meth:`state_dict` gave.

        Raises:
            DataError: If it is no such state.
        """
        if "batches" not in state:
            raise DataError(f"A loader's state needs 'batches'; got {sorted(state)}.")
        self.skip(int(state["batches"]))


class TrainLoader(_Resumable, _CarefulLoader):
    """Batches of a dataset by index, made on indices, so that any batch can be the first.

    Each sample's random state comes from the seed and the sample's place in the stream: the batches are the
    same for any number of workers, and after a resume.
    """

    def __init__(
        self,
        dataset: Any,
        batch_sampler: PositionedBatchSampler,
        *,
        seed: int,
        collate_fn: Collate,
        **kwargs: Any,
    ) -> None:
        """Wrap the dataset.

        Args:
            dataset: mapped dataset by index.
            batch_sampler: gives the batches' indices.
            seed: of the augmentation.
            collate_fn: makes a batch of a list of samples.
            kwargs: of :class:`torch.utils.data.DataLoader`.
        """
        self._positions = batch_sampler
        self._start = self._given = batch_sampler.start_batch
        kwargs = _defaults(kwargs, seed)
        super().__init__(
            _Guarded(dataset, seed), batch_sampler=batch_sampler, collate_fn=collate_fn, **kwargs
        )

    def __iter__(self) -> Any:
        self._positions.start_batch = self._given = self._start
        for batch in super().__iter__():
            self._given += 1
            yield batch


class StreamLoader(_Resumable, _Prefetching, IterableDataset[Any]):
    """Batches of an endless or one-time stream of samples, grouped by shape if wanted.

    For iterable datasets, and datasets whose image sizes aren't known beforehand. Starting at a later batch
    reads and drops those before it.
    """

    def __init__(
        self,
        dataset: IterableDataset[Any],
        batch_size: int,
        *,
        grouping: bool,
        drop_last: bool,
        collate_fn: Collate,
        seed: int,
        start_batch: int = 0,
        **kwargs: Any,
    ) -> None:
        """Wrap the stream.

        Args:
            dataset: gives mapped samples; with workers, it deals them out itself.
            batch_size: samples in a batch.
            grouping: batches of wide and of high images apart, by the samples' "width" and "height".
            drop_last: drop an incomplete batch at the end; always so with grouping.
            collate_fn: makes a batch of a list of samples.
            seed: of the workers' random states.
            start_batch: how many batches to leave out at the start.
            kwargs: of :class:`torch.utils.data.DataLoader`.
        """
        self.dataset = dataset
        self.batch_size = batch_size
        self._start = self._given = start_batch
        self._collate = collate_fn if grouping else trivial_batch_collator
        # Samples on their way to a group are put together, and pinned, later.
        batching: dict[str, Any] = {"batch_size": 1, "collate_fn": _only, "pin_memory": False}
        if not grouping:
            batching = {"batch_size": batch_size, "drop_last": drop_last, "collate_fn": collate_fn}
        self._grouping = grouping
        self._loader = _CarefulLoader(_GuardedStream(dataset), **{**_defaults(kwargs, seed), **batching})

    def __iter__(self) -> Iterator[Any]:
        self._given = self._start
        for batch in itertools.islice(self._batches(), self._start, None):
            self._given += 1
            yield batch

    def _batches(self) -> Iterator[Any]:
        if not self._grouping:
            self._loader.prefetch_to(self._device)
            return iter(self._loader)
        groups = group_stream(iter(self._loader), is_wide, self.batch_size)
        return hand_out((pack_masks(self._collate(group)) for group in groups), self._device)


def _only(batch: list[Any]) -> Any:
    return batch[0]
