"""Of pictures embedded in Labelme files no more is decoded than is asked for."""

from __future__ import annotations

import base64
import binascii
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cardamage.data.formats.conversion.convert import ConvertOptions, convert
from cardamage.data.formats.registry import ReadOptions, WriteOptions
from cardamage.errors import DataError

SIZE = (300, 200)


def photo(number: int, size: tuple[int, int] = SIZE, **options: Any) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 255, (*size[::-1], 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, **{"format": "JPEG", "quality": 95, **options})
    return file.getvalue()


def put(path: Path, picture: bytes) -> None:
    shapes = [{"label": "dent", "points": [[10, 10], [20, 10], [20, 20]]}]
    content = {"shapes": shapes, "imagePath": f"{path.stem}.jpg", "imageHeight": 200, "imageWidth": 300}
    path.write_text(json.dumps({**content, "imageData": base64.b64encode(picture).decode()}))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Lengths of the texts that were decoded."""
    lengths: list[int] = []
    decode = binascii.a2b_base64

    def noted(data: Any, **options: Any) -> bytes:
        lengths.append(len(data))
        return decode(data, **options)

    monkeypatch.setattr(binascii, "a2b_base64", noted)
    return lengths


def run(source: Path, target: Path, cache: Path | None = None) -> dict[str, Any]:
    options = ConvertOptions("labelme", read=ReadOptions(cache=cache), write=WriteOptions(pictures="keep"))
    convert([source], target, "coco", options)
    content: dict[str, Any] = json.loads((target / "annotations/all.json").read_text())
    return content


def test_nothing_where_the_same_file_is_beside(tmp_path: Path, decoded: list[int]) -> None:
    source = tmp_path / "photos"
    source.mkdir()
    for number in range(3):
        # Whatever is left over where bytes are put into groups of three.
        data = photo(number)[:-2] + b"\0" * number + b"\xff\xd9"
        (source / f"{number}.jpg").write_bytes(data)
        put(source / f"{number}.json", data)
    found = run(source, tmp_path / "out")
    assert [image["file_name"] for image in found["images"]] == ["0.jpg", "1.jpg", "2.jpg"]
    assert decoded == []


def test_the_header_and_then_what_is_written(tmp_path: Path, decoded: list[int]) -> None:
    source = tmp_path / "photos"
    source.mkdir()
    plain, thumbnail = photo(1), photo(2, exif=b"Exif\0\0" + b"MM\0*\0\0\0\x08" + bytes(40_000))
    for name, data in (("a", plain), ("b", thumbnail)):
        put(source / f"{name}.json", data)
    length = -(-len(plain) // 3) * 4
    assert length > 1 << 16
    for again in ("one", "two"):
        decoded.clear()
        found = run(source, tmp_path / again, tmp_path / "cache")
        assert len(found["images"]) == 2
        for name, data in (("a", plain), ("b", thumbnail)):
            assert (tmp_path / again / f"images/{name}.jpg").read_bytes() == data
        whole = [one for one in decoded if one > 1 << 16]
        assert sorted(whole) == sorted([length, -(-len(thumbnail) // 3) * 4])
    # A plain header is at the very beginning; kinds are told by 64 characters.
    assert {one for one in decoded if one <= 1 << 16} <= {64, 1 << 13, 1 << 16}


@pytest.mark.parametrize("size", [(301, 200), (200, 300)])
def test_a_picture_of_another_size_is_found_by_its_header(tmp_path: Path, size: tuple[int, int]) -> None:
    source = tmp_path / "photos"
    source.mkdir()
    put(source / "a.json", photo(1, size))
    with pytest.raises(DataError, match=f"is {size[0]}x{size[1]} .* but its annotation says 300x200"):
        run(source, tmp_path / "out")


def test_base64_with_line_breaks_is_the_same_picture(tmp_path: Path) -> None:
    source = tmp_path / "photos"
    source.mkdir()
    put(source / "a.json", b"")
    data = photo(1)
    content = json.loads((source / "a.json").read_text())
    content["imageData"] = base64.encodebytes(data).decode()
    (source / "a.json").write_text(json.dumps(content))
    assert run(source, tmp_path / "one")["images"][0]["file_name"] == "a.jpg"
    assert (tmp_path / "one/images/a.jpg").read_bytes() == data
    (source / "a.jpg").write_bytes(data)
    run(source, tmp_path / "two")
    assert not (tmp_path / "two/images").exists()
