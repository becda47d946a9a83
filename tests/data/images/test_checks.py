from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cardamage.data.images.checks import check_images, check_new_images
from cardamage.errors import DataError

ADVICE = "put them there, or correct their paths."


def record(
    path: Path, rows: int = 40, columns: int = 60, orientation: int = 1, **changes: Any
) -> dict[str, Any]:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.random.default_rng(0).integers(0, 255, (rows, columns, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, exif=exif)
    return {"file_name": str(path), "height": rows, "width": columns, **changes}


def sentence_of(dicts: list[dict[str, Any]], **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        check_images(dicts, **options)
    return str(caught.value)


def test_nothing_to_check() -> None:
    check_images([])


def test_good_images_of_all_kinds(tmp_path: Path) -> None:
    check_images(
        [
            record(tmp_path / "a.jpg"),
            record(tmp_path / "b.png", 1, 1),
            record(tmp_path / "c.webp"),
            record(tmp_path / "d.jpg", 40, 60, 6, height=60, width=40),
            {"file_name": record(tmp_path / "e.bmp")["file_name"]},
        ]
    )


def test_jpeg_with_bytes_after_its_end(tmp_path: Path) -> None:
    one = record(tmp_path / "a.jpg")
    with open(one["file_name"], "ab") as file:
        file.write(b"trailer" * 2000)
    check_images([one])


def test_all_missing_files_in_one_message(tmp_path: Path) -> None:
    dicts = [record(tmp_path / "a.jpg"), {"file_name": "/no/1.jpg"}, {"file_name": "/no/2.jpg"}]
    assert sentence_of(dicts) == f"2 of 3 images do not exist: /no/1.jpg, /no/2.jpg; {ADVICE}"
    assert sentence_of(dicts[:2]) == f"1 of 2 images does not exist: /no/1.jpg; {ADVICE}"


def test_many_missing_files_are_counted() -> None:
    dicts = [{"file_name": f"/no/{i}.jpg"} for i in range(9)]
    assert (
        sentence_of(dicts, shown=2)
        == f"9 of 9 images do not exist: /no/0.jpg, /no/1.jpg and 7 more; {ADVICE}"
    )


def test_same_file_is_looked_at_once() -> None:
    assert (
        sentence_of([{"file_name": "/no/1.jpg"}] * 3) == f"1 of 1 images does not exist: /no/1.jpg; {ADVICE}"
    )


def test_every_trouble_has_its_line(tmp_path: Path) -> None:
    pointer, cut, text = (tmp_path / f"{name}.jpg" for name in ("pointer", "cut", "text"))
    pointer.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n")
    whole = record(cut)
    cut.write_bytes(cut.read_bytes()[:-500])
    text.write_text("see attachment")
    dicts = [{"file_name": str(pointer)}, whole, {"file_name": "/no/1.jpg"}, {"file_name": str(text)}]
    assert sentence_of(dicts).splitlines() == [
        f"1 of 4 images does not exist: /no/1.jpg; {ADVICE}",
        f"The image {pointer} is a Git LFS pointer, not the picture; run 'git lfs pull' where it was cloned.",
        f"The image {cut} is cut short (its JPEG data has no end marker); copy it again.",
        f"The image {text} is text, not a picture; it begins with 'see attachment'.",
    ]
    assert sentence_of(dicts, shown=1).splitlines()[-1] == "... and 2 more images that can't be used."


def test_folder_and_empty_file(tmp_path: Path) -> None:
    empty = tmp_path / "a.jpg"
    empty.touch()
    assert sentence_of([{"file_name": str(tmp_path)}]) == f"The image {tmp_path} is a folder."
    assert sentence_of([{"file_name": str(empty)}]) == f"The image {empty} is empty (0 bytes); copy it again."


def test_other_size(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    dicts = [{**record(path, 40, 60), "height": 80, "width": 120}]
    assert sentence_of(dicts) == (
        f"The image {path} is 60x40 (width x height), but its annotation says 120x80; "
        "annotate this very picture, or put the annotated one in its place."
    )


def test_annotated_before_the_exif_turn(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    assert sentence_of([record(path, 40, 60, orientation=8)]) == (
        f"The image {path} is 40x60 (width x height), but its annotation says 60x40: "
        "the EXIF tag turns the picture by 90 degrees and the annotation was made on the unturned one; "
        "save the picture without the tag, or annotate it again."
    )


def test_turned_after_it_was_annotated(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    dicts = [{**record(path, 40, 60), "height": 60, "width": 40}]
    assert sentence_of(dicts) == (
        f"The image {path} is 60x40 (width x height), but its annotation says 40x60: "
        "the sides are swapped; the picture was turned after it was annotated, so annotate it again."
    )


def test_images_found_good_are_not_read_again_unless_their_size_is_told_otherwise(tmp_path: Path) -> None:
    one = record(tmp_path / "once.jpg")
    check_new_images([one])
    (tmp_path / "once.jpg").unlink()
    check_new_images([one])
    with pytest.raises(DataError, match="once.jpg"):
        check_new_images([{**one, "height": 41}])
