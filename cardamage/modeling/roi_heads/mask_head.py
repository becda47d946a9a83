"""The mask of a region (Mask R-CNN, https://arxiv.org/abs/1703.06870)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from fvcore.nn import weight_init
from torch import nn

from cardamage.config import configurable
from cardamage.errors import ConfigValueError
from cardamage.layers import Conv2d, ConvTranspose2d, ShapeSpec
from cardamage.modeling.registry import Registry
from cardamage.structures import Instances
from cardamage.utils.compiling import region
from cardamage.utils.events import get_event_storage

from ..custom import batched
from ..detections import DetectionBatch
from ..losses import MaskLoss
from .conv import conv3x3
from .mask_targets import MaskRows, crop_instances

__all__ = [
    "ROI_MASK_HEAD_REGISTRY",
    "BaseMaskRCNNHead",
    "MaskRCNNConvUpsampleHead",
    "build_mask_head",
    "mask_rcnn_inference",
    "mask_rcnn_loss",
]

ROI_MASK_HEAD_REGISTRY = Registry("ROI_MASK_HEAD", "MODEL.ROI_MASK_HEAD.NAME")
ROI_MASK_HEAD_REGISTRY.__doc__ = (
    "Callables ``(cfg, input_shape) -> module``, chosen by ``MODEL.ROI_MASK_HEAD.NAME``."
)


def of_class(logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Take of (M, C, h, w) every row's class, or the only one: (M, h, w)."""
    if logits.shape[1] == 1:
        return logits[:, 0]
    # Rows that only fill a fixed shape may be of any class.
    index = classes.clamp(0, logits.shape[1] - 1)[:, None, None, None].expand(-1, 1, *logits.shape[2:])
    return logits.gather(1, index)[:, 0]


