"""One image's annotations: through transforms, then made training targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import torch

from cardamage.data import transforms as T  # noqa: N812 (the name everyone knows it by)
from cardamage.data.annotations.keypoints import transform_keypoint_annotations
from cardamage.data.annotations.outline_transforms import transform_outlines
from cardamage.data.annotations.sides import class_after, is_mirrored, swap_sides
from cardamage.errors import ConfigValueError, DataError
from cardamage.structures import BitMasks, Boxes, BoxMode, Instances, PolygonMasks, polygons_to_bitmask

__all__ = [
    "annotations_to_instances",
    "filter_empty_instances",
    "get_bbox",
    "transform_instance_annotations",
    "transformed_instances",
]

_PLAIN_MODES = (BoxMode.XYXY_ABS, BoxMode.XYWH_ABS)


def get_bbox(annotation: Mapping[str, Any]) -> Any:
    """Return an annotation's box as corners.

    Args:
        annotation: "bbox" and "bbox_mode".

    Returns:
        x0, y0, x1, y1 in pixels, of the box's own type.
    """
    return BoxMode.convert(annotation["bbox"], annotation["bbox_mode"], BoxMode.XYXY_ABS)


def transform_instance_annotations(
    annotation: dict[str, Any],
    transforms: T.Transform | list[T.Transform] | tuple[T.Transform, ...],
    image_size: tuple[int, int],
    *,
    keypoint_hflip_indices: Any = None,
) -> dict[str, Any]:
    """Apply transforms to one instance's box, segmentation, keypoints and, where they mirror it, class.

    Args:
        annotation: "bbox", "bbox_mode", maybe "segmentation" (polygons or COCO RLE), "keypoints" and
            "mirrored_category_id", see :mod:`cardamage.data.annotations.sides`; its entries are replaced.
        transforms: a transform, or several in order.
        image_size: height and width of the transformed image in pixels.
        keypoint_hflip_indices: see :func:`~.keypoints.transform_keypoint_annotations`.

    Returns:
        The same dict: "bbox" a (4,) float64 XYXY array clipped to the image, "segmentation" a list of flat
        float64 polygons or a (H, W) uint8 mask, "keypoints" (K, 3) float64.

    Raises:
        DataError: If a segmentation is of an unknown kind, or its mask doesn't fit the image.
    """
    if isinstance(transforms, (list, tuple)):
        transforms = T.TransformList(transforms)
    # Always floats: transforms work in place, and would round whole-numbered annotations at every step.
    box = np.array(get_bbox(annotation), dtype=np.float64)
    annotation["bbox"] = _transform_boxes(box[None], transforms, image_size)[0]
    annotation["bbox_mode"] = BoxMode.XYXY_ABS
    if "segmentation" in annotation:
        segmentation = annotation["segmentation"]
        annotation["segmentation"] = _transform_segmentation(segmentation, transforms, image_size)
    if "keypoints" in annotation:
        annotation["keypoints"] = transform_keypoint_annotations(
            annotation["keypoints"], transforms, image_size, keypoint_hflip_indices
        )
    swap_sides([annotation], transforms)
    return annotation


def transformed_instances(
    annos: Sequence[Mapping[str, Any]],
    transforms: T.Transform,
    image_size: tuple[int, int],
    mask_format: str = "polygon",
) -> Instances:
    """Make training targets from one image's annotations as they are in the dataset.

    What :func:`annotations_to_instances` makes of annotations that each went through
    :func:`transform_instance_annotations`; but all boxes, and all polygons, go as one array.

    Args:
        annos: untransformed annotations; they are left as they are.
        transforms: a transform or a list of them.
        image_size: height and width of the transformed image in pixels.
        mask_format: see :func:`annotations_to_instances`.

    Returns:
        See :func:`annotations_to_instances`.

    Raises:
        ConfigValueError: If the mask format is unknown.
        DataError: If some annotations have a segmentation and others don't, or one can't be used.
    """
    boxes = _corners(annos)
    if len(boxes):
        boxes = _transform_boxes(boxes, transforms, image_size)
    mirrored = any("mirrored_category_id" in anno for anno in annos) and is_mirrored(transforms)
    classes = [class_after(anno, mirrored) for anno in annos]
    if not any("segmentation" in anno for anno in annos):
        return _targets(boxes, classes, image_size)
    segmentations = _segmentations(annos)
    outlined = [n for n, one in enumerate(segmentations) if isinstance(one, (list, tuple))]
    outlines = transform_outlines([segmentations[n] for n in outlined], transforms)
    moved: dict[int, Any] = dict(zip(outlined, outlines, strict=True))
    for number, one in enumerate(segmentations):
        if number not in moved:
            moved[number] = _transform_segmentation(one, transforms, image_size)
    in_order = [moved[number] for number in range(len(segmentations))]
    return _targets(boxes, classes, image_size, _masks(in_order, image_size, mask_format))


def _corners(annos: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """The boxes as a float64 (N, 4) array of corners."""
    raw = [anno["bbox"] for anno in annos]
    plain = all(isinstance(box, (list, tuple)) and len(box) == 4 for box in raw)
    if not plain or not all(anno["bbox_mode"] in _PLAIN_MODES for anno in annos):
        # Arrays add in their own precision.
        raw, modes = [get_bbox(anno) for anno in annos], [BoxMode.XYXY_ABS] * len(annos)
    else:
        modes = [anno["bbox_mode"] for anno in annos]
    boxes = np.array(raw, dtype=np.float64).reshape(-1, 4)
    sided = np.array([mode == BoxMode.XYWH_ABS for mode in modes], dtype=bool)
    boxes[sided, 2:] += boxes[sided, :2]
    return boxes


def _transform_boxes(boxes: np.ndarray, transforms: T.Transform, image_size: tuple[int, int]) -> np.ndarray:
    height, width = image_size
    return np.minimum(transforms.apply_box(boxes).clip(min=0), (width, height, width, height))


def _transform_segmentation(
    segmentation: Any, transforms: T.Transform, image_size: tuple[int, int]
) -> list[np.ndarray] | np.ndarray:
    if isinstance(segmentation, (list, tuple)):
        return transform_outlines([segmentation], transforms)[0]
    if not isinstance(segmentation, Mapping):
        raise DataError(
            "A segmentation must be a list of polygons or a COCO RLE dict; got "
            f"{type(segmentation).__name__}."
        )
    mask = transforms.apply_segmentation(_decode_rle(segmentation))
    if mask.shape[:2] != tuple(image_size):
        raise DataError(
            f"A mask became {mask.shape[1]}x{mask.shape[0]} pixels where its image became "
            f"{image_size[1]}x{image_size[0]}; the RLE's size must be the image's."
        )
    return mask


def _decode_rle(segmentation: Mapping[str, Any]) -> np.ndarray:
    """COCO RLE, compressed or not, as a (H, W) uint8 mask."""
    if isinstance(segmentation["counts"], list):
        segmentation = mask_util.frPyObjects(dict(segmentation), *segmentation["size"])
    return mask_util.decode(segmentation)


def annotations_to_instances(
    annos: Sequence[Mapping[str, Any]], image_size: tuple[int, int], mask_format: str = "polygon"
) -> Instances:
    """Make training targets from one image's annotations.

    Args:
        annos: transformed annotations.
        image_size: height and width in pixels.
        mask_format: "polygon" keeps polygons, unless an instance of the image is a mask, which makes all of
            the image's bitmasks; "bitmask" draws polygons.

    Returns:
        Instances with ``gt_boxes`` (float32 XYXY), ``gt_classes`` (int64) and, where the annotations have
        segmentations, ``gt_masks``.

    Raises:
        ConfigValueError: If the mask format is unknown.
        DataError: If some annotations have a segmentation and others don't, or one can't be used.
    """
    boxes = [BoxMode.convert(anno["bbox"], anno["bbox_mode"], BoxMode.XYXY_ABS) for anno in annos]
    classes = [anno["category_id"] for anno in annos]
    masks = None
    if any("segmentation" in anno for anno in annos):
        masks = _masks(_segmentations(annos), image_size, mask_format)
    return _targets(np.array(boxes, dtype=np.float64).reshape(-1, 4), classes, image_size, masks)


def _targets(
    boxes: np.ndarray,
    classes: Sequence[Any],
    image_size: tuple[int, int],
    masks: PolygonMasks | BitMasks | None = None,
) -> Instances:
    target = Instances(image_size)
    target.gt_boxes = Boxes(torch.from_numpy(boxes))
    target.gt_classes = torch.tensor([int(one) for one in classes], dtype=torch.int64)
    if masks is not None:
        target.gt_masks = masks
    return target


def _segmentations(annos: Sequence[Mapping[str, Any]]) -> list[Any]:
    for number, anno in enumerate(annos):
        if "segmentation" not in anno:
            raise DataError(
                f"Annotation {number} has a box but no segmentation, which the others have; add it."
            )
    return [anno["segmentation"] for anno in annos]


def _masks(
    segmentations: list[Any], image_size: tuple[int, int], mask_format: str
) -> PolygonMasks | BitMasks:
    if mask_format not in ("polygon", "bitmask"):
        raise ConfigValueError(f"INPUT.MASK_FORMAT must be 'polygon' or 'bitmask'; got {mask_format!r}.")
    if mask_format == "polygon" and all(isinstance(segmentation, list) for segmentation in segmentations):
        return PolygonMasks(segmentations)
    masks = [_draw(segmentation, image_size) for segmentation in segmentations]
    sizes = {mask.shape for mask in masks}
    if len(sizes) > 1:
        raise DataError(f"The masks of one image must be of one size; got {sorted(sizes)}.")
    return BitMasks(torch.from_numpy(np.stack(masks)))


def _draw(segmentation: Any, image_size: tuple[int, int]) -> np.ndarray:
    """Any segmentation as a (H, W) bool mask."""
    if isinstance(segmentation, (list, tuple)):
        return polygons_to_bitmask(segmentation, *image_size)
    if isinstance(segmentation, Mapping):
        mask = _decode_rle(segmentation)
        if mask.shape != tuple(image_size):
            raise DataError(
                f"A mask must be {image_size[1]}x{image_size[0]} pixels, as its image is; got an "
                f"RLE of {mask.shape}."
            )
    else:
        mask = np.asarray(segmentation)
        if mask.ndim != 2:
            raise DataError(f"A mask must be a (height, width) array; got one of {mask.shape}.")
    return mask.astype(bool)


def filter_empty_instances(
    instances: Instances,
    by_box: bool = True,
    by_mask: bool = True,
    box_threshold: float = 1e-5,
    return_mask: bool = False,
) -> Instances | tuple[Instances, torch.Tensor]:
    """Drop instances of which nothing is left.

    Args:
        instances: with ``gt_boxes`` and maybe ``gt_masks``.
        by_box: drop those whose box has no width or height.
        by_mask: drop those whose mask is empty.
        box_threshold: least width and height in pixels to count as something.
        return_mask: also return which were kept.

    Returns:
        The instances that are left; with ``return_mask``, and a bool (N,) tensor.

    Raises:
        ValueError: If neither box nor mask shall decide.
    """
    if not by_box and not by_mask:
        raise ValueError("filter_empty_instances needs by_box or by_mask to decide by.")
    keep = torch.ones(len(instances), dtype=torch.bool)
    if by_box:
        keep &= instances.gt_boxes.nonempty(threshold=box_threshold)
    if by_mask and instances.has("gt_masks"):
        keep &= instances.gt_masks.nonempty()
    return (instances[keep], keep) if return_mask else instances[keep]
