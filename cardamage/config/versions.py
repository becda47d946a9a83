"""What the config's keys were called in earlier versions, on plain dicts; the latest is 2.

Version 0 is that of Detectron2's first weeks, version 1 the last before its release.
"""

from __future__ import annotations

from typing import Any

__all__ = ["LATEST_VERSION", "downgrade_tree", "guess_version", "upgrade_tree"]

LATEST_VERSION = 2

# (name before, name after) of each step from version N - 1 to N.
_RENAMED: dict[int, tuple[tuple[str, str], ...]] = {
    1: (("MODEL.RPN_HEAD.NAME", "MODEL.RPN.HEAD_NAME"),),
    2: (
        ("MODEL.WEIGHT", "MODEL.WEIGHTS"),
        ("MODEL.ROI_HEADS.SCORE_THRESH", "MODEL.ROI_HEADS.SCORE_THRESH_TEST"),
        ("MODEL.ROI_HEADS.NMS", "MODEL.ROI_HEADS.NMS_THRESH_TEST"),
        ("MODEL.RETINANET.INFERENCE_SCORE_THRESHOLD", "MODEL.RETINANET.SCORE_THRESH_TEST"),
        ("MODEL.RETINANET.INFERENCE_TOPK_CANDIDATES", "MODEL.RETINANET.TOPK_CANDIDATES_TEST"),
        ("MODEL.RETINANET.INFERENCE_NMS_THRESHOLD", "MODEL.RETINANET.NMS_THRESH_TEST"),
        ("MODEL.PANOPTIC_FPN.SEMANTIC_LOSS_SCALE", "MODEL.SEM_SEG_HEAD.LOSS_WEIGHT"),
        ("MODEL.PANOPTIC_FPN.RPN_LOSS_SCALE", "MODEL.RPN.LOSS_WEIGHT"),
        ("MODEL.PANOPTIC_FPN.INSTANCE_LOSS_SCALE", "MODEL.PANOPTIC_FPN.INSTANCE_LOSS_WEIGHT"),
        ("MODEL.PANOPTIC_FPN.COMBINE_ON", "MODEL.PANOPTIC_FPN.COMBINE.ENABLED"),
        ("MODEL.PANOPTIC_FPN.COMBINE_OVERLAP_THRESHOLD", "MODEL.PANOPTIC_FPN.COMBINE.OVERLAP_THRESH"),
        ("MODEL.PANOPTIC_FPN.COMBINE_STUFF_AREA_LIMIT", "MODEL.PANOPTIC_FPN.COMBINE.STUFF_AREA_LIMIT"),
        (
            "MODEL.PANOPTIC_FPN.COMBINE_INSTANCES_CONFIDENCE_THRESHOLD",
            "MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH",
        ),
        ("TEST.DETECTIONS_PER_IMG", "TEST.DETECTIONS_PER_IMAGE"),
        ("TEST.AUG_ON", "TEST.AUG.ENABLED"),
        ("TEST.AUG_MIN_SIZES", "TEST.AUG.MIN_SIZES"),
        ("TEST.AUG_MAX_SIZE", "TEST.AUG.MAX_SIZE"),
        ("TEST.AUG_FLIP", "TEST.AUG.FLIP"),
    ),
}
# Version 1 had anchors for each architecture.
_ANCHORS = {
    "ANCHOR_SIZES": "MODEL.ANCHOR_GENERATOR.SIZES",
    "ANCHOR_ASPECT_RATIOS": "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS",
}
# Keys that files of version 1 without a VERSION have most often.
_SIGNS_OF_1 = ("MODEL.WEIGHT", "TEST.AUG_ON")


def guess_version(tree: dict[str, Any]) -> int | None:
    """Tell which version a part of a config is of, where its keys give it away.

    Args:
        tree: nested dicts without ``VERSION``.

    Returns:
        1, or None for the latest.
    """
    return 1 if any(_find(tree, name) is not None for name in _SIGNS_OF_1) else None


def upgrade_tree(tree: dict[str, Any], version: int, target: int) -> None:
    """Rename the keys of a config, or of a part of one, in place; ``VERSION`` itself is left.

    Args:
        tree: nested dicts of ``version``.
        version: theirs.
        target: the version to reach.
    """
    for step in range(version + 1, target + 1):
        for before, after in _RENAMED[step]:
            _move(tree, before, after)
        if step == 2:
            _join_anchors(tree)


def downgrade_tree(tree: dict[str, Any], version: int, target: int) -> None:
    """Undo :func:`upgrade_tree` on a whole config, in place."""
    for step in range(version, target, -1):
        if step == 2:
            _split_anchors(tree)
        for before, after in _RENAMED[step]:
            _move(tree, after, before)


def _join_anchors(tree: dict[str, Any]) -> None:
    one_stage = _find(tree, "MODEL.META_ARCHITECTURE") == "RetinaNet"
    used, unused = ("RETINANET", "RPN") if one_stage else ("RPN", "RETINANET")
    for before, after in _ANCHORS.items():
        _move(tree, f"MODEL.{used}.{before}", after)
        _remove(tree, f"MODEL.{unused}.{before}")
    _remove(tree, "MODEL.RETINANET.ANCHOR_STRIDES")


def _split_anchors(tree: dict[str, Any]) -> None:
    for before, after in _ANCHORS.items():
        value = _find(tree, after)
        _move(tree, after, f"MODEL.RPN.{before}")
        _set(tree, f"MODEL.RETINANET.{before}", value)
    _set(tree, "MODEL.RETINANET.ANCHOR_STRIDES", [])


def _find(tree: dict[str, Any], name: str) -> Any:
    node: Any = tree
    for part in name.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    return node


def _set(tree: dict[str, Any], name: str, value: Any) -> None:
    *parents, last = name.split(".")
    for part in parents:
        if not isinstance(tree.get(part), dict):
            tree[part] = type(tree)()
        tree = tree[part]
    tree[last] = value


def _move(tree: dict[str, Any], before: str, after: str) -> None:
    value = _find(tree, before)
    if value is not None:
        _remove(tree, before)
        _set(tree, after, value)


def _remove(tree: dict[str, Any], name: str) -> None:
    """Remove a key, and the groups that are empty then."""
    *parents, last = name.split(".")
    chain = [tree]
    for part in parents:
        below = chain[-1].get(part)
        if not isinstance(below, dict):
            return
        chain.append(below)
    chain[-1].pop(last, None)
    for node, part in zip(reversed(chain[:-1]), reversed(parents), strict=True):
        if not node[part]:
            del node[part]
