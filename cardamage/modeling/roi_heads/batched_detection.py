"""From the scored boxes of a batch of fixed shape to its detections, without waiting for the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..batch import size_tensor
from ..detections import DetectionBatch
from .suppression import MOST_AGNOSTIC, Suppression

__all__ = ["detect_batch"]

_LOWEST = torch.iinfo(torch.int64).min


def detect_batch(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    valid: torch.Tensor,
    image_sizes: Sequence[tuple[int, int]],
    score_thresh: float,
    suppression: Suppression,
    topk_per_image: int,
) -> DetectionBatch:
    """Choose the detections of all images at once; the same as :func:`.detection.detect`.

    Args:
        boxes: (N, R, K, 4) boxes of every class, or (N, R, 1, 4) the same one for all.
        scores: (N, R, K + 1) probabilities, background last.
        valid: (N, R) bool; other rows count for nothing.
        image_sizes: N sizes (h, w).
        score_thresh: only scores above this count.
        suppression: how overlapping boxes of a class are thinned out.
        topk_per_image: the most detections of an image.

    Returns:
        The detections by falling score, in the first of min(``topk_per_image``, R * K) places; across classes
        there are no more than :data:`.suppression.MOST_AGNOSTIC`.
    """
    classes = scores.shape[2] - 1
    finite = boxes.isfinite().flatten(2).all(dim=2) & scores.isfinite().all(dim=2)
    usable = (valid & finite)[:, :, None]
    limits = size_tensor(image_sizes, boxes.device)[:, None, None]
    clipped = torch.minimum(boxes.clamp(min=0), limits).masked_fill(~usable[..., None], 0)
    scored = scores[..., :-1].float()
    scored = scored.masked_fill(~(usable & (scored > score_thresh)), -torch.inf)
    grouped, ranked, place = _groups(clipped, scored, suppression.class_agnostic)
    final, alive = suppression.on_groups(grouped, ranked, ranked > -torch.inf)
    keys = _sortable(final, place).masked_fill(~alive, _LOWEST).flatten(1)
    best, chosen = keys.topk(min(topk_per_image, keys.shape[1]), dim=1)
    used = best != _LOWEST
    taken = grouped.flatten(1, 2).gather(1, chosen[..., None].expand(-1, -1, 4))
    where = place.flatten(1).gather(1, chosen)
    return DetectionBatch(
        boxes=taken.masked_fill(~used[..., None], 0),
        scores=final.flatten(1).gather(1, chosen).masked_fill(~used, 0),
        classes=where % classes,
        valid=used,
        image_sizes=list(image_sizes),
        source=where // classes,
    )


def _groups(
    boxes: torch.Tensor, scores: torch.Tensor, class_agnostic: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sort scored boxes into groups that suppression looks at by themselves, the best of a group first.

    Args:
        boxes: (N, R, K, 4), or (N, R, 1, 4).
        scores: (N, R, K).
        class_agnostic: one group for each image, of its best boxes, instead of each image and class.

    Returns:
        (N, G, M, 4) boxes, (N, G, M) scores and int64 places row * K + class.
    """
    n, rows, classes = scores.shape
    if class_agnostic:
        ranked, place = scores.flatten(1).sort(dim=1, descending=True, stable=True)
        ranked, place = ranked[:, None, :MOST_AGNOSTIC], place[:, None, :MOST_AGNOSTIC]
    else:
        ranked, order = scores.transpose(1, 2).sort(dim=2, descending=True, stable=True)
        place = order * classes + torch.arange(classes, device=order.device)[:, None]
    where = place if boxes.shape[2] == classes else place // classes
    index = where.flatten(1)[..., None].expand(-1, -1, 4)
    return boxes.flatten(1, 2).gather(1, index).view(*place.shape, 4), ranked, place


def _sortable(scores: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """Return int64 keys, no two alike: larger ones of larger scores, and of equal scores the first place's.

    Unlike a sort, the choice of the largest few says nothing about ties.
    """
    bits = scores.contiguous().view(torch.int32)
    # Negative numbers of float32 are ordered backwards.
    rising = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).to(torch.int64)
    return (rising << 32) | (0xFFFFFFFF - place)
