"""The names and shapes of upstream's models, for every config file here: see the README beside this file."""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from cardamage.config import get_cfg
from cardamage.modeling import build_model

HERE = Path(__file__).parent
CONFIGS = HERE.parents[1] / "configs"
RECORDED: dict[str, dict[str, Any]] = json.loads((HERE / "state_dicts.json").read_text(encoding="utf-8"))
# These don't show in a model's names; files that differ in them alone are built once.
WITHOUT_NAMES = ("MODEL.WEIGHTS", "MODEL.PIXEL_STD", "MODEL.RPN.POST_NMS_TOPK_TRAIN", "MODEL.LOAD_PROPOSALS")


@functools.cache
def _summary(options: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    cfg = get_cfg()
    cfg.merge_from_list([part for option in options for part in option])
    cfg.MODEL.DEVICE = "meta"
    with torch.device("meta"):
        state = build_model(cfg).state_dict()
    lines = sorted(f"{name} {tuple(value.shape)}" for name, value in state.items())
    return {"count": len(lines), "sha256": hashlib.sha256("\n".join(lines).encode()).hexdigest()}


def test_every_config_is_recorded() -> None:
    names = {path.relative_to(CONFIGS).as_posix() for path in CONFIGS.rglob("*.yaml")}
    models = {name for name in names if not name.startswith("bases/")}
    assert {name for name in models if not _has_own_parts(name)} == set(RECORDED)


def _has_own_parts(name: str) -> bool:
    """Tell whether a config's model has parts that upstream doesn't."""
    cfg = get_cfg()
    cfg.merge_from_file(str(CONFIGS / name))
    backbone = cfg.MODEL.BACKBONE
    own_trunk = not backbone.NAME.startswith("build_resnet_") or backbone.STEM_LRN.ENABLED
    masks = cfg.MODEL.ROI_MASK_HEAD
    own_masks = masks.NAME != "MaskRCNNConvUpsampleHead" or masks.NUM_UPSAMPLE != 1
    return own_trunk or own_masks or bool(cfg.MODEL.FPN.OUT_FEATURES)


@pytest.mark.parametrize("name", RECORDED)
def test_names_and_shapes_are_upstreams(name: str) -> None:
    cfg = get_cfg()
    cfg.merge_from_file(str(CONFIGS / name))
    options = tuple(
        (key, repr(value))
        for key, value in cfg.leaves()
        if key.startswith("MODEL.") and key not in WITHOUT_NAMES
    )
    assert _summary(options) == RECORDED[name]
