from __future__ import annotations

import base64
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from cardamage.data.images.reading import (
    decode_image,
    embedded_bytes,
    image_size,
    raw_image_size,
    read_image,
    read_record_image,
)
from cardamage.errors import DataError

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def picture(height: int = 40, width: int = 60, seed: int = 0) -> Image.Image:
    """A smooth picture without symmetry, so that JPEG keeps it close and every turn shows."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 255, (4, 6, 3), dtype=np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str, orientation: int = 1, **options: Any) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    image.save(file, kind, exif=exif, **options)
    return file.getvalue()


def by_pillow(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def sentence_of(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_image(path)
    return str(caught.value)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WebP"])
def test_exif_orientation_is_applied_as_pillow_does(tmp_path: Path, kind: str, orientation: int) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(picture(seed=orientation), kind, orientation))
    expected = by_pillow(path.read_bytes())
    found = read_image(path, "RGB")
    assert found.shape == expected.shape
    assert found.flags["C_CONTIGUOUS"]
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert image_size(path) == expected.shape[:2]
    assert raw_image_size(path) == (40, 60, orientation)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF", "WebP", "GIF"])
def test_name_does_not_matter(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "voiture-rayée-véhicule.jpg"
    file = io.BytesIO()
    picture().save(file, kind)
    path.write_bytes(file.getvalue())
    assert np.abs(read_image(path, "RGB").astype(int) - by_pillow(file.getvalue())).max() <= 1


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
def test_grey_alpha_palette_and_16_bits_become_three_channels(mode: str) -> None:
    grey = picture().convert("L")
    image = (
        Image.fromarray(np.asarray(grey).astype(np.uint16) * 257) if mode == "I;16" else grey.convert(mode)
    )
    file = io.BytesIO()
    image.save(file, "PNG")
    expected = np.asarray((grey if mode == "I;16" else image).convert("RGB"))
    np.testing.assert_array_equal(decode_image(file.getvalue(), "RGB"), expected)


def test_cmyk_jpeg_is_read_as_pillow_reads_it() -> None:
    data = encoded(picture().convert("CMYK"), "JPEG")
    np.testing.assert_array_equal(decode_image(data, "RGB"), by_pillow(data))


def test_channel_orders() -> None:
    data = encoded(Image.new("RGB", (5, 4), (200, 100, 50)), "PNG")
    assert decode_image(data)[0, 0].tolist() == [50, 100, 200]
    assert decode_image(data, "RGB")[0, 0].tolist() == [200, 100, 50]
    assert decode_image(data, "L").shape == (4, 5, 1)
    assert decode_image(data, "L")[0, 0, 0] == round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)
    with pytest.raises(DataError, match=r"can't be given as 'XYZ' \(.*\); try BGR, RGB, L\.$"):
        decode_image(data, "XYZ")


def test_grey_is_rounded_as_pillow_does() -> None:
    colors = np.random.default_rng(0).integers(0, 256, (50, 60, 3)).astype(np.uint8)
    data = encoded(Image.fromarray(colors), "PNG")
    wanted = np.asarray(Image.fromarray(colors).convert("L"))
    np.testing.assert_array_equal(decode_image(data, "L")[:, :, 0], wanted)


def test_rare_formats_are_pillows(tmp_path: Path) -> None:
    upright = picture(6, 4)
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "a.png", exif=exif)
    rgb = np.asarray(upright)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), rgb)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", "HSV"), np.asarray(upright.convert("HSV")))
    yuv = read_image(tmp_path / "a.png", "YUV-BT.601")
    np.testing.assert_allclose(yuv[..., 0], rgb @ [0.299, 0.587, 0.114] / 255, atol=1e-6)
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    Image.fromarray(labels).save(tmp_path / "labels.png")
    np.testing.assert_array_equal(read_image(tmp_path / "labels.png"), labels)
    np.testing.assert_array_equal(read_image(tmp_path / "labels.png", "L"), labels[:, :, None])
    (tmp_path / "a.png").write_bytes(b"no picture at all, but not text either \x00\xff\xfe")
    with pytest.raises(DataError, match="can't be decoded"):
        read_image(tmp_path / "a.png")


def test_one_pixel() -> None:
    assert decode_image(encoded(picture(1, 1), "PNG")).shape == (1, 1, 3)


def test_missing_file(tmp_path: Path) -> None:
    assert sentence_of(tmp_path / "a.jpg") == f"The image {tmp_path}/a.jpg does not exist."


def test_folder(tmp_path: Path) -> None:
    assert sentence_of(tmp_path) == f"The image {tmp_path} is a folder; name the file in it."


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty (0 bytes); copy it again."),
        (POINTER, "is a Git LFS pointer, not the picture; run 'git lfs pull' where it was cloned."),
        (b"<!DOCTYPE html>\n<html>", "is text, not a picture; it begins with '<!DOCTYPE html>'."),
        ("Fahrzeug zerkratzt é".encode(), "is text, not a picture; it begins with 'Fahrzeug zerkratzt é'."),
        (b"\x00\x01\x02\x03" * 50, "can't be decoded; it is damaged or in no known picture format."),
        (
            b"\x00\x00\x00\x18ftypheic" + bytes(60),
            "is in the HEIC format, which can't be read; save it as JPEG.",
        ),
    ],
)
def test_what_is_no_picture(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    assert sentence_of(path) == f"The image {path} {words}"
    with pytest.raises(DataError) as caught:
        image_size(path)
    assert str(caught.value) == f"The image {path} {words}"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WebP"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_cut_short(tmp_path: Path, kind: str, share: float) -> None:
    data = encoded(picture(200, 300), kind)
    path = tmp_path / "a.jpg"
    path.write_bytes(data[: int(len(data) * share)])
    why = {
        "JPEG": "its JPEG data has no end marker",
        "PNG": "its PNG data has no end",
        "WebP": "its WebP data is shorter than it says",
    }[kind]
    assert sentence_of(path) == f"The image {path} is cut short ({why}); copy it again."


def test_thumbnail_in_the_header_does_not_hide_a_cut(tmp_path: Path) -> None:
    thumbnail = encoded(picture(20, 30), "JPEG")
    data = encoded(picture(200, 300), "JPEG")
    segment = b"\xff\xe3" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    whole = data[:2] + segment + data[2:]
    assert decode_image(whole).shape == (200, 300, 3)
    with pytest.raises(DataError, match="is cut short"):
        decode_image(whole[: len(segment) + 1000])


def test_bytes_after_the_end_do_not_matter() -> None:
    data = encoded(picture(), "JPEG")
    np.testing.assert_array_equal(decode_image(data + b"trailer of a phone" * 9), decode_image(data))


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(picture(), "JPEG"))
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read every file")
    assert sentence_of(path) == f"The image {path} can't be read: Permission denied."


def labelme_file(folder: Path, image_data: Any) -> Path:
    path = folder / "a.json"
    path.write_text(json.dumps({"shapes": [], "imagePath": "..\\a.png", "imageData": image_data}))
    return path


def test_picture_embedded_in_a_labelme_file(tmp_path: Path) -> None:
    data = encoded(picture(), "PNG", orientation=6)
    path = labelme_file(tmp_path, base64.b64encode(data).decode())
    assert embedded_bytes(path) == data
    assert image_size(path) == (60, 40)
    np.testing.assert_array_equal(read_image(path, "BGR"), decode_image(data))
    record = {"file_name": str(tmp_path / "gone.png"), "image_bytes_from": {"labelme_json": str(path)}}
    np.testing.assert_array_equal(read_record_image(record), decode_image(data))


@pytest.mark.parametrize(
    ("image_data", "sentence"),
    [
        (None, "The Labelme file {} has no picture embedded (its imageData is empty)."),
        ("", "The Labelme file {} has no picture embedded (its imageData is empty)."),
        ("a", "The picture embedded in {} is not base64; save it again in Labelme."),
        (base64.b64encode(POINTER).decode(), "The image {} is a Git LFS pointer, not the picture; "),
    ],
)
def test_bad_embedded_picture(tmp_path: Path, image_data: Any, sentence: str) -> None:
    path = labelme_file(tmp_path, image_data)
    assert sentence_of(path).startswith(sentence.format(path))


def test_embedded_picture_in_no_json(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("{")
    assert sentence_of(path) == f"The Labelme file {path} is not valid JSON; save it again in Labelme."


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("newlines", [False, True])
def test_size_of_a_large_embedded_picture(tmp_path: Path, kind: str, newlines: bool) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (500, 700, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise).save(tmp_path / "a", kind, exif=exif, quality=100)
    data = (tmp_path / "a").read_bytes()
    assert len(data) > 300_000
    text = (base64.encodebytes if newlines else base64.b64encode)(data).decode()
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"shapes": [], "imageData": text}))
    assert raw_image_size(path) == raw_image_size(tmp_path / "a")
    assert image_size(path) == image_size(tmp_path / "a")
