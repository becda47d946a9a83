"""Pictures placed in a folder: the bytes they were, names of their own, the source untouched."""

from __future__ import annotations

import base64
import io
import json
import os
from pathlib import Path

import pytest
from PIL import Image

from cardamage.data.formats.dataset import AnnotatedImage
from cardamage.data.formats.pictures.placing import PicturePlacer, place_pictures, real_name
from cardamage.errors import DataError, TrainingError


def drawn(kind: str, grey: int = 0) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 6), (grey, grey, grey)).save(file, kind)
    return file.getvalue()


def put(path: Path, data: bytes) -> AnnotatedImage:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return AnnotatedImage(path.name, str(path), 6, 8, [])


@pytest.mark.parametrize("how", ["copy", "link"])
def test_bytes_are_those_of_the_source(tmp_path: Path, how: str) -> None:
    data = drawn("JPEG") + b"after the end"
    image = put(tmp_path / "src/a.jpg", data)
    (placed,) = place_pictures([image], tmp_path / "out", how, lambda image: "train")
    assert placed.name == "train/a.jpg"
    assert placed.source == str(tmp_path / "out/train/a.jpg")
    assert Path(placed.source).read_bytes() == data
    assert (image.name, image.source) == ("a.jpg", str(tmp_path / "src/a.jpg"))
    assert [path.name for path in (tmp_path / "out/train").iterdir()] == ["a.jpg"]
    linked = os.path.samefile(placed.source, image.source)
    assert linked == (how == "link")


def test_kept_pictures_are_left_where_they_are(tmp_path: Path) -> None:
    image = put(tmp_path / "src/a.jpg", drawn("PNG"))
    (placed,) = place_pictures([image], tmp_path / "out", "keep")
    assert (placed.name, placed.source) == ("a.jpg", image.source)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("how", ["copy", "link", "keep"])
def test_an_embedded_picture_becomes_the_file_it_was(tmp_path: Path, how: str) -> None:
    data = drawn("PNG")
    source = tmp_path / "label/1.json"
    source.parent.mkdir()
    source.write_text(json.dumps({"imageData": base64.b64encode(data).decode()}))
    image = AnnotatedImage("label/1.jpeg", str(source), 6, 8, [], embedded=True)
    placed = PicturePlacer(tmp_path / "out", how).place(image)
    assert (placed.name, placed.embedded) == ("label/1.png", False)
    assert Path(placed.source).read_bytes() == data


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("a.JPEG", "JPEG", "a.JPEG"),
        ("a.jpg", "WEBP", "a.webp"),
        ("a.json", "PNG", "a.png"),
        ("a", "BMP", "a.bmp"),
        ("12.3 inch", "PNG", "12.3 inch.png"),
        ("a.tiff", "TIFF", "a.tiff"),
        ("a.png", "GIF", "a.gif"),
        ("../../etc/./a.jpg", "JPEG", "etc/a.jpg"),
        ("/a.jpg", "JPEG", "a.jpg"),
        ("..", "JPEG", "picture.jpg"),
        ("rayée.jpg", "JPEG", "rayée.jpg"),
    ],
)
def test_names_tell_the_kind_and_stay_in_the_folder(name: str, kind: str, expected: str) -> None:
    assert real_name(name, drawn(kind)).as_posix() == expected


def test_no_two_pictures_share_a_name(tmp_path: Path) -> None:
    jpeg, png = drawn("JPEG"), drawn("PNG")
    files = [("1/a.jpg", jpeg), ("2/a.jpg", jpeg), ("3/A.JPG", jpeg), ("4/a_2.jpg", jpeg), ("5/a.jpg", png)]
    images = [put(tmp_path / name, data) for name, data in files]
    names = [image.name for image in place_pictures(images, tmp_path / "out", "copy")]
    assert names == ["a.jpg", "a_2.jpg", "A_3.JPG", "a_2_2.jpg", "a.png"]
    names = [image.name for image in place_pictures(images, tmp_path / "stems", "copy", stems=True)]
    assert names == ["a.jpg", "a_2.jpg", "A_3.JPG", "a_2_2.jpg", "a_4.png"]
    assert (tmp_path / "stems/a_4.png").read_bytes() == png


def test_a_target_that_links_to_the_source_does_not_change_it(tmp_path: Path) -> None:
    first, second = put(tmp_path / "src/a.jpg", drawn("JPEG", 1)), put(tmp_path / "b/a.jpg", drawn("JPEG", 9))
    before = Path(first.source).read_bytes()
    for how in ("link", "link", "copy"):
        PicturePlacer(tmp_path / "out", how).place(first)
    PicturePlacer(tmp_path / "out", "copy").place(second)
    assert Path(first.source).read_bytes() == before
    assert (tmp_path / "out/a.jpg").read_bytes() == Path(second.source).read_bytes()


def test_a_link_leads_to_the_picture_itself(tmp_path: Path) -> None:
    put(tmp_path / "src/a.jpg", drawn("JPEG"))
    (tmp_path / "alias.jpg").symlink_to("src/a.jpg")
    image = AnnotatedImage("alias.jpg", str(tmp_path / "alias.jpg"), 6, 8, [])
    placed = PicturePlacer(tmp_path / "out", "link").place(image)
    assert os.path.samefile(placed.source, tmp_path / "src/a.jpg")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "is a Git LFS pointer"),
        (b"<html>not found</html>", "is text, not a picture"),
    ],
)
def test_what_is_no_picture_is_refused(tmp_path: Path, data: bytes, said: str) -> None:
    image = put(tmp_path / "src/a.jpg", data)
    with pytest.raises(DataError, match=said):
        PicturePlacer(tmp_path / "out", "copy").place(image)
    assert not (tmp_path / "out").exists()


def test_troubles_are_one_sentence(tmp_path: Path) -> None:
    gone = AnnotatedImage("gone.jpg", str(tmp_path / "gone.jpg"), 6, 8, [])
    with pytest.raises(DataError, match="gone.jpg does not exist"):
        PicturePlacer(tmp_path, "copy").place(gone)
    with pytest.raises(DataError, match="can't be placed by 'copi'; did you mean copy"):
        PicturePlacer(tmp_path, "copi")
    image = put(tmp_path / "src/a.jpg", drawn("JPEG"))
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="is, or lies under, a file: set the output folder"):
        PicturePlacer(tmp_path / "file", "copy").place(image)
    image.name = "n" * 300 + ".jpg"
    with pytest.raises(TrainingError, match="can't be written"):
        PicturePlacer(tmp_path / "out", "copy").place(image)
