"""Checkpoints that both projects go on from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cardamage.checkpoint import DetectionCheckpointer

__all__ = ["BEST", "ExchangeCheckpointer", "to_upstream_layout"]

BEST = "model_best"

# Hooks with state that Detectron2's trainer has too.
_SHARED_HOOKS = ("LRScheduler", "BestCheckpointer")


class ExchangeCheckpointer(DetectionCheckpointer):
    """Writes what Detectron2's checkpointer writes, with the class names beside, and reads either project's.

    Files are read and written as everywhere in cardamage: whole, and without running what is in them.
    """

    def save(self, name: str, *, tag: bool = True, **kwargs: Any) -> None:
        """Write a checkpoint; the best one is not what a resumed training starts from.

        Args:
            name: the file's name without ``.pth``.
            tag: whether a resumed training starts from it.
            kwargs: further entries.
        """
        super().save(name, tag=tag and name != BEST, **kwargs)

    def _load_file(self, f: str) -> dict[str, Any]:
        return to_upstream_layout(super()._load_file(f))


def to_upstream_layout(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Return a checkpoint with its training state where Detectron2's trainer looks for it.

    cardamage keeps the states of optimizer and schedule beside the trainer's, Detectron2 within it. A
    checkpoint of Detectron2, or without training state, comes back as it is.

    Args:
        checkpoint: the entries of a file.
    """
    trainer = checkpoint.get("trainer")
    if not isinstance(trainer, Mapping) or "optimizer" not in checkpoint:
        return checkpoint
    iteration = trainer["iteration"]
    states = {**trainer.get("hooks", {}), **trainer.get("own_hooks", {})}
    hooks = {name: state for name, state in states.items() if name in _SHARED_HOOKS}
    if "scheduler" in checkpoint:
        hooks["LRScheduler"] = checkpoint["scheduler"]
    inner = {"iteration": iteration, "optimizer": checkpoint["optimizer"]}
    scaler = trainer.get("_trainer", trainer).get("grad_scaler")
    if scaler is not None:
        inner["grad_scaler"] = scaler
    moved = {key: value for key, value in checkpoint.items() if key not in ("optimizer", "scheduler")}
    return {**moved, "trainer": {"iteration": iteration, "hooks": hooks, "_trainer": inner}}
