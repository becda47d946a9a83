"""Where the weights are in the files of different projects, and whose names they have."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cardamage.errors import CheckpointError
from cardamage.utils.safe_numpy import plain_array

__all__ = ["with_model"]

# A tensor may claim more values than it holds (a view that repeats them); more than this is no weight.
_MOST_REPEATED = 2**28


def with_model(content: Any, path: Path, *, pickled: bool = False) -> dict[str, Any]:
    """Bring a file's content into the form of Detectron2's checkpoints.

    Args:
        content: what the file holds: a checkpoint of Detectron2 or cardamage (``model``), Caffe2's ``blobs``
            or plain blobs by name, a checkpoint of pycls (``model_state``) or timm (``state_dict``), or a
            plain state dict.
        path: the file, for messages.
        pickled: whether it is a plain pickle, as Caffe2's files are.

    Returns:
        The entries, among them ``model``.

    Raises:
        CheckpointError: if there are no weights, or something among them is no array of numbers.
    """
    entries = _entries(content, pickled)
    if entries is None:
        raise CheckpointError(
            f"The weights file '{path}' holds no model weights: "
            "expected an entry 'model' with tensors by name."
        )
    entries["model"] = {name: _checked(name, value, path) for name, value in entries["model"].items()}
    return entries


def _entries(content: Any, pickled: bool) -> dict[str, Any] | None:
    if not isinstance(content, Mapping):
        return None
    if _holds_arrays(content.get("model")):
        return dict(content)
    if _holds_arrays(content.get("model_state")):
        state = {name: v for name, v in content["model_state"].items() if "num_batches_tracked" not in name}
        return {"model": state, "__author__": "pycls", "matching_heuristics": True}
    if _holds_arrays(content.get("state_dict")):
        return {"model": content["state_dict"]}
    blobs = content.get("blobs", content)
    if not _holds_arrays(blobs):
        return None
    # Caffe2 names its blobs without dots: conv1_w, res2_0_branch2a_bn_s.
    if "blobs" in content or (pickled and not any("." in name for name in blobs)):
        state = {name: value for name, value in blobs.items() if not name.endswith("_momentum")}
        return {"model": state, "__author__": "Caffe2", "matching_heuristics": True}
    return {"model": blobs}


def _holds_arrays(value: Any) -> bool:
    """Tell whether this is a state dict, or would be one but for a stray entry."""
    if not isinstance(value, Mapping) or not value or not all(isinstance(name, str) for name in value):
        return False
    arrays = sum(isinstance(item, (torch.Tensor, np.ndarray, np.generic)) for item in value.values())
    return 2 * arrays > len(value)


def _checked(name: str, value: Any, path: Path) -> torch.Tensor | np.ndarray:
    problem = ""
    if isinstance(value, (np.ndarray, np.generic)):
        if value.dtype.kind in "fiub":
            return plain_array(np.asarray(value))
        problem = f"an array of type {value.dtype}"
    elif not isinstance(value, torch.Tensor):
        problem = f"of type {type(value).__name__}"
    elif value.layout is not torch.strided or value.is_quantized or value.device.type != "cpu":
        problem = "a tensor that isn't stored plainly"
    elif value.numel() > max(_MOST_REPEATED, value.untyped_storage().nbytes()):
        problem = f"a tensor of shape {tuple(value.shape)} without that many values"
    else:
        return value
    raise CheckpointError(
        f"'{name}' in the weights file '{path}' is {problem}: weights are arrays of numbers. "
        "Use another file."
    )
