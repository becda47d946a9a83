"""The class and the box of a region (Fast R-CNN, https://arxiv.org/abs/1504.08083)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from cardamage.config import configurable
from cardamage.errors import ConfigValueError
from cardamage.layers import ShapeSpec
from cardamage.structures import Instances
from cardamage.utils.events import get_event_storage

from ..batch import ProposalBatch, RoiRows
from ..box_regression import Box2BoxTransform, box_regression_loss
from .box_head import flatten_regions
from .detection import Suppression, detect, fast_rcnn_inference

__all__ = ["FastRCNNOutputLayers", "fast_rcnn_inference"]

Predictions = tuple[torch.Tensor, torch.Tensor]


def _log_accuracy(logits: torch.Tensor, rows: RoiRows, prefix: str = "fast_rcnn") -> None:
    """Log how many regions are classified right, of all and of the foreground."""
    assert rows.gt_classes is not None
    background = logits.shape[1] - 1
    predicted = logits.argmax(dim=1)
    foreground = rows.foreground(background) & rows.valid
    right = (predicted == rows.gt_classes) & rows.valid
    missed = foreground & (predicted == background)
    num_foreground = foreground.sum().clamp(min=1)
    storage = get_event_storage()
    storage.put_scalar(f"{prefix}/cls_accuracy", right.sum() / rows.valid.sum().clamp(min=1))
    storage.put_scalar(f"{prefix}/fg_cls_accuracy", (right & foreground).sum() / num_foreground)
    storage.put_scalar(f"{prefix}/false_negative", missed.sum() / num_foreground)


class FastRCNNOutputLayers(nn.Module):
    """Two linear layers: scores of every class and background, and offsets to the object's box."""

    @configurable
    def __init__(
        self,
        input_shape: ShapeSpec,
        *,
        box2box_transform: Box2BoxTransform,
        num_classes: int,
        test_score_thresh: float = 0.0,
        test_nms_thresh: float = 0.5,
        test_topk_per_image: int = 100,
        cls_agnostic_bbox_reg: bool = False,
        smooth_l1_beta: float = 0.0,
        box_reg_loss_type: str = "smooth_l1",
        loss_weight: float | Mapping[str, float] = 1.0,
        use_sigmoid_ce: bool = False,
        suppression: Suppression | None = None,
    ) -> None:
        """Make the layers.

        Args:
            input_shape: the shape of a region's features.
            box2box_transform: how offsets tell boxes.
            num_classes: number of classes without background.
            test_score_thresh: only detections scored above this are reported.
            test_nms_thresh: the overlap from which on the lower-scored box of a class goes.
            test_topk_per_image: the most detections of an image.
            cls_agnostic_bbox_reg: tell one box for all classes instead of one for each.
            smooth_l1_beta: see :func:`~cardamage.modeling.box_regression.box_regression_loss`.
            box_reg_loss_type: see there.
            loss_weight: a factor for both losses, or one each for ``loss_cls``, ``loss_box_reg``.
            use_sigmoid_ce: score every class on its own instead of against the others.
            suppression: how overlapping detections are thinned out; by default hard, from
                ``test_nms_thresh`` on.
        """
        super().__init__()
        if isinstance(input_shape, int):
            input_shape = ShapeSpec(channels=input_shape)
        self.num_classes = num_classes
        channels: Any = input_shape.channels
        size = channels * (input_shape.width or 1) * (input_shape.height or 1)
        self.cls_score = nn.Linear(size, num_classes + 1)
        self.bbox_pred = nn.Linear(size, 4 * (1 if cls_agnostic_bbox_reg else num_classes))
        nn.init.normal_(self.cls_score.weight, std=0.01)
        nn.init.normal_(self.bbox_pred.weight, std=0.001)
        nn.init.zeros_(self.cls_score.bias)
        nn.init.zeros_(self.bbox_pred.bias)
        self.box2box_transform = box2box_transform
        self.smooth_l1_beta = smooth_l1_beta
        self.box_reg_loss_type = box_reg_loss_type
        self.test_score_thresh = test_score_thresh
        self.test_nms_thresh = test_nms_thresh
        self.test_topk_per_image = test_topk_per_image
        self.use_sigmoid_ce = use_sigmoid_ce
        self.suppression = suppression or Suppression(nms_thresh=test_nms_thresh)
        names = ("loss_cls", "loss_box_reg")
        self.loss_weight = (
            dict.fromkeys(names, loss_weight) if isinstance(loss_weight, (int, float)) else dict(loss_weight)
        )

    @classmethod
    def from_config(cls, cfg: Any, input_shape: ShapeSpec) -> dict[str, Any]:
        """Read ``MODEL.ROI_BOX_HEAD``, ``MODEL.ROI_HEADS`` and ``TEST``."""
        node = cfg.MODEL.ROI_BOX_HEAD
        if node.USE_FED_LOSS:
            raise ConfigValueError("MODEL.ROI_BOX_HEAD.USE_FED_LOSS is not supported; set it to False")
        return {
            "input_shape": input_shape,
            "box2box_transform": Box2BoxTransform(weights=node.BBOX_REG_WEIGHTS),
            "num_classes": cfg.MODEL.ROI_HEADS.NUM_CLASSES,
            "test_score_thresh": cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST,
            "test_nms_thresh": cfg.MODEL.ROI_HEADS.NMS_THRESH_TEST,
            "test_topk_per_image": cfg.TEST.DETECTIONS_PER_IMAGE,
            "cls_agnostic_bbox_reg": node.CLS_AGNOSTIC_BBOX_REG,
            "smooth_l1_beta": node.SMOOTH_L1_BETA,
            "box_reg_loss_type": node.BBOX_REG_LOSS_TYPE,
            "loss_weight": {"loss_box_reg": node.BBOX_REG_LOSS_WEIGHT},
            "use_sigmoid_ce": node.USE_SIGMOID_CE,
            "suppression": Suppression.from_config(cfg),
        }

    def forward(self, x: torch.Tensor) -> Predictions:
        """Predict for every region.

        Args:
            x: (M, ...) features.

        Returns:
            (M, K + 1) scores before softmax, background last, and (M, K * 4) or (M, 4) offsets.
        """
        x = flatten_regions(x)
        return self.cls_score(x), self.bbox_pred(x)

    def losses(self, predictions: Predictions, proposals: Sequence[Instances]) -> dict[str, torch.Tensor]:
        """Compute the losses of a step.

        Args:
            predictions: what :meth:`forward` returned for the proposals' rows.
            proposals: the proposals with ``gt_classes`` and ``gt_boxes``.

        Returns:
            ``loss_cls`` and ``loss_box_reg``, 0-d; both are means over all regions, so that every
            foreground region weighs the same however many there are.
        """
        scores, deltas = predictions
        rows = ProposalBatch.of(proposals).rows()
        scores = scores.float()
        _log_accuracy(scores.detach(), rows)
        count = rows.valid.sum().clamp(min=1)
        losses = {
            "loss_cls": self._classification_loss(scores, rows) / count,
            "loss_box_reg": self._box_loss(deltas, rows) / count,
        }
        return {name: loss * self.loss_weight.get(name, 1.0) for name, loss in losses.items()}

    def _classification_loss(self, scores: torch.Tensor, rows: RoiRows) -> torch.Tensor:
        assert rows.gt_classes is not None
        if not self.use_sigmoid_ce:
            return F.cross_entropy(scores, rows.gt_classes, reduction="sum", ignore_index=-1)
        classes = torch.arange(self.num_classes, device=scores.device)
        truth = (rows.gt_classes[:, None] == classes).to(scores.dtype)
        loss = F.binary_cross_entropy_with_logits(scores[:, :-1], truth, reduction="none")
        return torch.where(rows.valid[:, None], loss, torch.zeros_like(loss)).sum()

    def _box_loss(self, deltas: torch.Tensor, rows: RoiRows) -> torch.Tensor:
        assert rows.gt_classes is not None
        assert rows.gt_boxes is not None
        foreground = rows.foreground(self.num_classes)
        return box_regression_loss(
            self.box2box_transform,
            rows.boxes,
            self._of_class(deltas, rows.gt_classes),
            rows.gt_boxes,
            foreground & rows.valid,
            self.box_reg_loss_type,
            self.smooth_l1_beta,
        )

    @staticmethod
    def _of_class(values: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """Take of (M, K * 4) every row's class; (M, 4) serves all classes."""
        if values.shape[1] == 4:
            return values
        per_class = values.unflatten(1, (-1, 4))
        index = classes.clamp(0, per_class.shape[1] - 1)[:, None, None].expand(-1, 1, 4)
        return per_class.gather(1, index)[:, 0]

    def predict_rows(self, predictions: Predictions, rows: RoiRows) -> Predictions:
        """Return (M, K * 4) or (M, 4) boxes and (M, K + 1) probabilities of all rows."""
        scores, deltas = predictions
        return self.box2box_transform.apply_deltas(deltas, rows.boxes), self.predict_scores(scores)

    def predict_scores(self, scores: torch.Tensor) -> torch.Tensor:
        """Return (M, K + 1) probabilities, in float32."""
        scores = scores.float()
        return scores.sigmoid() if self.use_sigmoid_ce else F.softmax(scores, dim=-1)

    def predict_boxes(
        self, predictions: Predictions, proposals: Sequence[Instances]
    ) -> Sequence[torch.Tensor]:
        """Return every image's (Ri, K * 4) or (Ri, 4) boxes."""
        boxes, _ = self.predict_rows(predictions, ProposalBatch.of(proposals).rows())
        return self._per_image(boxes, proposals)

    def predict_probs(
        self, predictions: Predictions, proposals: Sequence[Instances]
    ) -> Sequence[torch.Tensor]:
        """Return every image's (Ri, K + 1) probabilities."""
        return self._per_image(self.predict_scores(predictions[0]), proposals)

    def predict_boxes_for_gt_classes(
        self, predictions: Predictions, proposals: Sequence[Instances]
    ) -> Sequence[torch.Tensor]:
        """Return every image's (Ri, 4) boxes of the class each proposal is matched to."""
        rows = ProposalBatch.of(proposals).rows()
        assert rows.gt_classes is not None
        boxes, _ = self.predict_rows(predictions, rows)
        return self._per_image(self._of_class(boxes, rows.gt_classes), proposals)

    @staticmethod
    def _per_image(values: torch.Tensor, proposals: Sequence[Instances]) -> Sequence[torch.Tensor]:
        batch = ProposalBatch.of(proposals)
        return [v[used] for v, used in zip(batch.spread(values), batch.valid, strict=True)]

    def inference(
        self, predictions: Predictions, proposals: Sequence[Instances]
    ) -> tuple[list[Instances], list[torch.Tensor]]:
        """Choose the detections.

        Args:
            predictions: what :meth:`forward` returned for the proposals' rows.
            proposals: the proposals.

        Returns:
            As :func:`~cardamage.modeling.roi_heads.detection.detect`.
        """
        batch = ProposalBatch.of(proposals)
        boxes, probs = self.predict_rows(predictions, batch.rows())
        return self.detections(boxes, probs, batch)

    def detections(
        self, boxes: torch.Tensor, probs: torch.Tensor, batch: ProposalBatch
    ) -> tuple[list[Instances], list[torch.Tensor]]:
        """Choose the detections from the rows' boxes and probabilities."""
        rows = batch.rows()
        if batch.fixed:
            # Not finite, so never a detection.
            probs = probs.masked_fill(~rows.valid[:, None], -torch.inf)
        return detect(
            boxes,
            probs,
            rows.image,
            batch.image_sizes,
            self.test_score_thresh,
            self.suppression,
            self.test_topk_per_image,
        )
