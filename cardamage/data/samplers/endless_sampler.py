"""What the samplers for training share: one stream from one seed, dealt out over the ranks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

from cardamage.utils import comm

__all__ = ["EndlessSampler"]


class EndlessSampler(Sampler[int]):
    """Base: subclasses write :meth:`_epoch`, the indices of one pass drawn with the given generator."""

    def __init__(self, seed: int | None) -> None:
        self._seed = comm.shared_random_seed() if seed is None else int(seed)
        self._rank = comm.get_rank()
        self._world_size = comm.get_world_size()

    @property
    def seed(self) -> int:
        """The seed of the stream, the same on all ranks."""
        return self._seed

    def _epoch(self, generator: torch.Generator) -> torch.Tensor:
        raise NotImplementedError

    def _infinite_indices(self) -> Iterator[int]:
        generator = torch.Generator()
        generator.manual_seed(self._seed)
        while True:
            yield from self._epoch(generator).tolist()

    def stream(self) -> Iterator[int]:
        """Return all ranks' indices in order, from the first on."""
        return self._infinite_indices()

    def __iter__(self) -> Iterator[int]:
        yield from itertools.islice(self._infinite_indices(), self._rank, None, self._world_size)