def _targets(
    instances: MaskRows | Sequence[Instances], logits: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The rows' classes, masks and validity."""
    size = logits.shape[-1]
    if isinstance(instances, MaskRows):
        return instances.classes, instances.crop(size), instances.rows.valid
    classes = torch.cat([x.gt_classes for x in instances])
    valid = torch.ones(len(logits), dtype=torch.bool, device=logits.device)
    return classes, crop_instances(instances, size, logits.device), valid


@region
def _loss_and_shares(
    pred_mask_logits: torch.Tensor,
    classes: torch.Tensor,
    truth: torch.Tensor,
    valid: torch.Tensor,
    mask_loss: MaskLoss,
) -> tuple[torch.Tensor, ...]:
    """Return the loss, then the shares of wrong pixels of all, of background, of foreground."""
    logits = of_class(pred_mask_logits, classes).float()
    return (mask_loss(logits, truth, valid), *_wrong_shares(logits.detach(), truth, valid))


def _wrong_shares(
    logits: torch.Tensor, truth: torch.Tensor, valid: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    used = valid[:, None, None]
    wrong = ((logits > 0) != truth) & used
    positive = (truth & used).sum()
    total = valid.sum() * truth.shape[1] * truth.shape[2]
    return (
        wrong.sum() / total.clamp(min=1),
        (wrong & ~truth).sum() / (total - positive).clamp(min=1),
        (wrong & truth).sum() / positive.clamp(min=1),
    )


def mask_rcnn_loss(
    pred_mask_logits: torch.Tensor,
    instances: MaskRows | Sequence[Instances],
    vis_period: int = 0,
    mask_loss: MaskLoss | None = None,
) -> torch.Tensor:
    """Return the loss of the masks of the true classes.

    Args:
        pred_mask_logits: (M, C, size, size), or C = 1 where masks serve all classes.
        instances: what the M regions are matched to: rows, or per image proposals with
            ``proposal_boxes``, ``gt_classes`` and ``gt_masks``.
        vis_period: how often, in iterations, to log the masks as pictures; 0 for never.
        mask_loss: judges the pixels; by default their mean binary cross entropy.

    Returns:
        A 0-d tensor, 0 where there is no foreground.
    """
    classes, truth, valid = _targets(instances, pred_mask_logits)
    loss, wrong, false_positive, false_negative = _loss_and_shares(
        pred_mask_logits, classes, truth, valid, mask_loss or MaskLoss()
    )
    storage = get_event_storage()
    storage.put_scalar("mask_rcnn/accuracy", 1 - wrong)
    storage.put_scalar("mask_rcnn/false_positive", false_positive)
    storage.put_scalar("mask_rcnn/false_negative", false_negative)
    if vis_period > 0 and storage.iter % vis_period == 0:
        logits = of_class(pred_mask_logits.detach(), classes).float()
        pairs = torch.cat([logits.sigmoid(), truth.float()], dim=2)
        for i, pair in enumerate(pairs[valid]):
            storage.put_image(f"Left: mask prediction;   Right: mask GT ({i})", pair.expand(3, -1, -1))
    return loss


def mask_rcnn_inference(pred_mask_logits: torch.Tensor, pred_instances: Sequence[Instances]) -> None:
    """Add to every image's detections the mask probabilities of their classes.

    Args:
        pred_mask_logits: (M, C, size, size), or C = 1 where masks serve all classes.
        pred_instances: detections with ``pred_classes``, M in all; they get ``pred_masks``
            (Ri, 1, size, size) in float32. Of a batch of detections every place has logits.
    """
    if isinstance(pred_instances, DetectionBatch):
        probs = of_class(pred_mask_logits, pred_instances.classes.flatten()).float().sigmoid()[:, None]
        pred_instances.masks = probs.unflatten(0, pred_instances.valid.shape)
        return
    classes = torch.cat([x.pred_classes for x in pred_instances])
    probs = of_class(pred_mask_logits, classes).float().sigmoid()[:, None]
    for part, instances in zip(probs.split([len(x) for x in pred_instances]), pred_instances, strict=True):
        instances.pred_masks = part


class BaseMaskRCNNHead(nn.Module):
    """Loss and inference of a mask head; a subclass adds :meth:`layers`."""

    @configurable
    def __init__(
        self, *, loss_weight: float = 1.0, vis_period: int = 0, mask_loss: MaskLoss | None = None
    ) -> None:
        """Set what is common.

        Args:
            loss_weight: a factor for the loss.
            vis_period: how often, in iterations, to log the masks as pictures; 0 for never.
            mask_loss: judges the pixels; by default their mean binary cross entropy.
        """
        super().__init__()
        self.vis_period = vis_period
        self.loss_weight = loss_weight
        self.mask_loss = mask_loss or MaskLoss()

    @classmethod
    def from_config(cls, cfg: Any, input_shape: ShapeSpec) -> dict[str, Any]:
        """Read ``VIS_PERIOD``, and ``MODEL.ROI_MASK_HEAD`` where its loss is not the default."""
        arguments: dict[str, Any] = {"vis_period": cfg.VIS_PERIOD}
        mask_loss = MaskLoss.from_config(cfg)
        if mask_loss != MaskLoss():
            arguments["mask_loss"] = mask_loss
        return arguments

    @batched
    def forward(self, x: torch.Tensor, instances: Any) -> Any:
        """Compute the loss, or add masks to the detections.

        Args:
            x: (M, C, H, W) features of the regions.
            instances: in training what they are matched to (see :func:`mask_rcnn_loss`), in
                inference the detections.

        Returns:
            In training ``{"loss_mask": ...}``, in inference the detections with ``pred_masks``.
        """
        logits = self.layers(x)
        if self.training:
            return self.losses(logits, instances)
        mask_rcnn_inference(logits, instances)
        return instances

    def losses(self, logits: torch.Tensor, instances: Any) -> dict[str, torch.Tensor]:
        """Compute ``{"loss_mask": ...}`` of (M, C, size, size) logits; see :meth:`forward`."""
        return {
            "loss_mask": mask_rcnn_loss(logits, instances, self.vis_period, self.mask_loss) * self.loss_weight
        }

    def layers(self, x: torch.Tensor) -> torch.Tensor:
        """Compute (M, C, size, size) logits from (M, C', H, W) features."""
        raise NotImplementedError


@ROI_MASK_HEAD_REGISTRY.register()
class MaskRCNNConvUpsampleHead(BaseMaskRCNNHead, nn.Sequential):  # type: ignore[misc]
    """3x3 convolutions, doubling transposed convolutions and a 1x1 convolution to the classes."""

    @configurable
    def __init__(
        self,
        input_shape: ShapeSpec,
        *,
        num_classes: int,
        conv_dims: Sequence[int],
        conv_norm: Any = "",
        num_upsample: int = 1,
        **kwargs: Any,
    ) -> None:
        """Make the layers.

        Args:
            input_shape: the shape of a region's features.
            num_classes: number of classes without background; 1 where masks serve all classes.
            conv_dims: channels of the 3x3 convolutions, and last of the transposed ones.
            conv_norm: normalization of the 3x3 convolutions, see :func:`cardamage.layers.get_norm`.
            num_upsample: how many transposed convolutions there are; each doubles the mask's side.
            **kwargs: as for :class:`BaseMaskRCNNHead`.

        Raises:
            ConfigValueError: no ``conv_dims``.
        """
        super().__init__(**kwargs)
        if not conv_dims:
            raise ConfigValueError("the mask head needs at least the channels of its transposed convolution")
        channels: Any = input_shape.channels
        for i, dim in enumerate(conv_dims[:-1], start=1):
            self.add_module(f"mask_fcn{i}", conv3x3(channels, dim, conv_norm))
            channels = dim
        for i in range(1, num_upsample + 1):
            name = "deconv" if i == 1 else f"deconv{i}"
            self.add_module(name, ConvTranspose2d(channels, conv_dims[-1], kernel_size=2, stride=2))
            self.add_module(f"{name}_relu", nn.ReLU(inplace=True))
            channels = conv_dims[-1]
        self.predictor = Conv2d(conv_dims[-1], num_classes, kernel_size=1)
        # After all layers were made: so a seed gives the weights it gives in Detectron2.
        for layer in self:
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) and layer is not self.predictor:
                weight_init.c2_msra_fill(layer)
        nn.init.normal_(self.predictor.weight, std=0.001)
        nn.init.zeros_(self.predictor.get_parameter("bias"))

    @classmethod
    def from_config(cls, cfg: Any, input_shape: ShapeSpec) -> dict[str, Any]:
        """Read ``MODEL.ROI_MASK_HEAD``."""
        node = cfg.MODEL.ROI_MASK_HEAD
        return {
            **super().from_config(cfg, input_shape),
            "input_shape": input_shape,
            "num_classes": 1 if node.CLS_AGNOSTIC_MASK else cfg.MODEL.ROI_HEADS.NUM_CLASSES,
            "conv_dims": [node.CONV_DIM] * (node.NUM_CONV + 1),
            "conv_norm": node.NORM,
            "num_upsample": node.NUM_UPSAMPLE,
        }

    @region
    def layers(self, x: torch.Tensor) -> torch.Tensor:
        """Compute (M, C, size, size) logits from (M, C', H, W) features."""
        for layer in self:
            x = layer(x)
        return x


def takes_feature_maps(cfg: Any) -> bool:
    """Tell whether the mask head crops its regions itself, from the feature maps.

    Args:
        cfg: the config tree.

    Returns:
        True without ``MODEL.ROI_MASK_HEAD.POOLER_TYPE``, and for heads that say so.
    """
    node = cfg.MODEL.ROI_MASK_HEAD
    head = ROI_MASK_HEAD_REGISTRY.get(node.NAME)
    return not node.POOLER_TYPE or getattr(head, "takes_feature_maps", False)


def build_mask_head(cfg: Any, input_shape: Any) -> nn.Module:
    """Build the head that ``cfg.MODEL.ROI_MASK_HEAD.NAME`` names.

    Args:
        cfg: the config tree.
        input_shape: the shape of a region's features (of every map's, where nothing is pooled).

    Returns:
        A module with the interface of :class:`BaseMaskRCNNHead`.
    """
    return ROI_MASK_HEAD_REGISTRY.get(cfg.MODEL.ROI_MASK_HEAD.NAME)(cfg, input_shape)
