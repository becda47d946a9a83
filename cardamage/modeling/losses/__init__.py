"""What training lowers: losses on classes, boxes and masks."""

from __future__ import annotations

from .boxes import overlap_loss
from .classification import count_regions, sigmoid_loss, softmax_loss
from .federated import federated_classes, federated_weights

__all__ = [
    "count_regions",
    "federated_classes",
    "federated_weights",
    "overlap_loss",
    "sigmoid_loss",
    "softmax_loss",
]
