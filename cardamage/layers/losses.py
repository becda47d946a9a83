"""Losses of boxes by how they overlap and how far apart they are (Zheng 2020), under Detectron2's names."""

from __future__ import annotations

from torchvision.ops import complete_box_iou_loss as ciou_loss
from torchvision.ops import distance_box_iou_loss as diou_loss

__all__ = ["ciou_loss", "diou_loss"]
