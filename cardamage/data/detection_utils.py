"""From dataset dicts to what the model is given, under the names that custom mappers use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cardamage.absent import absent_names
from cardamage.catalog.consistency import (
    check_metadata_consistency,
    create_class_hflip_indices,
    create_keypoint_hflip_indices,
    get_fed_loss_cls_weights,
)
from cardamage.config import CfgNode
from cardamage.data import transforms as T  # noqa: N812 (the name everyone knows it by)
from cardamage.data.annotations.keypoints import transform_keypoint_annotations
from cardamage.data.annotations.targets import (
    annotations_to_instances,
    filter_empty_instances,
    get_bbox,
    transform_instance_annotations,
    transformed_instances,
)
from cardamage.data.images.checks import size_mismatch
from cardamage.data.images.pixel_formats import convert_image_to_rgb, convert_PIL_to_numpy
from cardamage.data.images.reading import open_record_image, read_image, read_record_image
from cardamage.data.preparation.proposals import transform_proposals
from cardamage.errors import ConfigValueError, DataError
from cardamage.structures import BoxMode

__all__ = [
    "SizeMismatchError",
    "annotations_to_instances",
    "build_augmentation",
    "build_transform_gen",
    "check_image_size",
    "check_metadata_consistency",
    "convert_PIL_to_numpy",
    "convert_image_to_rgb",
    "create_class_hflip_indices",
    "create_keypoint_hflip_indices",
    "filter_empty_instances",
    "gen_crop_transform_with_instance",
    "get_bbox",
    "get_fed_loss_cls_weights",
    "open_record_image",
    "read_image",
    "read_record_image",
    "transform_instance_annotations",
    "transform_keypoint_annotations",
    "transform_proposals",
    "transformed_instances",
]

__getattr__ = absent_names(__name__)


class SizeMismatchError(DataError):
    """An image whose size isn't what its annotation says."""


def check_image_size(dataset_dict: dict[str, Any], image: np.ndarray) -> None:
    """Compare an image's size with its dataset dict's, and fill in what the dict lacks.

    Args:
        dataset_dict: may have "width" and "height"; has them afterwards.
        image: (H, W, ...) array.

    Raises:
        SizeMismatchError: If they differ.
    """
    height, width = image.shape[:2]
    trouble = size_mismatch({"file_name": "?", **dataset_dict}, (height, width, 1))
    if trouble:
        raise SizeMismatchError(trouble)
    dataset_dict["width"], dataset_dict["height"] = width, height


def gen_crop_transform_with_instance(
    crop_size: tuple[int, int], image_size: tuple[int, int], instance: Mapping[str, Any]
) -> T.CropTransform:
    """Draw a crop that holds an instance's center.

    Args:
        crop_size: height and width in pixels.
        image_size: height and width of the image.
        instance: an annotation with "bbox" and "bbox_mode".

    Returns:
        The crop.

    Raises:
        DataError: If the center is outside the image, or the crop larger than it.
    """
    box = BoxMode.convert(instance["bbox"], instance["bbox_mode"], BoxMode.XYXY_ABS)
    center = (box[1] + box[3]) * 0.5, (box[0] + box[2]) * 0.5
    if image_size[0] < center[0] or image_size[1] < center[1]:
        raise DataError(
            f"The box {list(box)} has its center outside its image of height x width {image_size}."
        )
    if image_size[0] < crop_size[0] or image_size[1] < crop_size[1]:
        raise DataError(f"A crop of {crop_size} doesn't fit an image of {image_size} (height, width).")
    corner = []
    for size, full, middle in zip(crop_size, image_size, center, strict=True):
        least = max(int(np.floor(middle)) - size, 0)
        greatest = min(max(full - size, 0), int(np.ceil(middle)))
        corner.append(np.random.randint(least, greatest + 1))
    y0, x0 = corner
    return T.CropTransform(x0, y0, crop_size[1], crop_size[0])


def build_augmentation(cfg: CfgNode, is_train: bool) -> list[T.Augmentation]:
    """Make the default augmentation: resize, and flip in training.

    Args:
        cfg: INPUT is read.
        is_train: training or inference.

    Returns:
        Augmentations in order.
    """
    if not is_train:
        return [T.ResizeShortestEdge(cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST, "choice")]
    sizes, style = cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING
    augs: list[T.Augmentation] = [T.ResizeShortestEdge(sizes, cfg.INPUT.MAX_SIZE_TRAIN, style)]
    flip = cfg.INPUT.RANDOM_FLIP
    if flip not in ("none", "horizontal", "vertical"):
        raise ConfigValueError(f"INPUT.RANDOM_FLIP must be 'none', 'horizontal' or 'vertical'; got {flip!r}.")
    if flip != "none":
        augs.append(T.RandomFlip(horizontal=flip == "horizontal", vertical=flip == "vertical"))
    return augs


build_transform_gen = build_augmentation
