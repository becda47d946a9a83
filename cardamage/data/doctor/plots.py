"""A picture of a dataset: objects by class and split, their sizes, and the sizes of the pictures."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .model import Subject
from .tables import class_counts, object_sizes, split_order

__all__ = ["plot_dataset"]

_COLORS = ("#3366aa", "#dd8833", "#44996b", "#8866aa", "#999999")
_MOST_CLASSES = 40
_BOUNDS = (32.0, 96.0)


def plot_dataset(subject: Subject, folder: str | os.PathLike[str]) -> Path:
    """Write ``dataset.png`` into a folder.

    Args:
        subject: what was checked.
        folder: is made where it is missing.

    Returns:
        The file.
    """
    counts = class_counts(subject)
    rows = min(len(counts), _MOST_CLASSES)
    figure = Figure(figsize=(12, max(4.2, 1.6 + 0.26 * rows)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    classes, sizes, pictures = figure.subplots(1, 3, width_ratios=[1.3, 1, 1])
    _plot_classes(classes, subject)
    _plot_objects(sizes, object_sizes(subject))
    _plot_pictures(pictures, subject)
    figure.suptitle(", ".join(os.path.basename(s.rstrip(os.sep)) or s for s in subject.sources))
    target = Path(folder) / "dataset.png"
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target)
    return target


def _plot_classes(axes: Axes, subject: Subject) -> None:
    counts = class_counts(subject)
    names = sorted(counts, key=lambda name: -counts[name].total())[:_MOST_CLASSES]
    left = np.zeros(len(names))
    for split, color in zip(split_order(subject), _cycle(), strict=False):
        values = np.array([counts[name][split] for name in names], dtype=float)
        axes.barh(np.arange(len(names)), values, left=left, color=color, label=split or "no split")
        left += values
    for index, total in enumerate(left):
        axes.annotate(
            f"{total:,.0f}",
            (total, index),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    labels = [name if len(name) <= 28 else f"{name[:25]}..." for name in names]
    axes.set_yticks(np.arange(len(names)), [label.replace("$", r"\$") for label in labels], fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    more = f" (the {_MOST_CLASSES} most frequent of {len(counts)})" if len(counts) > _MOST_CLASSES else ""
    _finish(axes, f"objects{more}", "Classes")
    if len(split_order(subject)) > 1:
        axes.legend(frameon=False, fontsize=8, loc="lower right")


def _cycle() -> list[str]:
    return list(_COLORS) * 20


def _plot_objects(axes: Axes, sizes: dict[str, list[float]]) -> None:
    sides = np.sqrt(np.array([area for areas in sizes.values() for area in areas] or [1.0]))
    low, high = max(1.0, float(sides.min())), max(2.0, float(sides.max()))
    axes.hist(sides, bins=np.geomspace(low * 0.99, high * 1.01, 41).tolist(), color=_COLORS[0])
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    for bound in _BOUNDS:
        axes.axvline(bound, color="0.35", linewidth=1, linestyle="--")
    shares = [(sides < 32).mean(), ((sides >= 32) & (sides < 96)).mean(), (sides >= 96).mean()]
    texts = [f"{name} {share:.0%}" for name, share in zip(("small", "medium", "large"), shares, strict=True)]
    _finish(axes, "square root of an object's area (pixels)", "Objects: " + ", ".join(texts))
    axes.set_ylabel("objects")


def _plot_pictures(axes: Axes, subject: Subject) -> None:
    found: Counter[tuple[int, int]] = Counter()
    for place in {picture.source: picture for picture in subject.pictures}.values():
        size = subject.look(place.source).upright or place.size
        found.update([size] if size else [])
    if found:
        heights, widths = np.array(list(found)).T
        counts = np.array(list(found.values()))
        area = 12 + 160 * np.sqrt(counts / counts.max())
        axes.scatter(widths, heights, s=area, color=_COLORS[0], alpha=0.45, linewidths=0)
        limit = 1.08 * max(heights.max(), widths.max())
        axes.plot([0, limit], [0, limit], color="0.6", linewidth=0.8, linestyle=":")
        axes.set_xlim(0, limit)
        axes.set_ylim(0, limit)
    kinds = "1 size" if len(found) == 1 else f"{len(found):,} sizes"
    _finish(axes, "width (pixels)", f"Pictures: {found.total():,}, {kinds}")
    axes.set_ylabel("height (pixels)")


def _finish(axes: Axes, label: str, title: str) -> None:
    axes.set_xlabel(label)
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
