"""Checks of the keys of losses."""

from __future__ import annotations

import math
from typing import Any

from ..errors import ConfigValueError

__all__ = ["CLASS_LOSSES", "CLASS_WEIGHTS", "MASK_LOSSES", "check_class_loss"]

CLASS_LOSSES = ("cross_entropy", "focal", "quality_focal", "seesaw", "equalization")
"""What MODEL.ROI_BOX_HEAD.CLASS_LOSS may be."""

CLASS_WEIGHTS = ("none", "inverse", "effective")
"""What MODEL.ROI_BOX_HEAD.CLASS_WEIGHTS may be."""

MASK_LOSSES = ("bce", "dice", "bce_dice")
"""What MODEL.ROI_MASK_HEAD.LOSS may be."""


def check_class_loss(cfg: Any) -> None:
    """Refuse keys of the class loss that can't work, alone or together.

    Args:
        cfg: the whole tree.

    Raises:
        ConfigValueError: names the key, its value and what to do.
    """
    node = cfg.MODEL.ROI_BOX_HEAD
    for name in ("LABEL_SMOOTHING", "CLASS_WEIGHTS_BETA"):
        if not isinstance(node[name], (int, float)) or not 0 <= node[name] < 1:
            raise ConfigValueError(
                f"MODEL.ROI_BOX_HEAD.{name} is {node[name]!r}; it must be at least 0 and below 1."
            )
    if not isinstance(node.PRIOR_PROB, float) or not 0 < node.PRIOR_PROB < 1:
        raise ConfigValueError(
            f"MODEL.ROI_BOX_HEAD.PRIOR_PROB is {node.PRIOR_PROB!r}; it must be above 0 and below 1."
        )
    if not isinstance(node.BBOX_REG_BINS, int) or node.BBOX_REG_BINS in (1, True) or node.BBOX_REG_BINS < 0:
        raise ConfigValueError(
            f"MODEL.ROI_BOX_HEAD.BBOX_REG_BINS is {node.BBOX_REG_BINS!r}; it must be 0, or at least 2."
        )
    entropy = node.CLASS_LOSS == "cross_entropy"
    if node.LABEL_SMOOTHING > 0 and not entropy:
        raise ConfigValueError(
            f"MODEL.ROI_BOX_HEAD.LABEL_SMOOTHING is {node.LABEL_SMOOTHING}, which CLASS_LOSS "
            f"{node.CLASS_LOSS!r} doesn't know: set it to 0, or CLASS_LOSS to 'cross_entropy'."
        )
    if node.CLASS_WEIGHTS != "none" and node.CLASS_LOSS in ("seesaw", "equalization"):
        raise ConfigValueError(
            f"MODEL.ROI_BOX_HEAD.CLASS_WEIGHTS is {node.CLASS_WEIGHTS!r}, but CLASS_LOSS {node.CLASS_LOSS!r} "
            "weighs rare classes itself: set it to 'none'."
        )
    if node.USE_SIGMOID_CE and node.CLASS_LOSS == "seesaw":
        raise ConfigValueError(
            "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE is True, but CLASS_LOSS 'seesaw' scores classes against each "
            "other: set it False."
        )
    _check_background(node)
    if node.USE_FED_LOSS and not (entropy and node.LABEL_SMOOTHING == 0 and node.CLASS_WEIGHTS == "none"):
        raise ConfigValueError(
            "MODEL.ROI_BOX_HEAD.USE_FED_LOSS is True, which goes with CLASS_LOSS 'cross_entropy', "
            "LABEL_SMOOTHING 0 and CLASS_WEIGHTS 'none' only: leave these as they are, or set it False."
        )


def _check_background(node: Any) -> None:
    if not isinstance(node.BACKGROUND_WEIGHT, (int, float)) or not 0 < node.BACKGROUND_WEIGHT < math.inf:
        raise ConfigValueError(
            f"MODEL.ROI_BOX_HEAD.BACKGROUND_WEIGHT is {node.BACKGROUND_WEIGHT!r}; it must be above 0."
        )
    if node.USE_FED_LOSS and node.BACKGROUND_WEIGHT != 1:
        raise ConfigValueError(
            f"MODEL.ROI_BOX_HEAD.BACKGROUND_WEIGHT is {node.BACKGROUND_WEIGHT}, which USE_FED_LOSS doesn't "
            "know: set it to 1, or USE_FED_LOSS to False."
        )
