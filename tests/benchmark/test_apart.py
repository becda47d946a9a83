"""Sides in processes of their own; these must be able to import what a side is made of."""

from __future__ import annotations

import os
import subprocess
from functools import partial
from pathlib import Path

import pytest

from cardamage.benchmark.sides.apart import apart
from cardamage.benchmark.sides.side import Side


def test_it_runs_elsewhere_until_it_fails(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    # The shell's parent is the process that runs the side; the third run fails.
    command = f"echo $PPID >> {pids}; test $(wc -l < {pids}) -lt 3"
    run = partial(subprocess.run, command, shell=True, check=True)
    side = apart(partial(Side, "other", run, 7, "peer"))
    assert (side.name, side.images, side.role) == ("other", 7, "peer")
    side()
    side()
    first, second = pids.read_text().split()
    assert first == second != str(os.getpid())
    with pytest.raises(RuntimeError, match="CalledProcessError: .*non-zero exit status 1"):
        side()


def test_a_side_that_cannot_be_built_says_so() -> None:
    with pytest.raises(RuntimeError, match="ValueError: invalid literal"):
        apart(partial(int, "x"))
