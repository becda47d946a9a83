"""The anchors of a model, and where on a padded picture they stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from cardamage.config import CfgNode
from cardamage.modeling import build_anchor_generator, build_backbone

__all__ = ["AnchorGrid", "cell_anchors", "grid_of_config", "grid_of_model"]


@dataclass(frozen=True)
class AnchorGrid:
    """Anchors that repeat on the cells of feature maps.

    Attributes:
        cells: for each map (A, 4) float64 XYXY anchors around a cell's point.
        strides: each map's stride in pixels.
        offset: where the first point lies, in strides.
        divisor: pictures are padded to multiples of it; 0 and 1 pad nothing.
        boundary: anchors that reach this many pixels or more out of the picture are left out; negative keeps
            all.
    """

    cells: tuple[np.ndarray, ...]
    strides: tuple[int, ...]
    offset: float = 0.0
    divisor: int = 0
    boundary: float = -1.0

    def with_shapes(self, sizes: Sequence[Sequence[float]], ratios: Sequence[Sequence[float]]) -> AnchorGrid:
        """Return the same maps with other anchors.

        Args:
            sizes: square roots of the areas, a list for each map.
            ratios: height / width, a list for each map.
        """
        cells = tuple(cell_anchors(s, r) for s, r in zip(sizes, ratios, strict=True))
        return replace(self, cells=cells)

    @property
    def shapes(self) -> np.ndarray:
        """(K, 2) float64 widths and heights of all anchors."""
        return np.concatenate([cell[:, 2:] - cell[:, :2] for cell in self.cells])

    def map_size(self, pictures: np.ndarray, level: int) -> np.ndarray:
        """Return the size of a feature map for pictures of these sizes, each padded alone.

        Args:
            pictures: (N, 2) int64 heights and widths.
            level: which map.

        Returns:
            (N, 2) int64 heights and widths.
        """
        step = max(self.divisor, 1)
        padded = -(-pictures // step) * step
        return -(-padded // self.strides[level])


def cell_anchors(sizes: Sequence[float], ratios: Sequence[float]) -> np.ndarray:
    """Return (len(sizes) * len(ratios), 4) float64 XYXY anchors around the origin, ratios changing fastest.

    Args:
        sizes: square roots of the areas, in pixels.
        ratios: height / width.
    """
    size, ratio = np.meshgrid(np.asarray(sizes, float), np.sqrt(np.asarray(ratios, float)), indexing="ij")
    half = np.stack([(size / ratio).ravel(), (size * ratio).ravel()], axis=1) / 2
    return np.concatenate([-half, half], axis=1)


def grid_of_model(model: nn.Module) -> AnchorGrid | None:
    """Return the anchors that a model's region proposal network has.

    Args:
        model: any; its weights are not looked at.

    Returns:
        The anchors, or None where the model has none of the usual form.
    """
    model = getattr(model, "module", model)
    network, backbone = getattr(model, "proposal_generator", None), getattr(model, "backbone", None)
    generator = getattr(network, "anchor_generator", None)
    if generator is None or getattr(generator, "box_dim", 4) != 4:
        return None
    boundary = float(getattr(network, "anchor_boundary_thresh", -1))
    return _grid(generator, int(getattr(backbone, "size_divisibility", 0)), boundary)


def grid_of_config(cfg: CfgNode) -> AnchorGrid | None:
    """Return the anchors of the model that a config describes, without making its weights.

    Args:
        cfg: the whole tree.

    Returns:
        The anchors, or None where the config's anchor generator is none of the usual form.
    """
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                backbone = build_backbone(cfg)
        except (NotImplementedError, RuntimeError):
            # A backbone of a user's own may look at its weights.
            backbone = build_backbone(cfg)
    shapes = backbone.output_shape()
    generator = build_anchor_generator(cfg, [shapes[name] for name in cfg.MODEL.RPN.IN_FEATURES])
    return _grid(generator, int(backbone.size_divisibility), float(cfg.MODEL.RPN.BOUNDARY_THRESH))


def _grid(generator: Any, divisor: int, boundary: float) -> AnchorGrid | None:
    names = ("cell_anchors", "strides", "offset")
    if not all(hasattr(generator, name) for name in names):
        return None
    cells = tuple(cell.detach().cpu().double().numpy() for cell in generator.cell_anchors)
    if not cells or any(cell.ndim != 2 or cell.shape[1] != 4 for cell in cells):
        return None
    return AnchorGrid(cells, tuple(map(int, generator.strides)), float(generator.offset), divisor, boundary)
