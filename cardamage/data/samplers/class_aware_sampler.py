"""Training on every class as often as on any other, however rare it is."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch

from cardamage.data.samplers.endless_sampler import EndlessSampler

__all__ = ["ClassAwareSampler"]

logger = logging.getLogger(__name__)


class ClassAwareSampler(EndlessSampler):
    """Draws a class, then one of the images that show it.

    The method is class-aware sampling (Shen et al., Relay Backpropagation, ECCV 2016,
    https://arxiv.org/abs/1512.05830): every class comes once in each pass over the classes, in an order drawn
    anew, and an image of a class comes again when all of that class's images were there. So N draws are N / C
    of each of C classes, up to one. An image with several classes comes for each of them; one without any
    never.
    """

    def __init__(self, image_classes: Sequence[Collection[int]], *, seed: int | None = None) -> None:
        """Set which images show which classes.

        Args:
            image_classes: the classes in each of N images.
            seed: the same on all ranks; None draws one that the ranks share.

        Raises:
            ValueError: If no image shows a class.
        """
        super().__init__(seed)
        images: dict[int, list[int]] = {}
        for index, classes in enumerate(image_classes):
            for one in set(classes):
                images.setdefault(one, []).append(index)
        if not images:
            raise ValueError("ClassAwareSampler needs images with objects; there are none in the dataset.")
        self._images = {one: torch.tensor(images[one]) for one in sorted(images)}
        empty = sum(not classes for classes in image_classes)
        if empty:
            logger.info("%d images show no class and are not drawn by class.", empty)

    @staticmethod
    def classes_of(dataset_dicts: Iterable[Mapping[str, Any]]) -> list[set[int]]:
        """Return the classes of each image's objects, crowds left out."""
        annotations = (record.get("annotations", ()) for record in dataset_dicts)
        return [
            {note["category_id"] for note in notes if not note.get("iscrowd", 0)} for notes in annotations
        ]

    def draws(self) -> Iterator[tuple[int, int]]:
        """Give the classes drawn, and for each its image's index, without end; of all ranks together."""
        generator = torch.Generator()
        generator.manual_seed(self._seed)
        classes = list(self._images)
        left: dict[int, list[int]] = {one: [] for one in classes}
        while True:
            for place in torch.randperm(len(classes), generator=generator).tolist():
                one = classes[place]
                if not left[one]:
                    images = self._images[one]
                    left[one] = images[torch.randperm(len(images), generator=generator)].tolist()
                yield one, left[one].pop()

    def _infinite_indices(self) -> Iterator[int]:
        return (image for _, image in self.draws())
