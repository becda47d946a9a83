"""What is read, written as Labelme files and read again is the same, by way of COCO too."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import pytest
from PIL import Image

from cardamage.data.annotations.checks import RawAnnotation
from cardamage.data.annotations.report import AnnotationReport
from cardamage.data.formats.dataset import AnnotatedDataset, AnnotatedImage
from cardamage.data.formats.labelme import read, recognize, write
from cardamage.data.formats.registry import ReadOptions, WriteOptions, read_annotations, write_annotations
from cardamage.errors import DataError
from tests.support.drawn_masks import checked_mask
from tests.support.labelme_files import SIZE, SQUARE, shape, write_labelled_photo
from tests.support.paths import SHARED_DATA

HEIGHT, WIDTH = SIZE
TRIANGLE = [[30.25, 5.5], [50, 5.125], [40, 30]]


def mask_shape(mask: np.ndarray, x: float, y: float, **more: Any) -> dict[str, Any]:
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "PNG")
    text = base64.b64encode(file.getvalue()).decode()
    corners = [[x, y], [x + mask.shape[1] - 1, y + mask.shape[0] - 1]]
    return shape(corners, "mask", mask=text, **more)


def put(folder: Path, *shapes: dict[str, Any], name: str = "a", **changes: Any) -> Path:
    write_labelled_photo(folder / f"{name}.json", *shapes, red=len(name), **{"flags": {}, **changes})
    return folder


def read_again(folder: Path, **options: Any) -> AnnotatedDataset:
    report = AnnotationReport("x")
    dataset = read(folder, ReadOptions(**options), report)
    assert report.findings == []
    return dataset


def through(source: Path, target: Path, by: str = "labelme") -> tuple[AnnotatedDataset, dict[str, Any]]:
    """Write a folder again, perhaps by way of another format; what is read then, and the one file's JSON."""
    dataset = read_again(source)
    losses = AnnotationReport("x")
    if by != "labelme":
        write_annotations(dataset, target / by, by, WriteOptions("copy"), losses)
        place = target / by / "annotations/all.json" if by == "coco" else target / by
        dataset = read_annotations(place, by, report=AnnotationReport("x"))
    write(dataset, target / "labelme", WriteOptions("copy"), losses)
    assert_nothing_lost(losses)
    (path,) = (target / "labelme").glob("*.json")
    return read_again(target / "labelme"), json.loads(path.read_text())


def assert_nothing_lost(losses: AnnotationReport) -> None:
    # COCO files have an info of their own.
    assert [f.sentence for f in losses.findings if not f.reason.endswith("'info'")] == []


def assert_same(one: AnnotatedDataset, other: AnnotatedDataset) -> None:
    assert (one.classes, len(one.images)) == (other.classes, len(other.images))
    for before, after in zip(one.images, other.images, strict=True):
        assert (before.name, before.height, before.width) == (after.name, after.height, after.width)
        assert [raw.label for raw in before.annotations] == [raw.label for raw in after.annotations]
        for was, now in zip(before.annotations, after.annotations, strict=True):
            assert (was.extra, was.iscrowd) == (now.extra, now.iscrowd)
            a, b = (checked_mask(raw, before.height, before.width) for raw in (was, now))
            assert (a & b).sum() >= 0.999 * (a | b).sum()


RICH = [
    shape(SQUARE, flags={"rust": True, "old": False}, description="by hand", score=0.75, tool={"v": [1, 2]}),
    shape(TRIANGLE, group_id=4),
    shape(SQUARE, group_id=4, label="scratch"),
    shape([[1, 1], [5, 1], [5, 5]], group_id=4),
    shape([[30, 20], [37, 20]], "circle"),
    shape([[12, 3], [2, 9.5]], "rectangle", group_id=0),
    shape([[20, 5], [30, 15], [25, 20], [15, 10]], "oriented_rectangle"),
    shape([[5, 5], [30, 8], [40, 30]], "linestrip", label="scratch"),
    shape([[5, 35], [50, 36]], "line", line_width=2.5),
    shape(SQUARE, flags={"iscrowd": True}, label="many"),
]


