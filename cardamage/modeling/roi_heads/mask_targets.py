"""What a mask head learns: the ground truth's masks, cropped to the proposals."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torchvision.ops import roi_align

from cardamage.layers import PackedPolygons, pack_polygons, rasterize_polygons_in_boxes
from cardamage.layers.point_membership import points_in_polygons, points_on_bitmaps
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

    def at(self, points: torch.Tensor) -> torch.Tensor:
        """Return what the masks are at (F, P, 2) points in the network's pixels, (F, P) float32 0 to 1."""
        return read_targets(self.rows, self.targets, points)


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
    device, instances = rows.boxes.device, targets.instances
    used = [t for t in instances if len(t)]
    if not used:
        return torch.zeros((len(rows), size, size), dtype=torch.bool, device=device)
    if all(isinstance(t.gt_masks, PolygonMasks) for t in used):
        table, first = _polygon_table(instances)
        index = _table_rows(rows, first)
        return rasterize_polygons_in_boxes(table.to(device, non_blocking=True), index, rows.boxes, size)
    index = _table_rows(rows, _first_rows(instances))
    return _crop_bitmaps([_bitmaps(t) for t in used], index, rows.boxes, size)


def read_targets(rows: RoiRows, targets: TargetBatch, points: torch.Tensor) -> torch.Tensor:
    """Read every row's ground truth mask at points.

    Args:
        rows: F regions with ``gt_index``.
        targets: the ground truth of all images, with ``gt_masks``.
        points: (F, P, 2) x and y in the network's pixels.

    Returns:
        (F, P) float32 on the rows' device: 0 or 1 of polygons, which are exact; of bitmaps, whose pixels are
        interpolated, values between.
    """
    device, instances = rows.boxes.device, targets.instances
    used = [t for t in instances if len(t)]
    if not used:
        return torch.zeros(points.shape[:2], device=device)
    if all(isinstance(t.gt_masks, PolygonMasks) for t in used):
        table, first = _polygon_table(instances)
        index = _table_rows(rows, first)
        return points_in_polygons(table.to(device, non_blocking=True), index, points).float()
    index = _table_rows(rows, _first_rows(instances))
    return points_on_bitmaps([_bitmaps(t).tensor for t in used], index, points)


def rows_of(proposals: Sequence[Instances]) -> MaskRows:
    """Return lists of proposals, each with the ``gt_masks`` it is matched to, as rows."""
    rows = RoiRows.from_boxes([x.proposal_boxes for x in proposals])
    counts = [len(x) for x in proposals]
    index = [torch.arange(count) for count in counts] or [torch.zeros(0, dtype=torch.int64)]
    rows.gt_index = torch.cat(index).to(rows.boxes.device, non_blocking=True)
    rows.gt_classes = torch.cat([x.gt_classes for x in proposals])
    nothing = rows.boxes.new_zeros((len(counts), 0))
    return MaskRows(rows, TargetBatch(nothing, nothing, nothing, list(proposals)))


def _first_rows(instances: Sequence[Instances]) -> list[int]:
    """Return where each image begins when the instances of all are numbered through."""
    return [0, *itertools.accumulate(len(t) for t in instances)][:-1]


def _table_rows(rows: RoiRows, first: list[int]) -> torch.Tensor:
    """Return each row's ground truth, (F,) int64, counted from its image's first one."""
    assert rows.gt_index is not None
    starts = torch.tensor(first).to(rows.boxes.device, non_blocking=True)
    # Rows that are not valid may point anywhere; what they get is not used.
    return torch.where(rows.valid, starts[rows.image] + rows.gt_index, torch.zeros_like(rows.image))


def _polygon_table(instances: Sequence[Instances]) -> tuple[PackedPolygons, list[int]]:
    """Return a table of all polygons and each image's first row in it: the loader's, if it made one."""
    places = [t.gt_masks.packed if len(t) else None for t in instances]
    used: list[Any] = [place for place, t in zip(places, instances, strict=True) if len(t)]
    if all(place is not None and place[0] is used[0][0] for place in used):
        return used[0][0], [place[1] if place is not None else 0 for place in places]
    return pack_polygons([t.gt_masks for t in instances if len(t)]), _first_rows(instances)


def _bitmaps(target: Instances) -> BitMasks:
    """Return an image's masks as bitmaps: photos with run-lengths share batches with those without."""
    masks = target.gt_masks
    return (
        BitMasks.from_polygon_masks(masks, *target.image_size) if isinstance(masks, PolygonMasks) else masks
    )


def _crop_bitmaps(
    masks: Sequence[BitMasks], index: torch.Tensor, boxes: torch.Tensor, size: int
) -> torch.Tensor:
    """Crop bitmaps of images of several sizes, one image's in memory as numbers at a time."""
    result = torch.zeros((len(boxes), size, size), dtype=torch.bool, device=boxes.device)
    for part in masks:
        # Rows of other images shrink to a point, which costs nothing, instead of being counted.
        here = (index >= 0) & (index < len(part))
        rois = torch.cat([index[:, None].to(boxes.dtype), boxes], dim=1) * here[:, None]
        bitmaps = part.tensor[:, None].to(boxes.device, non_blocking=True).to(torch.float32)
        crops = roi_align(bitmaps, rois, (size, size), 1.0, 0, True)[:, 0] >= 0.5
        result |= crops & here[:, None, None]
        index = index - len(part)
    return result


def crop_instances(instances: Sequence[Instances], size: int, device: torch.device) -> torch.Tensor:
    """Crop the ``gt_masks`` of lists of proposals to their ``proposal_boxes``: (F, size, size) bool."""
    crops = [
        x.gt_masks.crop_and_resize(x.proposal_boxes.tensor, size).to(device) for x in instances if len(x)
    ]
    if not crops:
        return torch.zeros((0, size, size), dtype=torch.bool, device=device)
    return torch.cat(crops)
