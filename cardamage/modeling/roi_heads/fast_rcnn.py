"""The class and the box of a region (Fast R-CNN, https://arxiv.org/abs/1504.08083)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from cardamage.catalog.consistency import get_fed_loss_cls_weights
from cardamage.config import configurable
from cardamage.layers import ShapeSpec
from cardamage.structures import Instances

from ..batch import ProposalBatch, RoiRows
from ..box_regression import Box2BoxTransform, box_regression_loss
from ..custom import batched, takes_batches
from ..loss_weights import weights_by_loss
from ..losses import (
    ClassLoss,
    box_quality,
    build_class_loss,
    count_regions,
    federated_classes,
    federated_weights,
    sigmoid_loss,
    softmax_loss,
)
from ..side_distribution import SideDistribution, side_distribution_loss
from .box_head import flatten_regions, prediction_layers
from .classification import _log_classification_stats
from .detection import (
    Suppression,
    detect_rows,
    detections_of,
    fast_rcnn_inference,
    fast_rcnn_inference_single_image,
    predicted_boxes,
    predicted_probs,
)

__all__ = ["FastRCNNOutputLayers", "fast_rcnn_inference", "fast_rcnn_inference_single_image"]

Predictions = tuple[torch.Tensor, torch.Tensor]


class FastRCNNOutputLayers(nn.Module):
    """Two linear layers: scores of every class and background, and offsets to the object's box."""

    fed_loss_cls_weights: torch.Tensor

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
        use_fed_loss: bool = False,
        use_sigmoid_ce: bool = False,
        get_fed_loss_cls_weights: Callable[[], torch.Tensor] | None = None,
        fed_loss_num_classes: int = 50,
        suppression: Suppression | None = None,
        class_loss: ClassLoss | None = None,
        box_reg_bins: int = 0,
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
            loss_weight: a factor for all losses, or one each for ``loss_cls``, ``loss_box_reg``,
                ``loss_box_dfl``.
            use_fed_loss: learn of every batch only its own classes and some drawn at random, for many
                classes that few images are annotated with; needs ``use_sigmoid_ce``.
            use_sigmoid_ce: score every class on its own instead of against the others.
            get_fed_loss_cls_weights: gives (num_classes,) weights to draw classes with, larger ones more
                often; called once, and needed with ``use_fed_loss``.
            fed_loss_num_classes: how many classes a batch learns at least, with ``use_fed_loss``.
            suppression: how overlapping detections are thinned out from ``test_nms_thresh`` on; else hard.
            class_loss: judges the scores and says what they mean; by default one of the two cross entropies,
                as ``use_sigmoid_ce`` says.
            box_reg_bins: tell each side of a box by so many scores of where it is, and lower the loss
                ``loss_box_dfl``, too; 0 for offsets.

        Raises:
            ConfigValueError: a federated loss without the sigmoid or without fitting weights.
        """
        super().__init__()
        self.num_classes = num_classes
        self.box2box_transform: Any = box2box_transform
        if box_reg_bins:
            self.box2box_transform = SideDistribution(box2box_transform, box_reg_bins)
        # What tells a box.
        self._box_size = 4 * max(box_reg_bins, 1)
        told = self._box_size * (1 if cls_agnostic_bbox_reg else num_classes)
        self.cls_score, self.bbox_pred = prediction_layers(input_shape, num_classes, told)
        self.smooth_l1_beta = smooth_l1_beta
        self.box_reg_loss_type = box_reg_loss_type
        self.test_score_thresh = test_score_thresh
        self.test_nms_thresh = test_nms_thresh
        self.test_topk_per_image = test_topk_per_image
        self.use_sigmoid_ce = use_sigmoid_ce
        self.use_fed_loss = use_fed_loss
        self.fed_loss_num_classes = fed_loss_num_classes
        self.suppression = suppression or Suppression()
        if use_fed_loss:
            weights = federated_weights(get_fed_loss_cls_weights, num_classes, use_sigmoid_ce)
            self.register_buffer("fed_loss_cls_weights", weights)
        names = ["loss_cls", "loss_box_reg", *(["loss_box_dfl"] if box_reg_bins else [])]
        self.loss_weight = weights_by_loss(loss_weight, *names)
        self.class_loss = class_loss
        if class_loss is not None:
            class_loss.init_bias(self.cls_score.bias)

    @classmethod
    def from_config(cls, cfg: Any, input_shape: ShapeSpec) -> dict[str, Any]:
        """Read ``MODEL.ROI_BOX_HEAD``, ``MODEL.ROI_HEADS`` and ``TEST``."""
        node = cfg.MODEL.ROI_BOX_HEAD
        class_loss = build_class_loss(cfg)
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
            "loss_weight": {
                "loss_box_reg": node.BBOX_REG_LOSS_WEIGHT,
                "loss_box_dfl": node.BBOX_REG_LOSS_WEIGHT * node.BBOX_REG_BINS_WEIGHT,
            },
            "use_fed_loss": node.USE_FED_LOSS,
            "use_sigmoid_ce": node.USE_SIGMOID_CE,
            "get_fed_loss_cls_weights": lambda: get_fed_loss_cls_weights(
                cfg.DATASETS.TRAIN, node.FED_LOSS_FREQ_WEIGHT_POWER
            ),
            "fed_loss_num_classes": node.FED_LOSS_NUM_CLASSES,
            "suppression": Suppression.from_config(cfg),
            **({} if class_loss is None else {"class_loss": class_loss}),
            **({"box_reg_bins": node.BBOX_REG_BINS} if node.BBOX_REG_BINS else {}),
        }

    def forward(self, x: torch.Tensor) -> Predictions:
        """Predict for every region.

        Args:
            x: (M, ...) features.

        Returns:
            (M, K + 1) scores before softmax, background last, and (M, K * 4) or (M, 4) offsets, or as many
            times the number of bins.
        """
        x = flatten_regions(x)
        return self.cls_score(x), self.bbox_pred(x)

    @batched
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
        rows = _rows(proposals, scores)
        assert rows.gt_classes is not None
        assert rows.gt_boxes is not None
        losses = {
            "loss_cls": self._classification_loss(scores.float(), deltas, rows),
            "loss_box_reg": self.box_reg_loss(rows.boxes, rows.gt_boxes, deltas, rows.gt_classes),
        }
        if isinstance(self.box2box_transform, SideDistribution):
            losses["loss_box_dfl"] = self._distribution_loss(self.box2box_transform, deltas, rows)
        return {name: loss * self.loss_weight.get(name, 1.0) for name, loss in losses.items()}

    def _classification_loss(self, scores: torch.Tensor, deltas: torch.Tensor, rows: RoiRows) -> torch.Tensor:
        classes = rows.gt_classes
        assert classes is not None
        if self.class_loss is None:
            _log_classification_stats(scores.detach(), classes)
            classify = self.sigmoid_cross_entropy_loss if self.use_sigmoid_ce else softmax_loss
            return classify(scores, classes)
        _log_classification_stats(self.class_loss.probabilities(scores.detach()), classes)
        quality = None
        if self.class_loss.needs_quality:
            own = self._of_class(deltas.detach(), classes, self._box_size)
            boxes = self.box2box_transform.apply_deltas(own, rows.boxes)
            assert rows.gt_boxes is not None
            quality = box_quality(boxes, rows.gt_boxes.to(boxes.dtype), rows.foreground(self.num_classes))
        return self.class_loss(scores, classes, quality)

    def sigmoid_cross_entropy_loss(
        self, pred_class_logits: torch.Tensor, gt_classes: torch.Tensor
    ) -> torch.Tensor:
        """Compute the binary cross entropy of every class on its own.

        Args:
            pred_class_logits: (M, K + 1) scores; background's, the last, are not used.
            gt_classes: (M,) int64, K for background, -1 for rows that don't count.

        Returns:
            The 0-d sum over the classes, mean over the rows that count.
        """
        learned = None
        if self.use_fed_loss:
            learned = self.get_fed_loss_classes(
                gt_classes[gt_classes >= 0],
                num_fed_loss_classes=self.fed_loss_num_classes,
                num_classes=pred_class_logits.shape[1] - 1,
                weight=self.fed_loss_cls_weights,
            )
        return sigmoid_loss(pred_class_logits, gt_classes, learned)

    def get_fed_loss_classes(
        self, gt_classes: torch.Tensor, num_fed_loss_classes: int, num_classes: int, weight: torch.Tensor
    ) -> torch.Tensor:
        """See :func:`~cardamage.modeling.losses.federated_classes`."""
        return federated_classes(gt_classes, num_fed_loss_classes, num_classes, weight)

    def box_reg_loss(
        self,
        proposal_boxes: torch.Tensor,
        gt_boxes: torch.Tensor,
        pred_deltas: torch.Tensor,
        gt_classes: torch.Tensor,
    ) -> torch.Tensor:
        """Compute the localization loss of the foreground.

        Args:
            proposal_boxes: (M, 4) XYXY.
            gt_boxes: (M, 4) XYXY, meaningful for foreground.
            pred_deltas: (M, K * 4) offsets, or (M, 4) for all classes, or as many times the number of bins.
            gt_classes: (M,) int64, K for background, -1 for rows that don't count.

        Returns:
            The 0-d sum over the foreground, divided by the number of all rows that count.
        """
        foreground = (gt_classes >= 0) & (gt_classes < self.num_classes)
        deltas = self._of_class(pred_deltas, gt_classes, self._box_size)
        transform = self.box2box_transform
        if isinstance(transform, SideDistribution):
            # Background may hold anything, which no zero gradient undoes.
            deltas = transform.means(torch.where(foreground[:, None], deltas, torch.zeros_like(deltas)))
            transform = transform.sides
        loss = box_regression_loss(
            transform,
            proposal_boxes,
            deltas,
            gt_boxes,
            foreground,
            self.box_reg_loss_type,
            self.smooth_l1_beta,
        )
        return loss / count_regions(gt_classes)

    def _distribution_loss(
        self, transform: SideDistribution, deltas: torch.Tensor, rows: RoiRows
    ) -> torch.Tensor:
        """Return the 0-d sum over the foreground's boxes of their sides' mean, divided by all rows."""
        assert rows.gt_classes is not None
        assert rows.gt_boxes is not None
        own = self._of_class(deltas, rows.gt_classes, self._box_size).unflatten(1, (4, transform.bins))
        foreground = rows.foreground(self.num_classes)
        loss = side_distribution_loss(transform, rows.boxes, own.float(), rows.gt_boxes, foreground)
        return loss / count_regions(rows.gt_classes)

    @staticmethod
    def _of_class(values: torch.Tensor, classes: torch.Tensor, size: int = 4) -> torch.Tensor:
        """Take of (M, K * size) every row's class; (M, size) serves all classes."""
        if values.shape[1] == size:
            return values
        per_class = values.unflatten(1, (-1, size))
        index = classes.clamp(0, per_class.shape[1] - 1)[:, None, None].expand(-1, 1, size)
        return per_class.gather(1, index)[:, 0]

    def predict_rows(self, predictions: Predictions, rows: RoiRows) -> Predictions:
        """Return (M, K * 4) or (M, 4) boxes and (M, K + 1) probabilities of all rows."""
        scores, deltas = predictions
        return self.box2box_transform.apply_deltas(deltas, rows.boxes), self.predict_scores(scores)

    def predict_scores(self, scores: torch.Tensor) -> torch.Tensor:
        """Return (M, K + 1) probabilities, in float32."""
        scores = scores.float()
        if self.class_loss is not None:
            return self.class_loss.probabilities(scores)
        return scores.sigmoid() if self.use_sigmoid_ce else F.softmax(scores, dim=-1)

    @batched
    def predict_boxes(
        self, predictions: Predictions, proposals: Sequence[Instances]
    ) -> Sequence[torch.Tensor]:
        """Return every image's (Ri, K * 4) or (Ri, 4) boxes."""
        batch = ProposalBatch.of(proposals).matching(len(predictions[1]))
        boxes = self.box2box_transform.apply_deltas(predictions[1], batch.rows().boxes)
        return _per_image(boxes, batch)

    @batched
    def predict_probs(
        self, predictions: Predictions, proposals: Sequence[Instances]
    ) -> Sequence[torch.Tensor]:
        """Return every image's (Ri, K + 1) probabilities."""
        batch = ProposalBatch.of(proposals).matching(len(predictions[0]))
        return _per_image(self.predict_scores(predictions[0]), batch)

    @batched
    def predict_boxes_for_gt_classes(
        self, predictions: Predictions, proposals: Sequence[Instances]
    ) -> Sequence[torch.Tensor]:
        """Return every image's (Ri, 4) boxes of the class each proposal is matched to."""
        batch = ProposalBatch.of(proposals).matching(len(predictions[1]))
        return _per_image(self.gt_class_boxes(predictions, batch.rows()), batch)

    def gt_class_boxes(self, predictions: Predictions, rows: RoiRows) -> torch.Tensor:
        """Return the rows' (M, 4) boxes of the class each is matched to."""
        assert rows.gt_classes is not None
        return self._of_class(self.predict_rows(predictions, rows)[0], rows.gt_classes)

    @batched
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
        return detect_rows(self, *self._scored(predictions, proposals))

    def _detections(self, predictions: Predictions, proposals: Sequence[Instances]) -> Sequence[Instances]:
        """Return :meth:`inference`'s first result; of fixed shapes, without waiting for the device."""
        return detections_of(self, *self._scored(predictions, proposals))

    def _scored(
        self, predictions: Predictions, proposals: Sequence[Instances]
    ) -> tuple[torch.Tensor, torch.Tensor, ProposalBatch]:
        """The boxes and probabilities of the proposals' rows, by a subclass's own methods if it has any."""
        batch = ProposalBatch.of(proposals)
        ours = takes_batches(self.predict_boxes) and takes_batches(self.predict_probs)
        batch = batch.matching(len(predictions[0])) if ours else batch.exact()
        return predicted_boxes(self, predictions, batch), predicted_probs(self, predictions, batch), batch


def _rows(proposals: Sequence[Instances], predicted: torch.Tensor) -> RoiRows:
    """The proposals' rows, as many as something was predicted for, on its device."""
    return ProposalBatch.of(proposals).matching(len(predicted)).rows()


def _per_image(values: torch.Tensor, batch: ProposalBatch) -> Sequence[torch.Tensor]:
    return [v[used] for v, used in zip(batch.spread(values), batch.valid, strict=True)]
