"""The ways in which YOLO datasets are laid out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cardamage.data.annotations.report import AnnotationReport
from cardamage.data.formats.dataset import AnnotatedDataset
from cardamage.data.formats.registry import ReadOptions, read_annotations, recognize
from cardamage.data.formats.yolo import load_yolo
from cardamage.errors import DataError

ROW = "0 0.5 0.5 0.5 0.5"


def photo(folder: Path, name: str, *rows: str, labels: str | None = None) -> None:
    """A picture, and its labels where Ultralytics looks for them or where it is said."""
    path = folder / name
    place = folder / (labels or name.replace("images", "labels").rsplit(".", 1)[0] + ".txt")
    for parent in (path.parent, place.parent):
        parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (60, 40)).save(path)
    place.write_text("\n".join(rows or (ROW,)))


def read(source: Path, **options: Any) -> tuple[AnnotatedDataset, AnnotationReport]:
    report = AnnotationReport("x")
    return read_annotations(source, "yolo", ReadOptions(**options), report), report


def placed(dataset: AnnotatedDataset) -> dict[str, tuple[str, int]]:
    return {image.name: (image.split, len(image.annotations)) for image in dataset.images}


def sentence_of(source: Path, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(source, **options)
    return str(caught.value)


def test_ultralytics(tmp_path: Path) -> None:
    photo(tmp_path, "images/train/a.jpg")
    photo(tmp_path, "images/train/deeper/b.jpg", ROW, ROW)
    photo(tmp_path, "images/more/c.jpg")
    photo(tmp_path, "images/val/a.jpg", "")
    (tmp_path / "data.yaml").write_text(
        "path: .\ntrain: [images/train, images/more]\nval: images/val\ntest: # none\n"
        "nc: 1\nnames:\n  0: dent\n"
    )
    for source in (tmp_path, tmp_path / "data.yaml"):
        assert recognize(source) == "yolo"
        dataset, report = read(source)
        assert placed(dataset) == {
            "images/train/a.jpg": ("train", 1),
            "images/train/deeper/b.jpg": ("train", 2),
            "images/more/c.jpg": ("train", 1),
            "images/val/a.jpg": ("val", 0),
        }
        assert report.findings == []
        # As often as one likes.
        assert len(list(dataset.images)) == len(list(dataset.images)) == len(dataset.images) == 4
    assert len(load_yolo(tmp_path / "data.yaml")[0]) == 3


def test_roboflow(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        photo(tmp_path, f"{split}/images/a.rf.1.jpg")
    (tmp_path / "data.yaml").write_text(
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\nnc: 1\nnames: ['dent']\n\n"
        "roboflow:\n  workspace: x\n  license: CC BY 4.0\n"
    )
    dataset, report = read(tmp_path)
    assert placed(dataset) == {
        "train/images/a.rf.1.jpg": ("train", 1),
        "valid/images/a.rf.1.jpg": ("val", 1),
    }
    assert dataset.extra == {"roboflow": {"workspace": "x", "license": "CC BY 4.0"}}
    assert [finding.sentence for finding in report.findings] == [
        f"{tmp_path}/data.yaml, split 'test': dropped, The images of the split 'test' in "
        f"{tmp_path}/data.yaml are not there: ../test/images does not exist."
    ]


def test_paths_of_another_machine_folded_over_two_lines(tmp_path: Path) -> None:
    photo(tmp_path, "train/images/a.jpg")
    (tmp_path / "data.yaml").write_text(
        "train: C:\\Users\\x\\Desktop\\Car-Damage\n  detection.v1i.yolov8\\train\\images\nnames: [dent]\n"
    )
    assert placed(read(tmp_path)[0]) == {"train/images/a.jpg": ("train", 1)}


@pytest.mark.parametrize(
    "line", ["./images/a.jpg", "images/a.jpg", "data/set/images/a.jpg", "C:\\set\\images\\a.jpg"]
)
def test_lists_of_images(tmp_path: Path, line: str) -> None:
    photo(tmp_path, "images/a.jpg")
    photo(tmp_path, "images/b.jpg")
    (tmp_path / "train.txt").write_text(f"{line}\n\n")
    (tmp_path / "val.txt").write_text(f"{tmp_path}/images/b.jpg\r\n")
    (tmp_path / "data.yaml").write_text("train: train.txt\nval: val.txt\nnames: [dent]\n")
    dataset, report = read(tmp_path)
    assert placed(dataset) == {"images/a.jpg": ("train", 1), "images/b.jpg": ("val", 1)}
    assert report.findings == []
    (tmp_path / "train.txt").write_text("images/c.jpg\n")
    assert placed(read(tmp_path)[0]) == {"images/b.jpg": ("val", 1)}
    (tmp_path / "val.txt").write_text("images/c.jpg\n")
    assert sentence_of(tmp_path) == f"{tmp_path}/train.txt, line 1: the image images/c.jpg is not there."


def test_darknet_as_cvat_writes_it(tmp_path: Path) -> None:
    photo(tmp_path, "obj_train_data/a.jpg")
    (tmp_path / "obj.names").write_text("dent\nscratch\n")
    (tmp_path / "train.txt").write_text("data/obj_train_data/a.jpg\n")
    (tmp_path / "obj.data").write_text(
        "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n"
    )
    for source in (tmp_path, tmp_path / "obj.data"):
        assert recognize(source) == "yolo"
        dataset, report = read(source)
        assert placed(dataset) == {"obj_train_data/a.jpg": ("train", 1)}
        assert (dataset.classes, report.findings) == (["dent", "scratch"], [])


@pytest.mark.parametrize(
    ("images", "split"),
    [
        (["images/a.jpg"], ""),
        (["images/train/a.jpg", "images/train/b.png"], "train"),
        (["valid/images/a.jpg"], "val"),
        (["a.jpg"], ""),
    ],
)
@pytest.mark.parametrize("names", ["classes.txt", "notes.json"])
def test_folders_that_nothing_describes(tmp_path: Path, images: list[str], split: str, names: str) -> None:
    for name in images:
        photo(tmp_path, name)
    assert sentence_of(tmp_path) == (
        f"The folder {tmp_path} has no names of classes; write them into classes.txt in it, one a line."
    )
    if images != ["a.jpg"]:
        assert recognize(tmp_path) == "yolo"
    assert read(tmp_path, classes=["x"])[0].classes == ["x"]
    text = (
        '{"categories": [{"id": 1, "name": "b"}, {"id": 0, "name": "a"}]}'
        if names == "notes.json"
        else "a\nb\n"
    )
    (tmp_path / names).write_text(text)
    dataset, report = read(tmp_path)
    assert placed(dataset) == {name: (split, 1) for name in images}
    assert (dataset.classes, report.findings) == (["a", "b"], [])
    assert recognize(tmp_path) == "yolo"
    assert len(load_yolo(tmp_path, split or "train")[0]) == len(images)


def test_images_in_two_splits_are_read_once(tmp_path: Path) -> None:
    photo(tmp_path, "images/a.jpg")
    path = tmp_path / "data.yaml"
    path.write_text("train: images\nval: images\nnames: [dent]\n")
    dataset, report = read(tmp_path)
    assert placed(dataset) == {"images/a.jpg": ("train", 1)}
    assert [f.sentence for f in report.findings] == [
        f"{tmp_path}/images/a.jpg: kept, it is in the splits train and val and is read once, as train."
    ]
    assert len(load_yolo(path, "val")[0]) == 1


def test_labels_without_image_are_listed(tmp_path: Path) -> None:
    photo(tmp_path, "images/train/a.jpg")
    photo(tmp_path, "images/train/b.jpg")
    (tmp_path / "images/train/b.jpg").unlink()
    (tmp_path / "labels/train/classes.txt").write_text("dent")
    (tmp_path / "data.yaml").write_text("train: images/train\nnames: [dent]\n")
    _, report = read(tmp_path)
    assert [f.sentence for f in report.findings] == [
        f"{tmp_path}/labels/train/b.txt: dropped, it has no image."
    ]


def test_labels_in_capitals_are_told(tmp_path: Path) -> None:
    photo(tmp_path, "images/train/a.jpg", labels="labels/train/a.TXT")
    photo(tmp_path, "images/train/b.jpg")
    (tmp_path / "data.yaml").write_text("train: images/train\nnames: [dent]")
    dataset, report = read(tmp_path)
    assert placed(dataset) == {"images/train/a.jpg": ("train", 0), "images/train/b.jpg": ("train", 1)}
    assert [finding.sentence for finding in report.findings] == [
        f"{tmp_path}/labels/train/a.TXT: dropped, labels end in .txt, not in .TXT; rename it."
    ]


def test_no_labels_at_all_are_told(tmp_path: Path) -> None:
    photo(tmp_path, "images/train/a.jpg", labels="annotations/train/a.txt")
    (tmp_path / "data.yaml").write_text("train: images/train\nnames: [dent]")
    dataset, report = read(tmp_path)
    assert placed(dataset) == {"images/train/a.jpg": ("train", 0)}
    assert [finding.sentence for finding in report.findings] == [
        f"{tmp_path}/data.yaml: kept, there is no a.txt beside {tmp_path}/images/train/a.jpg, "
        "nor in a folder 'labels' in the place of 'images'."
    ]


def test_boxes_with_scores_and_names_yaml_would_change(tmp_path: Path) -> None:
    photo(tmp_path, "images/a.jpg", "1 0.5 0.5 0.5 0.5 0.25", "0 nan 1e308 0.5 0.5")
    (tmp_path / "data.yaml").write_text("train: images\nnames: [no, 007]\n")
    dataset, _ = read(tmp_path)
    (image,) = dataset.images
    assert dataset.classes == ["no", "007"]
    assert [raw.label for raw in image.annotations] == ["007", "no"]
    assert image.annotations[0].extra == {"score": 0.25}
    assert image.annotations[0].bbox == (15.0, 10.0, 45.0, 30.0)
    assert len(load_yolo(tmp_path)[0][0]["annotations"]) == 1


@pytest.mark.parametrize(
    ("yaml", "sentence"),
    [
        (
            "train: {a: b}\nnames: [dent]",
            "The split 'train' in {} is neither a folder nor a list of folders.",
        ),
        ("train: images\nnames: dent", "The 'names' in {} are not a list of class names."),
        ("train: images\nnames: [[dent]]", "The 'names' in {} are not a list of class names."),
        ("train: images\nnames: {a: dent}", "The classes in {} are not numbered; number them from 0."),
        (
            "train: ..\nnames: [dent]",
            "{} names .. as its images, which is a folder around the whole dataset; "
            "name the folder of the images.",
        ),
        (
            "train: /\nnames: [dent]",
            "{} names / as its images, which is a folder around the whole dataset; "
            "name the folder of the images.",
        ),
        (
            "kpt_shape: [4, 3]\ntrain: images\nnames: [dent]",
            "{} describes key points (kpt_shape), which are neither outlines nor boxes.",
        ),
        ("train: images\nnames: &a [*a]", "The YOLO file {} is not valid YAML."),
        ("- " * 5000, "The YOLO file {} is not valid YAML."),
    ],
)
def test_descriptions_that_cannot_be_used(tmp_path: Path, yaml: str, sentence: str) -> None:
    photo(tmp_path, "images/a.jpg")
    path = tmp_path / "data.yaml"
    path.write_text(yaml)
    assert sentence_of(path) == sentence.format(path)


def test_two_descriptions(tmp_path: Path) -> None:
    photo(tmp_path, "images/a.jpg")
    for name in ("b.yaml", "c.yml"):
        (tmp_path / name).write_text("train: images\nnames: [dent]\n")
    (tmp_path / "hyp.yaml").write_text("lr0: 0.01\n")
    assert sentence_of(tmp_path) == (
        f"The folder {tmp_path} holds 2 YOLO files (b.yaml, c.yml); name one of them."
    )
    (tmp_path / "c.yml").unlink()
    assert len(read(tmp_path)[0].images) == 1


def test_what_is_no_yolo_dataset(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.json"):
        (tmp_path / name).write_text("{}")
        with pytest.raises(DataError):
            recognize(tmp_path / name)
    photo(tmp_path, "a.jpg")
    (tmp_path / "a.txt").unlink()
    (tmp_path / "README.txt").write_text("x")
    (tmp_path / "classes.txt").write_text("x")
    assert "holds no YOLO dataset" in sentence_of(tmp_path)


def test_number_of_classes_that_is_not_that_of_the_names(tmp_path: Path) -> None:
    photo(tmp_path, "images/a.jpg")
    (tmp_path / "data.yaml").write_text("train: images\nnc: 3\nnames: [dent]\n")
    assert [f.sentence for f in read(tmp_path)[1].findings] == [
        f"{tmp_path}/data.yaml: kept, it says nc: 3 and names 1 classes, which count."
    ]


def test_path_of_another_machine_whose_folder_was_kept(tmp_path: Path) -> None:
    photo(tmp_path, "cars/images/a.jpg")
    (tmp_path / "cars.yaml").write_text("path: D:\\sets\\cars\ntrain: images\nnames: [dent]\n")
    assert placed(read(tmp_path / "cars.yaml")[0]) == {"cars/images/a.jpg": ("train", 1)}


def test_image_root(tmp_path: Path) -> None:
    photo(tmp_path / "elsewhere", "images/a.jpg")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/data.yaml").write_text("train: images\nnames: [dent]\n")
    dataset, _ = read(tmp_path / "set", image_root=tmp_path / "elsewhere")
    assert placed(dataset) == {"a.jpg": ("train", 1)}
