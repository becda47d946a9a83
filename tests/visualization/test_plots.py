"""Training curves from complete and from broken metrics."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import cv2
import pytest

from cardamage.visualization import plot_training, read_metrics


def _training(steps: int) -> list[dict[str, Any]]:
    return [
        {"iteration": 20 * i, "total_loss": 3 / (i + 1), "loss_mask": 0.6, "loss_extra": 0.1, "lr": 0.02}
        for i in range(steps)
    ]


EVALUATION = {"iteration": 100, "segm/AP": 20.0, "segm/AP50": 41.0, "bbox/AP": math.nan, "bbox/AP-dent": 3.0}


@pytest.mark.parametrize(
    "records",
    [
        _training(100) + [EVALUATION],
        _training(1),
        [EVALUATION],
        [{"iteration": 5, "segm/AP": 100.0}],
        [{"iteration": 5, "total_loss": 0.0}],
        [{"iteration": 5, "total_loss": math.inf}, {"iteration": 6, "total_loss": 2.0}, {"total_loss": 1.0}],
        [{"iteration": 5, "total_loss": "high"}, {"iteration": 6, "total_loss": 2.0}],
    ],
)
def test_plots(records: list[dict[str, Any]], tmp_path: Path) -> None:
    assert plot_training(records, tmp_path / "new" / "plot.png", title="run") is True
    image = cv2.imread(str(tmp_path / "new" / "plot.png"))
    assert image.shape[1] > 600
    assert (image != 255).any()


@pytest.mark.parametrize(
    "records", [[], [{"iteration": 1}], [{"iteration": 1, "total_loss": math.nan}], [{"lr": 1}]]
)
def test_nothing_to_plot(records: list[dict[str, Any]], tmp_path: Path) -> None:
    assert plot_training(records, tmp_path / "plot.png") is False
    assert not (tmp_path / "plot.png").exists()


def test_file_cut_off_while_written(tmp_path: Path) -> None:
    file = tmp_path / "metrics.json"
    lines = [json.dumps(record) for record in _training(3)]
    file.write_text("\n".join([*lines, "", "[1]", '{"iteration": 60, "total_lo']))
    assert read_metrics(file) == _training(3)
    assert plot_training(file, tmp_path / "plot.png")
