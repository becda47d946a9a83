from __future__ import annotations

from pathlib import Path

import pytest

from cardamage.config import CfgNode, get_cfg, validate_cfg
from cardamage.modeling import build_model

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
FILES = sorted(path.relative_to(CONFIGS).as_posix() for path in CONFIGS.rglob("*.yaml"))


def load(name: str) -> CfgNode:
    cfg = get_cfg()
    cfg.merge_from_file(str(CONFIGS / name))
    return cfg


def test_the_files_that_the_readme_names_exist() -> None:
    wanted = {
        "Base-RCNN-FPN.yaml",
        "demo/mask_rcnn_R_18_FPN.yaml",
        "parts/mask_rcnn_R_50_FPN.yaml",
        "damage/mask_rcnn_R_50_FPN.yaml",
    }
    assert wanted <= set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_config_loads_and_is_valid(name: str) -> None:
    cfg = load(name)
    validate_cfg(cfg)
    assert cfg.MODEL.MASK_ON == (name != "Base-RCNN-FPN.yaml")
    assert not cfg.is_explicit("MODEL.ROI_HEADS.NUM_CLASSES")


@pytest.mark.parametrize("name", FILES)
def test_a_config_builds_its_model(name: str) -> None:
    cfg = load(name)
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.MASK_ON = True
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = 6
    model = build_model(cfg)
    frozen = [n for n, p in model.named_parameters() if not p.requires_grad]
    assert bool(frozen) == (cfg.MODEL.BACKBONE.FREEZE_AT > 0)


@pytest.mark.parametrize("name", FILES)
def test_outputs_of_two_configs_do_not_mix(name: str) -> None:
    folders = [load(other).OUTPUT_DIR for other in FILES]
    assert folders.count(load(name).OUTPUT_DIR) == 1


def test_parts_are_never_flipped() -> None:
    """Most of their classes name a side of the car."""
    parts = [name for name in FILES if name.startswith("parts/")]
    assert parts
    assert {load(name).INPUT.RANDOM_FLIP for name in parts} == {"none"}
