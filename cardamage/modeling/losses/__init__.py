"""What training lowers: losses on classes, boxes and masks."""

from __future__ import annotations

from .boxes import box_quality, overlap_loss
from .build import build_class_loss
from .class_loss import ClassLoss
from .classification import count_regions, sigmoid_loss, softmax_loss
from .federated import federated_classes, federated_weights
from .masks import MaskLoss

__all__ = [
    "ClassLoss",
    "MaskLoss",
    "box_quality",
    "build_class_loss",
    "count_regions",
    "federated_classes",
    "federated_weights",
    "overlap_loss",
    "sigmoid_loss",
    "softmax_loss",
]
