from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from cardamage.data.formats.yolo import load_yolo
from cardamage.errors import DataError


def write(folder: Path, *rows: str, yaml: str = "train: images\nnames: [dent, scratch]\n") -> Path:
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (60, 40)).save(folder / "images/a.jpg")
    (folder / "labels/a.txt").write_text("\n".join(rows))
    path = folder / "data.yaml"
    path.write_text(yaml)
    return path


def sentence_of(path: Path, split: str = "train") -> str:
    with pytest.raises(DataError) as caught:
        load_yolo(path, split)
    return str(caught.value)


def test_outlines_and_boxes(tmp_path: Path) -> None:
    path = write(tmp_path, "1 0.5 0.25 0.75 0.25 0.75 0.5", "", "0 0.5 0.5 0.5 0.5")
    (record,), classes = load_yolo(path)
    assert classes == ["dent", "scratch"]
    outline, box = record["annotations"]
    assert outline["segmentation"] == [[30.0, 10.0, 45.0, 10.0, 45.0, 20.0]]
    assert (outline["category_id"], box["category_id"]) == (1, 0)
    assert box["bbox"] == [15.0, 10.0, 45.0, 30.0]
    assert "segmentation" not in box


def test_names_may_be_numbered(tmp_path: Path) -> None:
    path = write(tmp_path, yaml="train: images\nnames: {1: scratch, 0: dent}\n")
    assert load_yolo(path)[1] == ["dent", "scratch"]
    path = write(tmp_path, yaml="train: images\nnames: {1: scratch}\n")
    assert (
        sentence_of(path)
        == f"The classes in {path} are numbered [1]; they must be numbered from 0 without gaps."
    )


def test_image_without_labels_and_labels_without_image(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path, "0 0.5 0.5 0.5 0.5")
    (tmp_path / "labels/a.txt").rename(tmp_path / "labels/b.txt")
    (record,), _ = load_yolo(path)
    assert record["annotations"] == []
    assert f"{tmp_path}/labels/b.txt: dropped, it has no image." in caplog.text


@pytest.mark.parametrize(
    "value",
    ["images", "../images", "./images", "/home/surya/data/images", "C:\\Users\\x\\Car-Damage\\images"],
)
def test_folders_that_were_moved(tmp_path: Path, value: str) -> None:
    path = write(tmp_path / "set", yaml=f"val: {value}\nnames: [dent]\n")
    for split in ("val", "valid"):
        assert len(load_yolo(path, split)[0]) == 1


def test_path_is_the_root(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere")
    path = tmp_path / "data.yaml"
    path.write_text(f"path: {tmp_path}/elsewhere\ntrain: images\nnames: [dent]\n")
    assert len(load_yolo(path)[0]) == 1


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (
            "0 0.5 0.5 0.5",
            "a row has a class and 4 numbers (a box) or 3 or more points, but this one has 3 numbers.",
        ),
        (
            "0 1 1 0 1 1 0 1",
            "a row has a class and 4 numbers (a box) or 3 or more points, but this one has 7 numbers.",
        ),
        ("dent 0.5 0.5 0.5 0.5", "'dent 0.5 0.5 0.5 0.5' is not a row of numbers."),
        ("2 0.5 0.5 0.5 0.5", "class 2 has no name; the names are 0 to 1."),
        ("0.5 0.5 0.5 0.5 0.5", "class 0.5 has no name; the names are 0 to 1."),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, row: str, sentence: str) -> None:
    path = write(tmp_path, "0 0.5 0.5 0.5 0.5", row)
    assert sentence_of(path) == f"{tmp_path}/labels/a.txt, line 2: {sentence}"


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    path = write(tmp_path, yaml="train: [1\n")
    assert sentence_of(path) == f"The YOLO file {path} is not valid YAML."
    path.write_text("train: images\n")
    assert sentence_of(path) == f"The YOLO file {path} has no 'names' of classes."
    path.write_text("train: images\nnames: [dent]\n")
    assert sentence_of(path, "test") == f"{path} has no split 'test'; it has train."
    assert sentence_of(path, "tran") == f"{path} has no split 'tran'; did you mean train?"
    path.write_text("train: gone\nnames: [dent]\n")
    assert sentence_of(path) == (
        f"The images of the split 'train' in {path} are not there: gone does not exist."
    )
    (tmp_path / "images/a.jpg").write_text("version https://git-lfs.github.com/spec/v1\n")
    path.write_text("train: images\nnames: [dent]\n")
    assert sentence_of(path) == (
        f"The image {tmp_path}/images/a.jpg is a Git LFS pointer, not the picture; "
        "run 'git lfs pull' where it was cloned."
    )
    (tmp_path / "images/a.jpg").unlink()
    assert sentence_of(path) == f"The folder {tmp_path}/images (train of {path}) holds no images."
