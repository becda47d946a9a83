"""Predicting on pictures in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import numpy as np
import torch
from torch import nn

from cardamage.catalog import Metadata, MetadataCatalog
from cardamage.checkpoint import (
    DetectionCheckpointer,
    checkpoint_thing_classes,
    num_classes_of,
)
from cardamage.config import CfgNode
from cardamage.data import transforms as T  # noqa: N812 (Detectron2's name for it)
from cardamage.data.annotations.sides import indices_at_test
from cardamage.data.images.picture_input import PictureInput, image_to_tensor
from cardamage.engine.scope import check_model_scope
from cardamage.engine.setup import resolve_device
from cardamage.errors import ConfigValueError, DataError
from cardamage.modeling import GeneralizedRCNNWithTTA, build_model
from cardamage.modeling.fusion import prepare_for_inference

__all__ = ["DefaultPredictor"]


class DefaultPredictor:
    """A model with its weights, from pictures to predictions.

    Pictures are resized as in evaluation, and the model runs as ``TEST.PRECISION`` and ``TEST.FUSE`` say. The
    number of classes follows from the weights unless the config sets it. With ``TEST.AUG.ENABLED`` every
    picture is looked at in several views, made of the picture as it is.

    Attributes:
        cfg: the config in use.
        model: the model, in eval mode; called directly it is the plain one, in float32.
        metadata: of the first test dataset, else the weights' class names.
        aug: the resizing.
    """

    def __init__(self, cfg: CfgNode) -> None:
        """Build the model and load ``MODEL.WEIGHTS``.

        Args:
            cfg: the full config, left as it is.

        Raises:
            CheckpointError: if the weights can't be read or don't fit.
            ConfigValueError: if the model is not one of those here, INPUT.FORMAT is neither RGB nor BGR, or
                TEST.PRECISION is nothing that the device computes in.
        """
        check_model_scope(cfg)
        self.cfg = cfg.clone()
        self.cfg.defrost()
        resolve_device(self.cfg)
        names = _follow_weights(self.cfg)
        self.input_format = self.cfg.INPUT.FORMAT
        if self.input_format not in ("RGB", "BGR"):
            raise ConfigValueError(f"INPUT.FORMAT is {self.input_format!r}: use RGB or BGR.")
        self.metadata = _metadata(self.cfg, names)
        self.model = build_model(self.cfg)
        self.model.eval()
        if self.cfg.MODEL.WEIGHTS:
            DetectionCheckpointer(self.model).load(self.cfg.MODEL.WEIGHTS, strict=True)
        shortest = self.cfg.INPUT.MIN_SIZE_TEST
        self.aug = T.ResizeShortestEdge([shortest, shortest], self.cfg.INPUT.MAX_SIZE_TEST)
        # What can't be is to be known now. What is used later may be another model.
        prepare_for_inference(self._augmented(self.model), self.cfg)

    @overload
    def __call__(self, original_image: np.ndarray) -> dict[str, Any]: ...

    @overload
    def __call__(self, original_image: Sequence[np.ndarray]) -> list[dict[str, Any]]: ...

    @torch.no_grad()
    def __call__(self, original_image: Any) -> Any:
        """Predict on one picture or on several.

        Args:
            original_image: (H, W, 3) uint8 BGR, or a list of such, of any sizes. Pictures of equal size share
                a batch; each gets what it gets alone.

        Returns:
            The model's output for the picture (``instances`` in its own pixels), or a list of them.

        Raises:
            DataError: if a picture has another shape.
        """
        if isinstance(original_image, np.ndarray):
            return self.fast_model([self.preprocess(original_image)])[0]
        inputs = [self.preprocess(image) for image in original_image]
        # Pictures of other shapes would be padded, which changes what the model finds near their edges.
        by_shape: dict[torch.Size, list[int]] = {}
        for index, item in enumerate(inputs):
            by_shape.setdefault(item["image"].shape, []).append(index)
        outputs: dict[int, dict[str, Any]] = {}
        for indices in by_shape.values():
            found = self.fast_model([inputs[index] for index in indices])
            outputs.update(zip(indices, found, strict=True))
        return [outputs[index] for index in range(len(inputs))]

    @property
    def fast_model(self) -> Any:
        """What pictures are given to: :attr:`model`, whatever it is now, prepared for inference."""
        known: tuple[Any, Any] = self.__dict__.get("_fast", (None, None))
        if known[0] is not self.model:
            known = self._fast = (self.model, prepare_for_inference(self._augmented(self.model), self.cfg))
        return known[1]

    def _augmented(self, model: Any) -> Any:
        """Return a model that looks at several views, if the config asks for it and this one doesn't."""
        if not self.cfg.TEST.AUG.ENABLED or isinstance(model, GeneralizedRCNNWithTTA):
            return model
        indices = indices_at_test(self.cfg, self.metadata)
        return GeneralizedRCNNWithTTA(self.cfg, model, class_flip_indices=indices)

    def preprocess(self, image: np.ndarray) -> dict[str, Any]:
        """Turn a picture into the model's input, as the test loader does.

        Args:
            image: (H, W, 3) uint8 BGR.

        Returns:
            ``image`` (3, h, w) in INPUT.FORMAT's order, and the picture's ``height`` and ``width``.

        Raises:
            DataError: if it has another shape.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
            raise DataError(f"A picture must have the shape (height, width, 3), not {tuple(image.shape)}.")
        height, width = image.shape[:2]
        if self.input_format == "RGB":
            image = image[:, :, ::-1]
        picture = PictureInput(np.ascontiguousarray(image), native_resize=self.cfg.INPUT.RESIZE == "native")
        if not self.cfg.TEST.AUG.ENABLED or self.cfg.INPUT.RESIZE == "exact":
            self.aug(picture)
        return {"image": image_to_tensor(picture.image), "height": height, "width": width}


def _follow_weights(cfg: CfgNode) -> list[str] | None:
    """Set the class count to the weights' unless the user set it, and return their class names."""
    weights = cfg.MODEL.WEIGHTS
    if not weights:
        return None
    checkpoint = DetectionCheckpointer(nn.Module()).read(weights)
    count = num_classes_of(checkpoint["model"])
    if count and not cfg.is_explicit("MODEL.ROI_HEADS.NUM_CLASSES"):
        cfg.set_derived("MODEL.ROI_HEADS.NUM_CLASSES", count)
    return checkpoint_thing_classes(checkpoint)


def _metadata(cfg: CfgNode, names: list[str] | None) -> Metadata:
    """Return what is known of the first test dataset, unless the weights know other classes."""
    for dataset in cfg.DATASETS.TEST[:1]:
        known = MetadataCatalog[dataset] if dataset in MetadataCatalog else None
        if known is not None and known.get("thing_classes") and names in (None, known.thing_classes):
            return known
    if names:
        return Metadata(name="predictions", thing_classes=names)
    for dataset in cfg.DATASETS.TEST[:1]:
        try:
            return MetadataCatalog.get(dataset)
        except DataError:
            # An ad-hoc dataset is read for its class names; whoever only predicts needn't have it.
            break
    return Metadata(name="predictions")
