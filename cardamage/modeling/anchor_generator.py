"""The anchors of a feature pyramid (Ren et al., https://arxiv.org/abs/1506.01497)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from cardamage.absent import absent_names
from cardamage.config import configurable
from cardamage.errors import ConfigValueError
from cardamage.layers import ShapeSpec
from cardamage.modeling.registry import Registry
from cardamage.structures import Boxes

__all__ = ["ANCHOR_GENERATOR_REGISTRY", "BufferList", "DefaultAnchorGenerator", "build_anchor_generator"]

__getattr__ = absent_names(__name__)

ANCHOR_GENERATOR_REGISTRY = Registry("ANCHOR_GENERATOR", "MODEL.ANCHOR_GENERATOR.NAME")
ANCHOR_GENERATOR_REGISTRY.__doc__ = (
    "Callables ``(cfg, input_shape) -> module``, chosen by ``MODEL.ANCHOR_GENERATOR.NAME``."
)


class BufferList(nn.Module):
    """A list of buffers that move with the model but are not saved."""

    def __init__(self, buffers: Sequence[torch.Tensor]) -> None:
        """Register the buffers as ``0``, ``1``, ..."""
        super().__init__()
        for i, buffer in enumerate(buffers):
            self.register_buffer(str(i), buffer, persistent=False)

    def __len__(self) -> int:
        return len(self._buffers)

    def __iter__(self) -> Any:
        return iter(self._buffers.values())


def _per_feature(values: Sequence[Any], num_features: int, name: str) -> list[Sequence[float]]:
    """Repeat one flat list, or the only list of a list of lists, for every feature map."""
    if not isinstance(values, Sequence) or len(values) == 0:
        raise ConfigValueError(f"MODEL.ANCHOR_GENERATOR.{name} is {values!r}, but must be a list of numbers")
    if not isinstance(values[0], Sequence):
        return [values] * num_features
    if len(values) == 1:
        return list(values) * num_features
    if len(values) != num_features:
        raise ConfigValueError(
            f"MODEL.ANCHOR_GENERATOR.{name} has {len(values)} lists for {num_features} feature maps; "
            "give one for all, or one for each."
        )
    return list(values)


@ANCHOR_GENERATOR_REGISTRY.register()
class DefaultAnchorGenerator(nn.Module):
    """Boxes of every size and aspect ratio, centered on every cell of every feature map."""

    box_dim = 4
    __jit_ignored_attributes__ = ("_cache",)

    @configurable
    def __init__(
        self,
        *,
        sizes: Sequence[Any],
        aspect_ratios: Sequence[Any],
        strides: Sequence[int],
        offset: float = 0.5,
    ) -> None:
        """Make the anchors of one cell per feature map.

        Args:
            sizes: square roots of the anchors' areas, in pixels: one list for all feature maps,
                or a list of lists, one for each.
            aspect_ratios: height / width, given alike.
            strides: every feature map's stride, in pixels.
            offset: where the first center lies, in strides, 0 <= offset < 1.

        Raises:
            ConfigValueError: lists that do not fit the feature maps, or a bad offset.
        """
        super().__init__()
        if not 0.0 <= offset < 1.0:
            raise ConfigValueError(f"MODEL.ANCHOR_GENERATOR.OFFSET is {offset}, but must be in [0, 1)")
        self.strides = list(strides)
        self.num_features = len(self.strides)
        self.offset = offset
        per_size = _per_feature(sizes, self.num_features, "SIZES")
        per_ratio = _per_feature(aspect_ratios, self.num_features, "ASPECT_RATIOS")
        self.cell_anchors = BufferList(
            [self.generate_cell_anchors(s, r).float() for s, r in zip(per_size, per_ratio, strict=True)]
        )
        self._cache: dict[Any, list[torch.Tensor]] = {}

    @classmethod
    def from_config(cls, cfg: Any, input_shape: Sequence[ShapeSpec]) -> dict[str, Any]:
        """Read ``MODEL.ANCHOR_GENERATOR``."""
        node = cfg.MODEL.ANCHOR_GENERATOR
        return {
            "sizes": node.SIZES,
            "aspect_ratios": node.ASPECT_RATIOS,
            "strides": [shape.stride for shape in input_shape],
            "offset": node.OFFSET,
        }

    @property
    def num_anchors(self) -> list[int]:
        """How many anchors a cell has, for every feature map."""
        return [len(cell) for _, cell in self.cell_anchors.named_buffers()]

    num_cell_anchors = num_anchors

    def generate_cell_anchors(
        self,
        sizes: Sequence[float] = (32, 64, 128, 256, 512),
        aspect_ratios: Sequence[float] = (0.5, 1, 2),
    ) -> torch.Tensor:
        """Return the anchors of a cell centered on the origin.

        Args:
            sizes: square roots of the areas, in pixels.
            aspect_ratios: height / width.

        Returns:
            (len(sizes) * len(aspect_ratios), 4) XYXY boxes, ratios changing fastest.
        """
        anchors = []
        for size in sizes:
            for ratio in aspect_ratios:
                width = math.sqrt(size**2.0 / ratio)
                height = ratio * width
                anchors.append([-width / 2.0, -height / 2.0, width / 2.0, height / 2.0])
        return torch.tensor(anchors)

    def _centers(self, count: int, stride: int, like: torch.Tensor) -> torch.Tensor:
        places = torch.arange(count, dtype=torch.float64, device=like.device)
        return ((places + self.offset) * stride).float()

    def _grid(self, cell: torch.Tensor, size: list[int], stride: int) -> torch.Tensor:
        """Repeat a cell's anchors over a feature map: (H * W * A, 4)."""
        ys, xs = self._centers(size[0], stride, cell), self._centers(size[1], stride, cell)
        y, x = torch.meshgrid(ys, xs, indexing="ij")
        centers = torch.stack([x, y, x, y], dim=-1).view(-1, 1, 4)
        return (centers + cell).view(-1, 4)

    def _grids(self, sizes: list[list[int]]) -> list[torch.Tensor]:
        """Make the anchors of feature maps of the given sizes."""
        cells = [cell for _, cell in self.cell_anchors.named_buffers()]
        return [self._grid(cells[i], size, self.strides[i]) for i, size in enumerate(sizes)]

    @torch.jit.unused
    def _kept_grids(self, sizes: list[list[int]]) -> list[torch.Tensor]:
        device = next(self.cell_anchors.buffers()).device
        key = (device, *map(tuple, sizes))
        if key not in self._cache:
            if len(self._cache) >= 8:
                self._cache.clear()
            self._cache[key] = self._grids(sizes)
        return self._cache[key]

    def forward(self, features: list[torch.Tensor]) -> list[Boxes]:
        """Return the anchors of every feature map.

        They depend on the maps' sizes only, so those of the last few sizes are kept.

        Args:
            features: (N, C, Hi, Wi) maps.

        Returns:
            Per map, Hi * Wi * A boxes; rows first, a cell's anchors together.

        Raises:
            ValueError: not one map for each stride.
        """
        if len(features) != self.num_features:
            raise ValueError(f"{len(features)} feature maps came where {self.num_features} have anchors.")
        sizes = [list(f.shape[-2:]) for f in features]
        grids = self._grids(sizes) if torch.jit.is_scripting() else self._kept_grids(sizes)
        return [Boxes(grid) for grid in grids]


def build_anchor_generator(cfg: Any, input_shape: Sequence[ShapeSpec]) -> nn.Module:
    """Build the anchor generator that ``cfg.MODEL.ANCHOR_GENERATOR.NAME`` names.

    Args:
        cfg: the config tree.
        input_shape: the feature maps' shapes.

    Returns:
        A module from feature maps to anchors.
    """
    return ANCHOR_GENERATOR_REGISTRY.get(cfg.MODEL.ANCHOR_GENERATOR.NAME)(cfg, input_shape)
