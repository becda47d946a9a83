from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cardamage.data.annotations.report import AnnotationReport
from cardamage.data.formats.labelme import load_labelme
from cardamage.data.images.reading import read_record_image
from cardamage.errors import DataError
from tests.support.drawn_masks import drawn_segmentation
from tests.support.labelme_files import SIZE, SQUARE, shape, write_labelme


def noise(seed: int = 0) -> Image.Image:
    small = Image.fromarray(np.random.default_rng(seed).integers(0, 255, (4, 6, 3), dtype=np.uint8))
    return small.resize(SIZE[::-1])


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def write(folder: Path, *shapes: dict[str, Any], name: str = "a.json", **changes: Any) -> Path:
    return write_labelme(folder / name, *shapes, **{"imagePath": "a.jpg", **changes})


def annotations(folder: Path, **options: Any) -> list[dict[str, Any]]:
    (record,), _ = load_labelme(folder, **options)
    return record["annotations"]


def test_classes_are_sorted_labels(tmp_path: Path) -> None:
    write(tmp_path, shape(SQUARE, label=" scratch "), shape(SQUARE, label="dent"))
    write(tmp_path, shape(SQUARE, label="crack"), shape(SQUARE, label="__ignore__"), name="sub/b.json")
    dicts, classes = load_labelme(tmp_path)
    assert classes == ["crack", "dent", "scratch"]
    assert [[a["category_id"] for a in d["annotations"]] for d in dicts] == [[2, 1], [0]]
    assert [d["image_id"] for d in dicts] == [1, 2]


def test_given_classes_and_the_closest_of_them(tmp_path: Path) -> None:
    path = write(tmp_path, shape(SQUARE), shape(SQUARE, label="scrtch"))
    with pytest.raises(DataError) as caught:
        load_labelme(tmp_path, classes=["scratch", "dent"])
    assert str(caught.value) == (
        f"{path}, shape 1 ('scrtch'): the label is not among the classes; did you mean scratch?"
    )


def test_files_are_in_natural_order_and_others_are_left_out(tmp_path: Path) -> None:
    for name in ("10", "9", "sub/1", ".hidden/2"):
        write(tmp_path, name=f"{name}.json", imagePath=f"{Path(name).name}.jpg")
    (tmp_path / "coco.json").write_text('{"images": []}')
    dicts, classes = load_labelme(tmp_path)
    assert [Path(d["file_name"]).name for d in dicts] == ["9.jpg", "10.jpg", "1.jpg"]
    assert classes == []


@pytest.mark.parametrize(
    ("points", "kind", "area"),
    [
        (SQUARE, "polygon", 100),
        (SQUARE, None, 100),
        ([[20, 20], [10, 10]], "rectangle", 100),
        (SQUARE, "rectangle", 100),
        (SQUARE, "oriented_rectangle", 100),
        ([[30, 20], [40, 20]], "circle", np.pi * 100),
        ([[10, 10], [30, 10]], "line", 24 * 4),
        ([[10, 10], [30, 10], [30, 30]], "linestrip", 24 * 4 * 2 - 16),
    ],
)
def test_shape_types(tmp_path: Path, points: Any, kind: str, area: float) -> None:
    write(tmp_path, shape(points, kind))
    (annotation,) = annotations(tmp_path, line_width=4.0)
    assert drawn_segmentation(annotation["segmentation"], *SIZE).sum() == pytest.approx(area, rel=0.05)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (shape([[3, 3]], "point"), "its type 'point' has no area"),
        (shape([[3, 3], [4, 4]], "points"), "its type 'points' has no area"),
        (shape([[3, 3]], "circle"), "its circle needs a center and a point on the rim"),
        (shape([[3, 3], [9, 9]], "mask"), "its mask can't be decoded"),
        (shape([[3, 3], [9, 9]], "mask", mask="%%%"), "its mask can't be decoded"),
        (shape([[3, "x"]]), "its points are not x, y numbers"),
        (shape([[3, 3], [9, 9]]), "its polygon has 2 points and needs 3"),
        (shape([[3, 3], [9, 9], [6, 6]]), "its outline has no area"),
        (shape([[3, 90], [9, 90], [6, 99]]), "it lies outside the image of 60x40"),
    ],
)
def test_dropped_shapes_are_named(tmp_path: Path, bad: dict[str, Any], reason: str) -> None:
    path = write(tmp_path, shape(SQUARE), bad)
    report = AnnotationReport("x")
    assert len(annotations(tmp_path, report=report)) == 1
    assert [f.sentence for f in report.findings] == [f"{path}, shape 1 ('dent'): dropped, {reason}."]
    assert (report.read, report.dropped) == (2, 1)


def mask_shape(mask: np.ndarray, x: float, y: float, **more: Any) -> dict[str, Any]:
    height, width = mask.shape
    text = base64.b64encode(encoded(Image.fromarray(mask), "PNG")).decode()
    return shape([[x, y], [x + width - 1, y + height - 1]], "mask", mask=text, **more)


@pytest.mark.parametrize(("x", "y"), [(5, 7), (-3, -2), (55, 35), (0, 0)])
@pytest.mark.parametrize("seed", [0, 1])
def test_mask_shapes(tmp_path: Path, x: int, y: int, seed: int) -> None:
    patch = np.random.default_rng(seed).random((9, 12)) > 0.4
    write(tmp_path, mask_shape(patch, x, y))
    expected = np.zeros((80, 100), bool)
    expected[20 + y : 29 + y, 20 + x : 32 + x] = patch
    (annotation,) = annotations(tmp_path)
    np.testing.assert_array_equal(
        drawn_segmentation(annotation["segmentation"], *SIZE), expected[20:60, 20:80]
    )


