"""From scored boxes to detections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from cardamage.structures import Boxes, Instances

from ..batch import ProposalBatch, RoiRows, size_tensor
from ..custom import as_list, call, regions_stay_apart, takes_batches
from ..detections import DetectionBatch
from .batched_detection import detect_batch
from .suppression import Suppression

__all__ = [
    "Suppression",
    "detect",
    "detect_rows",
    "detected_regions",
    "detections_of",
    "fast_rcnn_inference",
    "fast_rcnn_inference_single_image",
    "infer",
    "predicted_boxes",
    "predicted_probs",
]


def detect(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    image: torch.Tensor,
    image_sizes: Sequence[tuple[int, int]],
    score_thresh: float,
    suppression: Suppression,
    topk_per_image: int,
) -> tuple[list[Instances], list[torch.Tensor]]:
    """Choose the detections of a batch from the rows of all its images at once.

    Args:
        boxes: (R, K * 4) boxes of every class, or (R, 4) the same one for all.
        scores: (R, K + 1) probabilities, background last.
        image: (R,) int64, each row's image, ascending.
        image_sizes: N sizes (h, w).
        score_thresh: only scores above this count.
        suppression: how overlapping boxes of a class are thinned out.
        topk_per_image: the most detections of an image; negative for no limit.

    Returns:
        N instances with ``pred_boxes``, ``scores`` and ``pred_classes`` by falling score, and N
        vectors: the rows (counted within the image) they come from.
    """
    finite = boxes.isfinite().all(dim=1) & scores.isfinite().all(dim=1)
    limits = size_tensor(image_sizes, boxes.device)
    per_class = torch.minimum(boxes.unflatten(1, (-1, 4)).clamp(min=0), limits[image][:, None])
    candidate = (scores[:, :-1] > score_thresh) & finite[:, None]
    row, cls = candidate.nonzero().unbind(dim=1)
    chosen = per_class[row, cls if per_class.shape[1] > 1 else torch.zeros_like(cls)]
    counts = torch.bincount(image[row], minlength=len(image_sizes)).tolist()
    rows_per_image = torch.bincount(image, minlength=len(image_sizes))
    first = rows_per_image.cumsum(0) - rows_per_image
    scored = scores[row, cls]
    results, sources = [], []
    thinned = suppression.on_images(chosen, scored, cls, counts)
    parts = zip(thinned, *(t.split(counts) for t in (chosen, cls, row)), strict=True)
    for i, ((kept, final), box, label, source) in enumerate(parts):
        if topk_per_image >= 0:
            kept, final = kept[:topk_per_image], final[:topk_per_image]
        results.append(
            Instances(image_sizes[i], pred_boxes=Boxes(box[kept]), scores=final, pred_classes=label[kept])
        )
        sources.append(source[kept] - first[i])
    return results, sources


def predicted_boxes(predictor: Any, predictions: Any, batch: ProposalBatch) -> torch.Tensor:
    """Return the rows' (M, K * 4) or (M, 4) boxes, by a predictor's own method if it has one."""
    if takes_batches(predictor.predict_boxes):
        return predictor.box2box_transform.apply_deltas(predictions[1], batch.rows().boxes)
    return torch.cat(list(predictor.predict_boxes(predictions, as_list(batch))))


def predicted_probs(predictor: Any, predictions: Any, batch: ProposalBatch) -> torch.Tensor:
    """Return the rows' (M, K + 1) probabilities, by a predictor's own method if it has one."""
    if takes_batches(predictor.predict_probs):
        return predictor.predict_scores(predictions[0])
    return torch.cat(list(predictor.predict_probs(predictions, as_list(batch))))


def detect_rows(
    predictor: Any, boxes: torch.Tensor, probs: torch.Tensor, batch: ProposalBatch
) -> tuple[list[Instances], list[torch.Tensor]]:
    """Choose the detections from the rows' boxes and probabilities, by a predictor's thresholds.

    Args:
        predictor: a :class:`~.fast_rcnn.FastRCNNOutputLayers`, or of its interface.
        boxes: (M, K * 4) or (M, 4).
        probs: (M, K + 1).
        batch: the proposals whose rows these are.

    Returns:
        As :func:`detect`.
    """
    if _has_places(predictor, batch):
        found = _detect_places(predictor, boxes, probs, batch)
        return found.instances(), found.sources()
    rows = batch.rows()
    if batch.fixed:
        # Not finite, so never a detection.
        probs = probs.masked_fill(~rows.valid[:, None], -torch.inf)
    return detect(
        boxes,
        probs,
        rows.image,
        batch.image_sizes,
        predictor.test_score_thresh,
        _suppression(predictor),
        _most(predictor),
    )


def detections_of(
    predictor: Any, boxes: torch.Tensor, probs: torch.Tensor, batch: ProposalBatch
) -> Sequence[Instances]:
    """Choose the detections as :func:`detect_rows`; of fixed shapes, without waiting for the device."""
    if _has_places(predictor, batch):
        return _detect_places(predictor, boxes, probs, batch)
    return detect_rows(predictor, boxes, probs, batch)[0]


def infer(predictor: Any, predictions: Any, batch: ProposalBatch) -> Sequence[Instances]:
    """Choose the detections by a predictor's own ``inference`` if it has one."""
    if takes_batches(predictor.inference):
        return predictor._detections(predictions, batch)
    return call(predictor.inference, predictions, batch)[0]


