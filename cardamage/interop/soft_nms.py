"""Soft non-maximum suppression in Detectron2's inference."""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from detectron2.modeling.roi_heads import CascadeROIHeads, FastRCNNOutputLayers
from detectron2.structures import Boxes, Instances
from torch import nn

from cardamage.modeling.roi_heads.detection import Suppression, detect

__all__ = ["use_suppression"]


def use_suppression(model: nn.Module, suppression: Suppression) -> bool:
    """Let a Detectron2 model thin out its detections as cardamage's models do.

    Its box predictors choose their detections anew; a cascade chooses them itself, from all of its
    predictors.
    Training is not touched.

    Args:
        model: a model of Detectron2, changed in place.
        suppression: how overlapping boxes of a class are thinned out.

    Returns:
        Whether the model has anything that chooses detections.
    """
    found = False
    for module in model.modules():
        if isinstance(module, CascadeROIHeads):
            module._forward_box = MethodType(_cascade_forward_box(suppression), module)
        elif isinstance(module, FastRCNNOutputLayers):
            module.inference = MethodType(_predictor_inference(suppression), module)
        else:
            continue
        found = True
    return found


def _predictor_inference(suppression: Suppression) -> Any:
    def inference(
        self: FastRCNNOutputLayers, predictions: Any, proposals: list[Instances]
    ) -> tuple[list[Instances], list[torch.Tensor]]:
        boxes = self.predict_boxes(predictions, proposals)
        scores = self.predict_probs(predictions, proposals)
        return _detect(self, boxes, scores, [p.image_size for p in proposals], suppression)

    return inference


def _cascade_forward_box(suppression: Suppression) -> Any:
    def forward_box(
        self: CascadeROIHeads,
        features: dict[str, torch.Tensor],
        proposals: list[Instances],
        targets: Any = None,
    ) -> Any:
        """Leave training to Detectron2; in inference run its stages, and thin out what they agree on."""
        if self.training:
            return type(self)._forward_box(self, features, proposals, targets)
        levels = [features[name] for name in self.box_in_features]
        sizes = [p.image_size for p in proposals]
        boxes: list[torch.Tensor] = []
        stages: list[tuple[torch.Tensor, ...]] = []
        for stage, predictor in enumerate(self.box_predictor):
            if stage > 0:
                proposals = self._create_proposals_from_boxes(boxes, sizes)
            predictions = self._run_stage(levels, proposals, stage)
            boxes = predictor.predict_boxes(predictions, proposals)
            stages.append(predictor.predict_probs(predictions, proposals))
        # The mean over the stages, whose sum comes first, as in Detectron2.
        scores = [sum(image) * (1.0 / len(stages)) for image in zip(*stages, strict=True)]
        return _detect(self.box_predictor[-1], boxes, scores, sizes, suppression)[0]

    return forward_box


def _detect(
    predictor: FastRCNNOutputLayers,
    boxes: Any,
    scores: Any,
    sizes: list[tuple[int, int]],
    suppression: Suppression,
) -> tuple[list[Instances], list[torch.Tensor]]:
    counts = torch.tensor([len(of_image) for of_image in boxes], device=boxes[0].device)
    image = torch.arange(len(sizes), device=counts.device).repeat_interleave(counts)
    found, rows = detect(
        torch.cat(list(boxes)),
        torch.cat(list(scores)),
        image,
        sizes,
        predictor.test_score_thresh,
        suppression,
        predictor.test_topk_per_image,
    )
    return [_to_upstream(instances) for instances in found], rows


def _to_upstream(found: Any) -> Instances:
    return Instances(
        found.image_size,
        pred_boxes=Boxes(found.pred_boxes.tensor),
        scores=found.scores,
        pred_classes=found.pred_classes,
    )
