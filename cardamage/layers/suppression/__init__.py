"""The NMS family: what to do with boxes that overlap better ones.

Every operator takes padded groups, that is, the boxes of many images and classes at once.
"""

from __future__ import annotations

from .greedy import greedy_keep
from .grouping import Groups, arrange
from .hard import batched_nms, nms, nms_keep_mask
from .masks import mask_keep, mask_overlaps
from .matrix import cluster_nms_scores, fast_keep, matrix_nms_scores
from .soft import batched_soft_nms, soft_nms_scores
from .weighted_boxes import fuse_weighted_boxes

__all__ = [
    "Groups",
    "arrange",
    "batched_nms",
    "batched_soft_nms",
    "cluster_nms_scores",
    "fast_keep",
    "fuse_weighted_boxes",
    "greedy_keep",
    "mask_keep",
    "mask_overlaps",
    "matrix_nms_scores",
    "nms",
    "nms_keep_mask",
    "soft_nms_scores",
]
