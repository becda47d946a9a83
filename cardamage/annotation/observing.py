"""What a model says of a photo that nobody has labelled: where it doubts, and what its trunk sees."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from cardamage.structures import Boxes, Instances, pairwise_iou

from .photos import read_photos

__all__ = ["Observation", "disagreement", "doubt", "observe"]


@dataclass(frozen=True, eq=False)
class Observation:
    """What a model says of one photo.

    Attributes:
        photo: the file.
        objects: how many objects it finds with a score of 0.5 or more.
        doubt: see :func:`doubt`.
        disagreement: see :func:`disagreement`.
        features: float32 (D,), the mean over the picture of every channel of every map of the trunk.
    """

    photo: Path
    objects: int
    doubt: float
    disagreement: float
    features: np.ndarray

    @property
    def uncertainty(self) -> float:
        """Doubt and disagreement together, in objects that a person would have to decide on."""
        return self.doubt + self.disagreement


def doubt(scores: np.ndarray) -> float:
    """Add up over all detections how near their scores are to one half: ``sum((1 - |2 s - 1|) ** 2)``.

    That is the sum of "1 versus 2" margins of Brust, Kaeding, Denzler, "Active Learning for Deep Object
    Detection" (VISAPP 2019), ``(1 - (p1 - p2)) ** 2``, with the class and its absence as the two: a detection
    of score 0.5 counts as one object, one of 0 or 1 as none.

    Args:
        scores: of the detections, 0 to 1.
    """
    return float(((1 - np.abs(2 * scores.astype(np.float64) - 1)) ** 2).sum())


def disagreement(first: Instances, second: Instances) -> float:
    """Tell how differently two views of one photo are seen.

    For each detection its score times one less its highest IoU with a detection of the other view, added up
    and halved: an object found in one view only counts half its score, one found in both at the same place
    nothing. Elezi et al., "Not All Labels Are Equal" (CVPR 2022), choose photos by the consistency of a
    photo and its flip, too. Classes are not compared: where they name a side, a flip changes them.

    Args:
        first: detections in the photo.
        second: those in the other view, moved back to the photo's pixels.
    """
    total = 0.0
    for one, other in ((first, second), (second, first)):
        if len(one):
            best = torch.zeros(len(one))
            if len(other):
                best = pairwise_iou(one.pred_boxes, other.pred_boxes).max(dim=1).values
            total += float((one.scores.double() * (1 - best.double())).sum())
    return total / 2


def observe(predictor: Any, photos: Sequence[Path], failed: dict[str, str]) -> list[Observation]:
    """Look at photos with a model, each together with its mirror image.

    Args:
        predictor: a ``DefaultPredictor``.
        photos: the files.
        failed: gets the sentence for each that can't be read.
    """
    seen = []
    with _boxes_only(predictor.model), _trunk_means(predictor.model.backbone) as means:
        bar = tqdm(read_photos(photos, failed), total=len(photos), desc="look", unit="photo", disable=None)
        for photo, image in bar:
            means.clear()
            # Two pictures of one size share a batch, so that the trunk is called once for both.
            outputs = predictor([image, np.ascontiguousarray(image[:, ::-1])])
            found, mirrored = (output["instances"].to("cpu") for output in outputs)
            seen.append(
                Observation(
                    photo,
                    int((found.scores >= 0.5).sum()),
                    doubt(found.scores.numpy()),
                    disagreement(found, _flipped(mirrored)),
                    means[-1][0],
                )
            )
    return seen


def _flipped(instances: Instances) -> Instances:
    boxes = instances.pred_boxes.tensor
    width = instances.image_size[1]
    back = torch.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], dim=1)
    return Instances(instances.image_size, pred_boxes=Boxes(back), scores=instances.scores)


@contextlib.contextmanager
def _trunk_means(backbone: torch.nn.Module) -> Iterator[list[np.ndarray]]:
    """Collect from every call of a trunk its channels' means, float32 (N, D)."""
    means: list[np.ndarray] = []

    def keep(_module: torch.nn.Module, _inputs: Any, maps: dict[str, torch.Tensor]) -> None:
        pooled = [maps[name].float().mean(dim=(2, 3)) for name in sorted(maps)]
        means.append(torch.cat(pooled, dim=1).cpu().numpy())

    handle = backbone.register_forward_hook(keep)
    try:
        yield means
    finally:
        handle.remove()


@contextlib.contextmanager
def _boxes_only(model: Any) -> Iterator[None]:
    """Leave out the masks, which nothing here looks at."""
    heads = model.roi_heads
    masks = heads.mask_on
    heads.mask_on = False
    try:
        yield
    finally:
        heads.mask_on = masks
