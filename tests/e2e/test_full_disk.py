"""A disk that is full before the first step, or that fills up on the way."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cardamage.checkpoint import read_checkpoint

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mounts a tmpfs or writes to /dev/full")
FULL = Path("/dev/full")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mount a small file system of so many KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(size: int) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(folder)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("file systems can't be mounted here")
        return folder

    yield mount
    if os.path.ismount(folder):
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Leave not a byte."""
    with (folder / "filling").open("wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 4096):
                pass
        except OSError:
            return


def sentence(code: int, errors: str) -> str:
    """The one line that the user reads."""
    assert code == 1, errors
    lines = errors.splitlines()
    assert len(lines) == 1, errors
    return lines[0].removeprefix("error: ")


def test_full_before_the_first_step(train_here: Any, disk: Callable[[int], Path]) -> None:
    folder = disk(1024)
    fill(folder)
    done = train_here("OUTPUT_DIR", str(folder))
    assert sentence(done.returncode, done.stderr) == (
        f"The disk of the output folder '{folder}' is full: "
        "free some space or set OUTPUT_DIR to another folder."
    )


def test_no_room_for_a_checkpoint(train_here: Any, disk: Callable[[int], Path]) -> None:
    folder = disk(1024)
    done = train_here("OUTPUT_DIR", str(folder))
    said = sentence(done.returncode, done.stderr)
    start = f"The output folder '{folder}' has 1 MiB free, but a checkpoint takes about "
    assert said.startswith(start)
    assert said.endswith(" MiB: free some space or set OUTPUT_DIR elsewhere.")
    assert int(said.removeprefix(start).split()[0]) > 50
    assert not (folder / "metrics.json").exists()


def test_fills_up_in_training(train_net: Any, disk: Callable[[int], Path]) -> None:
    folder = disk(400 * 1024)
    keys = ["OUTPUT_DIR", str(folder), "SOLVER.MAX_ITER", "100000", "SOLVER.CHECKPOINT_PERIOD", "2"]
    process = train_net.start(*keys, "TEST.EVAL_PERIOD", "0")
    end = time.monotonic() + 120
    while not (folder / "last_checkpoint").exists() and time.monotonic() < end:
        time.sleep(0.05)
    fill(folder)
    _, errors = process.communicate(timeout=120)
    said = sentence(process.returncode, errors)
    assert said.endswith(("elsewhere, then go on with --resume.", "set OUTPUT_DIR to another folder."))
    assert f"'{folder}" in said
    read_checkpoint(folder / (folder / "last_checkpoint").read_text())


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("name", ["metrics.json", "log.txt"])
def test_no_room_for_a_line(train_net: Any, tmp_path: Path, name: str) -> None:
    keys = ["OUTPUT_DIR", str(tmp_path), "SOLVER.MAX_ITER", "2", "SOLVER.CHECKPOINT_PERIOD", "1"]
    if name == "metrics.json":
        keys += ["WRITER_PERIOD", "2"]
    (tmp_path / name).symlink_to(FULL)
    done = train_net.run(*keys)
    assert sentence(done.returncode, done.stderr) == (
        f"The disk of the output folder '{tmp_path}' is full: "
        "free some space or set OUTPUT_DIR to another folder."
    )
    assert "Traceback" not in done.stdout
    if name == "metrics.json":
        assert read_checkpoint(tmp_path / "model_0000001.pth")["iteration"] == 1