@pytest.mark.parametrize("by", ["labelme", "coco"])
def test_everything_comes_back(tmp_path: Path, by: str) -> None:
    before = read_again(put(tmp_path / "in", *RICH, flags={"checked": True}, weather="rain"))
    after, content = through(tmp_path / "in", tmp_path / "out", by)
    assert_same(before, after)
    assert content["flags"] == {"checked": True}
    assert content["weather"] == "rain"
    kinds = [s["shape_type"] for s in content["shapes"]]
    # The two parts of group 4 come one after the other.
    order = [0, 1, 3, 2, *range(4, 10)]
    assert kinds == [RICH[i]["shape_type"] for i in order]
    for written, original in zip(content["shapes"], [RICH[i] for i in order], strict=True):
        assert written["group_id"] == original["group_id"]
        assert written["flags"] == original["flags"]
        points = np.sort(np.array(original["points"], float), axis=0)
        if written["shape_type"] == "circle":
            assert written["points"][0] == pytest.approx([30, 20], abs=0.01)
        else:
            np.testing.assert_allclose(np.sort(written["points"], axis=0), points, atol=1e-6)
    assert content["shapes"][0]["description"] == "by hand"
    assert (content["shapes"][0]["score"], content["shapes"][0]["tool"]) == (0.75, {"v": [1, 2]})


@pytest.mark.parametrize("by", ["labelme", "coco"])
def test_parts_that_differ_keep_their_own_fields(tmp_path: Path, by: str) -> None:
    shapes = [
        shape([[30, 20], [37, 20]], "circle", group_id=7, description="left"),
        shape([[5, 5], [30, 8], [40, 30]], "linestrip", group_id=7, flags={"thin": True}),
        shape(SQUARE, group_id=7),
    ]
    put(tmp_path / "in", *shapes)
    _, content = through(tmp_path / "in", tmp_path / "out", by)
    found = [(s["shape_type"], s["group_id"], s["description"], s["flags"]) for s in content["shapes"]]
    assert found == [
        ("circle", 7, "left", {}),
        ("linestrip", 7, "", {"thin": True}),
        ("polygon", 7, "", {}),
    ]


