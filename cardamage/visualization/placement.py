"""Where to put the tags of many objects so that they cover each other little and stay in the picture."""

from __future__ import annotations

import numpy as np

__all__ = ["TagPlacer"]


class TagPlacer:
    """Finds places for tags one after the other, remembering the ones it gave out.

    Args:
        width: the picture's width in px.
        height: its height.
    """

    def __init__(self, width: int, height: int) -> None:
        self._width, self._height = width, height
        self._taken = np.zeros((0, 4))

    def place(self, box: tuple[float, float, float, float], width: int, height: int) -> tuple[int, int]:
        """Find a place for a tag near ``box``, preferably on its upper left corner.

        Args:
            box: x0, y0, x1, y1 of the object.
            width: the tag's width.
            height: its height.

        Returns:
            x, y of the tag's upper left corner.
        """
        wanted = self._candidates(box, width, height)
        corners = np.stack(
            [
                np.clip(np.round(wanted[:, 0]), 0, max(self._width - width, 0)),
                np.clip(np.round(wanted[:, 1]), 0, max(self._height - height, 0)),
            ],
            axis=1,
        )
        moved = np.abs(corners - wanted).sum(axis=1) / height
        covered = self._overlap(np.concatenate([corners, corners + (width, height)], axis=1)) / (
            width * height
        )
        rank = np.arange(len(corners))
        best = int(np.argmin(100 * covered + 0.5 * rank + moved))
        x, y = (int(v) for v in corners[best])
        self.take(x, y, width, height)
        return x, y

    def take(self, x: int, y: int, width: int, height: int) -> None:
        """Mark a place as used."""
        self._taken = np.concatenate([self._taken, [[x, y, x + width, y + height]]])

    def _candidates(self, box: tuple[float, float, float, float], width: int, height: int) -> np.ndarray:
        x0, y0, x1, y1 = box
        above, below, right = y0 - height, y1, x1 - width
        first = [(x0, above), (x0, y0), (right, above), (x0, below), (right, below), (right, y0), (x1, y0)]
        first += [(x0, y1 - height), (right, y1 - height), (x0 - width, y0)]
        rows = [(x, above - k * height) for k in range(1, 4) for x in (x0, right)]
        rows += [(x, y0 + k * height) for k in range(1, 8) for x in (x0, right, (x0 + x1 - width) / 2)]
        return np.array(first + rows, dtype=float)

    def _overlap(self, rectangles: np.ndarray) -> np.ndarray:
        """Return per rectangle the area it shares with places taken."""
        low = np.maximum(rectangles[:, None, :2], self._taken[None, :, :2])
        high = np.minimum(rectangles[:, None, 2:], self._taken[None, :, 2:])
        return np.clip(high - low, 0, None).prod(axis=2).sum(axis=1)
