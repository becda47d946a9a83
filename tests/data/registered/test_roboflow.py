"""Roboflow's exports, made by hand, and the real ones where they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

import cardamage.data  # noqa: F401  (registers the scheme)
from cardamage.catalog import DatasetCatalog, MetadataCatalog
from cardamage.errors import DataError
from tests.support.paths import SHARED_DATA

SQUARE = [10, 10, 20, 10, 20, 20, 10, 20]


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    root = tmp_path / "parts#2.v1i.coco-segmentation"
    for split in ("train", "valid"):
        (root / split).mkdir(parents=True)
        name = f"{split}_jpg.rf.0123abcd.jpg"
        Image.new("RGB", (60, 40)).save(root / split / name)
        categories = [{"id": 0, "name": "parts", "supercategory": "none"}]
        categories += [
            {"id": i, "name": text, "supercategory": "parts"}
            for i, text in enumerate(("left_door", "right_door"), start=1)
        ]
        note = {"id": 0, "image_id": 0, "category_id": 2, "bbox": [10, 10, 10, 10], "area": 100}
        content = {
            "images": [{"id": 0, "file_name": name, "height": 40, "width": 60}],
            "categories": categories,
            "annotations": [{**note, "segmentation": [SQUARE], "iscrowd": 0}],
        }
        (root / split / "_annotations.coco.json").write_text(json.dumps(content))
    return root


@pytest.fixture
def yolo(tmp_path: Path) -> Path:
    root = tmp_path / "parts.v1i.yolov8"
    for split in ("train", "valid"):
        (root / split / "images").mkdir(parents=True)
        (root / split / "labels").mkdir()
        name = f"{split}_jpg.rf.0123abcd"
        Image.new("RGB", (60, 40)).save(root / split / f"images/{name}.jpg")
        row = " ".join(str(v / s) for v, s in zip(SQUARE, (60, 40) * 4, strict=True))
        (root / split / f"labels/{name}.txt").write_text(f"1 {row}\n")
    (root / "data.yaml").write_text(
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\nnc: 2\n"
        "names: ['left_door', 'right_door']\n"
    )
    return root


@pytest.mark.parametrize("layout", ["coco", "yolo"])
@pytest.mark.parametrize(
    ("suffix", "split"), [("", "train"), ("#train", "train"), ("#valid", "valid"), ("#val", "valid")]
)
def test_both_layouts(layout: str, suffix: str, split: str, request: pytest.FixtureRequest) -> None:
    root: Path = request.getfixturevalue(layout)
    name = f"roboflow:{root}{suffix}"
    (record,) = DatasetCatalog.get(name)
    assert Path(record["file_name"]).name == f"{split}_jpg.rf.0123abcd.jpg"
    (note,) = record["annotations"]
    assert note["category_id"] == 1
    assert note["bbox"] == pytest.approx([10, 10, 20, 20])
    metadata = MetadataCatalog.get(name)
    assert metadata.thing_classes == ["left_door", "right_door"]
    assert metadata.thing_flip_map == [("left_door", "right_door")]
    assert metadata.evaluator_type == "coco"


def test_a_split_that_is_not_there(coco: Path, yolo: Path) -> None:
    with pytest.raises(DataError, match=r"has no split 'test'; it has train, valid\."):
        DatasetCatalog.get(f"roboflow:{coco}#test")
    with pytest.raises(DataError, match="has no split 'vald'; did you mean valid"):
        DatasetCatalog.get(f"roboflow:{coco}#vald")
    with pytest.raises(DataError, match="test"):
        DatasetCatalog.get(f"roboflow:{yolo}#test")


def test_what_is_no_export(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"^The folder {tmp_path}/no of a Roboflow export does not exist"):
        DatasetCatalog.get(f"roboflow:{tmp_path}/no#valid")
    with pytest.raises(DataError, match="has neither SPLIT/_annotations.coco.json nor data.yaml"):
        DatasetCatalog.get(f"roboflow:{tmp_path}")


def test_the_folder_alone_gets_the_right_hint(coco: Path, yolo: Path) -> None:
    for root in (coco, yolo):
        with pytest.raises(DataError, match="say how to read it, as roboflow:"):
            DatasetCatalog.get(str(root))


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="needs the real sets")
def test_real_exports() -> None:
    """The counts of their SOURCE.txt."""
    counts = {"train": (160, 464), "valid": (50, 160), "test": (30, 114)}
    for split, (pictures, objects) in counts.items():
        records = DatasetCatalog.get(f"roboflow:{SHARED_DATA}/damage-coco#{split}")
        assert len(records) == pictures
        assert sum(len(record["annotations"]) for record in records) == objects
    yolo = f"roboflow:{SHARED_DATA}/odd/odd-yoloseg-parts-rectpoly"
    assert MetadataCatalog.get(yolo).thing_classes[-1] == "Windshield"
    assert len(DatasetCatalog.get(yolo)) > 0
