"""The state of all random number generators of a process."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

__all__ = ["preserve_rng", "rng_state", "set_rng_state"]


def rng_state() -> dict[str, Any]:
    """Return the state of torch's (CPU and present GPU), numpy's and Python's generators.

    Tensors and plain values only, so that a checkpoint with it loads without running code.
    """
    numpy_state: Any = np.random.get_state(legacy=True)
    _, keys, position, has_gauss, gauss = numpy_state
    version, words, next_gauss = random.getstate()
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "numpy": [torch.from_numpy(keys.astype(np.int64)), int(position), int(has_gauss), float(gauss)],
        "python": [version, torch.tensor(words, dtype=torch.int64), next_gauss],
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_rng_state(state: Mapping[str, Any]) -> None:
    """Go back to what :func:`rng_state` returned.

    Args:
        state: the states; a GPU's is left out where there is none.
    """
    torch.set_rng_state(state["torch"].cpu())
    keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    version, words, next_gauss = state["python"]
    random.setstate((version, tuple(words.tolist()), next_gauss))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())


@contextmanager
def preserve_rng() -> Iterator[None]:
    """Undo what a ``with`` block does to the random number generators."""
    state = rng_state()
    try:
        yield
    finally:
        set_rng_state(state)
