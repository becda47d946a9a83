"""torchvision's Mask R-CNN with a ResNet-50 and FPN, as its reference training script runs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d

from cardamage.benchmark.device import precision_of
from cardamage.benchmark.samples import to_torchvision
from cardamage.benchmark.settings import Settings
from cardamage.benchmark.sides.side import Side
from cardamage.benchmark.torchvision_weights import for_torchvision
from cardamage.checkpoint import DetectionCheckpointer
from cardamage.config import CfgNode

__all__ = ["build_model", "inference_side", "training_side"]

Samples = Sequence[dict[str, Any]]


def build_model(cfg: CfgNode, size: tuple[int, int]) -> nn.Module:
    """Build the model with the config's weights, where the config is of the same network.

    It is what ``maskrcnn_resnet50_fpn`` builds, whose norms and frozen stages follow the weights' kind there.

    Args:
        cfg: classes, pixels, norms, frozen stages and counts of boxes are read; of another network it
            gets fresh weights, and keeps whatever it finds, so that it is as busy.
        size: (height, width) that pictures have and are not scaled from.
    """
    frozen = cfg.MODEL.RESNETS.NORM == "FrozenBN"
    backbone = resnet_fpn_backbone(
        backbone_name="resnet50",
        weights=None,
        norm_layer=FrozenBatchNorm2d if frozen else nn.BatchNorm2d,
        trainable_layers=max(0, 5 - cfg.MODEL.BACKBONE.FREEZE_AT),
    )
    heads, rpn = cfg.MODEL.ROI_HEADS, cfg.MODEL.RPN
    model = MaskRCNN(
        backbone,
        num_classes=heads.NUM_CLASSES + 1,
        min_size=min(size),
        max_size=max(size),
        image_mean=[value / 255 for value in cfg.MODEL.PIXEL_MEAN],
        image_std=[value / 255 for value in cfg.MODEL.PIXEL_STD],
        box_score_thresh=heads.SCORE_THRESH_TEST,
        box_detections_per_img=cfg.TEST.DETECTIONS_PER_IMAGE,
        rpn_pre_nms_top_n_train=rpn.PRE_NMS_TOPK_TRAIN,
        rpn_pre_nms_top_n_test=rpn.PRE_NMS_TOPK_TEST,
        rpn_post_nms_top_n_train=rpn.POST_NMS_TOPK_TRAIN,
        rpn_post_nms_top_n_test=rpn.POST_NMS_TOPK_TEST,
        rpn_batch_size_per_image=rpn.BATCH_SIZE_PER_IMAGE,
        box_batch_size_per_image=heads.BATCH_SIZE_PER_IMAGE,
    )
    ours = DetectionCheckpointer(nn.Module()).read(cfg.MODEL.WEIGHTS)["model"]
    weights = for_torchvision(model.state_dict(), {name: torch.as_tensor(v) for name, v in ours.items()})
    if weights is None:
        model.roi_heads.score_thresh = 0.0
    else:
        model.load_state_dict(weights)
    return model.to(cfg.MODEL.DEVICE)


def _parts(model: Any) -> dict[str, nn.Module]:
    return {"prep": model.transform, "trunk": model.backbone, "RPN": model.rpn, "ROI heads": model.roi_heads}


def training_side(
    name: str, settings: Settings, samples: Samples, cfg: CfgNode, precision: torch.dtype | None = None
) -> Side:
    """Return the step of a training.

    Args:
        name: how to call it.
        settings: what all sides share.
        samples: the batch.
        cfg: as for :func:`build_model`.
        precision: of autocast; None for float32.
    """
    model = build_model(cfg, settings.size).train()
    solver = cfg.SOLVER
    optimizer = torch.optim.SGD(
        [p for p in model.parameters() if p.requires_grad],
        lr=solver.BASE_LR,
        momentum=solver.MOMENTUM,
        weight_decay=solver.WEIGHT_DECAY,
    )
    scaler = torch.amp.GradScaler(settings.device.type, enabled=precision is torch.float16)
    images, targets = to_torchvision(samples)
    device = settings.device

    def step() -> None:
        """Do what the script's loop does; like there, gradients are cleared after the loss is known."""
        moved = [image.to(device) for image in images]
        truth = [{key: value.to(device) for key, value in target.items()} for target in targets]
        with precision_of(device, precision):
            losses = model(moved, truth)
            loss = sum(losses.values())
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    return Side(name, step, len(samples), "peer", model, lambda: _parts(model), optimizer)


def inference_side(
    name: str, settings: Settings, samples: Samples, cfg: CfgNode, precision: torch.dtype | None = None
) -> Side:
    """Return the prediction, to masks of the pictures' size; arguments as for :func:`training_side`."""
    model = build_model(cfg, settings.size).eval()
    images, _ = to_torchvision(samples)
    device = settings.device

    @torch.no_grad()
    def predict() -> Any:
        with precision_of(device, precision):
            return model([image.to(device) for image in images])

    def found(outputs: Any) -> list[int]:
        return [len(output["scores"]) for output in outputs]

    return Side(name, predict, len(samples), "peer", model, lambda: _parts(model), detections=found)
