"""Detectron2's mapper, with classes that change places in mirrored pictures."""

from __future__ import annotations

from typing import Any

from detectron2.data import DatasetMapper

from cardamage.data.annotations.sides import swap_sides

__all__ = ["SidedMapper"]


class SidedMapper(DatasetMapper):
    """Gives objects of a mirrored picture the class of the other side, then does as Detectron2's."""

    def _transform_annotations(
        self, dataset_dict: dict[str, Any], transforms: Any, image_shape: tuple[int, int]
    ) -> None:
        swap_sides(dataset_dict["annotations"], transforms)
        super()._transform_annotations(dataset_dict, transforms, image_shape)