@pytest.mark.parametrize("by", ["labelme", "coco"])
@pytest.mark.parametrize("seed", range(4))
def test_masks_are_exact(tmp_path: Path, by: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    patch = rng.random(rng.integers(1, 20, 2)) > 0.5
    patch[rng.integers(patch.shape[0]), rng.integers(patch.shape[1])] = True
    put(tmp_path / "in", mask_shape(patch, int(rng.integers(40)), int(rng.integers(20)), description="m"))
    before = read_again(tmp_path / "in")
    after, content = through(tmp_path / "in", tmp_path / "out", by)
    (one,), (other,) = (d.images[0].annotations for d in (before, after))
    assert mask_util.decode(one.rle).tolist() == mask_util.decode(other.rle).tolist()
    (written,) = content["shapes"]
    image = Image.open(io.BytesIO(base64.b64decode(written["mask"])))
    (x0, y0), (x1, y1) = written["points"]
    assert image.size == (x1 - x0 + 1, y1 - y0 + 1)
    assert np.asarray(image).sum() == patch.sum()
    assert written["description"] == "m"


def dataset_of(*annotations: RawAnnotation, **changes: Any) -> AnnotatedDataset:
    image = AnnotatedImage("a.jpg", "nowhere/a.jpg", HEIGHT, WIDTH, list(annotations))
    for key, value in changes.items():
        setattr(image, key, value)
    return AnnotatedDataset("src", "coco", ["dent"], [image])


def written(dataset: AnnotatedDataset, folder: Path, **options: Any) -> tuple[dict[str, Any], list[str]]:
    losses = AnnotationReport("x")
    write(dataset, folder, WriteOptions(**options), losses)
    (path,) = folder.rglob("*.json")
    return json.loads(path.read_text()), [finding.sentence for finding in losses.findings]


def test_what_labelme_cannot_hold_is_listed(tmp_path: Path) -> None:
    square = np.array(SQUARE, float)
    annotations = [
        RawAnnotation("box", bbox=[1, 2, 9, 8], label="dent"),
        RawAnnotation("none", label="dent"),
        RawAnnotation("nan", polygons=[square, [[1, np.nan]]], label="dent"),
        RawAnnotation("wide", polygons=[square], bbox=[0, 0, 50, 30], label="dent"),
        RawAnnotation("flags", polygons=[square], extra={"flags": ["rust"]}, label="dent"),
        RawAnnotation("one", polygons=[square], extra={"group_id": 3}, label="dent"),
        RawAnnotation("same", polygons=[square], extra={"group_id": "3"}, label="dent"),
        RawAnnotation("odd", polygons=[square], extra={"group_id": "left"}, label="dent"),
        RawAnnotation("set", polygons=[square], extra={"s": {1}, "n": np.float32(0.5)}, label="dent"),
    ]
    dataset = dataset_of(*annotations)
    dataset.extra = {"info": {"year": 2020}, "category_ids": [1]}
    content, sentences = written(dataset, tmp_path)
    assert sentences == [
        "src: lost, Labelme has no place for its 'info'.",
        "box: changed, it has no outline, so its box becomes one.",
        "none: lost, it has neither outline nor box.",
        "nan: lost, a part of its outline is not a list of x, y numbers.",
        "wide: lost, its box is another than that of its outline.",
        "flags: changed, its flags are no names with yes or no.",
        "same: changed, its group gets another number.",
        "odd: changed, its group gets another number.",
        "set: lost, its field 's' is nothing that JSON can hold.",
    ]
    shapes = content["shapes"]
    assert shapes[0]["points"] == [[1, 2], [9, 8]]
    assert shapes[0]["shape_type"] == "rectangle"
    assert [s["group_id"] for s in shapes] == [None, None, None, None, 3, 4, 5, None]
    assert shapes[3]["flags"] == {"rust": True}
    assert shapes[-1]["n"] == 0.5


def test_outlines_stay_whole_in_labelme_that_leaves_out_repeats_of_the_first_point(tmp_path: Path) -> None:
    hole = [[10, 10], [14, 14], [14, 20], [20, 20], [20, 14], [14, 14], [10, 10], [30, 10], [30, 30]]
    closed = [[5, 35], [9, 35], [9, 39], [5, 35]]
    dataset = dataset_of(*(RawAnnotation("x", [np.array(p, float)], label="dent") for p in (hole, closed)))
    content, _ = written(dataset, tmp_path)
    first, second = (shape["points"] for shape in content["shapes"])
    kept = [first[0], *(point for point in first[1:] if point != first[0])]
    (was,), (now,) = (mask_util.frPyObjects([np.ravel(ring).tolist()], 40, 60) for ring in (hole, kept))
    assert now == was
    assert len(kept) == len(hole)
    assert second == closed


def test_an_edited_outline_is_a_polygon(tmp_path: Path) -> None:
    put(tmp_path / "in", *(shape(RICH[i]["points"], RICH[i]["shape_type"]) for i in (4, 5, 7)))
    dataset = read_again(tmp_path / "in")
    for raw in dataset.images[0].annotations:
        assert raw.polygons is not None
        raw.polygons[0][1] += 0.5
    content, _ = written(dataset, tmp_path / "out", pictures="copy")
    assert {s["shape_type"] for s in content["shapes"]} == {"polygon"}
    assert [s["group_id"] for s in content["shapes"]] == [None, None, 1, 1]


def test_files_are_beside_their_pictures_by_split(tmp_path: Path) -> None:
    put(tmp_path / "in", shape(SQUARE))
    put(tmp_path / "in/val", shape(TRIANGLE), name="b")
    dataset = read_again(tmp_path / "in")
    first, second = list(dataset.images)
    first.split, second.split = "train", "val"
    done = write(dataset, tmp_path / "out", WriteOptions("copy"), AnnotationReport("x"))
    files = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")}
    assert files == {"train/a.json", "train/a.jpg", "val/b.json", "val/b.jpg", "labels.txt"}
    assert done.files == [tmp_path / "out/train", tmp_path / "out/val"]
    assert done.dataset == {part: f"labelme:{tmp_path}/out/{part}" for part in ("train", "val")}
    copied = (tmp_path / "out/val/b.jpg").read_bytes()
    assert copied == (tmp_path / "in/val/b.jpg").read_bytes()
    assert (tmp_path / "out/labels.txt").read_text() == "dent\n"


def test_kept_pictures_are_named_from_where_the_file_is(tmp_path: Path) -> None:
    put(tmp_path / "in", shape(SQUARE))
    content, _ = written(read_again(tmp_path / "in"), tmp_path / "out/sub")
    assert content["imagePath"] == "../../in/a.jpg"
    again = read_again(tmp_path / "out/sub", image_root=tmp_path / "in")
    assert Path(again.images[0].source).resolve() == tmp_path / "in/a.jpg"


def test_pictures_in_the_files(tmp_path: Path) -> None:
    put(tmp_path / "in", shape(SQUARE))
    content, _ = written(read_again(tmp_path / "in"), tmp_path / "out", embed=True)
    assert base64.b64decode(content["imageData"]) == (tmp_path / "in/a.jpg").read_bytes()
    again = read_again(tmp_path / "out")
    (image,) = again.images
    assert (image.name, image.embedded) == ("a.jpg", True)
    content, _ = written(again, tmp_path / "third")
    assert (content["imageData"], content["imagePath"]) == (None, "a.jpg")
    assert (tmp_path / "third/a.jpg").read_bytes() == (tmp_path / "in/a.jpg").read_bytes()


def test_a_picture_that_exif_turns_is_not_embedded(tmp_path: Path) -> None:
    put(tmp_path / "in", shape(SQUARE), imageHeight=WIDTH, imageWidth=HEIGHT)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "in/a.jpg", exif=exif)
    content, sentences = written(read_again(tmp_path / "in"), tmp_path / "out", embed=True, pictures="copy")
    assert (content["imageData"], content["imagePath"]) == (None, "a.jpg")
    assert (content["imageHeight"], content["imageWidth"]) == (WIDTH, HEIGHT)
    assert len(sentences) == 1


