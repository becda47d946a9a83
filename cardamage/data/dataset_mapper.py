"""From a dataset dict to one sample of the model's input."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from cardamage.config import CfgNode, configurable
from cardamage.data import detection_utils as utils
from cardamage.data import transforms as T  # noqa: N812 (the name everyone knows it by)
from cardamage.data.annotations.sides import configured_indices, mark_sides
from cardamage.data.images.picture_input import PictureInput, image_to_tensor
from cardamage.errors import ConfigValueError, DataError
from cardamage.structures import BitMasks, PolygonMasks
from cardamage.utils.heap import keep_freed_memory

__all__ = ["DatasetMapper", "check_segmentations"]

logger = logging.getLogger(__name__)


class DatasetMapper:
    """Read the image, augment it with its annotations, and make tensors and :class:`Instances` of them.

    Write one of your own, or derive from it, for another way of reading or augmenting.
    """

    @configurable
    def __init__(
        self,
        is_train: bool,
        *,
        augmentations: Sequence[T.Augmentation | T.Transform],
        image_format: str,
        use_instance_mask: bool = False,
        use_keypoint: bool = False,
        instance_mask_format: str = "polygon",
        keypoint_hflip_indices: Sequence[int] | np.ndarray | None = None,
        precomputed_proposal_topk: int | None = None,
        recompute_boxes: bool = False,
        native_resize: bool = True,
        scaled_decode: bool = True,
        class_flip_indices: Sequence[int] | None = None,
    ) -> None:
        """Set what the mapper does.

        Args:
            is_train: give annotations as instances; otherwise leave them out.
            augmentations: in order.
            image_format: channel order, see :func:`cardamage.data.detection_utils.read_image`.
            use_instance_mask: give masks.
            use_keypoint: must be False; keypoints are not supported.
            instance_mask_format: "polygon" or "bitmask".
            keypoint_hflip_indices: for mappers that carry keypoints along, see
                :func:`cardamage.data.detection_utils.transform_instance_annotations`.
            precomputed_proposal_topk: give the dataset's proposals, so many of each image; None gives none.
            recompute_boxes: take boxes from the masks after augmentation: tight also where a crop cut an
                object.
            native_resize: resize in torch's vectorized code, within a level of 255 of Detectron2's pixels;
                False gives Detectron2's.
            scaled_decode: decode JPEGs no larger than the first resize needs; False decodes in full.
            class_flip_indices: the class that each one becomes in a mirrored picture, see
                :func:`cardamage.data.detection_utils.create_class_hflip_indices`; empty where none changes.
                None leaves it to what the annotations say, see :mod:`cardamage.data.annotations.sides`.

        Raises:
            ConfigValueError: If boxes shall come from masks that aren't used, or keypoints are asked for.
        """
        if recompute_boxes and not use_instance_mask:
            raise ConfigValueError("DatasetMapper: recompute_boxes needs use_instance_mask.")
        if use_keypoint:
            raise ConfigValueError("Keypoints are not supported; set MODEL.KEYPOINT_ON to False.")
        self.is_train = is_train
        self.augmentations = T.AugmentationList(augmentations)
        self.image_format = image_format
        self.use_instance_mask = use_instance_mask
        self.instance_mask_format = instance_mask_format
        self.use_keypoint = use_keypoint
        self.keypoint_hflip_indices = keypoint_hflip_indices
        self.proposal_topk = precomputed_proposal_topk
        self.recompute_boxes = recompute_boxes
        self.native_resize = native_resize
        self.scaled_decode = scaled_decode
        self.class_flip_indices = class_flip_indices
        logger.info("Augmentations in %s: %s", "training" if is_train else "inference", list(augmentations))

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict[str, Any]:
        """Read the arguments off a config.

        Args:
            cfg: INPUT, MODEL.MASK_ON, MODEL.KEYPOINT_ON, MODEL.LOAD_PROPOSALS, DATASETS.TRAIN (for its class
                names) and DATASETS.PRECOMPUTED_PROPOSAL_TOPK_* are read.
            is_train: training or inference.

        Returns:
            Arguments of the constructor.
        """
        augs = utils.build_augmentation(cfg, is_train)
        cropping = is_train and cfg.INPUT.CROP.ENABLED
        if cropping:
            crop = T.RandomCrop(cfg.INPUT.CROP.TYPE, cfg.INPUT.CROP.SIZE)
            crop.check_size()
            augs.insert(0, crop)
        limit = "PRECOMPUTED_PROPOSAL_TOPK_TRAIN" if is_train else "PRECOMPUTED_PROPOSAL_TOPK_TEST"
        return {
            "is_train": is_train,
            "augmentations": augs,
            "image_format": cfg.INPUT.FORMAT,
            "use_instance_mask": cfg.MODEL.MASK_ON,
            "instance_mask_format": cfg.INPUT.MASK_FORMAT,
            "use_keypoint": cfg.MODEL.KEYPOINT_ON,
            "precomputed_proposal_topk": cfg.DATASETS[limit] if cfg.MODEL.LOAD_PROPOSALS else None,
            "recompute_boxes": cropping and cfg.MODEL.MASK_ON,
            "native_resize": cfg.INPUT.RESIZE == "native",
            "scaled_decode": cfg.INPUT.SCALED_DECODE,
            "class_flip_indices": configured_indices(cfg) if is_train else None,
        }

    def __call__(self, dataset_dict: Mapping[str, Any]) -> dict[str, Any]:
        """Map one image.

        Args:
            dataset_dict: a dataset dict; it is left as it was.

        Returns:
            The dict with "image", a (C, H, W) uint8 tensor, in training with "instances", without
            "annotations".

        Raises:
            DataError: If the image or an annotation can't be used; the file is named.
        """
        record = dict(dataset_dict)
        annotations = record.pop("annotations", None)
        keep_freed_memory()
        aug_input = PictureInput(
            utils.open_record_image(record, self.image_format),
            scaled_decode=self.scaled_decode,
            native_resize=self.native_resize,
        )
        utils.check_image_size(record, aug_input.canvas)
        transforms = self.augmentations(aug_input)
        # Tensors pass between processes through shared memory; arrays would be pickled.
        record["image"] = image_to_tensor(aug_input.image)
        if self.proposal_topk is not None:
            utils.transform_proposals(
                record, aug_input.image.shape[:2], transforms, proposal_topk=self.proposal_topk
            )
        if self.is_train and annotations is not None:
            record["annotations"] = [dict(annotation) for annotation in annotations]
            if self.class_flip_indices is not None:
                mark_sides(record["annotations"], self.class_flip_indices)
            self._transform_annotations(record, transforms, aug_input.image.shape[:2])
        return record

    def _transform_annotations(
        self, dataset_dict: dict[str, Any], transforms: T.TransformList, image_shape: tuple[int, int]
    ) -> None:
        """Replace "annotations" by "instances". Crowds, which nothing is learned from, are left out."""
        annotations = [anno for anno in dataset_dict.pop("annotations") if not anno.get("iscrowd", 0)]
        if self.use_instance_mask:
            check_segmentations(dataset_dict, annotations)
        else:
            annotations = [{k: v for k, v in a.items() if k != "segmentation"} for a in annotations]
        try:
            instances = utils.transformed_instances(
                annotations, transforms, image_shape, self.instance_mask_format
            )
        except ValueError as error:
            raise DataError(
                f"The annotations of {dataset_dict.get('file_name', '?')} can't be used: {error}"
            ) from error
        if self.use_instance_mask and not instances.has("gt_masks"):
            instances.gt_masks = self._no_masks(image_shape)
        if self.recompute_boxes:
            instances.gt_boxes = instances.gt_masks.get_bounding_boxes()
        dataset_dict["instances"] = utils.filter_empty_instances(instances)

    def _no_masks(self, image_shape: tuple[int, int]) -> PolygonMasks | BitMasks:
        if self.instance_mask_format == "polygon":
            return PolygonMasks([])
        return BitMasks(torch.zeros((0, *image_shape), dtype=torch.bool))


def check_segmentations(record: Mapping[str, Any], annotations: Sequence[Mapping[str, Any]]) -> None:
    """Check that every annotation has a segmentation of its image's size.

    Args:
        record: the image's dict, for its name and size.
        annotations: of the image.

    Raises:
        DataError: If one hasn't, naming the file and the annotation.
    """
    name = record.get("file_name", "?")
    for number, annotation in enumerate(annotations):
        segmentation = annotation.get("segmentation")
        if segmentation is None or len(segmentation) == 0:
            raise DataError(
                f"Annotation {number} of {name} has a box but no segmentation, which a model with "
                "masks needs; "
                "annotate its outline, or set MODEL.MASK_ON to False to train on boxes alone."
            )
        size = (record.get("height"), record.get("width"))
        if isinstance(segmentation, Mapping) and None not in size and tuple(segmentation["size"]) != size:
            raise DataError(
                f"The RLE mask of annotation {number} of {name} is for an image of height and width "
                f"{list(segmentation['size'])}, but the image has {list(size)}; make both the same."
            )
