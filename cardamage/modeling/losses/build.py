"""The loss on classes that a config asks for."""

from __future__ import annotations

from typing import Any

from cardamage.config.loss_checks import check_class_loss
from cardamage.errors import ConfigValueError

from .class_loss import ClassLoss, SigmoidCrossEntropy, SoftmaxCrossEntropy
from .class_weights import ClassWeights
from .focal import QualityFocal, SigmoidFocal, SoftmaxFocal
from .long_tail import Equalization, Seesaw

__all__ = ["build_class_loss"]


def build_class_loss(cfg: Any) -> ClassLoss | None:
    """Build the loss that ``MODEL.ROI_BOX_HEAD`` describes.

    Args:
        cfg: the config tree; ``DATASETS.TRAIN`` is read where classes are weighted by their number.

    Returns:
        The loss; None for Detectron2's own cross entropies.

    Raises:
        ConfigValueError: keys that don't go together.
    """
    node = cfg.MODEL.ROI_BOX_HEAD
    check_class_loss(cfg)
    weights = ClassWeights.from_config(cfg)
    plain = node.LABEL_SMOOTHING == 0 and weights is None and node.BACKGROUND_WEIGHT == 1
    if plain and node.CLASS_LOSS == "cross_entropy":
        return None
    loss = _loss_of(node, cfg.MODEL.ROI_HEADS.NUM_CLASSES, weights)
    loss.background_weight = float(node.BACKGROUND_WEIGHT)
    return loss


def _loss_of(node: Any, num_classes: int, weights: ClassWeights | None) -> ClassLoss:
    kind, sigmoid = node.CLASS_LOSS, node.USE_SIGMOID_CE
    if kind == "cross_entropy":
        entropy = SigmoidCrossEntropy if sigmoid else SoftmaxCrossEntropy
        return entropy(num_classes, weights, node.LABEL_SMOOTHING)
    if kind in ("focal", "quality_focal"):
        focal = SigmoidFocal if sigmoid else SoftmaxFocal
        focal = QualityFocal if kind == "quality_focal" else focal
        return focal(num_classes, weights, node.FOCAL_LOSS_GAMMA, node.FOCAL_LOSS_ALPHA, node.PRIOR_PROB)
    if kind == "seesaw":
        return Seesaw(num_classes, node.SEESAW_P, node.SEESAW_Q)
    if kind == "equalization":
        factors = node.EQUALIZATION_GAMMA, node.EQUALIZATION_MU, node.EQUALIZATION_ALPHA
        return Equalization(num_classes, *factors, prior=node.PRIOR_PROB)
    raise ConfigValueError(f"MODEL.ROI_BOX_HEAD.CLASS_LOSS is {kind!r}, which there is no loss for.")
