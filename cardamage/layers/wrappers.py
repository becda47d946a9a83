"""Thin variants of torch's functions and modules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from .frozen_batch_norm import FrozenBatchNorm2d

BatchNorm2d = nn.BatchNorm2d
ConvTranspose2d = nn.ConvTranspose2d
Linear = nn.Linear
interpolate = F.interpolate
check_if_dynamo_compiling = torch.compiler.is_compiling
disable_torch_compiler = torch.compiler.disable


def cat(tensors: Sequence[torch.Tensor], dim: int = 0) -> torch.Tensor:
    """Concatenate; a single tensor is returned as it is, without a copy."""
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors), dim)


def nonzero_tuple(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return the positions of nonzero entries, one index vector for each dimension."""
    return x.nonzero(as_tuple=True)


def empty_input_loss_func_wrapper(loss_func: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """Make a loss give 0 (with a gradient) instead of NaN for the mean of nothing.

    Args:
        loss_func: takes ``(input, target, reduction=..., ...)``, as torch's losses.

    Returns:
        The same, with ``reduction`` by keyword.
    """

    def wrapped(
        input: torch.Tensor, target: torch.Tensor, *, reduction: str = "mean", **kwargs: Any
    ) -> torch.Tensor:
        if target.numel() == 0 and reduction == "mean":
            return input.sum() * 0.0
        return loss_func(input, target, reduction=reduction, **kwargs)

    return wrapped


cross_entropy = empty_input_loss_func_wrapper(F.cross_entropy)


def shapes_to_tensor(x: Sequence[Any], device: torch.device | None = None) -> torch.Tensor:
    """Make one vector of integers, or of 0-d tensors as sizes are while a model is traced.

    Args:
        x: the numbers.
        device: where to put the vector; None leaves tensors where they are.

    Returns:
        An int64 vector. In a trace it depends on the tensors and holds no constant.
    """
    if torch.jit.is_tracing():
        return torch.stack(list(x)).to(device=device)
    return torch.as_tensor(x, device=device)


def move_device_like(src: torch.Tensor, dst: torch.Tensor) -> torch.Tensor:
    """Return ``src`` on the device of ``dst``."""
    return src.to(dst.device)


class Conv2d(nn.Conv2d):
    """A convolution with an optional normalization and activation behind it.

    Parameters are named as torch's, the normalization's ``norm.*``.
    """

    def __init__(
        self,
        *args: Any,
        norm: nn.Module | None = None,
        activation: Callable[[torch.Tensor], torch.Tensor] | None = None,
        **kwargs: Any,
    ) -> None:
        """Take ``torch.nn.Conv2d``'s arguments and two more.

        Args:
            *args: torch's.
            norm: a module applied to the output.
            activation: a function applied after ``norm``.
            **kwargs: torch's.
        """
        super().__init__(*args, **kwargs)
        self.norm = norm
        self.activation = activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, C, H, W), N may be 0.

        Raises:
            ValueError: an empty batch meets SyncBatchNorm in training, which would hang the other processes.
        """
        if not torch.jit.is_scripting():
            if self.training and isinstance(self.norm, nn.SyncBatchNorm) and x.numel() == 0:
                raise ValueError("SyncBN can't train on an empty batch: use another NORM in this head.")
            if isinstance(self.norm, FrozenBatchNorm2d) and torch.is_autocast_enabled(x.device.type):
                return self._convolve_scaled(x, self.norm)
        x = F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
        if self.norm is not None:
            x = self.norm(x)
        return x if self.activation is None else self.activation(x)

    @torch.jit.unused
    def _convolve_scaled(self, x: torch.Tensor, norm: FrozenBatchNorm2d) -> torch.Tensor:
        """Convolve with weights that the normalization has scaled, which spares two passes over the result.

        Its rounding is another one than that of scaling the result, so only lower precision takes this way.
        """
        scale, shift = norm.affine()
        weight = self.weight * scale.view(-1, 1, 1, 1)
        bias = shift if self.bias is None else self.bias * scale + shift
        x = F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)
        return x if self.activation is None else self.activation(x)
