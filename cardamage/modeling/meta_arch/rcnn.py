"""Two-stage detectors: features, proposals, and what is computed for these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from cardamage.config import configurable
from cardamage.structures import Instances
from cardamage.utils.events import get_event_storage

from ..backbone import Backbone, build_backbone
from ..batch import TargetBatch
from ..custom import call
from ..detections import DetectionBatch
from ..postprocessing import detector_postprocess, postprocess_batch
from ..proposal_generator import build_proposal_generator
from ..roi_heads import build_roi_heads
from .build import META_ARCH_REGISTRY, uses_channels_last
from .preprocessing import ImageModel

__all__ = ["GeneralizedRCNN", "ProposalNetwork"]

Inputs = Sequence[Mapping[str, Any]]

_MAX_DRAWN_PROPOSALS = 20


def _ground_truth(batched_inputs: Inputs, device: torch.device) -> TargetBatch | None:
    """The padded ground truth of a batch, or None where it has none."""
    if "instances" not in batched_inputs[0]:
        return None
    return TargetBatch.of([x["instances"] for x in batched_inputs], device)


def _output_size(one_input: Mapping[str, Any], image_size: tuple[int, int]) -> tuple[int, int]:
    """The size results are asked for: the photo's where it is told, else the image's."""
    return int(one_input.get("height", image_size[0])), int(one_input.get("width", image_size[1]))


@META_ARCH_REGISTRY.register()
class GeneralizedRCNN(ImageModel):
    """A backbone, a proposal generator and ROI heads: Faster, Mask and Cascade R-CNN.

    Attributes:
        mask_output: how inference returns masks, ``"bitmask"`` or ``"rle"``; see
            :func:`~cardamage.modeling.postprocessing.detector_postprocess`.
    """

    roi_heads: Any

    @configurable
    def __init__(
        self,
        *,
        backbone: Backbone,
        proposal_generator: nn.Module | None,
        roi_heads: nn.Module,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        input_format: str | None = None,
        vis_period: int = 0,
        channels_last: bool = False,
    ) -> None:
        """Put the model together.

        Args:
            backbone: from images to feature maps.
            proposal_generator: from feature maps to proposals; None where inputs bring them along.
            roi_heads: from proposals to detections.
            pixel_mean: what is subtracted from the image, per channel.
            pixel_std: what it is divided by, per channel.
            input_format: the order of the channels, ``"BGR"`` or ``"RGB"``; needed for pictures.
            vis_period: how often, in iterations, to log pictures of training; 0 for never.
            channels_last: run with channels last in memory.

        Raises:
            ValueError: pictures asked for without ``input_format``.
        """
        super().__init__(backbone, pixel_mean, pixel_std, channels_last)
        self.proposal_generator = proposal_generator
        self.roi_heads = roi_heads
        self.input_format = input_format
        self.vis_period = vis_period
        self.mask_output = "bitmask"
        if vis_period > 0 and input_format is None:
            raise ValueError("VIS_PERIOD above 0 needs INPUT.FORMAT, to draw the pictures in their colors")

    @classmethod
    def from_config(cls, cfg: Any) -> dict[str, Any]:
        """Read ``MODEL``, ``INPUT.FORMAT`` and ``VIS_PERIOD``."""
        backbone = build_backbone(cfg)
        shapes = backbone.output_shape()
        return {
            "backbone": backbone,
            "proposal_generator": build_proposal_generator(cfg, shapes),
            "roi_heads": build_roi_heads(cfg, shapes),
            "input_format": cfg.INPUT.FORMAT,
            "vis_period": cfg.VIS_PERIOD,
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
            "channels_last": uses_channels_last(cfg),
        }

    def forward(self, batched_inputs: Inputs) -> Any:
        """Compute the losses in training, the detections else.

        Args:
            batched_inputs: one dict an image: ``image`` (C, H, W); in training ``instances`` with
                ``gt_boxes``, ``gt_classes`` and ``gt_masks``; ``height`` and ``width`` of the result
                where that is not the image's size; ``proposals`` where the model does not make them.

        Returns:
            In training a dict of 0-d losses; else what :meth:`inference` returns.
        """
        if not self.training:
            return self.inference(batched_inputs)
        images = self.preprocess_image(batched_inputs)
        targets = _ground_truth(batched_inputs, self.device)
        features = self.backbone(images.tensor)
        proposals, losses = self._propose(batched_inputs, images, features, targets)
        _, head_losses = call(self.roi_heads, images, features, proposals, targets)
        if self.vis_period > 0 and get_event_storage().iter % self.vis_period == 0:
            self.visualize_training(batched_inputs, proposals)
        return {**head_losses, **losses}

    def _propose(
        self, batched_inputs: Inputs, images: Any, features: Any, targets: TargetBatch | None
    ) -> tuple[Sequence[Instances], dict[str, torch.Tensor]]:
        """Generate proposals, or take those that came with the input."""
        if self.proposal_generator is not None:
            return call(self.proposal_generator, images, features, targets)
        if "proposals" not in batched_inputs[0]:
            raise ValueError('this model makes no proposals: every input needs "proposals"')
        return [x["proposals"].to(self.device) for x in batched_inputs], {}

    @torch.no_grad()
    def inference(
        self,
        batched_inputs: Inputs,
        detected_instances: Sequence[Instances] | None = None,
        do_postprocess: bool = True,
    ) -> list[Any]:
        """Detect objects.

        Args:
            batched_inputs: as for :meth:`forward`; may be empty.
            detected_instances: known ``pred_boxes`` and ``pred_classes`` of every image, in its
                pixels: then only masks are added to them.
            do_postprocess: scale the results to the photos' sizes.

        Returns:
            ``[{"instances": ...}]`` with ``pred_boxes``, ``scores``, ``pred_classes`` and
            ``pred_masks``; without post-processing the bare instances, masks (R, 1, M, M).

        Raises:
            RuntimeError: the model is in training mode.
        """
        if self.training:
            raise RuntimeError("inference needs the model in evaluation mode: call model.eval() before")
        if len(batched_inputs) == 0:
            return []
        images = self.preprocess_image(batched_inputs)
        features = self.backbone(images.tensor)
        if detected_instances is None:
            proposals, _ = self._propose(batched_inputs, images, features, None)
            results, _ = call(self.roi_heads, images, features, proposals, None)
        else:
            known = [x.to(self.device) for x in detected_instances]
            results = self.roi_heads.forward_with_given_boxes(features, known)
        if not do_postprocess:
            return list(results)
        return self._postprocess(results, batched_inputs, images.image_sizes, self.mask_output)

    @staticmethod
    def _postprocess(
        instances: Sequence[Instances],
        batched_inputs: Inputs,
        image_sizes: Sequence[tuple[int, int]],
        mask_output: str = "bitmask",
    ) -> list[dict[str, Instances]]:
        """Scale every image's detections to the size asked for."""
        instances = instances.in_use() if isinstance(instances, DetectionBatch) else instances
        if isinstance(instances, DetectionBatch):
            sizes = [_output_size(x, size) for x, size in zip(batched_inputs, image_sizes, strict=True)]
            found = postprocess_batch(instances, sizes, mask_output=mask_output)
            return [{"instances": one} for one in found]
        processed = []
        for result, one_input, image_size in zip(instances, batched_inputs, image_sizes, strict=True):
            height, width = _output_size(one_input, image_size)
            scaled = detector_postprocess(result, height, width, mask_output=mask_output)
            processed.append({"instances": scaled})
        return processed

    def visualize_training(self, batched_inputs: Inputs, proposals: Sequence[Instances]) -> None:
        """Log a picture of the first image: its ground truth beside its best proposals.

        Args:
            batched_inputs: the batch.
            proposals: its proposals.
        """
        # Here, so that a model that draws nothing needs no drawing library.
        from cardamage.utils.visualizer import Visualizer

        image = batched_inputs[0]["image"].permute(1, 2, 0).cpu().numpy()
        image = np.ascontiguousarray(image[:, :, ::-1] if self.input_format == "BGR" else image)
        truth = batched_inputs[0]["instances"].gt_boxes
        best = proposals[0].proposal_boxes[:_MAX_DRAWN_PROPOSALS]
        pictures = [
            Visualizer(image, None).overlay_instances(boxes=boxes.tensor.detach().cpu().numpy()).get_image()
            for boxes in (truth, best)
        ]
        picture = np.concatenate(pictures, axis=1).transpose(2, 0, 1)
        get_event_storage().put_image("Left: GT bounding boxes;  Right: Predicted proposals", picture)


