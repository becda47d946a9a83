"""Pictures without objects among the others, as many as asked for."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction

import torch

from cardamage.data.samplers.endless_sampler import EndlessSampler

__all__ = ["BackgroundSampler"]

# Pictures of which the share is met exactly, as far as it is a whole number of them.
_BLOCK = 100
# Another stream of random numbers than the other sampler's from the same seed.
_APART = 0x6261636B


class BackgroundSampler(EndlessSampler):
    """Another sampler's images, and a stated share of pictures without objects between them.

    Of every 100 pictures seen, on all ranks together, so many are without objects, at random places; a share
    that is no whole number of them is met over several hundreds. The pictures without objects come in
    shuffled passes of their own, and the other sampler's in its order.
    """

    def __init__(self, sampler: EndlessSampler, background: Sequence[int], ratio: float) -> None:
        """Set the share.

        Args:
            sampler: gives the images with objects.
            background: the indices of the pictures without.
            ratio: their share of what is seen, in (0, 1).

        Raises:
            ValueError: If there are none, or the share is out of its range.
        """
        if not 0 < ratio < 1:
            raise ValueError(f"The share of pictures without objects must be between 0 and 1; got {ratio}.")
        if len(background) == 0:
            raise ValueError("There are no pictures without objects to draw from.")
        super().__init__(sampler.seed)
        self._sampler = sampler
        self._background = torch.as_tensor(background, dtype=torch.int64)
        self._ratio = Fraction(ratio).limit_denominator(10**6)

    def _passes(self, generator: torch.Generator) -> Iterator[int]:
        while True:
            order = torch.randperm(len(self._background), generator=generator)
            yield from self._background[order].tolist()

    def _infinite_indices(self) -> Iterator[int]:
        generator = torch.Generator()
        generator.manual_seed((self._seed ^ _APART) % 2**63)
        objects, background = self._sampler.stream(), self._passes(generator)
        for block in itertools.count():
            first, last = (int(self._ratio * _BLOCK * number) for number in (block, block + 1))
            places = set(torch.randperm(_BLOCK, generator=generator)[: last - first].tolist())
            for place in range(_BLOCK):
                yield next(background if place in places else objects)
