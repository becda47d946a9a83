"""Whether a checkpoint and a model speak of the same classes."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cardamage.errors import CheckpointError

__all__ = ["check_class_names", "checkpoint_thing_classes", "num_classes_of"]

logger = logging.getLogger(__name__)

# Caffe2's blob has no more of a name than that.
_CLASS_SCORES = re.compile(r"roi_heads\.box_predictor(\.\d+)?\.cls_score\.weight$|^cls_score_w$")
_PREDICTORS = re.compile(
    r"roi_heads\.(box_predictor(\.\d+)?\.(cls_score|bbox_pred|class_loss)|mask_head\.predictor"
    # Every layer of a point head takes the coarse masks of all classes.
    r"|mask_head\.(coarse_head\.(predictor|prediction)|point_head\.(fc\d+|predictor)))\."
)


def num_classes_of(state_dict: Mapping[str, Any]) -> int | None:
    """Return how many classes the weights of a Mask R-CNN distinguish, None if they have no class scores.

    Args:
        state_dict: tensors or arrays by parameter name; ``cls_score`` has a row for each class and one for
            the background.
    """
    for name, value in state_dict.items():
        if _CLASS_SCORES.search(name):
            return int(value.shape[0]) - 1
    return None


def checkpoint_thing_classes(checkpoint: Mapping[str, Any]) -> list[str] | None:
    """Return the class names that a checkpoint of cardamage carries, None for other checkpoints."""
    own = checkpoint.get("cardamage")
    names = own.get("thing_classes") if isinstance(own, Mapping) else None
    return [str(name) for name in names] if names else None


def is_class_predictor(name: str) -> bool:
    """Tell whether a parameter's shape depends on the number of classes."""
    return _PREDICTORS.search(name) is not None


def check_class_names(
    known: Sequence[str] | None, wanted: Iterable[str] | None, path: str, *, strict: bool
) -> None:
    """Compare the class names of a checkpoint with those of the data.

    Args:
        known: the checkpoint's names.
        wanted: the data's names.
        path: the checkpoint, for the message.
        strict: whether the same names in another order are an error.

    Raises:
        CheckpointError: if ``strict`` and the order differs: every prediction would get another's name.
    """
    wanted = list(wanted or [])
    if not known or not wanted or list(known) == wanted or len(known) != len(wanted):
        return
    message = (
        f"The weights file '{path}' was trained for the classes {', '.join(known)}; "
        f"the data has {', '.join(wanted)}"
    )
    if strict and sorted(known) == sorted(wanted):
        raise CheckpointError(f"{message}: bring the data's classes into the checkpoint's order.")
    logger.warning("%s: the data's names are used.", message)