def test_a_size_that_is_not_the_pictures_is_left_out(tmp_path: Path) -> None:
    put(tmp_path / "in", shape(SQUARE), imageHeight=50)
    content, sentences = written(read_again(tmp_path / "in"), tmp_path / "out", pictures="copy")
    assert (content["imageHeight"], content["imageWidth"]) == (None, None)
    assert sentences == [
        "a.jpg: changed, its size is left out, as its picture is 60x40 and not 60x50 as the annotations say."
    ]


def test_a_file_that_is_there_is_never_written_over(tmp_path: Path) -> None:
    folder = put(tmp_path / "in", shape(SQUARE))
    before = (folder / "a.json").read_bytes()
    with pytest.raises(DataError, match=r"a.json is there already, and may be someone's work; name a new"):
        write(read_again(folder), folder, WriteOptions(), AnnotationReport("x"))
    assert (folder / "a.json").read_bytes() == before


def test_names_do_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    dataset = dataset_of(
        RawAnnotation("x", polygons=[SQUARE], label="dent"), name="../../a.jpg", split="../up"
    )
    written(dataset, tmp_path / "out")
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.json")] == ["out/up/a.json"]


def test_it_is_recognized(tmp_path: Path) -> None:
    folder = put(tmp_path / "in", shape(SQUARE))
    (tmp_path / "coco.json").write_text('{"images": [], "annotations": []}')
    (tmp_path / "other").mkdir()
    found = [recognize(p) for p in (folder, folder / "a.json", tmp_path / "coco.json", tmp_path / "other")]
    assert found == [True, True, False, False]


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the real photographs are not here")
@pytest.mark.parametrize("by", ["labelme", "coco"])
def test_the_real_set_comes_back(tmp_path: Path, by: str) -> None:
    before = read_again(SHARED_DATA / "damage-labelme")
    losses = AnnotationReport("x")
    dataset = before
    if by == "coco":
        write_annotations(before, tmp_path / "coco", "coco", WriteOptions("copy"), losses)
        dataset = read_annotations(tmp_path / "coco/annotations/all.json", "coco", report=losses)
    write(dataset, tmp_path / "labelme", WriteOptions("copy"), losses)
    assert_nothing_lost(losses)
    assert_same(before, read_again(tmp_path / "labelme"))
