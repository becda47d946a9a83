"""One flag switches every faster way off."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from cardamage.config import CfgNode, get_cfg, make_exact
from cardamage.config.exact import EXACT

ROOT = Path(__file__).parents[2]


def _values(cfg: CfgNode) -> dict[str, Any]:
    leaves = dict(cfg.leaves())
    return {key: leaves[key] for key in EXACT}


def test_what_is_merged_later_goes_over_it() -> None:
    cfg = get_cfg()
    make_exact(cfg)
    assert _values(cfg) == dict(EXACT)
    cfg.merge_from_list(["INPUT.RESIZE", "native"])
    assert cfg.INPUT.RESIZE == "native"


def test_every_key_that_may_round_otherwise_is_named() -> None:
    # Whoever adds a faster way has to decide whether it belongs here.
    switches = {
        "COMPILE",
        "FUSE",
        "FUSED",
        "WINOGRAD",
        "SAMPLED_GRADIENT",
        "CHANNELS_LAST",
        "PRECISION",
        "RESIZE",
    }
    named = {key for key, _ in get_cfg().leaves() if key.rsplit(".")[-1] in switches}
    assert named <= set(EXACT)


@pytest.mark.parametrize("exact", [True, False])
def test_the_flag_goes_over_the_file_and_under_the_keys(tmp_path: Path, exact: bool) -> None:
    spec = importlib.util.spec_from_file_location("train_net", ROOT / "train_net.py")
    assert spec is not None
    assert spec.loader is not None
    train_net = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(train_net)
    config = ["--config-file", str(ROOT / "configs/parts/mask_rcnn_R_18_FPN.yaml")]
    keys = ["OUTPUT_DIR", str(tmp_path), "TEST.FUSE", "True", "SEED", "-1"]
    cfg = train_net.setup(train_net.parse_args([*config, *(["--exact"] if exact else []), *keys]))
    assert cfg.SOLVER.AMP.ENABLED is not exact
    assert (_values(cfg) == {**EXACT, "TEST.FUSE": True}) is exact
