"""Batches of indices, of one group each: wide pictures with wide ones, so that less is padding."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from torch.utils.data import Sampler

from cardamage.utils import comm

__all__ = ["GroupedBatchSampler", "PositionedBatchSampler", "SamplePosition", "group_stream", "sort_stream"]

Item = TypeVar("Item")

# Batches sorted at a time.
_WINDOW = 8


class SamplePosition(NamedTuple):
    """A dataset index and where in the whole job's stream it stands; the place seeds its augmentation.

    ``batch`` is the number of its batch, equal on all ranks, where samples of a batch draw something
    together.
    """

    item: int
    position: int
    batch: int | None = None


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


def sort_stream(
    stream: Iterable[Item], key: Callable[[Item], float], batch_size: int, window: int, seed: int
) -> Iterator[list[Item]]:
    """Collect items into batches of near keys: those of some batches are sorted and dealt out anew.

    Every item comes out once, no farther than a window from where it stood.

    Args:
        stream: any items, possibly without end.
        key: what is near within a batch.
        batch_size: items in a batch.
        window: how many batches are sorted at a time.
        seed: of the order in which a window's batches come out; with one seed, that of other ranks, too, so
            that their batches are alike.

    Yields:
        Lists of ``batch_size`` items. The last items of a stream that don't fill a batch are dropped.
    """
    items = iter(stream)
    for number in itertools.count():
        taken = list(itertools.islice(items, window * batch_size))
        count = len(taken) // batch_size
        taken = sorted(taken[: count * batch_size], key=key)
        order = np.random.default_rng((seed % 2**64, number)).permutation(count)
        for place in (order * batch_size).tolist():
            yield taken[place : place + batch_size]
        if count < window:
            return


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
        ratios: np.ndarray | None = None,
        share_draws: bool = False,
        seed: int = 0,
        drop_last: bool = True,
        start_batch: int = 0,
    ) -> None:
        """Set the stream.

        Args:
            sampler: this rank's indices.
            batch_size: indices in a batch.
            group_ids: (N,) group numbers, to give batches of one group each; None for the sampler's order.
            ratios: (N,) height by width, to give batches of near ratios, in place of groups.
            share_draws: number the batches, so that their samples can draw together.
            seed: of the order of batches of near ratios, equal on all ranks.
            drop_last: drop the incomplete batch at the end; always so with groups or ratios.
            start_batch: how many batches to leave out at the start.
        """
        self.sampler = sampler
        self.batch_size = batch_size
        self.group_ids = group_ids
        self.ratios = ratios
        self.share_draws = share_draws
        self.seed = seed
        self.drop_last = drop_last
        self.start_batch = start_batch
        self._rank, self._world_size = comm.get_rank(), comm.get_world_size()

    def __iter__(self) -> Iterator[list[SamplePosition]]:
        batches = self._numbered() if self.share_draws else self._batches()
        return itertools.islice(batches, self.start_batch, None)

    def _numbered(self) -> Iterator[list[SamplePosition]]:
        for number, batch in enumerate(self._batches()):
            yield [sample._replace(batch=number) for sample in batch]

    def _batches(self) -> Iterator[list[SamplePosition]]:
        places = itertools.count(self._rank, self._world_size)
        stream = map(SamplePosition, self.sampler, places)
        if self.group_ids is not None:
            groups = self.group_ids.tolist()
            yield from group_stream(stream, lambda sample: groups[sample.item], self.batch_size)
            return
        if self.ratios is not None:
            ratios = self.ratios.tolist()
            # Few photos would meet themselves within a window.
            window = min(_WINDOW, max(1, len(ratios) // (2 * self.batch_size * self._world_size)))
            near = functools.partial(sort_stream, window=window, seed=self.seed)
            yield from near(stream, lambda sample: ratios[sample.item], self.batch_size)
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
        whole = self.drop_last or self.ratios is not None
        batches = samples // self.batch_size if whole else -(-samples // self.batch_size)
        return max(0, batches - self.start_batch)
