"""Refusing configs of what is not here, before anything is built or read.

Names that a script has registered are here, whatever they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from fvcore.common.registry import Registry

from cardamage.catalog import DatasetCatalog
from cardamage.config import CfgNode
from cardamage.config.scope import ARCHITECTURES, INSTEAD, PARTS
from cardamage.errors import ConfigValueError
from cardamage.modeling import (
    ANCHOR_GENERATOR_REGISTRY,
    BACKBONE_REGISTRY,
    META_ARCH_REGISTRY,
    PROPOSAL_GENERATOR_REGISTRY,
    ROI_BOX_HEAD_REGISTRY,
    ROI_HEADS_REGISTRY,
    ROI_MASK_HEAD_REGISTRY,
    RPN_HEAD_REGISTRY,
)

__all__ = ["check_model_scope", "check_scope"]

# Detectron2's own datasets that hold something else than boxes and masks in COCO's form.
_DATASETS = (
    (re.compile(r"densepose_"), "of the project DensePose"),
    (re.compile(r".*_panoptic"), "panoptic segmentation"),
    (re.compile(r"ade20k_|.*_sem_seg|.*_stuffonly"), "semantic segmentation"),
    (re.compile(r"voc_20\d\d_"), "Pascal VOC"),
)


def check_scope(cfg: CfgNode) -> None:
    """Refuse a config that asks for something cardamage doesn't have.

    Args:
        cfg: the whole tree.

    Raises:
        ConfigError: says what it is and what to do instead.
    """
    check_model_scope(cfg)
    if len(cfg.TEST.KEYPOINT_OKS_SIGMAS):
        raise ConfigValueError(
            f"TEST.KEYPOINT_OKS_SIGMAS is set, but cardamage has no keypoints: leave it empty, or {INSTEAD}"
        )
    for key in ("TRAIN", "TEST"):
        for name in cfg.DATASETS[key]:
            _check_dataset(f"DATASETS.{key}", str(name))


def check_model_scope(cfg: CfgNode) -> None:
    """Refuse a config whose model cardamage can't build; see :func:`check_scope`."""
    architecture = cfg.MODEL.META_ARCHITECTURE
    _check_part("MODEL.META_ARCHITECTURE", architecture, META_ARCH_REGISTRY, ARCHITECTURES)
    if cfg.MODEL.KEYPOINT_ON:
        raise ConfigValueError(f"MODEL.KEYPOINT_ON is True, but cardamage has no keypoints: {INSTEAD}")
    if cfg.TEST.AUG.ENABLED:
        _check_augmentation(cfg)
    # A script's own architecture reads the other keys as it likes.
    if architecture in ("GeneralizedRCNN", "ProposalNetwork"):
        for key, name, registry in _parts(cfg):
            _check_part(key, name, registry, PARTS)


def _check_augmentation(cfg: CfgNode) -> None:
    """Refuse test-time augmentation of what has no detections of its own to merge."""
    model = cfg.MODEL
    if model.META_ARCHITECTURE == "ProposalNetwork":
        raise ConfigValueError(
            "TEST.AUG.ENABLED is True, but a ProposalNetwork finds proposals and no objects, which alone can "
            "be merged: set it False."
        )
    if model.LOAD_PROPOSALS or model.PROPOSAL_GENERATOR.NAME == "PrecomputedProposals":
        raise ConfigValueError(
            "TEST.AUG.ENABLED is True, but the proposals of a file fit one view of a photo only: set it "
            "False, or let the model make its own (MODEL.LOAD_PROPOSALS False, "
            "MODEL.PROPOSAL_GENERATOR.NAME RPN)."
        )


def _parts(cfg: CfgNode) -> Iterator[tuple[str, str, Registry | None]]:
    """Yield key, value and registry of what this config's model is made of."""
    model = cfg.MODEL
    yield "MODEL.BACKBONE.NAME", model.BACKBONE.NAME, BACKBONE_REGISTRY
    if model.PROPOSAL_GENERATOR.NAME != "PrecomputedProposals":
        yield "MODEL.PROPOSAL_GENERATOR.NAME", model.PROPOSAL_GENERATOR.NAME, PROPOSAL_GENERATOR_REGISTRY
        yield "MODEL.ANCHOR_GENERATOR.NAME", model.ANCHOR_GENERATOR.NAME, ANCHOR_GENERATOR_REGISTRY
        yield "MODEL.RPN.HEAD_NAME", model.RPN.HEAD_NAME, RPN_HEAD_REGISTRY
    if model.META_ARCHITECTURE != "GeneralizedRCNN":
        return
    yield "MODEL.ROI_HEADS.NAME", model.ROI_HEADS.NAME, ROI_HEADS_REGISTRY
    yield "MODEL.ROI_BOX_HEAD.POOLER_TYPE", model.ROI_BOX_HEAD.POOLER_TYPE, None
    if model.ROI_HEADS.NAME in ("StandardROIHeads", "CascadeROIHeads"):
        yield "MODEL.ROI_BOX_HEAD.NAME", model.ROI_BOX_HEAD.NAME, ROI_BOX_HEAD_REGISTRY
    if model.MASK_ON:
        yield "MODEL.ROI_MASK_HEAD.NAME", model.ROI_MASK_HEAD.NAME, ROI_MASK_HEAD_REGISTRY
        yield "MODEL.ROI_MASK_HEAD.POOLER_TYPE", model.ROI_MASK_HEAD.POOLER_TYPE, None


def _check_part(key: str, name: str, registry: Registry | None, absent: dict[str, Any]) -> None:
    if registry is not None and name in registry:
        return
    if name in absent:
        raise ConfigValueError(f"{key} is {name!r} ({absent[name]}), which cardamage doesn't have: {INSTEAD}")
    if registry is not None:
        registry.get(name)  # says what there is


def _check_dataset(key: str, name: str) -> None:
    if name in DatasetCatalog:
        return
    for pattern, kind in _DATASETS:
        if pattern.match(name):
            raise ConfigValueError(
                f"{key} names {name!r} ({kind}), which cardamage doesn't read: name boxes and masks as "
                "coco:FILE.json@PHOTO_DIR, or run it on Detectron2 itself with --backend detectron2."
            )
