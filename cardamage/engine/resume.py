"""What must come back for a resumed training to go on as if never stopped."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from cardamage.engine.rng import rng_state, set_rng_state
from cardamage.errors import TrainingError
from cardamage.utils import comm

__all__ = ["RunState", "check_finite_weights"]

logger = logging.getLogger(__name__)


class RunState:
    """The seed of the data order and every rank's random numbers."""

    def __init__(self, seed: int) -> None:
        """Keep the seed.

        Args:
            seed: the run's.
        """
        self._seed = seed
        self._collected: list[dict[str, Any]] = []
        self._saved: list[dict[str, Any]] = []
        self.saved_seed: int | None = None
        """The seed of the checkpoint that was loaded, None without one."""

    def collect_rng(self) -> None:
        """Gather the random number generators' states of all ranks on process 0; all ranks call it."""
        self._collected = comm.gather(rng_state())

    def restore_rng(self) -> None:
        """Put this rank's generators where the checkpoint had them, once."""
        saved, self._saved = self._saved, []
        if not saved:
            return
        if len(saved) != comm.get_world_size():
            logger.warning(
                "The checkpoint is of %d ranks, this job has %d: random numbers won't be the same.",
                len(saved),
                comm.get_world_size(),
            )
        if comm.get_rank() < len(saved):
            set_rng_state(saved[comm.get_rank()])

    def state_dict(self) -> dict[str, Any]:
        """Return seed and states."""
        return {"seed": self._seed, "rng": self._collected}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take what :meth:`state_dict` returned; a checkpoint without it changes nothing."""
        self._saved = list(state.get("rng", ()))
        self.saved_seed = state.get("seed")
        self._seed = self._seed if self.saved_seed is None else self.saved_seed


@torch.no_grad()
def check_finite_weights(model: nn.Module, iteration: int, last_checkpoint: str = "") -> None:
    """Stop before broken weights are saved.

    Args:
        model: the model.
        iteration: the iteration just done, for the message.
        last_checkpoint: the checkpoint to go on from, for the message; empty where there is none.

    Raises:
        TrainingError: if a parameter holds NaN or infinity.
    """
    named = [(name, value) for name, value in model.named_parameters() if value.is_floating_point()]
    if not named:
        return
    norms = torch.stack(torch._foreach_norm([value for _, value in named])).isfinite().tolist()
    broken = [name for (name, _), finite in zip(named, norms, strict=True) if not finite]
    if broken:
        advice = (
            f"go on from '{last_checkpoint}' with --resume and" if last_checkpoint else "start again with"
        )
        raise TrainingError(
            f"Weights are not finite after iteration {iteration} ({', '.join(broken[:3])}), so they are not "
            f"saved: {advice} a lower SOLVER.BASE_LR."
        )
