"""Batches of indices, of one group each: wide pictures with wide ones, so that less is padding."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from torch.utils.data import Sampler

from cardamage.utils import comm

__all__ = ["GroupedBatchSampler", "PositionedBatchSampler", "SamplePosition", "group_stream"]

Item = TypeVar("Item")


class SamplePosition(NamedTuple):
    """A dataset index and where in the whole job's stream it stands; the place seeds its augmentation."""

    item: int
    position: int


def group_stream(
    stream: Iterable[Item],
    key: Callable[[Item], Hashable],
    batch_size: int,
    waiting: dict[Hashable, list[Item]] | None = None,
) -> Iterator[list[Item]]:
    """Collect items of equal key into batches; a batch comes out when its last item has come in.

    Args:
        stream: any items, possibly without end.
        key: gives an item's group.
        batch_size: items in a batch.
        waiting: unfinished batches to go on with, by group; they are left in it.

    Yields:
        Lists of ``batch_size`` items. What is left in unfinished batches when the stream ends is dropped
        unless ``waiting`` is given.
    """
    waiting = {} if waiting is None else waiting
    for item in stream:
        group = waiting.setdefault(key(item), [])
        group.append(item)
        if len(group) == batch_size:
            batch = group[:]
            # Before the batch is given: whoever stops here leaves no full group behind.
            group.clear()
            yield batch


class GroupedBatchSampler(Sampler[list[int]]):
    """Wrap a sampler to give batches of indices of one group each."""

    def __init__(self, sampler: Sampler[int], group_ids: Sequence[int] | np.ndarray, batch_size: int) -> None:
        """Set the groups.

        Args:
            sampler: gives indices in [0, N).
            group_ids: N group numbers.
            batch_size: indices in a batch.

        Raises:
            ValueError: If ``sampler`` isn't a Sampler or the group numbers aren't a vector.
        """
        if not isinstance(sampler, Sampler):
            raise ValueError(f"GroupedBatchSampler needs a torch Sampler; got {type(sampler).__name__}.")
        self.sampler = sampler
        self.group_ids = np.asarray(group_ids)
        if self.group_ids.ndim != 1:
            raise ValueError(f"Group numbers must be a vector; got an array of {self.group_ids.shape}.")
        self.batch_size = batch_size

    def __iter__(self) -> Iterator[list[int]]:
        groups = self.group_ids.tolist()
        return group_stream(self.sampler, groups.__getitem__, self.batch_size)


class PositionedBatchSampler(Sampler[list[SamplePosition]]):
    """Batches of indices with their places in the stream, from any batch on.

    Integers are cheap: to resume, the stream is drawn again from its seed and the batches already seen are
    thrown away, without a single image being read.
    """

    def __init__(
        self,
        sampler: Iterable[int],
        batch_size: int,
        *,
        group_ids: np.ndarray | None = None,
        drop_last: bool = True,
        start_batch: int = 0,
    ) -> None:
        """Set the stream.

        Args:
            sampler: this rank's indices.
            batch_size: indices in a batch.
            group_ids: (N,) group numbers, to give batches of one group each; None for the sampler's order.
            drop_last: drop the incomplete batch at the end; always so with groups.
            start_batch: how many batches to leave out at the start.
        """
        self.sampler = sampler
        self.batch_size = batch_size
        self.group_ids = group_ids
        self.drop_last = drop_last
        self.start_batch = start_batch
        self._rank, self._world_size = comm.get_rank(), comm.get_world_size()

    def __iter__(self) -> Iterator[list[SamplePosition]]:
        return itertools.islice(self._batches(), self.start_batch, None)

    def _batches(self) -> Iterator[list[SamplePosition]]:
        places = itertools.count(self._rank, self._world_size)
        stream = map(SamplePosition, self.sampler, places)
        if self.group_ids is not None:
            groups = self.group_ids.tolist()
            yield from group_stream(stream, lambda sample: groups[sample.item], self.batch_size)
            return
        while batch := list(itertools.islice(stream, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch

    def __len__(self) -> int:
        """Number of batches.

        Raises:
            TypeError: Where it isn't known: endless samplers, and groups.
        """
        if self.group_ids is not None:
            raise TypeError("The number of grouped batches isn't known beforehand.")
        samples = len(self.sampler)  # type: ignore[arg-type]
        batches = samples // self.batch_size if self.drop_last else -(-samples // self.batch_size)
        return max(0, batches - self.start_batch)
