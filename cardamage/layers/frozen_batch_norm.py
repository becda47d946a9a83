"""Batch normalization whose statistics and parameters never change."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from typing_extensions import Self

_FIRST_VERSION_WITH_STATISTICS = 2


class FrozenBatchNorm2d(nn.Module):
    """An affine map per channel, computed from four buffers named as BatchNorm's.

    ``weight`` and ``bias`` scale and shift; ``running_mean`` and ``running_var`` normalize. As made, it
    changes nothing; Caffe2 weights, which have the statistics folded into the first two, leave the other
    two alone.
    """

    _version = 3

    def __init__(self, num_features: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.register_buffer("weight", torch.ones(num_features))
        self.register_buffer("bias", torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features) - eps)
        self.register_buffer("num_batches_tracked", None)

    weight: torch.Tensor
    bias: torch.Tensor
    running_mean: torch.Tensor
    running_var: torch.Tensor
    num_batches_tracked: torch.Tensor | None

    def affine(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the scale and the shift, each (C,), that the layer amounts to."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        return scale, self.bias - self.running_mean * scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, C, H, W) to the same shape and dtype."""
        if not x.requires_grad:
            statistics = (self.running_mean, self.running_var)
            return F.batch_norm(x, *statistics, self.weight, self.bias, training=False, eps=self.eps)
        # With gradients, F.batch_norm would keep what it needs for gradients of weight and bias too.
        scale, shift = self.affine()
        return x * scale.to(x.dtype).view(1, -1, 1, 1) + shift.to(x.dtype).view(1, -1, 1, 1)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], *args: Any
    ) -> None:
        version = local_metadata.get("version")
        if version is None or version < _FIRST_VERSION_WITH_STATISTICS:
            # Weights of that age are affine only; without these entries they would count as incomplete.
            state_dict.setdefault(prefix + "running_mean", torch.zeros_like(self.running_mean))
            state_dict.setdefault(prefix + "running_var", torch.ones_like(self.running_var))
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)

    def extra_repr(self) -> str:
        """Describe the layer in one line."""
        return f"num_features={self.num_features}, eps={self.eps}"

    @classmethod
    def convert_frozen_batchnorm(cls, module: nn.Module) -> nn.Module:
        """Freeze every BatchNorm2d and SyncBatchNorm inside a module.

        Args:
            module: changed in place, unless it is itself such a layer.

        Returns:
            The module, or the frozen layer in its stead.
        """
        return _replace(module, (nn.BatchNorm2d, nn.SyncBatchNorm), cls._from_batchnorm)

    @classmethod
    def convert_frozenbatchnorm2d_to_batchnorm2d(cls, module: nn.Module) -> nn.Module:
        """Turn every FrozenBatchNorm2d inside a module back into a BatchNorm2d.

        Args:
            module: changed in place, unless it is itself such a layer.

        Returns:
            The module, or the trainable layer in its stead.
        """
        return _replace(module, (FrozenBatchNorm2d,), _to_batchnorm)

    @classmethod
    def _from_batchnorm(cls, layer: Any) -> Self:
        frozen = cls(layer.num_features, layer.eps)
        if layer.affine:
            frozen.weight = layer.weight.detach().clone()
            frozen.bias = layer.bias.detach().clone()
        frozen.running_mean = layer.running_mean.clone()
        frozen.running_var = layer.running_var.clone()
        # Part of the state dict as long as the layer was one that counts: checkpoints of both kinds fit.
        frozen.num_batches_tracked = layer.num_batches_tracked
        return frozen.to(layer.running_mean.device)


def _to_batchnorm(layer: Any) -> nn.BatchNorm2d:
    trainable = nn.BatchNorm2d(layer.num_features, layer.eps).to(layer.weight.device)
    with torch.no_grad():
        for name in ("weight", "bias", "running_mean", "running_var"):
            getattr(trainable, name).copy_(getattr(layer, name))
        if layer.num_batches_tracked is not None and trainable.num_batches_tracked is not None:
            trainable.num_batches_tracked.copy_(layer.num_batches_tracked)
    return trainable


def _replace(
    module: nn.Module, kinds: tuple[type[nn.Module], ...], make: Callable[[Any], nn.Module]
) -> nn.Module:
    if isinstance(module, kinds):
        return make(module)
    for name, child in module.named_children():
        new_child = _replace(child, kinds, make)
        if new_child is not child:
            module.add_module(name, new_child)
    return module
