"""The command that draws ground truth, on a small set made here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from cardamage.errors import CardamageError, ConfigValueError

TOOL = Path(__file__).resolve().parents[2] / "tools" / "visualize_data.py"


@pytest.fixture(scope="module")
def tool(load_tool: Callable[[str], ModuleType]) -> ModuleType:
    return load_tool("visualize_data")


@pytest.fixture
def dataset(tmp_path: Path) -> str:
    images, annotations = [], []
    for number in range(1, 4):
        cv2.imwrite(str(tmp_path / f"car{number}.png"), np.full((60, 90, 3), 90, np.uint8))
        images.append({"id": number, "file_name": f"car{number}.png", "height": 60, "width": 90})
        if number == 2:
            continue  # a picture without damage
        square = [20, 15, 60, 15, 60, 45, 20, 45]
        annotations.append(
            {
                "id": number,
                "image_id": number,
                "category_id": 1,
                "bbox": [20, 15, 40, 30],
                "area": 1200,
                "iscrowd": 0,
                "segmentation": [square],
            }
        )
    coco = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "dent"}]}
    (tmp_path / "set.json").write_text(json.dumps(coco), encoding="utf-8")
    return f"coco:{tmp_path / 'set.json'}@{tmp_path}"


def test_annotations_are_drawn_over_each_image(tool: ModuleType, dataset: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    tool.main(["--source", "annotation", "--dataset", dataset, "--output-dir", str(out)])
    assert sorted(p.name for p in out.iterdir()) == ["00000_car1.png", "00001_car2.png", "00002_car3.png"]
    marked, plain = cv2.imread(str(out / "00000_car1.png")), cv2.imread(str(out / "00001_car2.png"))
    assert marked.shape == plain.shape == (60, 90, 3)
    assert (plain == 90).all()
    assert (marked[40, 40] != 90).any()
    assert (marked[55, 85] == 90).all()


@pytest.mark.parametrize("kind", ["polygon", "bitmask", "box"])
def test_samples_are_drawn_as_the_loader_gives_them(
    tool: ModuleType, dataset: str, tmp_path: Path, kind: str
) -> None:
    runs = []
    keys = ["MODEL.MASK_ON", "False"] if kind == "box" else ["INPUT.MASK_FORMAT", kind]
    for name in ("a", "b"):
        out = tmp_path / name
        arguments = ["--source", "dataloader", "--dataset", dataset, "--output-dir", str(out), "--limit", "5"]
        tool.main([*arguments, "--seed", "3", "--opts", "INPUT.MIN_SIZE_TRAIN", "(30, 120)", *keys])
        runs.append([cv2.imread(str(path)) for path in sorted(out.iterdir())])
    assert len(runs[0]) == 5  # the loader goes on after the two images with damage
    assert {picture.shape[0] for picture in runs[0]} <= {30, 120}
    assert all((picture != 90).any() for picture in runs[0])
    assert all((first == second).all() for first, second in zip(*runs, strict=True))


def test_keys_may_stand_at_the_end_and_the_limit_holds(
    tool: ModuleType, dataset: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    limits = ["--limit", "1", "--output-dir", str(out)]
    tool.main(["--source", "annotation", *limits, "DATASETS.TRAIN", f"('{dataset}',)"])
    assert len(list(out.iterdir())) == 1
    with pytest.raises(ConfigValueError, match="--limit must be 0 or more"):
        tool.main(["--source", "annotation", "--limit", "-1", "--dataset", dataset])


def test_a_mistake_is_one_sentence(tool: ModuleType, tmp_path: Path, run_script: Any) -> None:
    with pytest.raises(ConfigValueError, match="No dataset is named; give --dataset NAME"):
        tool.main(["--source", "annotation"])
    with pytest.raises(CardamageError):
        tool.main(["--source", "annotation", "--dataset", "no_such_set", "--output-dir", str(tmp_path)])
    done = run_script(TOOL, "--source", "annotation")
    assert done.returncode == 1
    assert done.stderr.strip() == "error: No dataset is named; give --dataset NAME, or set DATASETS.TRAIN."
