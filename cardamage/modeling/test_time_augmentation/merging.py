"""From what the views of photos show to the photos' detections, in the ways of ``TEST.AUG.MERGE``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from cardamage.layers.suppression import arrange, fuse_weighted_boxes
from cardamage.structures import Boxes, Instances

from ..batch import size_tensor
from ..roi_heads.detection import Suppression, detect

__all__ = ["MERGES", "Found"]

# Views have been through the model's own threshold.
_LOWEST_SCORE = 1e-8


@dataclass(frozen=True, eq=False)
class Found:
    """What all views of N photos show, M boxes on the processor, in the photos' pixels.

    Attributes:
        boxes: (M, 4) float32.
        scores: (M,) float32.
        classes: (M,) int64, of ``class_count``.
        photo: (M,) int64, ascending.
        sizes: N sizes (h, w).
        views: N, how many views there are of each.
        class_count: how many classes there are.
    """

    boxes: torch.Tensor
    scores: torch.Tensor
    classes: torch.Tensor
    photo: torch.Tensor
    sizes: Sequence[tuple[int, int]]
    views: Sequence[int]
    class_count: int


def _suppressed(cfg: Any, found: Found) -> list[Instances]:
    """Take the best boxes and thin out the others, as the model does in a picture."""
    # A column for background, which no box is.
    table = torch.zeros(len(found.scores), found.class_count + 1)
    table[torch.arange(len(found.scores)), found.classes] = found.scores
    rule = Suppression.from_config(cfg)
    most = rule.most(cfg.TEST.DETECTIONS_PER_IMAGE)
    return detect(found.boxes, table, found.photo, found.sizes, _LOWEST_SCORE, rule, most)[0]


def _weighted(cfg: Any, found: Found) -> list[Instances]:
    """Take the means of boxes of one class that overlap."""
    usable = found.boxes.isfinite().all(dim=1) & (found.scores > _LOWEST_SCORE) & found.scores.isfinite()
    photo, scores, classes = found.photo[usable], found.scores[usable], found.classes[usable]
    limits = size_tensor(found.sizes, photo.device)
    boxes = torch.minimum(found.boxes[usable].clamp(min=0), limits[photo])
    groups = arrange(scores, photo * found.class_count + classes)
    # In the first place of a group there is always a box.
    of_photo, of_class = (groups.pad(values)[:, :1] for values in (photo, classes))
    views = torch.tensor(found.views)[of_photo[:, 0]]
    padded = groups.pad(boxes), groups.pad(scores), groups.used()
    fused, final, used = fuse_weighted_boxes(*padded, views, cfg.TEST.AUG.MERGE_THRESH)
    of_photo, of_class = (values.expand_as(used)[used] for values in (of_photo, of_class))
    fused, final = fused[used], final[used]
    results = []
    most = Suppression.from_config(cfg).most(cfg.TEST.DETECTIONS_PER_IMAGE)
    for number, size in enumerate(found.sizes):
        here = (of_photo == number).nonzero()[:, 0]
        order = final[here].argsort(descending=True, stable=True)[:most]
        best = here[order]
        results.append(
            Instances(size, pred_boxes=Boxes(fused[best]), scores=final[best], pred_classes=of_class[best])
        )
    return results


MERGES: dict[str, Callable[[Any, Found], list[Instances]]] = {
    "nms": _suppressed,
    "weighted_boxes": _weighted,
}
"""By the name in ``TEST.AUG.MERGE``: what makes every photo's detections of a config and what is found."""
