"""Sharp text in any script the fonts at hand cover, plain or in a rounded tag."""

from __future__ import annotations

import functools
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .colors import Color, contrast

__all__ = ["fit_text", "paste_text", "render_tag", "tag_size", "text_size"]

_FONT_FOLDER = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
_FONT_FILE = "DejaVuSans.ttf"


@functools.lru_cache(maxsize=256)
def _covering_font(text: str) -> str:
    """Return the font file for ``text``: DejaVu unless it lacks a letter that an installed font has."""
    default = str(_FONT_FOLDER / _FONT_FILE)
    wanted = {ord(letter) for letter in text if not letter.isspace()}
    if max(wanted, default=0) < 0x500:  # Latin, Greek, Cyrillic
        return default
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    def lacks(path: str) -> int:
        return len(wanted - set(FT2Font(path).get_charmap()))

    best, missing = default, lacks(default)
    for entry in font_manager.fontManager.ttflist if missing else []:
        if missing and "LastResort" not in entry.fname and (count := lacks(entry.fname)) < missing:
            best, missing = entry.fname, count
    return best


@functools.lru_cache(maxsize=256)
def _font(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)


def _pick_font(text: str, size: int) -> ImageFont.FreeTypeFont:
    return _font(_covering_font("".join(sorted(set(text)))), size)


def text_size(text: str, size: int) -> tuple[int, int]:
    """Return (width, height) in px of one line at font size ``size``; all letters have the same height."""
    font = _pick_font(text, size)
    ascent, descent = font.getmetrics()
    return int(np.ceil(font.getlength(text))), ascent + descent


def fit_text(text: str, size: int, max_width: int, smallest: int = 8) -> tuple[str, int]:
    """Shrink the font, then cut the text, until a tag with it is no wider than ``max_width`` px.

    Returns:
        The text, ending in an ellipsis if it was cut, and its font size.
    """
    while size > smallest and tag_size(text, size)[0] > max_width:
        size -= 1
    cut = text
    while len(cut) > 1 and tag_size(cut, size)[0] > max_width:
        cut = cut[:-2].rstrip() + "…"
    return cut, size


def tag_size(text: str, size: int) -> tuple[int, int]:
    """Return (width, height) in px of the tag that :func:`render_tag` draws."""
    width, height = text_size(text, size)
    pad = _padding(size)
    return width + 2 * pad, height + 2 * (pad // 3)


def render_tag(text: str, size: int, color: Color) -> np.ndarray:
    """Draw ``text`` in black or white on a rounded rectangle of ``color``.

    Returns:
        uint8 (H, W, 4) RGBA of :func:`tag_size`.
    """
    width, height = tag_size(text, size)
    ink = contrast(color)
    edge = tuple((3 * c + i) // 4 for c, i in zip(color, ink, strict=True))
    zoom = 4  # Pillow's shapes have hard edges; drawn larger and shrunk they are smooth
    shape = Image.new("RGBA", (width * zoom, height * zoom), (*edge, 0))
    ImageDraw.Draw(shape).rounded_rectangle(
        (0, 0, width * zoom - 1, height * zoom - 1),
        radius=max(2, size // 4) * zoom,
        fill=(*color, 245),
        outline=(*edge, 255),
        width=max(1, size // 14) * zoom,
    )
    tag = shape.resize((width, height), Image.Resampling.BOX)
    pad = _padding(size)
    ImageDraw.Draw(tag).text((pad, pad // 3), text, font=_pick_font(text, size), fill=(*ink, 255))
    return np.array(tag)


def paste_text(image: np.ndarray, text: str, corner: tuple[int, int], size: int, color: Color) -> None:
    """Write one line into ``image`` (uint8 (H, W, 3), modified), its top left at ``corner`` (x, y)."""
    picture = Image.fromarray(image)
    ImageDraw.Draw(picture).text(corner, text, font=_pick_font(text, size), fill=color)
    image[:] = np.asarray(picture)


def _padding(size: int) -> int:
    return max(3, round(0.35 * size))
