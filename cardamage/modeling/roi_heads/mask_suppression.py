"""The second half of suppression by masks: after the mask head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from cardamage.layers.suppression import mask_keep
from cardamage.structures import Instances

from ..batch import pad
from ..detections import DetectionBatch
from .suppression import Suppression

__all__ = ["thin_by_masks", "thin_detections"]


def thin_detections(predictor: Any, found: Sequence[Instances]) -> Sequence[Instances]:
    """Thin out detections with masks, where a predictor's suppression is of that kind.

    Args:
        predictor: a :class:`~.fast_rcnn.FastRCNNOutputLayers`, or of its interface; of several the last one.
        found: the detections of N images, by falling score.

    Returns:
        Those that stay; all of them where there are no masks.
    """
    if isinstance(predictor, nn.ModuleList):
        predictor = predictor[-1]
    rule = getattr(predictor, "suppression", None)
    if rule is None or not rule.by_masks:
        return found
    rule = replace(rule, nms_thresh=predictor.test_nms_thresh)
    return thin_by_masks(rule, found, predictor.test_topk_per_image)


def thin_by_masks(rule: Suppression, found: Sequence[Instances], most: int) -> Sequence[Instances]:
    """Keep of every image the best detections whose masks don't overlap those of better ones too much.

    Args:
        rule: ``nms_thresh`` and ``class_agnostic`` count.
        found: the detections of N images; with ``pred_masks`` (Ri, 1, M, M), or else they stay as they are.
        most: how many stay of an image at most; negative for no limit.
    """
    if isinstance(found, DetectionBatch):
        found = found.in_use()
    if isinstance(found, DetectionBatch):
        return found if found.masks is None else _thin_batch(rule, found, found.masks, most)
    results = list(found)
    some = [number for number, one in enumerate(results) if len(one)]
    if not some or not all(results[number].has("pred_masks") for number in some):
        return results
    boxes, alive = pad([results[number].pred_boxes.tensor for number in some])
    scores, classes, masks = (
        pad([results[number].get(name) for number in some])[0]
        for name in ("scores", "pred_classes", "pred_masks")
    )
    keep = _keep(rule, masks, boxes, scores, classes, alive, most)
    for number, kept in zip(some, keep, strict=True):
        results[number] = results[number][kept[: len(results[number])]]
    return results


def _thin_batch(rule: Suppression, found: DetectionBatch, masks: torch.Tensor, most: int) -> DetectionBatch:
    keep = _keep(rule, masks, found.boxes, found.scores, found.classes, found.valid, most)
    packed = replace(found, valid=keep).packed()
    return packed if most < 0 else packed.first(most)


def _keep(
    rule: Suppression,
    masks: torch.Tensor,
    boxes: torch.Tensor,
    scores: torch.Tensor,
    classes: torch.Tensor,
    alive: torch.Tensor,
    most: int,
) -> torch.Tensor:
    groups = torch.zeros_like(classes) if rule.class_agnostic else classes
    return mask_keep(masks[:, :, 0], boxes, scores, groups, alive, rule.nms_thresh, most)
