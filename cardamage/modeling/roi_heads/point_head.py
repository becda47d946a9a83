"""Predicting masks at single points (PointRend, https://arxiv.org/abs/1912.08193)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from fvcore.nn import weight_init
from torch import nn

from cardamage.layers.point_sampling import grid_points, uncertain_cells
from cardamage.utils.compiling import region

__all__ = ["PointHead", "PointLayer", "subdivide"]


class PointLayer(nn.Conv1d):
    """A linear layer on points, with the parameters of a convolution of width 1, as checkpoints have them."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        """Make the layer."""
        super().__init__(in_channels, out_channels, kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute (..., out_channels) of (..., in_channels)."""
        return F.linear(x, self.weight[:, :, 0], self.bias)


class PointHead(nn.Module):
    """Linear layers that are the same for all points, on fine features and coarse logits."""

    def __init__(
        self,
        channels: int,
        *,
        coarse_classes: int,
        num_classes: int,
        fc_dim: int,
        num_fc: int,
        coarse_each_layer: bool = True,
    ) -> None:
        """Make the layers.

        Args:
            channels: fine features of a point.
            coarse_classes: coarse logits of a point.
            num_classes: logits to predict; 1 where masks serve all classes.
            fc_dim: channels of the hidden layers.
            num_fc: how many hidden layers there are.
            coarse_each_layer: give the coarse logits to every layer, not only to the first.
        """
        super().__init__()
        self.coarse_each_layer = coarse_each_layer
        size = channels + coarse_classes
        names = [f"fc{i}" for i in range(1, num_fc + 1)]
        for name in names:
            self.add_module(name, PointLayer(size, fc_dim))
            size = fc_dim + (coarse_classes if coarse_each_layer else 0)
        self.predictor = PointLayer(size, num_classes)
        # After all layers were made, in the order that gives a seed's weights of Detectron2's project.
        for name in names:
            weight_init.c2_msra_fill(self.get_submodule(name))
        nn.init.normal_(self.predictor.weight, std=0.001)
        nn.init.zeros_(self.predictor.get_parameter("bias"))

    @property
    def hidden(self) -> list[nn.Module]:
        """The layers before the last one."""
        return [layer for name, layer in self.named_children() if name != "predictor"]

    def forward(self, fine: torch.Tensor, coarse: torch.Tensor) -> torch.Tensor:
        """Predict (M, P, num_classes) logits.

        Args:
            fine: (M, P, channels) features.
            coarse: (M, P, coarse_classes) logits.
        """
        return self.layers(fine, coarse)

    @region
    def layers(self, fine: torch.Tensor, coarse: torch.Tensor) -> torch.Tensor:
        """Do what :meth:`forward` does."""
        # Features are in half precision where the parts before were fused for it.
        dtype = self.predictor.weight.dtype
        return run_layers(
            fine.to(dtype), coarse.to(dtype), self.hidden, self.predictor, self.coarse_each_layer
        )


def run_layers(
    fine: torch.Tensor, coarse: torch.Tensor, hidden: Any, last: Callable[..., Any], coarse_each_layer: bool
) -> torch.Tensor:
    """Run a point head's layers, or what stands in for them."""
    x = torch.cat([fine, coarse], dim=-1)
    for layer in hidden:
        x = F.relu(layer(x))
        if coarse_each_layer:
            x = torch.cat([x, coarse.to(x.dtype)], dim=-1)
    result: torch.Tensor = last(x)
    return result


def subdivide(
    predict: Callable[[torch.Tensor], torch.Tensor],
    masks: int,
    start: int,
    steps: int,
    count: int,
    device: torch.device,
) -> torch.Tensor:
    """Predict masks on a coarse grid, and again and again double it and predict where it is undecided.

    A grid that would be predicted at all points after doubling is begun with at once (Kirillov et al.,
    section 3.1). All shapes follow from the arguments, so nothing is waited for.

    Args:
        predict: from (M, P, 2) points, as shares of the masks' sides, to (M, P) logits.
        masks: M.
        start: the side of the first grid.
        steps: how often it is doubled.
        count: points of a mask that are predicted in every step.
        device: where the points are.

    Returns:
        (M, S, S) float32 logits, where S is ``start * 2**steps``.
    """
    while steps > 0 and 4 * start * start <= count:
        start, steps = 2 * start, steps - 1
    if masks == 0:
        side = start << steps
        return torch.zeros((0, side, side), device=device)
    logits = predict(grid_points(start, device).expand(masks, -1, -1)).float().unflatten(1, (start, start))
    for _ in range(steps):
        fine = F.interpolate(logits[:, None], scale_factor=2.0, mode="bilinear", align_corners=False)[:, 0]
        cells, points = uncertain_cells(fine, count)
        logits = fine.flatten(1).scatter(1, cells, predict(points).float()).view_as(fine)
    return logits
