"""The detections of a batch on places whose number is fixed, so that nobody has to ask how many there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from cardamage.structures import Boxes, Instances

from .batch import RoiRows

__all__ = ["DetectionBatch"]


@dataclass(eq=False)
class DetectionBatch(Sequence[Instances]):
    """What was found in N images, D places each; also a sequence of one ``Instances`` an image.

    Attributes:
        boxes: (N, D, 4) XYXY, zero in unused places.
        scores: (N, D), falling where used.
        classes: (N, D) int64.
        valid: (N, D) bool, the used places.
        image_sizes: N sizes (h, w) of the images the boxes are in.
        source: (N, D) int64, the image's proposal a detection was made of, if known.
        masks: (N, D, 1, M, M) probabilities, if computed.
    """

    boxes: torch.Tensor
    scores: torch.Tensor
    classes: torch.Tensor
    valid: torch.Tensor
    image_sizes: Sequence[tuple[int, int]]
    source: torch.Tensor | None = None
    masks: torch.Tensor | None = None

    def __post_init__(self) -> None:
        self._instances: list[Instances] | None = None
        self._counts: list[int] | None = None

    def in_use(self) -> Sequence[Instances]:
        """Return the batch itself, or once somebody has its instances, these: they may have been changed."""
        return self if self._instances is None else self._instances

    def rows(self) -> RoiRows:
        """Return every place of all images in one list."""
        n, d = self.valid.shape
        image = torch.arange(n, device=self.valid.device)[:, None].expand(n, d)
        return RoiRows(self.boxes.flatten(0, 1), image.flatten(), self.valid.flatten())

    def packed(self) -> DetectionBatch:
        """Return the same detections in the first places of every image."""
        order = self.valid.sort(dim=1, descending=True, stable=True).indices
        return replace(
            self,
            boxes=_take(self.boxes, order),
            scores=_take(self.scores, order),
            classes=_take(self.classes, order),
            valid=_take(self.valid, order),
            source=None if self.source is None else _take(self.source, order),
            masks=None if self.masks is None else _take(self.masks, order),
        )

    def first(self, places: int) -> DetectionBatch:
        """Return what is in the first places of every image."""
        return replace(
            self,
            boxes=self.boxes[:, :places],
            scores=self.scores[:, :places],
            classes=self.classes[:, :places],
            valid=self.valid[:, :places],
            source=None if self.source is None else self.source[:, :places],
            masks=None if self.masks is None else self.masks[:, :places],
        )

    def counts(self) -> list[int]:
        """Count every image's detections. Here the host waits for the device."""
        if self._counts is None:
            self._counts = self.valid.sum(dim=1).tolist()
        return self._counts

    def sources(self) -> list[torch.Tensor]:
        """Return every image's proposals that detections were made of, of packed detections."""
        assert self.source is not None
        return [row[:count] for row, count in zip(self.source, self.counts(), strict=True)]

    def instances(self) -> list[Instances]:
        """Return ``pred_boxes``, ``scores``, ``pred_classes`` and ``pred_masks`` of every image.

        Called again, it returns the same objects. The host waits for the device, the first time.
        """
        if self._instances is None:
            batch = self.packed()
            self._instances = [batch._of(i, count) for i, count in enumerate(batch.counts())]
        return self._instances

    def _of(self, image: int, count: int) -> Instances:
        result = Instances(
            self.image_sizes[image],
            pred_boxes=Boxes(self.boxes[image, :count]),
            scores=self.scores[image, :count],
            pred_classes=self.classes[image, :count],
        )
        if self.masks is not None:
            result.pred_masks = self.masks[image, :count]
        return result

    def __len__(self) -> int:
        return len(self.image_sizes)

    def __getitem__(self, index: Any) -> Any:
        return self.instances()[index]


def _take(values: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """Take (N, D) places of (N, D, ...)."""
    index = order.view(*order.shape, *(1,) * (values.dim() - 2))
    return values.gather(1, index.expand_as(values))
