"""COCO files written: what pycocotools makes of them, and what is read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import pytest
from pycocotools.coco import COCO

from cardamage.data.annotations.checks import RawAnnotation
from cardamage.data.annotations.report import AnnotationReport
from cardamage.data.formats.coco import read, write
from cardamage.data.formats.dataset import AnnotatedDataset, AnnotatedImage
from cardamage.data.formats.registry import ReadOptions, WriteOptions, Written
from cardamage.errors import DataError, TrainingError
from tests.support.annotated_images import SQUARE, Endless, growth, image_of, square, write_picture


def written(
    folder: Path, images: Any, classes: tuple[str, ...] = ("dent", "scratch"), how: str = "keep", **extra: Any
) -> tuple[Written, AnnotationReport]:
    losses = AnnotationReport("x")
    dataset = AnnotatedDataset("source", "coco", list(classes), images, extra)
    return write(dataset, folder / "out", WriteOptions(pictures=how), losses), losses


def content_of(folder: Path, *annotations: RawAnnotation) -> dict[str, Any]:
    done, losses = written(folder, [image_of(folder, *annotations)])
    assert losses.findings == []
    content: dict[str, Any] = json.loads(done.files[0].read_text())
    return content


def test_ids_are_from_1_and_classes_in_their_order(tmp_path: Path) -> None:
    images = [
        image_of(tmp_path, square("scratch"), name="a.jpg"),
        image_of(tmp_path, name="b.jpg"),
        image_of(tmp_path, square("dent"), square("scratch"), name="c/d.jpg"),
    ]
    done, _ = written(tmp_path, images, ("scratch", "dent"))
    assert done.files == [tmp_path / "out/annotations/all.json"]
    assert done.dataset == {"all": f"coco:{done.files[0]}@{tmp_path}"}
    content = json.loads(done.files[0].read_text())
    assert content["categories"] == [{"id": 1, "name": "scratch"}, {"id": 2, "name": "dent"}]
    assert [(i["id"], i["file_name"]) for i in content["images"]] == [
        (1, "a.jpg"),
        (2, "b.jpg"),
        (3, "c/d.jpg"),
    ]
    numbers = [(a["id"], a["image_id"], a["category_id"]) for a in content["annotations"]]
    assert numbers == [(1, 1, 1), (2, 3, 2), (3, 3, 1)]


def test_outline_box_and_area(tmp_path: Path) -> None:
    overlapping = [15.5, 10, 25.5, 10, 25.5, 20, 15.5, 20]
    (annotation,) = content_of(tmp_path, square(polygons=[SQUARE, overlapping]))["annotations"]
    assert annotation["segmentation"] == [SQUARE, overlapping]
    assert annotation["bbox"] == [10.0, 10.0, 15.5, 10.0]
    expected = mask_util.area(mask_util.merge(mask_util.frPyObjects([SQUARE, overlapping], 40, 50)))
    assert annotation["area"] == expected == 160
    assert annotation["iscrowd"] == 0


def test_given_box_stays(tmp_path: Path) -> None:
    box = (0.1, 0.2, 0.1 + 7.7, 0.2 + 8.8)
    (first, second) = content_of(tmp_path, square(bbox=box), square(polygons=None, bbox=box))["annotations"]
    assert first["bbox"] == second["bbox"] == [0.1, 0.2, 7.7, 8.8]
    assert (first["area"], second["segmentation"]) == (100, [])
    assert second["area"] == pytest.approx(7.7 * 8.8)


@pytest.mark.parametrize("kind", ["list", "text", "bytes"])
def test_run_lengths_are_compressed_text(tmp_path: Path, kind: str) -> None:
    mask = np.zeros((40, 50), np.uint8, order="F")
    mask[3:9, 4:20] = 1
    mask[5:7, 6:8] = 0
    rle = mask_util.encode(mask)
    runs = [4 * 40 + 3, *[6, 34] * 1]
    flat = mask.flatten(order="F")
    changes = np.flatnonzero(np.diff(np.concatenate([[0], flat])))
    runs = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
    counts = {"list": runs, "text": rle["counts"].decode(), "bytes": rle["counts"]}[kind]
    raw = square(polygons=None, rle={"size": [40, 50], "counts": counts}, iscrowd=1)
    (annotation,) = content_of(tmp_path, raw)["annotations"]
    assert annotation["segmentation"] == {"size": [40, 50], "counts": rle["counts"].decode()}
    assert (annotation["area"], annotation["bbox"], annotation["iscrowd"]) == (mask.sum(), [4, 3, 16, 6], 1)


def test_run_lengths_in_a_list(tmp_path: Path) -> None:
    rle = {"size": [40, 50], "counts": [5, 10, 1985]}
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 40, "width": 50}],
        "categories": [{"id": 1, "name": "half \ud800"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [rle]}],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    dataset = read(tmp_path / "a.json", ReadOptions(), AnnotationReport("x"))
    assert dataset.classes == ["half \\ud800"]
    assert [raw.rle for image in dataset.images for raw in image.annotations] == [rle]


def test_pycocotools_reads_it(tmp_path: Path) -> None:
    rle = mask_util.encode(np.asfortranarray(np.eye(40, 50, dtype=np.uint8)))
    far = [-30, 5, 1e6, 5, 1e6, 25, -30, 25]
    done, _ = written(
        tmp_path,
        [image_of(tmp_path, square(), square(polygons=None, rle=rle), square(polygons=[SQUARE, far]))],
    )
    coco = COCO(str(done.files[0]))
    areas = [coco.annToMask(a).sum() for a in coco.loadAnns(coco.getAnnIds())[:2]]
    assert areas == [100, 40]
    # Drawn by pycocotools itself, the last one would take gigabytes: its area is of the part within.
    assert [a["area"] for a in coco.loadAnns([1, 2, 3])] == [100, 40, 20 * 50]


def test_further_fields_are_written(tmp_path: Path) -> None:
    image = image_of(tmp_path, square(extra={"group_id": 3, "flags": {"a": True}, "id": 99}))
    image.extra = {"id": 7, "license": 2, "date_captured": "2023"}
    extra = {
        "info": {"year": 2023},
        "licenses": [{"id": 2}],
        "category_ids": [5, 6],
        "categories": {"dent": {"supercategory": "car"}},
        "type": "instances",
    }
    done, losses = written(tmp_path, [image], **extra)
    content = json.loads(done.files[0].read_text())
    assert losses.findings == []
    assert (content["info"], content["licenses"], content["type"]) == (
        {"year": 2023},
        [{"id": 2}],
        "instances",
    )
    assert content["categories"][0] == {"id": 1, "name": "dent", "supercategory": "car"}
    assert content["images"][0]["id"] == 1
    assert (content["images"][0]["license"], content["images"][0]["date_captured"]) == (2, "2023")
    assert content["annotations"][0]["group_id"] == 3
    assert content["annotations"][0]["flags"] == {"a": True}
    assert content["annotations"][0]["id"] == 1


def test_what_coco_cannot_hold_is_told(tmp_path: Path) -> None:
    nan = float("nan")
    given = [
        square(polygons=[SQUARE, [1, 2, 3, 4]]),
        square(polygons=[[1, 2, 3, 4]], bbox=(1, 2, 3, 4)),
        square(polygons=[[1, 2, nan, 4, 5, 6]]),
        square(polygons=[[1, 2, 3, 4, 5, 6, 7]]),
        square(polygons=[["a"]]),
        square(polygons=[]),
        square(polygons=None),
        square(extra={"score": nan, "other": object(), "kept": "é"}),
    ]
    done, losses = written(tmp_path, [image_of(tmp_path, *given)])
    content = json.loads(done.files[0].read_text())
    assert [a["segmentation"] for a in content["annotations"]] == [[SQUARE], [], [SQUARE]]
    assert content["annotations"][2]["kept"] == "é"
    assert losses.read == 8
    assert {f.verdict for f in losses.findings} == {"lost"}
    assert [f.reason for f in losses.findings] == [
        *["a part of its outline has fewer than 3 points"] * 2,
        "a part of its outline is not a list of x, y numbers",
        "a part of its outline has an odd count of numbers",
        "a part of its outline is not a list of x, y numbers",
        "its outline has no points",
        "it has neither outline nor box",
        "its field 'score' is nothing that JSON can hold",
        "its field 'other' is nothing that JSON can hold",
    ]


def test_what_cannot_be_written_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="here: the label is not among the classes; did you mean dent?"):
        written(tmp_path, [image_of(tmp_path, square("dnt"))])
    damaged = square(polygons=None, rle={"size": [40, 50], "counts": "abc"})
    with pytest.raises(DataError, match="here: the runs of its mask cover"):
        written(tmp_path, [image_of(tmp_path, damaged)])
    assert list((tmp_path / "out").rglob("*.json")) == []
    (tmp_path / "out/annotations").rmdir()
    (tmp_path / "out/annotations").write_text("")
    with pytest.raises(TrainingError, match="lies under, a file"):
        written(tmp_path, [image_of(tmp_path, square())])


def test_splits_are_files_of_their_own(tmp_path: Path) -> None:
    images = [
        image_of(tmp_path, square(), name=f"{n}.jpg", split=s)
        for n, s in enumerate(["train", "val", "train", "../x"])
    ]
    splits = {"val": {"info": {"year": 2}}}
    done, _ = written(tmp_path, images, info={"year": 1}, splits=splits)
    assert [file.name for file in done.files] == ["train.json", "val.json", ".._x.json"]
    contents = [json.loads(file.read_text()) for file in done.files]
    assert [[i["file_name"] for i in c["images"]] for c in contents] == [
        ["0.jpg", "2.jpg"],
        ["1.jpg"],
        ["3.jpg"],
    ]
    assert [c["info"]["year"] for c in contents] == [1, 2, 1]
    assert [a["id"] for a in contents[0]["annotations"]] == [1, 2]


def test_pictures_copied_or_kept(tmp_path: Path) -> None:
    image = image_of(tmp_path / "src", square(), name="x/ä b.jpg")
    done, _ = written(tmp_path, [image], how="copy")
    assert (tmp_path / "out/images/x/ä b.jpg").read_bytes() == Path(image.source).read_bytes()
    back = read(done.files[0], ReadOptions(), AnnotationReport("x"))
    assert [(i.name, i.source) for i in back.images] == [
        ("x/ä b.jpg", str(tmp_path / "out/images/x/ä b.jpg"))
    ]
    assert done.dataset["all"].endswith(f"@{tmp_path}/out/images")
    elsewhere = AnnotatedImage("b.jpg", write_picture(tmp_path / "other/c.jpg"), 40, 50, [])
    done, _ = written(tmp_path, [image, elsewhere])
    names = [i["file_name"] for i in json.loads(done.files[0].read_text())["images"]]
    assert names == ["src/x/ä b.jpg", "other/c.jpg"]


def test_nothing_is_a_file_without_images(tmp_path: Path) -> None:
    done, _ = written(tmp_path, [])
    back = read(done.files[0], ReadOptions(), AnnotationReport("x"))
    assert (list(back.images), back.classes) == ([], ["dent", "scratch"])


def test_written_and_read_is_the_same(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    images = []
    for number in range(20):
        annotations = []
        for _ in range(int(generator.integers(0, 5))):
            parts = [
                (generator.random(2 * int(generator.integers(3, 9))) * 60 - 5).tolist() for _ in range(2)
            ]
            mask = np.asfortranarray(generator.random((40, 50)) < 0.3).astype(np.uint8)
            rle = {"size": [40, 50], "counts": mask_util.encode(mask)["counts"].decode()}
            annotations += [square(polygons=parts), square("scratch", polygons=None, rle=rle, extra={"n": 1})]
        images.append(image_of(tmp_path, *annotations, name=f"{number:02}.jpg"))
    done, losses = written(tmp_path, images)
    back = read(done.files[0], ReadOptions(image_root=tmp_path), AnnotationReport("x"))
    again, _ = write(back, tmp_path / "again", WriteOptions(), losses), losses.findings
    assert again.files[0].read_bytes() == done.files[0].read_bytes()
    assert losses.findings == []
    for one, two in zip(images, back.images, strict=True):
        assert (one.name, one.source, one.height, one.width) == (two.name, two.source, two.height, two.width)
        for a, b in zip(one.annotations, two.annotations, strict=True):
            assert (a.label, a.polygons, a.rle, a.extra) == (b.label, b.polygons, b.rle, b.extra)


def test_memory_does_not_grow_with_the_images(tmp_path: Path) -> None:
    source = write_picture(tmp_path / "a.jpg")
    assert growth(lambda count: written(tmp_path, Endless(source, count)), 50, 2000) < 1_000_000
