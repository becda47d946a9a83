"""Folders and files are told apart, whatever lies among them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cardamage.data.formats.shared.listing import files_in, folders_in, listed_once


def test_files_and_folders(tmp_path: Path) -> None:
    for name in ("b", "a", ".hidden", "c.yaml"):
        (tmp_path / name).mkdir()
    for name in ("x.YAML", "y.yml", ".yaml", "z.txt", "yaml"):
        (tmp_path / name).write_text("")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "linked").symlink_to("a")
    assert [path.name for path in folders_in(tmp_path)] == ["a", "b", "c.yaml", "linked"]
    assert sorted(files_in(tmp_path, (".yaml", ".yml"))) == ["x.YAML", "y.yml"]
    for gone in (tmp_path / "gone", tmp_path / "z.txt"):
        with pytest.raises(OSError, match=gone.name):
            folders_in(gone)
        with pytest.raises(OSError, match=gone.name):
            list(files_in(gone, (".yaml",)))


def test_a_state_of_the_disk(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with listed_once():
        assert [path.name for path in folders_in(tmp_path)] == ["a"]
        (tmp_path / "b").mkdir()
        (tmp_path / "c.txt").write_text("")
        assert [path.name for path in folders_in(tmp_path)] == ["a"]
        assert files_in(tmp_path, (".txt",)) == []
    assert [path.name for path in folders_in(tmp_path)] == ["a", "b"]
    assert files_in(tmp_path, (".txt",)) == ["c.txt"]
