"""Non-maximum suppression under the path that Detectron2 has it at; it lives in :mod:`.suppression`."""

from __future__ import annotations

from cardamage.absent import absent_names

from .suppression.hard import batched_nms, nms, nms_keep_mask

__all__ = ["batched_nms", "nms", "nms_keep_mask"]

__getattr__ = absent_names(__name__)
