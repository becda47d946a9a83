"""The config in both projects' terms."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("detectron2", reason="needs Detectron2, see docs/parity.md")

import detectron2.config as upstream_config

from cardamage.config import get_cfg
from cardamage.errors import ConfigValueError
from cardamage.interop.config import (
    CARRIED_OUT,
    own_keys_in_use,
    refuse_own_parts,
    save_configs,
    to_upstream,
    without_effect,
)

ROOT = Path(__file__).parents[2]


def leaves(node: Any, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in node.items():
        if isinstance(value, upstream_config.CfgNode):
            found.update(leaves(value, f"{prefix}{name}."))
        else:
            found[f"{prefix}{name}"] = value
    return found


@pytest.mark.parametrize("file", sorted((ROOT / "configs").rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_key_that_both_have_keeps_its_value(file: Path) -> None:
    cfg = get_cfg()
    cfg.merge_from_file(file)
    cfg.SOLVER.AMP.ENABLED = False
    upstream = leaves(to_upstream(cfg))
    own = dict(cfg.leaves())
    assert upstream == {key: own[key] for key in upstream}
    assert upstream.keys() == leaves(upstream_config.get_cfg()).keys()


def test_keys_that_detectron2_refuses_are_carried_out_or_named() -> None:
    cfg = get_cfg()
    upstream = leaves(upstream_config.get_cfg())
    own = {key for key, _ in cfg.leaves() if key not in upstream}
    assert own >= CARRIED_OUT
    assert own_keys_in_use(cfg) == []
    assert without_effect(cfg) == []
    cfg.WRITER_PERIOD = 3
    cfg.MODEL.ROI_HEADS.NMS_TYPE = "soft_linear"
    assert set(own_keys_in_use(cfg)) == {"WRITER_PERIOD", "MODEL.ROI_HEADS.NMS_TYPE"}
    assert without_effect(cfg) == []


def test_a_key_is_named_unless_it_asks_for_what_detectron2_does_always() -> None:
    plain: dict[str, Any] = {
        "TEST.PRECISION": "float32",
        "TEST.FUSE": False,
        "MODEL.COMPILE": False,
        "MODEL.RPN.SAMPLED_GRADIENT": False,
        "INPUT.RESIZE": "exact",
    }
    others: dict[str, Any] = {
        "TEST.PRECISION": "bfloat16",
        "MODEL.COMPILE": True,
        "TEST.IMS_PER_BATCH": 2,
        "INPUT.COLOR.PROBABILITY": 0.5,
        "DATALOADER.SIZE_GROUPING": "size",
    }
    cfg = get_cfg()
    cfg.merge_from_list([word for pair in plain.items() for word in pair])
    assert set(own_keys_in_use(cfg)) == set(plain)
    assert without_effect(cfg) == []
    cfg.merge_from_list([word for pair in others.items() for word in pair])
    assert set(without_effect(cfg)) == set(others)


def test_losses_are_told_in_its_words_or_refused() -> None:
    cfg = get_cfg()
    cfg.MODEL.RPN.BBOX_REG_LOSS_TYPE, cfg.MODEL.RPN.SMOOTH_L1_BETA = "l1", 0.5
    upstream = to_upstream(cfg).MODEL.RPN
    assert (upstream.BBOX_REG_LOSS_TYPE, upstream.SMOOTH_L1_BETA) == ("smooth_l1", 0.0)
    cfg.MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_TYPE = "iou"
    with pytest.raises(
        ConfigValueError, match="MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_TYPE is 'iou', which Detectron2"
    ):
        to_upstream(cfg)


def test_mixed_precision_on_a_processor_is_off_and_named() -> None:
    cfg = get_cfg()
    cfg.SOLVER.AMP.ENABLED = True
    cfg.MODEL.DEVICE = "cuda"
    assert to_upstream(cfg).SOLVER.AMP.ENABLED
    assert without_effect(cfg) == []
    cfg.MODEL.DEVICE = "cpu"
    assert not to_upstream(cfg).SOLVER.AMP.ENABLED
    assert "SOLVER.AMP.ENABLED" in without_effect(cfg)[0]
    # Ours is as it was: a training that goes on with cardamage has it.
    assert cfg.SOLVER.AMP.ENABLED


def test_the_saved_config_is_read_by_both(tmp_path: Path) -> None:
    cfg = get_cfg()
    cfg.merge_from_file(ROOT / "configs/parts/mask_rcnn_R_50_FPN.yaml")
    save_configs(cfg, str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]
    read, again = upstream_config.get_cfg(), get_cfg()
    read.merge_from_file(str(tmp_path / "config.yaml"))
    again.merge_from_file(tmp_path / "config.yaml")
    assert dict(again.leaves()) == dict(cfg.leaves())
    # YAML has no tuples within tuples.
    expected = {key: value for key, value in cfg.leaves() if key in leaves(read)}
    assert json.loads(json.dumps(leaves(read))) == json.loads(json.dumps(expected))


def test_with_keys_of_its_own_there_is_a_second_file_for_detectron2(tmp_path: Path) -> None:
    cfg = get_cfg()
    cfg.merge_from_file(ROOT / "configs/parts/mask_rcnn_R_50_FPN_softnms_anchors.yaml")
    save_configs(cfg, str(tmp_path))
    again = get_cfg()
    again.merge_from_file(tmp_path / "config.yaml")
    assert again.MODEL.ROI_HEADS.NMS_TYPE == "soft_linear"
    assert dict(again.leaves()) == dict(cfg.leaves())
    with pytest.raises(KeyError, match="NMS_TYPE"):
        upstream_config.get_cfg().merge_from_file(str(tmp_path / "config.yaml"))
    read = upstream_config.get_cfg()
    read.merge_from_file(str(tmp_path / "config_detectron2.yaml"))
    assert read.MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS == [[0.4, 0.8, 1.25, 2.0]]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("MODEL.BACKBONE.NAME", "build_vgg_fpn_backbone"),
        ("MODEL.BACKBONE.NAME", "build_convnext_backbone"),
        ("MODEL.BACKBONE.STEM_LRN.ENABLED", True),
        ("MODEL.FPN.OUT_FEATURES", ["p2"]),
    ],
)
def test_parts_that_make_another_model_are_refused(key: str, value: Any) -> None:
    cfg = get_cfg()
    refuse_own_parts(cfg)
    cfg.merge_from_list([key, value])
    with pytest.raises(ConfigValueError, match=f"{key} is {re.escape(str(value))}, which Detectron2 doesn't"):
        refuse_own_parts(cfg)


@pytest.mark.parametrize(("key", "value"), [("NAME", "PointRendMaskHead"), ("NUM_UPSAMPLE", 2)])
def test_mask_heads_that_only_we_have_are_refused(key: str, value: Any) -> None:
    cfg = get_cfg()
    cfg.merge_from_list([f"MODEL.ROI_MASK_HEAD.{key}", value])
    refuse_own_parts(cfg)
    cfg.MODEL.MASK_ON = True
    with pytest.raises(ConfigValueError, match=f"ROI_MASK_HEAD.{key} is {value}, which Detectron2 doesn't"):
        refuse_own_parts(cfg)
