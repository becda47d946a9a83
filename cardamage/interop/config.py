"""cardamage's config as Detectron2's, and the files that tell either project how a run was configured."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from detectron2.config import CfgNode as UpstreamNode
from detectron2.config import get_cfg as get_upstream_cfg
from detectron2.modeling import BACKBONE_REGISTRY

from cardamage.config import CfgNode, get_cfg
from cardamage.config.exact import EXACT
from cardamage.errors import ConfigValueError
from cardamage.utils.files import atomic_write

__all__ = ["own_keys_in_use", "refuse_own_parts", "save_configs", "to_upstream", "without_effect"]

logger = logging.getLogger(__name__)

UPSTREAM_FILE = "config_detectron2.yaml"

# Keys that only cardamage has and this backend carries out.
CARRIED_OUT = frozenset(
    {
        "INPUT.CHECK_IMAGES",
        "INPUT.FLIP_CLASS_PAIRS",
        "MODEL.CHANNELS_LAST",
        "MODEL.ROI_HEADS.NMS_CLASS_AGNOSTIC",
        "MODEL.ROI_HEADS.NMS_TYPE",
        "MODEL.ROI_HEADS.SOFT_NMS_SCORE_THRESH",
        "MODEL.ROI_HEADS.SOFT_NMS_SIGMA",
        "SOLVER.AMP.DTYPE",
        "SOLVER.EMA.DECAY",
        "SOLVER.EMA.ENABLED",
        "TEST.BEST_CHECKPOINT.ENABLED",
        "TEST.BEST_CHECKPOINT.METRIC",
        "TEST.BEST_CHECKPOINT.MODE",
        "WRITER_PERIOD",
    }
)


def to_upstream(cfg: CfgNode) -> UpstreamNode:
    """Return the config with the keys that Detectron2 knows, frozen.

    Mixed precision is off on the processor, where Detectron2 has none.

    Args:
        cfg: a full config, device and class count resolved.

    Raises:
        ConfigValueError: a loss that Detectron2 doesn't have.
    """
    upstream = get_upstream_cfg()
    for key, value in cfg.leaves():
        node, name = _locate(upstream, key)
        if node is not None:
            node[name] = copy.deepcopy(value)
    if _amp_off(cfg):
        upstream.SOLVER.AMP.ENABLED = False
    for name in ("RPN", "ROI_BOX_HEAD"):
        _translate_box_loss(upstream.MODEL[name], f"MODEL.{name}.BBOX_REG_LOSS_TYPE")
    upstream.freeze()
    return upstream


def refuse_own_parts(cfg: CfgNode) -> None:
    """Refuse parts of a model that Detectron2 doesn't have: without them it would be another model.

    Args:
        cfg: the full config.

    Raises:
        ConfigValueError: names the first of them.
    """
    name = cfg.MODEL.BACKBONE.NAME
    if name not in BACKBONE_REGISTRY:
        raise ConfigValueError(
            f"MODEL.BACKBONE.NAME is {name}, which Detectron2 doesn't have: take "
            "build_resnet_fpn_backbone, or leave --backend out."
        )
    mask = cfg.MODEL.ROI_MASK_HEAD
    if cfg.MODEL.MASK_ON and (mask.NAME == "PointRendMaskHead" or mask.NUM_UPSAMPLE != 1):
        key = "NAME" if mask.NAME == "PointRendMaskHead" else "NUM_UPSAMPLE"
        raise ConfigValueError(
            f"MODEL.ROI_MASK_HEAD.{key} is {mask[key]}, which Detectron2 doesn't have: take "
            "MaskRCNNConvUpsampleHead with NUM_UPSAMPLE 1, or leave --backend out."
        )
    levels = list(cfg.MODEL.FPN.OUT_FEATURES)
    if levels:
        raise ConfigValueError(
            f"MODEL.FPN.OUT_FEATURES is {levels}, which Detectron2 doesn't have: set it to [], or leave "
            "--backend out."
        )
    if cfg.MODEL.BACKBONE.STEM_LRN.ENABLED:
        raise ConfigValueError(
            "MODEL.BACKBONE.STEM_LRN.ENABLED is True, which Detectron2 doesn't have: set it to False, "
            "or leave --backend out."
        )


def _translate_box_loss(node: UpstreamNode, key: str) -> None:
    """Tell a node's localization loss in Detectron2's words."""
    if node.BBOX_REG_LOSS_TYPE == "l1":
        node.BBOX_REG_LOSS_TYPE, node.SMOOTH_L1_BETA = "smooth_l1", 0.0
    if node.BBOX_REG_LOSS_TYPE == "iou":
        raise ConfigValueError(
            f"{key} is 'iou', which Detectron2 doesn't have: set it to 'giou', or leave --backend out."
        )


def without_effect(cfg: CfgNode) -> list[str]:
    """Return the keys in use that change nothing here, for a sentence about them."""
    values = dict(cfg.leaves())
    idle = [
        key
        for key in own_keys_in_use(cfg)
        if key not in CARRIED_OUT and not (key in EXACT and values[key] == EXACT[key])
    ]
    if _amp_off(cfg):
        idle.append("SOLVER.AMP.ENABLED (its mixed precision needs a GPU)")
    return idle


def own_keys_in_use(cfg: CfgNode) -> list[str]:
    """Return the keys that Detectron2 refuses and whose values are not cardamage's defaults."""
    defaults = dict(get_cfg().leaves())
    upstream = get_upstream_cfg()
    return [
        key
        for key, value in cfg.leaves()
        if _locate(upstream, key)[0] is None and (key not in defaults or value != defaults[key])
    ]


