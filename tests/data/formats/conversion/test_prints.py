"""Prints from a cache are those of the pictures as they are now."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cardamage.data.formats.conversion import prints
from cardamage.data.formats.conversion.prints import kept_prints
from cardamage.data.formats.shared import keeping
from cardamage.data.images.hashes import photo_prints


def save(path: Path, number: int) -> None:
    pixels = np.random.default_rng(number).integers(0, 255, (4, 6, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((60, 40)).save(path)


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(keeping, "SAME_MOMENT", 0)
    seen: list[str] = []

    def noted(sources: list[str], threads: int) -> list[object]:
        seen.extend(os.path.basename(source) for source in sources)
        return list(photo_prints(sources, threads))

    monkeypatch.setattr(prints, "photo_prints", noted)
    return seen


def test_only_what_changed_is_looked_at(tmp_path: Path, looked_at: list[str]) -> None:
    folder, cache = tmp_path / "photos", tmp_path / "cache"
    folder.mkdir()
    for number in range(6):
        save(folder / f"{number}.png", number % 4)
    (folder / "text.png").write_text("no picture")
    sources = [str(folder / f"{name}.png") for name in (*range(6), "text", "gone", 0)]
    assert kept_prints(sources, 1, cache) == photo_prints(sources, 1)
    assert len(looked_at) == 8
    looked_at.clear()
    assert kept_prints(sources, 1, cache) == photo_prints(sources, 1)
    # What can't be read may be there now.
    assert looked_at == ["text.png", "gone.png"]
    before = (folder / "3.png").stat()
    save(folder / "3.png", 7)
    os.utime(folder / "3.png", ns=(before.st_atime_ns, before.st_mtime_ns))
    save(folder / "gone.png", 9)
    (folder / "4.png").unlink()
    looked_at.clear()
    assert kept_prints(sources, 1, cache) == photo_prints(sources, 1)
    assert looked_at == ["3.png", "4.png", "text.png", "gone.png"]


@pytest.mark.parametrize("damage", [b"", b"junk", None])
def test_a_damaged_cache_is_made_anew(tmp_path: Path, looked_at: list[str], damage: bytes | None) -> None:
    save(tmp_path / "a.png", 1)
    sources = [str(tmp_path / "a.png")]
    expected = kept_prints(sources, 1, tmp_path / "cache")
    (index,) = (tmp_path / "cache").iterdir()
    index.write_bytes(index.read_bytes()[:-1] if damage is None else damage)
    for _ in range(2):
        assert kept_prints(sources, 1, tmp_path / "cache") == expected
    assert len(looked_at) == 2


def test_changes_within_a_moment_are_not_missed(tmp_path: Path) -> None:
    sources = [str(tmp_path / "a.png")]
    found = []
    for number in (1, 2):
        save(tmp_path / "a.png", number)
        found += kept_prints(sources, 1, tmp_path / "cache")
        assert found[-1:] == photo_prints(sources, 1)
    assert found[0] != found[1]
