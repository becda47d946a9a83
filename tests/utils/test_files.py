"""Files appear whole or not at all, and folders that take no data say why."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from cardamage.data.formats.shared.json_opening import json_opening
from cardamage.data.formats.shared.text_files import read_json
from cardamage.data.images.reading import read_image
from cardamage.errors import DataError, TrainingError
from cardamage.utils.files import (
    atomic_write,
    describe_write_error,
    ensure_writable_dir,
    local_path,
    open_regular,
)


def test_text_and_bytes_are_written(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "new" / "a.txt") as stream:
        stream.write("zwölf\n")
    with atomic_write(tmp_path / "b.bin", "wb") as stream:
        stream.write(b"\0\1")
    assert (tmp_path / "new" / "a.txt").read_text(encoding="utf-8") == "zwölf\n"
    assert (tmp_path / "b.bin").read_bytes() == b"\0\1"
    assert sorted(os.listdir(tmp_path)) == ["b.bin", "new"]


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError), atomic_write(path) as stream:
        stream.writelines(["new", "\ud800"])
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX's")
def test_permissions_are_the_users(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("x")
    path = tmp_path / "a.txt"
    with atomic_write(path) as stream:
        stream.write("x")
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
    path.chmod(0o640)
    with atomic_write(path) as stream:
        stream.write("y")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_other_modes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not 'a'"), atomic_write(tmp_path / "a", "a"):
        pass


def test_a_good_folder_stays_empty(tmp_path: Path) -> None:
    folder = ensure_writable_dir(tmp_path / "a" / "b")
    assert folder.is_dir()
    assert os.listdir(folder) == []


@pytest.mark.parametrize("tail", ["", "under"])
def test_a_file_in_the_way(tmp_path: Path, tail: str) -> None:
    (tmp_path / "file").write_text("x")
    path = tmp_path / "file" / tail
    with pytest.raises(TrainingError) as caught:
        ensure_writable_dir(path)
    assert str(caught.value) == (
        f"The output folder '{path}' is, or lies under, a file: set OUTPUT_DIR to another folder."
    )


def test_the_option_of_another_command(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(TrainingError, match="a file: set --output to another folder.$"):
        ensure_writable_dir(tmp_path / "file", "--output")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(TrainingError, match="can't be written: change its permissions"):
        ensure_writable_dir(folder)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="a folder nobody can write to")
def test_a_folder_of_the_system() -> None:
    with pytest.raises(TrainingError, match="The output folder '/proc/self/out' can't be written"):
        ensure_writable_dir("/proc/self/out")


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.ENOSPC, "The disk of the output folder 'out' is full: free some space or {}."),
        (errno.EROFS, "The output folder 'out' can't be written: change its permissions or {}."),
        (errno.EACCES, "The output folder 'out' can't be written: change its permissions or {}."),
        (errno.EIO, "The output folder 'out' can't be written (broken): {}."),
    ],
)
def test_sentences(number: int, sentence: str) -> None:
    text = describe_write_error("out", OSError(number, "broken"))
    assert text == sentence.format("set OUTPUT_DIR to another folder")


def test_addresses_are_opened_through_the_path_manager(tmp_path: Path) -> None:
    from cardamage.utils.file_io import PathHandler, PathManager

    class Shelf(PathHandler):
        def _get_supported_prefixes(self) -> list[str]:
            return ["shelf-of-tests://"]

        def _get_local_path(self, path: str, force: bool = False, **kwargs: object) -> str:
            return str(tmp_path / path.partition("://")[2])

    PathManager.register_handler(Shelf())
    assert local_path("shelf-of-tests://a/b.json") == str(tmp_path / "a/b.json")
    assert local_path(tmp_path / "not there") == str(tmp_path / "not there")
    assert local_path("relative/c.png") == "relative/c.png"


def test_only_files_are_opened(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"four")
    with open_regular(tmp_path / "a.txt") as file:
        assert file.read() == b"four"
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "b.txt")
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes among the files here")
def test_pipes_and_devices_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(OSError, match="device or pipe"):
            open_regular(path)
    with pytest.raises(DataError, match="can't be read: it is a device or pipe, not a file"):
        read_json(tmp_path / "pipe", "COCO file")
    with pytest.raises(DataError, match="can't be read: it is a device or pipe, not a file"):
        read_image(tmp_path / "pipe")
    assert json_opening(tmp_path / "pipe") == {}
