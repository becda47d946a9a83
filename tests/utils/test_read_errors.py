"""One sentence for each way in which a file can't be read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cardamage.errors import DataError
from cardamage.utils.read_errors import read_errors


def _text(path: Path) -> Path:
    path.write_bytes(b"\xff")
    return path


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _loop(path: Path) -> Path:
    path.symlink_to(path)
    return path


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path, "The label file {path} does not exist."),
        (_folder, "The label file {path} is a folder; name the file in it."),
        (_text, "The label file {path} is not UTF-8 text; save it as UTF-8."),
        (_loop, "The label file {path} can't be read: Too many levels of symbolic links."),
        (lambda path: Path(f"{path}\0"), "The label file {path!r} can't be a file's name."),
    ],
)
def test_what_is_said(make: Callable[[Path], Path], said: str, tmp_path: Path) -> None:
    path = make(tmp_path / "a.txt")
    with pytest.raises(DataError) as caught, read_errors("label file", path):
        path.read_text(encoding="utf-8")
    assert str(caught.value) == said.format(path=str(path))
    assert caught.value.__suppress_context__


def test_sentences_of_ones_own_pass() -> None:
    with pytest.raises(DataError, match="^My own.$"), read_errors("label file", "a.txt"):
        raise DataError("My own.")
