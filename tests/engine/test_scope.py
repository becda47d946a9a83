"""Configs of what is not here are refused by one sentence, and by every way in."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from cardamage.config import CfgNode, get_cfg
from cardamage.data import DatasetCatalog
from cardamage.engine import DefaultPredictor, DefaultTrainer, default_setup
from cardamage.engine.scope import check_model_scope, check_scope
from cardamage.errors import ConfigError, DataError
from cardamage.modeling import META_ARCH_REGISTRY, ROI_HEADS_REGISTRY, StandardROIHeads

INSTEAD = (
    "run it on Detectron2 itself with --backend detectron2, or start from one of configs/, such as "
    "configs/damage/mask_rcnn_R_50_FPN.yaml."
)
MODELS = [
    ("META_ARCHITECTURE", "RetinaNet", "'RetinaNet' (a one-stage detector)"),
    ("META_ARCHITECTURE", "FCOS", "'FCOS' (a one-stage detector)"),
    ("META_ARCHITECTURE", "PanopticFPN", "'PanopticFPN' (panoptic segmentation)"),
    ("META_ARCHITECTURE", "SemanticSegmentor", "'SemanticSegmentor' (semantic segmentation)"),
    ("PROPOSAL_GENERATOR.NAME", "RRPN", "'RRPN' (rotated boxes)"),
    ("ROI_HEADS.NAME", "RROIHeads", "'RROIHeads' (rotated boxes)"),
    ("ROI_HEADS.NAME", "PointRendROIHeads", "'PointRendROIHeads' (of the project PointRend)"),
    ("ANCHOR_GENERATOR.NAME", "RotatedAnchorGenerator", "'RotatedAnchorGenerator' (rotated boxes)"),
    ("ROI_BOX_HEAD.POOLER_TYPE", "ROIAlignRotated", "'ROIAlignRotated' (rotated boxes)"),
    ("ROI_MASK_HEAD.NAME", "CoarseMaskHead", "'CoarseMaskHead' (of the project PointRend)"),
]


def cfg_with(key: str, value: Any) -> CfgNode:
    cfg = get_cfg()
    cfg.MODEL.DEVICE, cfg.MODEL.MASK_ON = "cpu", True
    cfg.merge_from_list([key, value])
    return cfg


def sentence(cfg: CfgNode) -> str:
    with pytest.raises(ConfigError) as caught:
        check_scope(cfg)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("key", "value", "what"), MODELS)
def test_models(tmp_path: Path, key: str, value: str, what: str) -> None:
    cfg = cfg_with(f"MODEL.{key}", value)
    cfg.OUTPUT_DIR = str(tmp_path / "run")
    expected = f"MODEL.{key} is {what}, which cardamage doesn't have: {INSTEAD}"
    assert sentence(cfg) == expected
    for enter in (
        lambda: default_setup(cfg, None),
        lambda: DefaultTrainer(cfg),
        lambda: DefaultPredictor(cfg),
    ):
        with pytest.raises(ConfigError) as caught:
            enter()
        assert str(caught.value) == expected
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("key", "known"),
    [
        ("META_ARCHITECTURE", "GeneralizedRCN"),
        ("BACKBONE.NAME", "build_resnet_fpn_backbon"),
        ("PROPOSAL_GENERATOR.NAME", "RPM"),
        ("RPN.HEAD_NAME", "StandardRPNHeads"),
        ("ROI_HEADS.NAME", "StandartROIHeads"),
        ("ROI_MASK_HEAD.NAME", "MaskRCNNConvUpsampleHeads"),
    ],
)
def test_unknown_names_lead_to_known_ones(key: str, known: str) -> None:
    said = sentence(cfg_with(f"MODEL.{key}", known))
    assert said.startswith(f"MODEL.{key} is {known!r}; it must be one of ")


def test_flags() -> None:
    assert sentence(cfg_with("MODEL.KEYPOINT_ON", True)) == (
        f"MODEL.KEYPOINT_ON is True, but cardamage has no keypoints: {INSTEAD}"
    )
    assert sentence(cfg_with("TEST.KEYPOINT_OKS_SIGMAS", [0.1])) == (
        f"TEST.KEYPOINT_OKS_SIGMAS is set, but cardamage has no keypoints: leave it empty, or {INSTEAD}"
    )


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("MODEL.META_ARCHITECTURE", "ProposalNetwork", "a ProposalNetwork finds proposals and no objects"),
        ("MODEL.LOAD_PROPOSALS", True, "the proposals of a file fit one view of a photo only"),
        ("MODEL.PROPOSAL_GENERATOR.NAME", "PrecomputedProposals", "the proposals of a file fit one view"),
    ],
)
def test_views_that_can_not_be_merged(key: str, value: Any, what: str) -> None:
    cfg = cfg_with("TEST.AUG.ENABLED", True)
    check_scope(cfg)
    cfg.merge_from_list([key, value])
    assert sentence(cfg).startswith(f"TEST.AUG.ENABLED is True, but {what}")
    cfg.TEST.AUG.ENABLED = False
    check_scope(cfg)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("coco_2017_val_panoptic_separated", "panoptic segmentation"),
        ("cityscapes_fine_sem_seg_val", "semantic segmentation"),
        ("ade20k_sem_seg_train", "semantic segmentation"),
        ("voc_2007_trainval", "Pascal VOC"),
    ],
)
def test_datasets(name: str, what: str) -> None:
    said = sentence(cfg_with("DATASETS.TEST", f"('{name}',)"))
    assert said == (
        f"DATASETS.TEST names '{name}' ({what}), which cardamage doesn't read: name boxes and masks as "
        "coco:FILE.json@PHOTO_DIR, or run it on Detectron2 itself with --backend detectron2."
    )
    DatasetCatalog.register(name, list)
    try:
        check_scope(cfg_with("DATASETS.TEST", f"('{name}',)"))
    finally:
        DatasetCatalog.remove(name)


def test_what_a_script_registers_is_here() -> None:
    class RetinaNet(nn.Module):
        pass

    class RROIHeads(StandardROIHeads):
        pass

    own, heads = (
        cfg_with("MODEL.META_ARCHITECTURE", "RetinaNet"),
        cfg_with("MODEL.ROI_HEADS.NAME", "RROIHeads"),
    )
    META_ARCH_REGISTRY.register(RetinaNet)
    ROI_HEADS_REGISTRY.register(RROIHeads)
    try:
        check_scope(own)
        check_scope(heads)
    finally:
        del META_ARCH_REGISTRY._obj_map["RetinaNet"], ROI_HEADS_REGISTRY._obj_map["RROIHeads"]


def test_parts_that_the_model_does_not_have_are_not_looked_at() -> None:
    cfg = cfg_with("MODEL.ROI_MASK_HEAD.NAME", "CoarseMaskHead")
    cfg.MODEL.MASK_ON = False
    check_model_scope(cfg)
    cfg = cfg_with("MODEL.ROI_HEADS.NAME", "RROIHeads")
    cfg.MODEL.META_ARCHITECTURE = "ProposalNetwork"
    check_model_scope(cfg)
    cfg = cfg_with("MODEL.PROPOSAL_GENERATOR.NAME", "PrecomputedProposals")
    cfg.MODEL.ANCHOR_GENERATOR.NAME = "RotatedAnchorGenerator"
    check_model_scope(cfg)


def test_the_other_engine_is_not_bound_by_it(tmp_path: Path) -> None:
    cfg = cfg_with("MODEL.META_ARCHITECTURE", "PanopticFPN")
    cfg.OUTPUT_DIR = str(tmp_path)
    default_setup(cfg, SimpleNamespace(backend="detectron2"))  # type: ignore[arg-type]
    assert (tmp_path / "config.yaml").is_file()


def test_a_missing_dataset_stays_the_catalogs_matter() -> None:
    cfg = cfg_with("DATASETS.TEST", "('my_val',)")
    check_scope(cfg)
    with pytest.raises(DataError, match="my_val"):
        DatasetCatalog.get("my_val")
