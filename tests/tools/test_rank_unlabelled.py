"""tools/rank_unlabelled.py as a user runs it, with a model of random weights."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from cardamage.annotation.observing import observe
from cardamage.engine.trained_model import load_predictor
from cardamage.structures import Boxes, pairwise_iou

TOOL = Path(__file__).parents[2] / "tools" / "rank_unlabelled.py"


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "ranking.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_folder_with_everything_in_it(
    tiny_model: Any, draw_photo: Callable[..., Path], run_script: Any, tmp_path: Path
) -> None:
    photos = [draw_photo(tmp_path / "in" / f"é {index}.png", index) for index in range(5)]
    draw_photo(tmp_path / "in" / "labelled.png", 9).with_suffix(".json").write_text('{"shapes": []}')
    draw_photo(tmp_path / "train" / "other.png", 10)
    (tmp_path / "in" / "broken.jpg").write_text("not a picture")
    command = [TOOL, *tiny_model.arguments, "--images", tmp_path / "in", "--labelled", tmp_path / "train"]
    done = run_script(*command, "-o", tmp_path / "out", "--count", 3)
    assert done.returncode == 0, done.stderr
    assert "Chose 3 of 5 unlabelled photos, beside 2 labelled ones." in done.stdout
    assert "1 photo was left out:" in done.stdout
    rows = table(tmp_path / "out")
    assert sorted(row["file"] for row in rows) == sorted(map(str, photos))
    assert [row["chosen"] for row in rows] == ["True"] * 3 + ["False"] * 2
    worth = [float(row["uncertainty"]) * float(row["novelty"]) for row in rows[:3]]
    assert worth == sorted(worth, reverse=True)
    listed = (tmp_path / "out" / "to_label.txt").read_text(encoding="utf-8").splitlines()
    assert listed == [row["file"] for row in rows[:3]]
    content = json.loads((tmp_path / "out" / "ranking.json").read_text(encoding="utf-8"))
    assert content["settings"] == {"by": "both", "count": 3, "seed": 0}
    assert [photo["file"] for photo in content["photos"]] == [row["file"] for row in rows]
    assert len(content["failed"]) == 1
    page = cv2.imread(str(tmp_path / "out" / "contact_sheet.png"))
    assert page.shape[1] > 3 * 360
    again = run_script(*command, "-o", tmp_path / "again", "--count", 3)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "again" / "ranking.csv").read_bytes() == (
        tmp_path / "out" / "ranking.csv"
    ).read_bytes()


def test_identical_photos(
    tiny_model: Any, draw_photo: Callable[..., Path], run_script: Any, tmp_path: Path
) -> None:
    for index in range(4):
        draw_photo(tmp_path / "in" / f"{index}.png", 1)
    done = run_script(TOOL, *tiny_model.arguments, "--images", tmp_path / "in", "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert [row["novelty"] for row in table(tmp_path / "out")] == ["", "0.0", "0.0", "0.0"]


def test_one_photo(tiny_model: Any, draw_photo: Callable[..., Path], run_script: Any, tmp_path: Path) -> None:
    draw_photo(tmp_path / "in" / "a.png", 1)
    command = [TOOL, *tiny_model.arguments, "--images", tmp_path / "in", "-o", tmp_path / "out"]
    done = run_script(*command, "--by", "diversity")
    assert done.returncode == 0, done.stderr
    assert "Chose 1 of 1 unlabelled photos, beside 0 labelled ones." in done.stdout


def test_nothing_to_rank_is_told(
    tiny_model: Any, draw_photo: Callable[..., Path], run_script: Any, tmp_path: Path
) -> None:
    draw_photo(tmp_path / "done" / "a.png").with_suffix(".json").write_text('{"shapes": []}')
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.jpg").write_text("not a picture")
    (tmp_path / "none").mkdir()
    for folder, sentence in (
        ("done", "All 1 photos are labelled already; give a folder with others."),
        ("broken", "None of the photos could be read: "),
        ("none", "holds no photo (a file ending in "),
        ("nowhere", "does not exist; give the folder that they are in."),
    ):
        command = [TOOL, *tiny_model.arguments, "--images", tmp_path / folder, "-o", tmp_path / "out"]
        done = run_script(*command)
        assert done.returncode == 1
        assert sentence in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr


def test_features_are_the_trunks_means(
    tiny_model: Any, draw_photo: Callable[..., Path], tmp_path: Path
) -> None:
    predictor = load_predictor(
        str(tiny_model.config), str(tiny_model.weights), options=["TEST.PRECISION", "float32"]
    )
    photo = draw_photo(tmp_path / "a.png", 3)
    (seen,) = observe(predictor, [photo], {})
    model, item = predictor.model, predictor.preprocess(cv2.imread(str(photo)))
    with torch.no_grad():
        maps = model.backbone(model.preprocess_image([item]).tensor)
    wanted = torch.cat([maps[name].mean(dim=(2, 3))[0] for name in ("p2", "p3", "p4", "p5", "p6")])
    assert seen.features.shape == (5 * 16,)
    assert seen.features == pytest.approx(wanted.numpy(), rel=1e-3, abs=1e-4)
    assert model.roi_heads.mask_on
    assert "pred_masks" in predictor(cv2.imread(str(photo)))["instances"].get_fields()


def test_a_photo_like_its_mirror_image_is_seen_alike(tiny_model: Any, tmp_path: Path) -> None:
    half = np.random.default_rng(0).integers(0, 255, (64, 48, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), np.concatenate([half, half[:, ::-1]], axis=1))
    predictor = load_predictor(
        str(tiny_model.config), str(tiny_model.weights), options=["TEST.PRECISION", "float32"]
    )
    picture = cv2.imread(str(tmp_path / "a.png"))
    found = predictor(picture)["instances"]
    back = found.pred_boxes.tensor.clone()
    back[:, [0, 2]] = 96 - back[:, [2, 0]]
    (seen,) = observe(predictor, [tmp_path / "a.png"], {})
    # Its mirror image is the same picture, so what is found there is the same, and mirrored when moved back.
    best = pairwise_iou(found.pred_boxes, Boxes(back)).max(dim=1).values
    assert seen.disagreement == pytest.approx(float((found.scores * (1 - best)).sum()), rel=1e-3, abs=1e-3)
