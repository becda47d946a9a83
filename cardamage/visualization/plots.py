"""Training curves from ``metrics.json``: losses, learning rate and average precision over iterations."""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cardamage.utils.colormap import colormap
from cardamage.utils.files import atomic_write

__all__ = ["plot_training", "read_metrics"]

_COLORS = [tuple(color) for color in colormap(rgb=True, maximum=1)[[1, 0, 4, 3, 6, 7, 8, 5]]]
_LOSSES = ("loss_cls", "loss_box_reg", "loss_mask", "loss_rpn_cls", "loss_rpn_loc")
Series = tuple[np.ndarray, np.ndarray]


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read a ``metrics.json``: one JSON object per line.

    Lines that can't be read are skipped: the last one is cut off where a run was killed while writing it.
    """
    records = []
    for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            records.append(record)
    return records


def plot_training(
    metrics: str | os.PathLike[str] | Sequence[Mapping[str, Any]],
    output: str | os.PathLike[str],
    title: str | None = None,
) -> bool:
    """Write a picture of a training run's curves.

    Left, the total loss and its parts (logarithmic where they span more than a factor of 20); right, AP and
    AP50 of boxes and masks; the learning rate below. What the metrics lack is left out.

    Args:
        metrics: a ``metrics.json``, or its records.
        output: the PNG to write.
        title: a line over the plots.

    Returns:
        Whether there was anything to plot; without, no file is written.
    """
    records = read_metrics(metrics) if isinstance(metrics, (str, os.PathLike)) else list(metrics)
    losses = _find(records, ["total_loss", *_other_losses(records)])
    precision = _find(records, [f"{task}/{name}" for task in ("segm", "bbox") for name in ("AP", "AP50")])
    rate = _find(records, ["lr"])
    if not losses and not precision:
        return False
    panels = [panel for panel in (losses, precision) if panel]
    figure = Figure(figsize=(6.4 * len(panels), 4.8 if rate else 4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2 if rate else 1, len(panels), height_ratios=[4, 1] if rate else [1])
    for column, panel in enumerate(panels):
        axes = figure.add_subplot(grid[: 1 if panel is losses else 2, column])
        _plot_losses(axes, panel) if panel is losses else _plot_precision(axes, panel)
    if rate:
        _plot_rate(figure.add_subplot(grid[1, 0]), rate["lr"])
    if title is not None:
        figure.suptitle(title)
    data = io.BytesIO()
    figure.savefig(data, format="png")
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(output, "wb") as file:
        file.write(data.getvalue())
    return True


def _other_losses(records: Sequence[Mapping[str, Any]]) -> list[str]:
    names = {name for record in records for name in record if name.startswith("loss_")}
    return [name for name in _LOSSES if name in names] + sorted(names.difference(_LOSSES))


def _find(records: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, Series]:
    """Collect (iterations, values) per name; after a resume from further back, the later value counts."""
    found: dict[str, Series] = {}
    for name in names:
        points = {
            int(record["iteration"]): float(record[name])
            for record in records
            if _is_number(record.get("iteration")) and _is_number(record.get(name))
        }
        if points:
            order = sorted(points)
            found[name] = np.array(order), np.array([points[i] for i in order])
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _plot_losses(axes: Axes, losses: Mapping[str, Series]) -> None:
    for i, (name, (x, y)) in enumerate(losses.items()):
        total = name == "total_loss"
        label = "total" if total else name.removeprefix("loss_").replace("_", " ")
        color = (0.15, 0.15, 0.15) if total else _COLORS[(i - 1) % len(_COLORS)]
        smooth = len(x) >= 40
        if smooth:
            axes.plot(x, y, color=color, alpha=0.22, linewidth=0.8)
        marker = "o" if len(x) == 1 else None
        axes.plot(
            x,
            _smooth(y) if smooth else y,
            color=color,
            label=label,
            linewidth=2 if total else 1.4,
            marker=marker,
        )
    positive = np.concatenate([y[y > 0] for _, y in losses.values()])
    if positive.size and np.percentile(positive, 98) > 20 * np.percentile(positive, 2):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
    else:
        axes.set_ylim(bottom=0)
    _finish(axes, "loss", len(losses) > 3)


def _plot_precision(axes: Axes, precision: Mapping[str, Series]) -> None:
    for name, (x, y) in precision.items():
        task, metric = name.split("/")
        color = _COLORS[0] if task == "segm" else _COLORS[1]
        style = "-" if metric == "AP" else "--"
        label = f"{'mask' if task == 'segm' else 'box'} {metric}: {y[-1]:.1f}"
        axes.plot(x, y, style, color=color, label=label, marker="o", markersize=4, linewidth=1.8)
    top = max(float(y.max()) for _, y in precision.values())
    axes.set_ylim(0, min(104.0, max(5.0, 1.15 * top)))
    axes.margins(x=0.06)
    axes.set_xlabel("iteration")
    _finish(axes, "average precision (%)", False)


def _plot_rate(axes: Axes, rate: Series) -> None:
    axes.plot(*rate, color=(0.35, 0.35, 0.35), linewidth=1.4)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("iteration")
    axes.set_ylabel("learning rate")
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _finish(axes: Axes, label: str, two_columns: bool) -> None:
    axes.set_ylabel(label)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, ncols=2 if two_columns else 1)


def _smooth(values: np.ndarray) -> np.ndarray:
    """Average over a window of a twentieth of the run, centered, shorter at the ends."""
    half = max(1, len(values) // 40)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    low, high = np.maximum(index - half, 0), np.minimum(index + half + 1, len(values))
    return (sums[high] - sums[low]) / (high - low)
