from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pycocotools.coco import COCO

from cardamage.data.formats.coco import read_coco
from cardamage.data.formats.labelme import load_labelme
from cardamage.data.formats.labelme_to_coco import convert_labelme
from cardamage.errors import DataError

SQUARE = [[10, 10], [20, 10], [20, 20], [10, 20]]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for i in range(10):
        name = f"sub/{i}" if i % 2 else str(i)
        Image.new("RGB", (60, 40), (i * 20, 0, 0)).save(folder / f"{name}.jpg")
        shapes = [{"label": label, "points": SQUARE} for label in ("scratch", "dent")[: 1 + i % 2]]
        write(folder / f"{name}.json", shapes, f"{i}.jpg")
    return folder


def write(path: Path, shapes: list[dict[str, Any]], image: str, data: str | None = None) -> None:
    content = {"shapes": shapes, "imagePath": image, "imageData": data, "imageHeight": 40, "imageWidth": 60}
    path.write_text(json.dumps(content))


def test_one_file_without_split(photos: Path, tmp_path: Path) -> None:
    done = convert_labelme(photos, tmp_path / "out")
    assert list(done.files) == ["all"]
    assert done.image_root == photos
    coco = json.loads(done.files["all"].read_text())
    assert [c for c in coco["categories"]] == [{"id": 1, "name": "dent"}, {"id": 2, "name": "scratch"}]
    assert [a["id"] for a in coco["annotations"]] == list(range(1, 16))
    assert {i["file_name"] for i in coco["images"]} == {
        f"sub/{i}.jpg" if i % 2 else f"{i}.jpg" for i in range(10)
    }


def test_parts_read_back_as_what_was_annotated(photos: Path, tmp_path: Path) -> None:
    before = {d["file_name"]: d for d in load_labelme(photos)[0]}
    done = convert_labelme(photos, tmp_path / "out", (0.8, 0.2), seed=3)
    assert list(done.files) == ["train", "val"]
    assert done.images == {"train": 8, "val": 2}
    after = [d for path in done.files.values() for d in read_coco(path, done.image_root).dicts]
    assert len(after) == 10
    for record in after:
        original = before[record["file_name"]]
        assert record["annotations"] == original["annotations"]
    assert sum(count.total() for count in done.objects.values()) == 15
    COCO(str(done.files["val"]))


def test_same_seed_same_bytes_and_the_source_is_left_alone(photos: Path, tmp_path: Path) -> None:
    stamps = {path: path.stat().st_mtime_ns for path in photos.rglob("*")}
    one = convert_labelme(photos, tmp_path / "one", (0.8, 0.2), seed=3)
    two = convert_labelme(photos, tmp_path / "two", (0.8, 0.2), seed=3)
    assert all(one.files[part].read_bytes() == two.files[part].read_bytes() for part in one.files)
    assert stamps == {path: path.stat().st_mtime_ns for path in photos.rglob("*")}


def test_embedded_pictures_are_written_out(photos: Path, tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("RGB", (60, 40), (9, 9, 9)).save(file, "PNG")
    text = base64.b64encode(file.getvalue()).decode()
    write(photos / "only.json", [{"label": "dent", "points": SQUARE}], "gone.jpg", text)
    done = convert_labelme(photos, tmp_path / "out")
    assert done.image_root == tmp_path / "out"
    assert (tmp_path / "out/images/only.png").read_bytes() == file.getvalue()
    assert (tmp_path / "out/images/sub/3.jpg").read_bytes() == (photos / "sub/3.jpg").read_bytes()
    names = [d["file_name"] for d in read_coco(done.files["all"], done.image_root).dicts]
    assert all(Path(name).is_file() for name in names)


@pytest.mark.parametrize("split", [(0.8,), (0.8, 0.0), (0.5, 0.2, 0.2, 0.1), (1.0, -1.0)])
def test_bad_shares(photos: Path, tmp_path: Path, split: tuple[float, ...]) -> None:
    with pytest.raises(DataError) as caught:
        convert_labelme(photos, tmp_path / "out", split)
    said = " ".join(f"{share:g}" for share in split)
    assert str(caught.value) == (
        f"A split needs two or three shares above 0, such as 0.8 0.2, but {said} was given."
    )
    assert not (tmp_path / "out").exists()


def test_missing_pictures_stop_it_before_anything_is_written(photos: Path, tmp_path: Path) -> None:
    (photos / "2.jpg").unlink()
    with pytest.raises(DataError, match=f"^1 of 10 images does not exist: {photos}/2.jpg; put them there"):
        convert_labelme(photos, tmp_path / "out")
    assert not (tmp_path / "out").exists()