def test_one_group_is_one_object_of_its_label(tmp_path: Path) -> None:
    parts = [
        shape(SQUARE, group_id=3),
        shape([[30, 10], [40, 10], [40, 20]], group_id=3),
        shape(SQUARE, label="scratch", group_id=3),
        shape(SQUARE, group_id=4),
        shape(SQUARE),
        shape(SQUARE),
    ]
    write(tmp_path, *parts)
    found = annotations(tmp_path)
    assert [(a["category_id"], len(a["segmentation"])) for a in found] == [
        (0, 2),
        (1, 1),
        (0, 1),
        (0, 1),
        (0, 1),
    ]
    assert found[0]["bbox"] == [10.0, 10.0, 40.0, 20.0]


def test_group_of_mask_and_polygon_is_their_union(tmp_path: Path) -> None:
    patch = np.ones((4, 5), bool)
    write(tmp_path, shape(SQUARE, group_id=1), mask_shape(patch, 30, 30, group_id=1))
    (annotation,) = annotations(tmp_path)
    assert drawn_segmentation(annotation["segmentation"], *SIZE).sum() == 100 + 20
    assert annotation["bbox"] == [10.0, 10.0, 35.0, 34.0]


def test_empty_picture_stays(tmp_path: Path) -> None:
    write(tmp_path)
    assert annotations(tmp_path) == []


def test_unusable_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_labelme(tmp_path / "no")
    assert str(caught.value) == f"The Labelme folder {tmp_path}/no does not exist."
    with pytest.raises(DataError) as caught:
        load_labelme(tmp_path)
    assert (
        str(caught.value)
        == f"The folder {tmp_path} holds no Labelme file (a .json with 'shapes'); annotate its photos first."
    )


def picture_of(folder: Path, root: Path | None = None) -> dict[str, Any]:
    (record,), _ = load_labelme(root or folder)
    return record


@pytest.mark.parametrize(
    ("image_path", "place"),
    [
        ("a.jpg", "label/a.jpg"),
        ("..\\image\\a.jpg", "image/a.jpg"),
        ("../image/a.jpg", "image/a.jpg"),
        ("C:\\photos\\new\\a.jpg", "label/a.jpg"),
        ("/home/me/a.jpg", "label/a.jpg"),
        ("gone.png", "label/a.JPG"),
    ],
)
def test_picture_is_found(tmp_path: Path, image_path: str, place: str) -> None:
    write(tmp_path / "label", imagePath=image_path)
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(encoded(noise(), "JPEG"))
    for root in (tmp_path, tmp_path / "label"):
        record = picture_of(root)
        assert Path(record["file_name"]).resolve() == path
        assert "image_bytes_from" not in record


def test_picture_far_outside_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "secret.jpg"
    outside.write_bytes(encoded(noise(), "JPEG"))
    write(tmp_path / "a" / "b" / "label", imagePath="../../../secret.jpg")
    assert picture_of(tmp_path / "a/b/label")["file_name"] == str(tmp_path / "a/b/label/secret.jpg")


def test_embedded_picture_counts_where_the_file_is_missing(tmp_path: Path) -> None:
    data = encoded(noise(1), "PNG")
    path = write(tmp_path, imageData=base64.b64encode(data).decode(), imagePath="..\\gone\\a.png")
    record = picture_of(tmp_path)
    assert record["file_name"] == str(path)
    assert record["image_bytes_from"] == {"labelme_json": str(path)}
    np.testing.assert_array_equal(read_record_image(record, "RGB"), np.asarray(noise(1)))


@pytest.mark.parametrize(
    ("beside", "uses_file"),
    [
        (encoded(noise(1), "PNG"), True),
        (encoded(noise(1), "JPEG", quality=40), True),
        (encoded(noise(2), "PNG"), False),
        (encoded(noise(1).resize((30, 20)), "PNG"), False),
        (b"", False),
    ],
)
def test_embedded_picture_counts_where_the_file_is_another_photo(
    tmp_path: Path, beside: bytes, uses_file: bool
) -> None:
    (tmp_path / "a.jpg").write_bytes(beside)
    write(tmp_path, imageData=base64.b64encode(encoded(noise(1), "PNG")).decode())
    assert ("image_bytes_from" not in picture_of(tmp_path)) == uses_file


def test_size_is_read_from_the_picture_where_the_file_does_not_say(tmp_path: Path) -> None:
    write(tmp_path, imageHeight=None, imageWidth=None)
    with pytest.raises(DataError) as caught:
        load_labelme(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/a.json doesn't say the size of its picture, "
        f"and the image {tmp_path}/a.jpg does not exist."
    )
    (tmp_path / "a.jpg").write_bytes(encoded(noise(), "JPEG"))
    record = picture_of(tmp_path)
    assert (record["height"], record["width"]) == SIZE


@pytest.mark.parametrize("label", ["", "  ", None])
def test_shape_without_label_is_named(tmp_path: Path, label: str | None) -> None:
    path = write(tmp_path, shape(SQUARE), {**shape(SQUARE), "label": label})
    report = AnnotationReport("x")
    (record,), classes = load_labelme(tmp_path, report=report)
    assert (len(record["annotations"]), classes) == (1, ["dent"])
    assert [f.sentence for f in report.findings] == [f"{path}, shape 1 (''): dropped, its label is empty."]


def test_a_file_in_place_of_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("{}")
    with pytest.raises(DataError) as caught:
        load_labelme(path)
    assert str(caught.value) == f"The Labelme folder {path} is a file; name the folder it is in."
