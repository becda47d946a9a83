"""What a mask head learns: the ground truth's masks, cropped to the proposals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torchvision.ops import roi_align

from cardamage.layers import pack_polygons, rasterize_polygons_in_boxes
from cardamage.structures import BitMasks, Instances, PolygonMasks

from ..batch import RoiRows, TargetBatch

__all__ = ["MaskRows", "crop_targets"]


@dataclass
class MaskRows:
    """The foreground regions of a step and the ground truth they are matched to.

    Attributes:
        rows: F regions, valid where they are foreground.
        targets: the ground truth of all images, with ``gt_masks``.
    """

    rows: RoiRows
    targets: TargetBatch

    @property
    def classes(self) -> torch.Tensor:
        """(F,) int64 classes; any class where a row is not valid."""
        assert self.rows.gt_classes is not None
        return self.rows.gt_classes

    def crop(self, size: int) -> torch.Tensor:
        """Return (F, size, size) bool masks within the regions."""
        return crop_targets(self.rows, self.targets, size)


def crop_targets(rows: RoiRows, targets: TargetBatch, size: int) -> torch.Tensor:
    """Crop every row's ground truth mask to its box.

    Args:
        rows: F regions with ``gt_index``.
        targets: the ground truth of all images, with ``gt_masks``.
        size: the side of the result.

    Returns:
        (F, size, size) bool on the rows' device: polygons as pycocotools draws them, bitmaps where
        ROIAlign gives a half or more.
    """
    assert rows.gt_index is not None
    counts = torch.tensor([len(t) for t in targets.instances])
    first = (counts.cumsum(0) - counts).to(rows.boxes.device, non_blocking=True)
    # Rows that are not valid may point anywhere; what they get is not used.
    index = torch.where(rows.valid, first[rows.image] + rows.gt_index, torch.zeros_like(rows.image))
    masks = [t.gt_masks for t in targets.instances if len(t)]
    if not masks:
        return torch.zeros((len(rows), size, size), dtype=torch.bool, device=rows.boxes.device)
    if isinstance(masks[0], PolygonMasks):
        packed = pack_polygons(masks).to(rows.boxes.device, non_blocking=True)
        return rasterize_polygons_in_boxes(packed, index, rows.boxes, size)
    return _crop_bitmaps(masks, index, rows.boxes, size)


def _crop_bitmaps(
    masks: Sequence[BitMasks], index: torch.Tensor, boxes: torch.Tensor, size: int
) -> torch.Tensor:
    """Crop bitmaps of images of several sizes at once."""
    height = max(m.tensor.shape[1] for m in masks)
    width = max(m.tensor.shape[2] for m in masks)
    # ROIAlign repeats the image's last pixel at its border; the padding has to say the same.
    padded = [
        F.pad(
            m.tensor[:, None].to(boxes.device, torch.float32),
            (0, width - m.tensor.shape[2], 0, height - m.tensor.shape[1]),
            mode="replicate",
        )
        for m in masks
    ]
    rois = torch.cat([index[:, None].to(boxes.dtype), boxes], dim=1)
    return roi_align(torch.cat(padded), rois, (size, size), 1.0, 0, True)[:, 0] >= 0.5


def crop_instances(instances: Sequence[Instances], size: int, device: torch.device) -> torch.Tensor:
    """Crop the ``gt_masks`` of lists of proposals to their ``proposal_boxes``: (F, size, size) bool."""
    crops = [
        x.gt_masks.crop_and_resize(x.proposal_boxes.tensor, size).to(device) for x in instances if len(x)
    ]
    if not crops:
        return torch.zeros((0, size, size), dtype=torch.bool, device=device)
    return torch.cat(crops)
