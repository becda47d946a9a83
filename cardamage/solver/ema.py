"""A running average of a model's weights, to evaluate with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from cardamage.errors import ConfigValueError

__all__ = ["ModelEMA"]


class ModelEMA:
    """Exponential moving average of a model's parameters, with the buffers' latest values.

    After the update number ``n`` the average moves by ``1 - min(decay, (1 + n) / (10 + n))`` towards the
    weights, so that the random first weights don't linger in a short training. Buffers are copied (running
    statistics are averages already).

    In a checkpoint ``model`` holds the averaged weights, which are those that evaluation uses, in every file;
    the weights under optimization are in ``ema`` and come back with ``--resume``.
    """

    def __init__(self, model: nn.Module, decay: float = 0.999) -> None:
        """Start from the model's present weights.

        Args:
            model: the model (not its DDP wrapper).
            decay: how much of the average stays at each update, in [0, 1).

        Raises:
            ConfigValueError: if ``decay`` is out of its range.
        """
        if not 0.0 <= decay < 1.0:
            raise ConfigValueError(f"SOLVER.EMA.DECAY is {decay}: set it to 0 or more and below 1.")
        self.model = model
        self.decay = decay
        self.updates = 0
        self._average: dict[str, torch.Tensor] = {}
        self.reset()

    @torch.no_grad()
    def reset(self) -> None:
        """Forget the past: the average becomes the model's present weights."""
        self.updates = 0
        self._average = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the model's weights; no host-device synchronization."""
        self.updates += 1
        rate = 1.0 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        parameters = {name for name, _ in self.model.named_parameters(remove_duplicate=False)}
        averaged, towards, copied, source = [], [], [], []
        for name, tensor in self.model.state_dict().items():
            if name in parameters and tensor.is_floating_point():
                averaged.append(self._average[name])
                towards.append(tensor.detach())
            else:
                copied.append(self._average[name])
                source.append(tensor.detach())
        if averaged:
            torch._foreach_lerp_(averaged, towards, rate)
        if copied:
            torch._foreach_copy_(copied, source)

    @contextmanager
    def applied(self) -> Iterator[nn.Module]:
        """Put the average into the model for the length of a ``with`` block.

        Yields:
            The model with averaged weights; its own weights are back, bit for bit, after the block.
        """
        own = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        self.model.load_state_dict(self._average)
        try:
            yield self.model
        finally:
            self.model.load_state_dict(own)

    def averaged_state_dict(self) -> dict[str, torch.Tensor]:
        """Return the averaged weights under the model's names."""
        return dict(self._average)

    def state_dict(self) -> dict[str, Any]:
        """Return the count of updates and the weights under optimization (the average goes in ``model``)."""
        return {"updates": self.updates, "training_model": dict(self.model.state_dict())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore both sets of weights, after the model was loaded with the averaged ones.

        Args:
            state: what :meth:`state_dict` returned.
        """
        self.reset()
        self.updates = int(state["updates"])
        self.model.load_state_dict(state["training_model"])
