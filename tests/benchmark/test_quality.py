"""Time to quality: the commands' words, and reading what they reached."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from cardamage.benchmark.sections.quality import check_datasets, last_scores
from cardamage.benchmark.settings import Quality
from cardamage.config import get_cfg
from cardamage.errors import DataError

CONFIG = Path(__file__).resolve().parents[2] / "configs/parts/mask_rcnn_R_50_FPN.yaml"


def test_the_schedule_is_shortened_with_the_training(tmp_path: Path) -> None:
    quality = Quality(str(CONFIG), "coco:a.json", "coco:b.json", iterations=200, batch=4)
    cfg = get_cfg()
    cfg.merge_from_file(quality.config_file)
    cfg.merge_from_list(quality.pairs(torch.device("cpu"), ["INPUT.MIN_SIZE_TEST", "128"], tmp_path))
    assert cfg.SOLVER.STEPS == (150, 185)
    assert (cfg.SOLVER.MAX_ITER, cfg.SOLVER.WARMUP_ITERS, cfg.SOLVER.IMS_PER_BATCH) == (200, 50, 4)
    assert cfg.DATASETS.TRAIN == ("coco:a.json",)
    assert cfg.INPUT.MIN_SIZE_TEST == 128


def test_the_full_length_is_the_configs_own_schedule(tmp_path: Path) -> None:
    cfg = get_cfg()
    cfg.merge_from_file(str(CONFIG))
    steps, warmup = cfg.SOLVER.STEPS, cfg.SOLVER.WARMUP_ITERS
    cfg.merge_from_list(Quality(str(CONFIG), "a", "b").pairs(torch.device("cpu"), [], tmp_path))
    assert cfg.SOLVER.STEPS == steps
    assert cfg.SOLVER.WARMUP_ITERS == warmup


def test_the_last_evaluation_counts(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    records = [
        {"iteration": 1, "segm/AP": 1.0, "segm/AP50": 2.0, "bbox/AP": 3.0},
        {"iteration": 9, "segm/AP": 4.0, "segm/AP50": 5.0, "bbox/AP": 6.0},
        {"iteration": 9, "total_loss": 1.0},
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert last_scores(path) == {"mask AP": 4.0, "mask AP50": 5.0, "box AP": 6.0}
    path.write_text(json.dumps(records[-1]) + "\n")
    assert last_scores(path) == {}
    path.write_text(
        "".join(json.dumps({"total_loss": 1.0, "time": time}) + "\n" for time in (9.0, 0.5, 0.25))
    )
    assert last_scores(path) == {"ms a step": 500.0}


def test_both_sets_must_be_there() -> None:
    with pytest.raises(DataError, match="name both sets with --quality-data"):
        check_datasets(Quality(train="coco:a.json"))
    with pytest.raises(DataError, match=r"missing\.json"):
        check_datasets(Quality(train="coco:/missing.json", test="coco:/missing.json"))