def detected_regions(
    instances: Sequence[Instances], parts: Sequence[nn.Module]
) -> tuple[Sequence[Instances], RoiRows | list[Boxes]]:
    """Return detections, and the regions that masks are computed for.

    Args:
        instances: the detections of N images.
        parts: the modules that compute the masks.

    Returns:
        The detections as the modules take them, and all places of a batch or every image's boxes.
    """
    if isinstance(instances, DetectionBatch):
        instances = instances.in_use() if regions_stay_apart(parts) else instances.instances()
    if isinstance(instances, DetectionBatch):
        return instances, instances.rows()
    return instances, [x.pred_boxes for x in instances]


def _has_places(predictor: Any, batch: ProposalBatch) -> bool:
    """Without a limit there would be a place for every class of every proposal."""
    return bool(batch.fixed) and predictor.test_topk_per_image >= 0


def _suppression(predictor: Any) -> Suppression:
    return replace(getattr(predictor, "suppression", Suppression()), nms_thresh=predictor.test_nms_thresh)


def _most(predictor: Any) -> int:
    return _suppression(predictor).most(predictor.test_topk_per_image)


def _detect_places(
    predictor: Any, boxes: torch.Tensor, probs: torch.Tensor, batch: ProposalBatch
) -> DetectionBatch:
    shape = batch.valid.shape
    return detect_batch(
        boxes.unflatten(0, shape).unflatten(2, (-1, 4)),
        probs.unflatten(0, shape),
        batch.valid,
        batch.image_sizes,
        predictor.test_score_thresh,
        _suppression(predictor),
        _most(predictor),
    )


def fast_rcnn_inference(
    boxes: Sequence[torch.Tensor],
    scores: Sequence[torch.Tensor],
    image_shapes: Sequence[tuple[int, int]],
    score_thresh: float,
    nms_thresh: float,
    topk_per_image: int,
) -> tuple[list[Instances], list[torch.Tensor]]:
    """Choose the detections of N images with hard suppression.

    Args:
        boxes: per image (Ri, K * 4) or (Ri, 4).
        scores: per image (Ri, K + 1) probabilities, background last.
        image_shapes: N sizes (h, w).
        score_thresh: only scores above this count.
        nms_thresh: the overlap from which on the lower-scored box of a class goes.
        topk_per_image: the most detections of an image; negative for no limit.

    Returns:
        As :func:`detect`.
    """
    if len(boxes) == 0:
        return [], []
    counts = torch.tensor([len(b) for b in boxes], device=boxes[0].device)
    image = torch.arange(len(boxes), device=counts.device).repeat_interleave(counts)
    suppression = Suppression(nms_thresh=nms_thresh)
    return detect(
        torch.cat(list(boxes)),
        torch.cat(list(scores)),
        image,
        image_shapes,
        score_thresh,
        suppression,
        topk_per_image,
    )


def fast_rcnn_inference_single_image(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    image_shape: tuple[int, int],
    score_thresh: float,
    nms_thresh: float,
    topk_per_image: int,
) -> tuple[Instances, torch.Tensor]:
    """Choose the detections of one image; see :func:`fast_rcnn_inference`."""
    found, rows = fast_rcnn_inference(
        [boxes], [scores], [image_shape], score_thresh, nms_thresh, topk_per_image
    )
    return found[0], rows[0]