def save_configs(cfg: CfgNode, folder: str) -> None:
    """Write ``config.yaml``, and ``config_detectron2.yaml`` where Detectron2 couldn't read that one.

    ``config.yaml`` leaves out the keys that Detectron2 refuses wherever they have their default values, so
    that either project reads it. With others in use it is cardamage's alone, and the second file is
    the same without them.

    Args:
        cfg: the full config.
        folder: the output folder; empty writes nothing.
    """
    if not folder:
        return
    in_use = own_keys_in_use(cfg)
    path = Path(folder)
    _write(path / "config.yaml", cfg, in_use)
    if in_use:
        _write(path / UPSTREAM_FILE, cfg, ())
        logger.info(
            "config.yaml holds keys that Detectron2 refuses (%s); %s is without them.",
            ", ".join(in_use),
            UPSTREAM_FILE,
        )
    else:
        (path / UPSTREAM_FILE).unlink(missing_ok=True)


def _write(path: Path, cfg: CfgNode, own_keys: Iterable[str]) -> None:
    """Write the keys that both projects know, and those given."""
    upstream = get_upstream_cfg()
    kept = set(own_keys)
    tree: dict[str, Any] = yaml.safe_load(cfg.dump())
    for key, _ in cfg.leaves():
        if key not in kept and _locate(upstream, key)[0] is None:
            _drop(tree, key)
    with atomic_write(path) as file:
        yaml.safe_dump(tree, file)


def _drop(tree: dict[str, Any], key: str) -> None:
    first, _, rest = key.partition(".")
    if not rest:
        tree.pop(first, None)
    elif isinstance(tree.get(first), dict):
        _drop(tree[first], rest)
        if not tree[first]:
            del tree[first]


def _locate(tree: UpstreamNode, key: str) -> tuple[UpstreamNode | None, str]:
    """Return the node that holds a dotted key, None where there is no such key."""
    *parents, name = key.split(".")
    node: Any = tree
    for parent in parents:
        node = node.get(parent) if isinstance(node, UpstreamNode) else None
    return (node, name) if isinstance(node, UpstreamNode) and name in node else (None, name)


def _amp_off(cfg: CfgNode) -> bool:
    return cfg.SOLVER.AMP.ENABLED and not str(cfg.MODEL.DEVICE).startswith("cuda")
