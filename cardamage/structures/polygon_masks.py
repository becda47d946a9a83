"""Masks kept as polygons."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from .boxes import Boxes
from .packed_polygons import PackedPolygons, pack_outlines
from .polygons import polygon_area, rasterize_polygons_within_box


class PolygonMasks:
    """The masks of an image's objects, each the union of one or more polygons.

    They are small and stay on the CPU: ``to`` does nothing. A loader may lay those of a whole batch out as
    one table beforehand, see :meth:`pack_together`; they are unpacked again when somebody looks at them.
    """

    _packed: tuple[PackedPolygons, int, int] | None = None

    def __init__(self, polygons: list[list[Any]]) -> None:
        """Take per instance a list of polygons (arrays, tensors or lists of numbers).

        Raises:
            ValueError: not a list of lists, or a polygon of fewer than 3 points or an odd count of numbers.
        """
        if not isinstance(polygons, list):
            raise ValueError(
                "PolygonMasks need a list (instances) of lists (polygons) of coordinates, "
                f"got {type(polygons).__name__}."
            )
        self._polygons = [_read_instance(i, inst) for i, inst in enumerate(polygons)]

    @classmethod
    def _wrap(cls, polygons: list[list[np.ndarray]]) -> PolygonMasks:
        """Build from polygons that were checked before."""
        masks = cls([])
        masks.polygons = polygons
        return masks

    @property
    def polygons(self) -> list[list[np.ndarray]]:
        """Per instance a list of float64 vectors x0, y0, x1, y1, ... in pixels."""
        if self._packed is not None:
            # From here on the caller may change them, so the table doesn't count any more.
            (table, first, count), self._packed = self._packed, None
            self._polygons = table.outlines(first, count)
        return self._polygons

    @polygons.setter
    def polygons(self, value: list[list[np.ndarray]]) -> None:
        self._packed, self._polygons = None, value

    @property
    def packed(self) -> tuple[PackedPolygons, int] | None:
        """The table that holds these masks and the first one's row in it; None where they aren't packed."""
        return None if self._packed is None else self._packed[:2]

    @staticmethod
    def pack_together(masks: Sequence[PolygonMasks]) -> PackedPolygons:
        """Lay the masks of the images of a batch out as one table, and keep them there only.

        Args:
            masks: the masks of each image; their instances are numbered through in this order.

        Returns:
            The table, on the CPU.
        """
        instances = [instance for one in masks for instance in one.polygons]
        table = pack_outlines(instances)
        if all(len(polygon) for instance in instances for polygon in instance):
            first = 0
            for one in masks:
                one._packed, one._polygons, first = (table, first, len(one)), [], first + len(one)
        return table

    @staticmethod
    def cat(polymasks_list: Sequence[PolygonMasks]) -> PolygonMasks:
        """Join the masks of several sets.

        Raises:
            ValueError: none given.
        """
        if not polymasks_list:
            raise ValueError("PolygonMasks.cat needs at least one PolygonMasks.")
        return PolygonMasks._wrap(list(itertools.chain.from_iterable(m.polygons for m in polymasks_list)))

    def to(self, *args: Any, **kwargs: Any) -> PolygonMasks:
        """Return self, whatever the device."""
        return self

    @property
    def device(self) -> torch.device:
        """The CPU, always."""
        return torch.device("cpu")

    def get_bounding_boxes(self) -> Boxes:
        """Return the tight boxes around the instances; all zeros for one without polygons."""
        boxes = np.zeros((len(self.polygons), 4), dtype=np.float64)
        for row, polygons in zip(boxes, self.polygons, strict=True):
            if polygons:
                points = np.concatenate(polygons).reshape(-1, 2)
                row[:2], row[2:] = points.min(axis=0), points.max(axis=0)
        return Boxes(torch.from_numpy(boxes))

    def nonempty(self) -> torch.Tensor:
        """Tell, as bool (N,), which instances have a polygon at all."""
        return torch.tensor([len(polygons) > 0 for polygons in self.polygons], dtype=torch.bool)

    def area(self) -> torch.Tensor:
        """Return per instance the sum of its polygons' areas, float64 (N,), overlaps counted twice."""
        areas = [sum(polygon_area(p[0::2], p[1::2]) for p in polygons) for polygons in self.polygons]
        return torch.tensor(areas, dtype=torch.float64)

    def crop_and_resize(self, boxes: torch.Tensor, mask_size: int) -> torch.Tensor:
        """Draw mask i inside box i, stretched to a square: the targets of a mask head.

        Args:
            boxes: (N, 4), one per instance, on any device.
            mask_size: the side of the result in cells.

        Returns:
            bool (N, mask_size, mask_size) on the device of ``boxes``.

        Raises:
            ValueError: boxes and masks differ in number.
        """
        if len(boxes) != len(self):
            raise ValueError(f"crop_and_resize needs a box for each mask, got {len(boxes)} and {len(self)}.")
        if len(self) == 0:
            return torch.empty(0, mask_size, mask_size, dtype=torch.bool, device=boxes.device)
        rows = boxes.detach().to("cpu", torch.float32).numpy()
        masks = [
            rasterize_polygons_within_box(polygons, row, mask_size)
            for polygons, row in zip(self.polygons, rows, strict=True)
        ]
        return torch.stack(masks).to(boxes.device)

    def __getitem__(self, item: int | slice | list[int] | np.ndarray | torch.Tensor) -> PolygonMasks:
        """Select instances by int (kept as one instance), slice, list, or a bool or integer vector.

        Raises:
            ValueError: the index is neither bool nor integer.
        """
        if isinstance(item, (int, np.integer)):
            return PolygonMasks._wrap([self.polygons[int(item)]])
        if isinstance(item, slice):
            return PolygonMasks._wrap(self.polygons[item])
        return PolygonMasks._wrap([self.polygons[i] for i in index_list(item)])

    def __iter__(self) -> Iterator[list[np.ndarray]]:
        """Yield each instance's polygons."""
        return iter(self.polygons)

    def __len__(self) -> int:
        return len(self._polygons) if self._packed is None else self._packed[2]

    def __repr__(self) -> str:
        return f"PolygonMasks(num_instances={len(self)})"


def index_list(item: Any) -> list[int]:
    """Turn a list, or a bool or integer vector, into a list of positions.

    Raises:
        ValueError: the index is of another type or not a vector.
    """
    index = np.asarray(item.detach().cpu() if isinstance(item, torch.Tensor) else item)
    if index.ndim == 1 and index.size == 0:
        return []
    if index.ndim != 1 or index.dtype.kind not in "biu":
        raise ValueError(f"An index must be a vector of bool or integers, got {index.dtype} {index.shape}.")
    return (np.flatnonzero(index) if index.dtype.kind == "b" else index).tolist()


def _read_instance(number: int, polygons: Any) -> list[np.ndarray]:
    if not isinstance(polygons, (list, tuple)):
        raise ValueError(f"Instance {number} needs a list of polygons, got {type(polygons).__name__}.")
    return [_read_polygon(number, polygon) for polygon in polygons]


def _read_polygon(number: int, polygon: Any) -> np.ndarray:
    if isinstance(polygon, torch.Tensor):
        polygon = polygon.detach().cpu().numpy()
    points = np.array(polygon, dtype=np.float64)
    if points.ndim != 1 or points.size % 2 or points.size < 6:
        raise ValueError(
            f"A polygon of instance {number} can't be used: it needs a flat list of at least 3 points "
            f"(x0, y0, x1, y1, x2, y2), got shape {points.shape}."
        )
    return points
