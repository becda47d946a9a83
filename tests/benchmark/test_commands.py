"""Commands in processes of their own: times, and what is said where they fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from cardamage.benchmark import commands
from cardamage.benchmark.commands import first_record, run_python, train_net
from cardamage.errors import TrainingError

WRITES = """
import pathlib, sys, time
path = pathlib.Path(sys.argv[1]); path.mkdir(parents=True)
path = path / "metrics.json"
path.write_text("")
time.sleep(0.2)
path.write_text('{"iteration": 0, "total_loss": 1.5}\\n')
time.sleep(60)
"""


def test_a_command_takes_at_least_what_it_sleeps() -> None:
    assert run_python(("-c", "import time; time.sleep(0.2)")) >= 0.2


def test_a_failing_command_is_named_with_its_last_words() -> None:
    with pytest.raises(TrainingError, match=r"failed; it ended with: .*no such luck"):
        run_python(("-c", "import sys; sys.exit('no such luck')"))


def test_a_training_is_timed_to_its_first_record_and_ended(tmp_path: Path) -> None:
    output = tmp_path / "run"
    seconds = first_record(("-c", WRITES, str(output)), output)
    assert 0.2 <= seconds < 30


def test_a_training_that_ends_without_a_record_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no data here"):
        first_record(("-c", "import sys; sys.exit('no data here')"), tmp_path / "run")


def test_outside_of_a_checkout_there_is_no_training_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train_net().is_file()
    monkeypatch.setattr(commands, "CHECKOUT", tmp_path)
    with pytest.raises(TrainingError, match="leave out the sections start and quality"):
        train_net()
