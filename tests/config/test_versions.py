"""Configs of earlier versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from cardamage.config import CfgNode, downgrade_config, get_cfg, global_cfg, set_global_cfg, upgrade_config
from cardamage.config.versions import guess_version, upgrade_tree
from cardamage.errors import ConfigError


def merged(folder: Path, text: str, base: str | None = None) -> CfgNode:
    if base is not None:
        (folder / "base.yaml").write_text(base, encoding="utf-8")
    path = folder / "old.yaml"
    path.write_text(text, encoding="utf-8")
    cfg = get_cfg()
    cfg.merge_from_file(path)
    return cfg


def test_there_and_back_keeps_everything() -> None:
    cfg = get_cfg()
    cfg.MY_OWN = 1
    cfg.MODEL.WEIGHTS, cfg.TEST.AUG.MAX_SIZE = "a.pth", 7
    cfg.freeze()
    for version in (0, 1, 2):
        old = downgrade_config(cfg, version)
        assert old.VERSION == version
        assert upgrade_config(old) == cfg
    assert downgrade_config(cfg, 1).MODEL.WEIGHT == "a.pth"
    assert cfg.VERSION == 2
    assert "WEIGHT" not in cfg.MODEL


def test_names_of_version_0_and_1() -> None:
    old = downgrade_config(get_cfg(), 1)
    assert old.MODEL.RPN.ANCHOR_SIZES == old.MODEL.RETINANET.ANCHOR_SIZES == [[32, 64, 128, 256, 512]]
    assert "SIZES" not in old.MODEL.ANCHOR_GENERATOR
    # What version 1 never had stays where it is.
    assert set(old.TEST.AUG) == {"MERGE", "MERGE_THRESH"}
    assert (old.TEST.AUG_ON, old.TEST.DETECTIONS_PER_IMG, old.MODEL.ROI_HEADS.NMS) == (False, 100, 0.5)
    assert downgrade_config(old, 0).MODEL.RPN_HEAD.NAME == "StandardRPNHead"


def test_the_wrong_direction_is_refused() -> None:
    with pytest.raises(ConfigError, match="VERSION 2 can't be upgraded to VERSION 1"):
        upgrade_config(get_cfg(), 1)
    with pytest.raises(ConfigError, match="VERSION 2 can't be downgraded to VERSION 3"):
        downgrade_config(get_cfg(), 3)


def test_a_file_says_its_version(tmp_path: Path) -> None:
    cfg = merged(tmp_path, "VERSION: 0\nMODEL:\n  RPN_HEAD:\n    NAME: Mine\n  WEIGHT: w.pth\n")
    assert (cfg.MODEL.RPN.HEAD_NAME, cfg.MODEL.WEIGHTS, cfg.VERSION) == ("Mine", "w.pth", 2)
    assert cfg.is_explicit("MODEL.WEIGHTS")


@pytest.mark.parametrize("architecture", ["RetinaNet", "GeneralizedRCNN"])
def test_anchors_are_those_of_the_architecture(tmp_path: Path, architecture: str) -> None:
    cfg = merged(
        tmp_path,
        f"MODEL:\n  META_ARCHITECTURE: {architecture}\n  WEIGHT: w\n  RPN:\n    ANCHOR_SIZES: [[1, 2]]\n"
        "  RETINANET:\n    ANCHOR_SIZES: [[3, 4]]\n    ANCHOR_STRIDES: [8]\n",
    )
    expected = [[3, 4]] if architecture == "RetinaNet" else [[1, 2]]
    assert expected == cfg.MODEL.ANCHOR_GENERATOR.SIZES


def test_an_old_name_without_a_version_gives_it_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert merged(tmp_path, "MODEL: {WEIGHT: w.pth}\n").MODEL.WEIGHTS == "w.pth"
    assert "is of VERSION 1: its keys are read as today's" in caplog.text
    assert merged(tmp_path, "TEST: {AUG_ON: True}\n").TEST.AUG.ENABLED is True
    assert guess_version({"MODEL": {"WEIGHTS": "w"}}) is None


def test_a_file_without_a_version_is_of_its_base(tmp_path: Path) -> None:
    text = "_BASE_: base.yaml\nMODEL: {ROI_HEADS: {NMS: 0.25}}\n"
    assert merged(tmp_path, text, "VERSION: 1\n").MODEL.ROI_HEADS.NMS_THRESH_TEST == 0.25
    with pytest.raises(ConfigError, match=r"MODEL\.ROI_HEADS\.NMS in .* is not a config key"):
        merged(tmp_path, text, "VERSION: 2\n")


def test_a_part_of_a_config_keeps_what_it_lacks() -> None:
    tree = {"SOLVER": {"BASE_LR": 1}, "MODEL": {"RPN": {"ANCHOR_SIZES": [[1]]}}}
    upgrade_tree(tree, 0, 2)
    assert tree == {"SOLVER": {"BASE_LR": 1}, "MODEL": {"ANCHOR_GENERATOR": {"SIZES": [[1]]}}}


def test_the_global_config_has_the_keys_given_last() -> None:
    cfg = get_cfg()
    cfg.SEED = 5
    set_global_cfg(cfg)
    try:
        assert global_cfg.SEED == 5
        cfg.GLOBAL.HACK = 3.0
        assert global_cfg.GLOBAL.HACK == 3.0
        set_global_cfg(CfgNode({"A": 1}))
        assert dict(global_cfg) == {"A": 1}
    finally:
        global_cfg.clear()
