"""Running commands as a user does, in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cardamage.benchmark.photos import CHECKOUT
from cardamage.errors import TrainingError

__all__ = ["first_record", "run_python", "train_net"]

_STEP = 0.02
_TAIL = 600


def train_net() -> Path:
    """Return the training command.

    Raises:
        TrainingError: this is no checkout.
    """
    path = CHECKOUT / "train_net.py"
    if not path.is_file():
        raise TrainingError(
            f"There is no train_net.py in {CHECKOUT}: run the benchmark in a checkout, or leave out the "
            "sections start and quality."
        )
    return path


def run_python(words: Sequence[str]) -> float:
    """Run Python with these words and return the seconds it took.

    Raises:
        TrainingError: it failed; the end of what it said is given.
    """
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False, cwd=CHECKOUT)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise TrainingError(_failure(words, done.stderr or done.stdout))
    return seconds


def first_record(words: Sequence[str], output: Path) -> float:
    """Start a training, return the seconds to its first line in ``metrics.json``, and end it.

    Args:
        words: of the command.
        output: its output folder.

    Raises:
        TrainingError: it ended without one.
    """
    metrics, log = output / "metrics.json", output.with_suffix(".txt")
    log.parent.mkdir(parents=True, exist_ok=True)
    metrics.unlink(missing_ok=True)
    with log.open("w", encoding="utf-8") as stream:
        start = time.perf_counter()
        process = subprocess.Popen([sys.executable, *words], stdout=stream, stderr=stream, cwd=CHECKOUT)
        try:
            while not _has_record(metrics):
                if process.poll() is not None and not _has_record(metrics):
                    raise TrainingError(_failure(words, log.read_text(encoding="utf-8")))
                time.sleep(_STEP)
            return time.perf_counter() - start
        finally:
            process.kill()
            process.wait()


def _has_record(path: Path) -> bool:
    try:
        first = path.read_text(encoding="utf-8").partition("\n")
    except OSError:
        return False
    return bool(first[1]) and "total_loss" in json.loads(first[0])


def _failure(words: Sequence[str], said: str) -> str:
    return f"'python {' '.join(words)}' failed; it ended with: {said.strip()[-_TAIL:]}"
