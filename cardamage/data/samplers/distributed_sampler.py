"""Endless streams of dataset indices for training, and one pass for inference, each dealt out over the ranks.

All ranks draw the same stream from one seed and take every ``world_size``-th index of it, so together they
see what a single process would. The streams equal those of Detectron2's samplers of the same names and seeds.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch.utils.data import Sampler

from cardamage.data.samplers.endless_sampler import EndlessSampler
from cardamage.utils import comm

__all__ = [
    "InferenceSampler",
    "RandomSubsetTrainingSampler",
    "RepeatFactorTrainingSampler",
    "TrainingSampler",
]

logger = logging.getLogger(__name__)


class TrainingSampler(EndlessSampler):
    """Shuffled passes over the dataset, one after the other, without end."""

    def __init__(self, size: int, shuffle: bool = True, seed: int | None = None) -> None:
        """Set the stream.

        Args:
            size: number of samples in the dataset.
            shuffle: shuffle each pass; otherwise count up.
            seed: the same on all ranks; None draws one that the ranks share.

        Raises:
            TypeError: If ``size`` isn't an int.
            ValueError: If ``size`` isn't positive.
        """
        if not isinstance(size, int):
            raise TypeError(f"TrainingSampler needs the dataset's size as an int; got {type(size).__name__}.")
        if size <= 0:
            raise ValueError(f"TrainingSampler needs at least one sample to draw from; got a size of {size}.")
        super().__init__(seed)
        self._size = size
        self._shuffle = shuffle

    def _epoch(self, generator: torch.Generator) -> torch.Tensor:
        return torch.randperm(self._size, generator=generator) if self._shuffle else torch.arange(self._size)


class RandomSubsetTrainingSampler(TrainingSampler):
    """A :class:`TrainingSampler` over a random part of the dataset: for curves of accuracy over data size."""

    def __init__(
        self,
        size: int,
        subset_ratio: float,
        shuffle: bool = True,
        seed_shuffle: int | None = None,
        seed_subset: int | None = None,
    ) -> None:
        """Choose the part.

        Args:
            size: number of samples in the dataset.
            subset_ratio: share to keep, in (0, 1].
            shuffle: shuffle each pass over the part.
            seed_shuffle: seed of the order; None draws one that the ranks share.
            seed_subset: seed of the choice; None draws one that the ranks share.

        Raises:
            ValueError: If nothing would be left.
        """
        super().__init__(size, shuffle, seed_shuffle)
        kept = int(size * subset_ratio)
        if not 0.0 < subset_ratio <= 1.0 or kept == 0:
            raise ValueError(
                f"A subset ratio of {subset_ratio} keeps none of {size} samples or isn't in (0, 1]; raise it."
            )
        self._seed_subset = comm.shared_random_seed() if seed_subset is None else int(seed_subset)
        generator = torch.Generator()
        generator.manual_seed(self._seed_subset)
        self._indexes_subset = torch.randperm(size, generator=generator)[:kept]
        logger.info("Training on %d of %d images, chosen at random.", kept, size)

    def _epoch(self, generator: torch.Generator) -> torch.Tensor:
        if not self._shuffle:
            return self._indexes_subset
        return self._indexes_subset[torch.randperm(len(self._indexes_subset), generator=generator)]


class RepeatFactorTrainingSampler(EndlessSampler):
    """Shuffled passes in which an image may come several times: for rare classes.

    The method is that of LVIS (Gupta et al. 2019, appendix B.2). A fraction is rounded up or down at random
    in each pass, so that it is met on average.
    """

    def __init__(
        self, repeat_factors: torch.Tensor, *, shuffle: bool = True, seed: int | None = None
    ) -> None:
        """Set the factors.

        Args:
            repeat_factors: (N,) floats, how often each image shall come in a pass.
            shuffle: shuffle each pass.
            seed: the same on all ranks; None draws one that the ranks share.

        Raises:
            ValueError: If no image would ever come.
        """
        super().__init__(seed)
        if not bool((repeat_factors > 0).any()) or bool((repeat_factors < 0).any()):
            raise ValueError("Repeat factors must not be negative, and at least one must be above 0.")
        self._shuffle = shuffle
        self._int_part = torch.trunc(repeat_factors)
        self._frac_part = repeat_factors - self._int_part

    def _epoch(self, generator: torch.Generator) -> torch.Tensor:
        draws = torch.rand(len(self._frac_part), generator=generator)
        repeats = self._int_part + (draws < self._frac_part).float()
        indices = torch.repeat_interleave(torch.arange(len(repeats)), repeats.long())
        return indices[torch.randperm(len(indices), generator=generator)] if self._shuffle else indices

    @staticmethod
    def repeat_factors_from_category_frequency(
        dataset_dicts: Iterable[Mapping[str, Any]], repeat_thresh: float, sqrt: bool = True
    ) -> torch.Tensor:
        """Compute how often each image should come, from its rarest class.

        A class that is in the share f of the images gets max(1, sqrt(t / f)), an image the greatest of its
        classes'.

        Args:
            dataset_dicts: dataset dicts with annotations.
            repeat_thresh: t, the share of images below which a class counts as rare.
            sqrt: take the square root.

        Returns:
            (N,) float32 factors, at least 1.
        """
        per_image = [{note["category_id"] for note in record["annotations"]} for record in dataset_dicts]
        counts = Counter(itertools.chain.from_iterable(per_image))
        factors = {}
        for category, count in sorted(counts.items()):
            frequency = count / len(per_image)
            ratio = repeat_thresh / frequency
            factors[category] = max(1.0, math.sqrt(ratio) if sqrt else ratio)
            logger.info(
                "Class %s is in %.2f of the images; factor %.2f.", category, frequency, factors[category]
            )
        images = [
            max((factors[category] for category in categories), default=1.0) for categories in per_image
        ]
        return torch.tensor(images, dtype=torch.float32)


class InferenceSampler(Sampler[int]):
    """Every index once, in order, in one contiguous part for each rank."""

    def __init__(self, size: int) -> None:
        """Set the size.

        Args:
            size: number of samples in the dataset.

        Raises:
            ValueError: If ``size`` isn't positive.
        """
        if size <= 0:
            raise ValueError("There is nothing to run inference on: the dataset has no samples.")
        self._size = size
        self._rank = comm.get_rank()
        self._world_size = comm.get_world_size()
        self._local_indices = self._get_local_indices(size, self._world_size, self._rank)

    @staticmethod
    def _get_local_indices(total_size: int, world_size: int, rank: int) -> range:
        """One rank's part; the first ranks take one more where it doesn't divide."""
        share, left = divmod(total_size, world_size)
        begin = rank * share + min(rank, left)
        return range(begin, begin + share + (rank < left))

    def __iter__(self) -> Iterator[int]:
        yield from self._local_indices

    def __len__(self) -> int:
        return len(self._local_indices)
