"""Timing and reporting of an inference run."""

from __future__ import annotations

import logging
import re

import pytest

from cardamage.evaluation.progress import InferenceProgress


def test_plain_lines_without_a_terminal(caplog: pytest.LogCaptureFixture) -> None:
    progress = InferenceProgress(8, log_every=0)
    with caplog.at_level(logging.INFO):
        for _ in range(8):
            for phase in ("data", "compute", "eval"):
                with progress.phase(phase):
                    pass
            progress.step()
        progress.close()
    pattern = (
        r"Inference \d/8: 0\.\d{4} s/batch \(data 0\.\d{4}, compute 0\.\d{4}, eval 0\.\d{4}\), ETA 0:00:0\d"
    )
    assert all(re.fullmatch(pattern, line) for line in caplog.messages[:-1])
    assert len(caplog.messages) == 8  # none for the batch that ends the warm-up, one at the end


@pytest.mark.parametrize(("total", "measured"), [(1, 1), (3, 1), (5, 1), (6, 1), (20, 15)])
def test_warm_up_is_not_counted(total: int, measured: int) -> None:
    progress = InferenceProgress(total)
    for _ in range(total):
        progress.step()
    assert (progress.done, progress.measured) == (total, measured)
    progress.close()


def test_no_batches() -> None:
    progress = InferenceProgress(0)
    progress.close()
    assert progress.done == 0
