"""Many pictures on one page: ground truth beside predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from cardamage.structures import Instances

from .text import fit_text, paste_text, tag_size, text_size
from .visualizer import ColorMode, Visualizer

__all__ = ["compare", "contact_sheet"]

_PAPER = (255, 255, 255)
_INK = (32, 32, 32)


def compare(
    image: np.ndarray,
    truth: dict[str, Any],
    predictions: Instances,
    metadata: Any = None,
    *,
    width: int = 480,
    instance_mode: ColorMode = ColorMode.IMAGE,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one image twice: with its annotations, and with a model's predictions.

    Args:
        image: uint8 (H, W, 3) RGB.
        truth: its dataset dict.
        predictions: the model's instances, of the image's size.
        metadata: class names and colors.
        width: of the results in px, so that text is sharp on the page.
        instance_mode: how instances are colored.

    Returns:
        Two uint8 (H', width, 3) pictures.
    """
    pictures = []
    for draw in (
        lambda v: v.draw_dataset_dict(truth),
        lambda v: v.draw_instance_predictions(predictions),
    ):
        visualizer = Visualizer(image, metadata, scale=width / image.shape[1], instance_mode=instance_mode)
        pictures.append(draw(visualizer).get_image())
    return pictures[0], pictures[1]


def contact_sheet(
    rows: Sequence[Sequence[np.ndarray]],
    headings: Sequence[str] = ("ground truth", "prediction"),
    captions: Sequence[str] | None = None,
    *,
    width: int = 480,
    columns: int = 1,
    title: str | None = None,
) -> np.ndarray:
    """Lay pictures out in rows, one column per heading.

    Args:
        rows: for each image its pictures, uint8 (H, W, 3) RGB, one per heading.
        headings: of the columns; empty ones take no room where all are.
        captions: a line under each row, such as the file's name.
        width: of each picture in px.
        columns: how many rows stand side by side.
        title: a line over the page.

    Returns:
        The page, uint8 (H, W, 3) RGB.

    Raises:
        ValueError: there is no row, or one has not as many pictures as there are headings.
    """
    if not rows or any(len(row) != len(headings) for row in rows):
        raise ValueError(f"A contact sheet needs at least one row, each of {len(headings)} pictures.")
    gap, size = max(8, width // 40), max(12, width // 26)
    lines = captions if captions is not None else [None] * len(rows)
    cells = [_row(row, line, width, gap, size) for row, line in zip(rows, lines, strict=True)]
    columns = min(columns, len(cells))
    block_width = cells[0].shape[1]
    bands = []
    for first in range(0, len(cells), columns):
        band = cells[first : first + columns]
        height = max(cell.shape[0] for cell in band)
        blank = [np.zeros((0, block_width, 3), np.uint8)] * (columns - len(band))
        bands.append(_beside([_pad_to(cell, height) for cell in [*band, *blank]], 3 * gap))
    if any(headings):
        bands.insert(0, _beside([_heading_row(headings, width, gap, size)] * columns, 3 * gap))
    page = np.concatenate(bands)
    page = cv2.copyMakeBorder(page, gap, 0, gap, gap, cv2.BORDER_CONSTANT, value=_PAPER)
    return page if title is None else np.concatenate([_title(title, page.shape[1], gap, size), page])


def _row(pictures: Sequence[np.ndarray], caption: str | None, width: int, gap: int, size: int) -> np.ndarray:
    fitted = [_fit_width(picture, width) for picture in pictures]
    height = max(picture.shape[0] for picture in fitted)
    row = _beside([_pad_to(picture, height) for picture in fitted], gap)
    strip = np.full((gap if caption is None else gap + 2 * size, row.shape[1], 3), _PAPER, np.uint8)
    if caption is not None:
        text, fitting = fit_text(caption, max(10, int(0.8 * size)), row.shape[1])
        paste_text(strip, text, (0, 3), fitting, (96, 96, 96))
    return np.concatenate([row, strip])


def _heading_row(headings: Sequence[str], width: int, gap: int, size: int) -> np.ndarray:
    cells = []
    for heading in headings:
        text, fitting = fit_text(heading, size, width)
        cell = np.full((tag_size(text, size)[1] + gap, width, 3), _PAPER, np.uint8)
        paste_text(cell, text, ((width - text_size(text, fitting)[0]) // 2, 0), fitting, _INK)
        cells.append(cell)
    return _beside(cells, gap)


def _title(title: str, width: int, gap: int, size: int) -> np.ndarray:
    text, fitting = fit_text(title, round(1.4 * size), width - 2 * gap)
    strip = np.full((text_size(text, fitting)[1] + 2 * gap, width, 3), _PAPER, np.uint8)
    paste_text(strip, text, (gap, gap), fitting, _INK)
    return strip


def _fit_width(picture: np.ndarray, width: int) -> np.ndarray:
    if picture.shape[1] == width:
        return picture
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    how = cv2.INTER_AREA if picture.shape[1] > width else cv2.INTER_CUBIC
    return cv2.resize(np.ascontiguousarray(picture), (width, height), interpolation=how)


def _pad_to(picture: np.ndarray, height: int) -> np.ndarray:
    blank = np.full((height - picture.shape[0], picture.shape[1], 3), _PAPER, np.uint8)
    return np.concatenate([picture, blank])


def _beside(pictures: Sequence[np.ndarray], gap: int) -> np.ndarray:
    space = np.full((pictures[0].shape[0], gap, 3), _PAPER, np.uint8)
    parts = [part for picture in pictures for part in (space, picture)]
    return np.concatenate(parts[1:], axis=1)
