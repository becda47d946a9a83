from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

import cardamage.data  # noqa: F401  (registers the schemes)
from cardamage.catalog import DatasetCatalog, MetadataCatalog, convert_to_coco_dict
from cardamage.errors import DataError

SQUARE = [[10, 10], [20, 10], [20, 20], [10, 20]]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "my@photos"
    (folder / "labels").mkdir(parents=True)
    (folder / "images").mkdir()
    Image.new("RGB", (60, 40)).save(folder / "images/a.jpg")
    shapes = [{"label": "dent", "points": SQUARE}]
    labelme = {"shapes": shapes, "imagePath": "../images/a.jpg", "imageHeight": 40, "imageWidth": 60}
    (folder / "labels/a.json").write_text(json.dumps(labelme))
    coco = {
        "images": [{"id": 3, "file_name": "a.jpg", "height": 40, "width": 60}],
        "categories": [{"id": 5, "name": "dent"}],
        "annotations": [{"id": 0, "image_id": 3, "category_id": 5, "segmentation": [sum(SQUARE, [])]}],
    }
    (folder / "coco.json").write_text(json.dumps(coco))
    shape = {"name": "rect", "x": 10, "y": 10, "width": 10, "height": 10}
    region = {"shape_attributes": shape, "region_attributes": {"name": "dent"}}
    (folder / "via.json").write_text(json.dumps({"a": {"filename": "a.jpg", "regions": [region]}}))
    (folder / "data.yaml").write_text("train: images\nval: images\nnames: [dent]\n")
    (folder / "labels/a.txt").write_text("0 " + " ".join(f"{x / 60} {y / 40}" for x, y in SQUARE))
    return folder


@pytest.mark.parametrize(
    "name",
    [
        "labelme:{}",
        "labelme:{}/labels",
        "coco:{}/coco.json",
        "coco:{}/coco.json@{}/images",
        "via:{}/via.json",
        "via:{}/via.json@{}/images",
        "yolo:{}/data.yaml",
        "yolo:{}/data.yaml#val",
    ],
)
def test_every_form_gives_the_same_dataset(photos: Path, name: str) -> None:
    name = name.replace("{}", str(photos))
    (record,) = DatasetCatalog.get(name)
    assert Path(record["file_name"]).resolve() == photos / "images/a.jpg"
    assert record["annotations"][0]["category_id"] == 0
    assert record["annotations"][0]["bbox"] == pytest.approx([10, 10, 20, 20])
    metadata = MetadataCatalog.get(name)
    assert metadata.thing_classes == ["dent"]
    assert metadata.evaluator_type == "coco"
    assert not hasattr(metadata, "json_file")
    coco = convert_to_coco_dict(name)
    assert coco["categories"] == [{"id": 5 if name.startswith("coco") else 0, "name": "dent"}]
    assert coco["annotations"][0]["area"] == 100


def test_home_folder(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(photos))
    for name in ("labelme:~/labels", "coco:~/coco.json@~/images", "via:~/via.json", "yolo:~/data.yaml"):
        assert len(DatasetCatalog.get(name)) == 1
        DatasetCatalog.remove(name)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"^The Labelme folder {tmp_path}/no does not exist.$"):
        DatasetCatalog.get(f"labelme:{tmp_path}/no")
    with pytest.raises(DataError, match=f"^The COCO file {tmp_path}/no.json does not exist.$"):
        MetadataCatalog.get(f"coco:{tmp_path}/no.json@{tmp_path}")


def test_unknown_scheme_is_an_unknown_dataset() -> None:
    with pytest.raises(DataError, match="^Dataset 'voc:/x' is not registered"):
        DatasetCatalog.get("voc:/x")


def test_misspelled_scheme() -> None:
    with pytest.raises(DataError) as caught:
        DatasetCatalog.get("lableme:/photos")
    assert str(caught.value) == ("Dataset 'lableme:/photos' is not registered; did you mean labelme:/photos?")
