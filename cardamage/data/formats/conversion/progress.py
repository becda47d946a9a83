"""How far a conversion is."""

from __future__ import annotations

from collections.abc import Iterator

from tqdm import tqdm

from ..dataset import AnnotatedImage, Images

__all__ = ["ToldImages"]


class ToldImages:
    """Images with a bar on the screen that tells how far they are gone through, where that takes long.

    Args:
        images: the images.
        doing: what is done with them, such as ``"write"``.
    """

    def __init__(self, images: Images, doing: str) -> None:
        self._images = images
        self._doing = doing

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[AnnotatedImage]:
        bar = tqdm(self._images, self._doing, len(self), unit="image", leave=False, disable=None, delay=1)
        return iter(bar)
