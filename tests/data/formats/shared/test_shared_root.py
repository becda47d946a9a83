from __future__ import annotations

from pathlib import Path

import pytest

from cardamage.data.formats.dataset import AnnotatedImage
from cardamage.data.formats.shared.shared_root import shared_root


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ([("a.jpg", "/x/a.jpg"), ("b/c.jpg", "/x/b/c.jpg")], "/x"),
        ([("b/c.jpg", "/x/b/c.jpg")], "/x"),
        ([("other.jpg", "/x/b/c.jpg"), ("a.jpg", "/x/a.jpg")], "/x"),
        ([("a.jpg", "/x/y/a.jpg"), ("b.jpg", "/x/z/b.jpg"), ("c.jpg", "/x/y/c.jpg")], "/x"),
        ([("x/a.jpg", "/x/a.jpg"), ("y/b.jpg", "/y/b.jpg")], "/"),
        ([("a.jpg", "/x/a.jpg"), ("b.jpg", "/y/b.jpg")], "/"),
        ([], None),
    ],
)
def test_folder_of_all_pictures(images: list[tuple[str, str]], expected: str | None) -> None:
    found = shared_root(AnnotatedImage(name, source, 1, 1, []) for name, source in images)
    assert found == (None if expected is None else Path(expected))


def test_embedded_pictures_share_none() -> None:
    assert shared_root([AnnotatedImage("a.jpg", "/x/a.json", 1, 1, [], embedded=True)]) is None
