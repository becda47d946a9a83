"""Photos for tools to look at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest


@pytest.fixture
def draw_photo() -> Callable[..., Path]:
    """A function that writes a picture of random patches."""

    def draw(path: Path, seed: int = 0, size: tuple[int, int] = (60, 80)) -> Path:
        patches = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), np.uint8)
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = cv2.resize(patches, size[::-1], interpolation=cv2.INTER_NEAREST)
        path.write_bytes(cv2.imencode(path.suffix, picture)[1].tobytes())
        return path

    return draw