@META_ARCH_REGISTRY.register()
class ProposalNetwork(ImageModel):
    """A backbone and a proposal generator only."""

    @configurable
    def __init__(
        self,
        *,
        backbone: Backbone,
        proposal_generator: nn.Module,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        channels_last: bool = False,
    ) -> None:
        """Put the model together; arguments as for :class:`GeneralizedRCNN`."""
        super().__init__(backbone, pixel_mean, pixel_std, channels_last)
        self.proposal_generator = proposal_generator

    @classmethod
    def from_config(cls, cfg: Any) -> dict[str, Any]:
        """Read ``MODEL``."""
        backbone = build_backbone(cfg)
        return {
            "backbone": backbone,
            "proposal_generator": build_proposal_generator(cfg, backbone.output_shape()),
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
            "channels_last": uses_channels_last(cfg),
        }

    def forward(self, batched_inputs: Inputs) -> Any:
        """Compute the losses in training, the proposals else.

        Args:
            batched_inputs: as for :class:`GeneralizedRCNN`.

        Returns:
            In training a dict of 0-d losses; else ``[{"proposals": ...}]`` with ``proposal_boxes`` and
            ``objectness_logits`` in the photos' pixels.
        """
        if len(batched_inputs) == 0:
            return []
        images = self.preprocess_image(batched_inputs)
        features = self.backbone(images.tensor)
        targets = _ground_truth(batched_inputs, self.device) if self.training else None
        proposals, losses = call(self.proposal_generator, images, features, targets)
        if self.training:
            return losses
        return [
            {"proposals": detector_postprocess(found, *_output_size(one_input, size))}
            for found, one_input, size in zip(proposals, batched_inputs, images.image_sizes, strict=True)
        ]
