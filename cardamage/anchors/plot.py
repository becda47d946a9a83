"""A picture of a tuning: the boxes with the anchors among them, and how many boxes can be found."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cardamage.errors import TrainingError
from cardamage.utils.files import atomic_write, describe_write_error

from .boxes import resize_boxes
from .coverage import SIZE_CLASSES, Coverage
from .grid import AnchorGrid
from .tuning import TuningTask

__all__ = ["plot_tuning"]

_BEFORE, _AFTER = "#8a8a8a", "#c8442b"
_SHOWN = 20_000


def plot_tuning(
    path: str | os.PathLike[str], task: TuningTask, grids: dict[str, AnchorGrid], found: dict[str, Coverage]
) -> None:
    """Write a PNG of boxes and anchors.

    Args:
        path: the file.
        task: the boxes.
        grids: one or two sets of anchors by name, the tuned ones last.
        found: what was measured of them, by the same names.

    Raises:
        TrainingError: the file can't be written.
    """
    figure = Figure(figsize=(16, 5.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    shapes, recalls, sizes = figure.subplots(1, 3, width_ratios=[1.15, 1, 1])
    _plot_shapes(shapes, task, grids)
    _plot_recalls(recalls, task, found)
    _plot_sizes(sizes, found)
    names = ", ".join(os.path.basename(name.rstrip("/")) or name for name in task.datasets)
    figure.suptitle(f"Anchors for {len(task.boxes):,} boxes of {names}".replace("$", r"\$"))
    data = io.BytesIO()
    figure.savefig(data, format="png")
    try:
        with atomic_write(path, "wb") as file:
            file.write(data.getvalue())
    except OSError as error:
        raise TrainingError(describe_write_error(Path(path), error, "--output")) from error


def _colors(found: dict[str, Coverage] | dict[str, AnchorGrid]) -> dict[str, str]:
    return dict(zip(found, (_BEFORE, _AFTER) if len(found) > 1 else (_AFTER,), strict=True))


def _plot_shapes(axes: Axes, task: TuningTask, grids: dict[str, AnchorGrid]) -> None:
    sample = task.boxes.sample(max(_SHOWN // len(task.sizes), 1), np.random.default_rng(0))
    shapes = np.concatenate([resized.shapes for resized in resize_boxes(sample, task.sizes)])
    edges = np.concatenate([shapes, *(grid.shapes for grid in grids.values())])
    low, high = max(0.5, edges.min() * 0.8), edges.max() * 1.25
    bins = np.geomspace(low, high, 61)
    counts, _, _ = np.histogram2d(shapes[:, 0], shapes[:, 1], bins=(bins, bins))
    axes.pcolormesh(bins, bins, np.sqrt(np.where(counts > 0, counts, np.nan)).T, cmap="Blues", vmin=0)
    for (name, grid), color, marker in zip(grids.items(), _colors(grids).values(), "sD", strict=False):
        face = "none" if color == _BEFORE else color
        edge = color if color == _BEFORE else "white"
        wide, tall = grid.shapes.T
        look: dict[str, Any] = {"marker": marker, "facecolor": face, "edgecolor": edge, "linewidth": 1.2}
        axes.scatter(wide, tall, s=46, label=name, zorder=3, **look)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    axes.set_aspect("equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
    axes.set_ylabel("height (pixels)")
    _finish(axes, "width (pixels of the resized picture)", "Boxes (blue) and anchors")
    axes.legend(frameon=True, framealpha=0.9, fontsize=9, loc="upper left")


def _plot_recalls(axes: Axes, task: TuningTask, found: dict[str, Coverage]) -> None:
    for (name, coverage), color in zip(found.items(), _colors(found).values(), strict=True):
        recalls = coverage.placed["all"].recalls()
        axes.plot(np.linspace(0, 1, len(recalls)), recalls, color=color, linewidth=2, label=name)
        alone = coverage.shapes["all"].recalls()
        axes.plot(np.linspace(0, 1, len(alone)), alone, color=color, linewidth=1, linestyle=":")
    for threshold in (task.background, 0.5, 0.7):
        axes.axvline(threshold, color="0.75", linewidth=0.8, zorder=0)
        axes.annotate(f"{threshold:g}", (threshold, 0.01), fontsize=8, color="0.4", ha="left")
    axes.plot([], [], color="0.3", linewidth=1, linestyle=":", label="shapes alone")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_ylabel("best possible recall")
    _finish(axes, "overlap (IoU) that a box needs with an anchor", "Share of the boxes that anchors reach")
    axes.legend(frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=(0, 0.06))


def _plot_sizes(axes: Axes, found: dict[str, Coverage]) -> None:
    first = next(iter(found.values()))
    names = [name for name in SIZE_CLASSES if first.placed[name].boxes]
    width = 0.8 / len(found)
    for index, (coverage, color) in enumerate(zip(found.values(), _colors(found).values(), strict=True)):
        place = np.arange(len(names)) + (index - (len(found) - 1) / 2) * width
        for threshold, alpha in ((0.5, 0.45), (0.7, 1.0)):
            values = [coverage.placed[name].recall(threshold) for name in names]
            axes.bar(place, values, width * 0.92, color=color, alpha=alpha)
            _label(axes, place, values, inside=threshold == 0.7)
    total = first.placed["all"].boxes
    shares = [first.placed[name].boxes / total for name in names]
    axes.set_xticks(range(len(names)), [f"{n}\n{s:.0%}" for n, s in zip(names, shares, strict=True)])
    axes.set_ylim(0, 1.08)
    axes.set_ylabel("best possible recall")
    _finish(axes, "size of the box in the resized picture", "Recall at 0.5 (light) and 0.7 (full)")


def _label(axes: Axes, places: np.ndarray, values: list[float], inside: bool) -> None:
    """Write values above their bars, or white below the bars' ends where there is room."""
    for place, value in zip(places, values, strict=True):
        if not inside or value > 0.06:
            shift, color = (-11, "white") if inside else (2, "black")
            axes.annotate(
                f"{value:.2f}",
                (place, value),
                xytext=(0, shift),
                textcoords="offset points",
                ha="center",
                fontsize=8,
                color=color,
            )


def _finish(axes: Axes, label: str, title: str) -> None:
    axes.set_xlabel(label)
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
