"""Files written for Labelme: what is in them, and above all which are left as they are."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from cardamage.annotation.photos import find_photos
from cardamage.annotation.prelabel import PrelabelReport, PrelabelSettings, prelabel_files
from cardamage.catalog import Metadata
from cardamage.data.formats.labelme import load_labelme
from cardamage.data.formats.labelme.marks import State, state_of
from cardamage.errors import ConfigValueError, TrainingError

RED, GREEN = (0, 0, 255), (0, 255, 0)
CLASSES = ["dent", "rayée"]


def draw(path: Path, *boxes: tuple[tuple[int, int, int], tuple[int, int, int, int]]) -> Path:
    """Write a grey picture of 80x60 with filled boxes (color, x, y, width, height)."""
    picture = np.full((60, 80, 3), 128, np.uint8)
    for color, (x, y, w, h) in boxes:
        picture[y : y + h, x : x + w] = color
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, picture)[1].tobytes())
    return path


def run(finder: Any, root: Path, **settings: Any) -> PrelabelReport:
    metadata = Metadata(name="colours", thing_classes=CLASSES)
    return prelabel_files(
        finder, find_photos(root), root, PrelabelSettings(model="m.pth", **settings), metadata
    )


def content_of(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def test_what_is_written(finder: Any, tmp_path: Path) -> None:
    draw(tmp_path / "a.png", (RED, (10, 20, 30, 15)), (RED, (60, 5, 10, 10)), (GREEN, (45, 40, 12, 6)))
    report = run(finder, tmp_path)
    content = content_of(tmp_path / "a.json")
    assert report.written == [tmp_path / "a.json"]
    assert (content["imageHeight"], content["imageWidth"], content["imagePath"]) == (60, 80, "a.png")
    assert content["imageData"] is None
    assert [shape["label"] for shape in content["shapes"]] == ["dent", "dent", "rayée"]
    assert [shape["description"] for shape in content["shapes"]] == ["0.90 cardamage"] * 2 + [
        "0.60 cardamage"
    ]
    groups = [shape["group_id"] for shape in content["shapes"]]
    assert groups[0] is not None
    assert groups == [groups[0], groups[0], None]
    corners = [sorted(map(tuple, shape["points"])) for shape in content["shapes"]]
    assert corners[0] == [(10, 20), (10, 35), (40, 20), (40, 35)]
    assert corners[1] == [(60, 5), (60, 15), (70, 5), (70, 15)]
    mark = content["cardamage"]
    assert (mark["model"], mark["threshold"], mark["tolerance"]) == ("m.pth", 0.5, 1.0)
    assert mark["date"].endswith("+00:00")
    assert "IoU 1.000 (median), 1.000 (lowest)" in report.summary()


def test_our_reader_gives_the_objects_back(finder: Any, tmp_path: Path) -> None:
    draw(tmp_path / "a.png", (RED, (10, 20, 30, 15)), (RED, (60, 5, 10, 10)), (GREEN, (45, 40, 12, 6)))
    run(finder, tmp_path)
    dicts, classes = load_labelme(tmp_path)
    assert classes == CLASSES
    assert [len(a["segmentation"]) for a in dicts[0]["annotations"]] == [2, 1]
    assert [a["bbox"] for a in dicts[0]["annotations"]] == [[10, 5, 70, 35], [45, 40, 57, 46]]


def test_a_turned_photo_gets_coordinates_of_the_upright_one(finder: Any, tmp_path: Path) -> None:
    upright = np.full((60, 80, 3), 128, np.uint8)
    upright[10:30, 50:75] = RED[::-1]
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned to the left: the viewer turns it to the right
    Image.fromarray(np.rot90(upright).copy()).save(tmp_path / "a.png", exif=exif)
    run(finder, tmp_path)
    content = content_of(tmp_path / "a.json")
    assert (content["imageHeight"], content["imageWidth"]) == (60, 80)
    assert sorted(map(tuple, content["shapes"][0]["points"])) == [(50, 10), (50, 30), (75, 10), (75, 30)]


def test_ours_are_written_again_and_touched_ones_never(finder: Any, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        draw(tmp_path / f"{name}.png", (RED, (10, 20, 30, 15)))
    run(finder, tmp_path)
    edited = content_of(tmp_path / "b.json")
    edited["shapes"][0]["points"][0] = [1.0, 2.0]
    (tmp_path / "b.json").write_text(json.dumps(edited))
    (tmp_path / "c.json").write_text('{"shapes": []}')
    before = {name: (tmp_path / name).read_bytes() for name in ("b.json", "c.json")}
    report = run(finder, tmp_path, threshold=0.7)
    assert report.written == [tmp_path / "a.json"]
    assert sorted(report.left_alone) == [tmp_path / "b.json", tmp_path / "c.json"]
    assert content_of(tmp_path / "a.json")["cardamage"]["threshold"] == 0.7
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


def test_a_file_saved_while_the_model_was_at_work_is_left_alone(finder: Any, tmp_path: Path) -> None:
    draw(tmp_path / "a.png", (RED, (10, 20, 30, 15)))

    def slow(pictures: list[np.ndarray]) -> list[dict[str, Any]]:
        (tmp_path / "a.json").write_text('{"shapes": []}')
        return finder(pictures)

    report = run(slow, tmp_path)
    assert (report.written, report.left_alone) == ([], [tmp_path / "a.json"])
    assert (tmp_path / "a.json").read_text() == '{"shapes": []}'


def test_a_photo_with_nothing_in_it_has_no_file(finder: Any, tmp_path: Path) -> None:
    draw(tmp_path / "a.png", (GREEN, (10, 20, 30, 15)))
    assert run(finder, tmp_path).written == [tmp_path / "a.json"]
    report = run(finder, tmp_path, threshold=0.7)
    assert report.empty == [tmp_path / "a.png"]
    assert not (tmp_path / "a.json").exists()
    assert "Empty: 1 photo in" in report.summary()


def test_output_folder_keeps_the_places_below_it(finder: Any, tmp_path: Path) -> None:
    photos, output = tmp_path / "photos", tmp_path / "out" / "labels"
    draw(photos / "front" / "a.b.png", (RED, (10, 20, 30, 15)))
    report = run(finder, photos, output=output)
    assert report.written == [output / "front" / "a.b.json"]
    named = content_of(report.written[0])["imagePath"]
    assert named == "../../../photos/front/a.b.png"
    assert (report.written[0].parent / named).samefile(photos / "front" / "a.b.png")
    assert not (photos / "front" / "a.b.json").exists()


def test_photos_of_one_name_do_not_share_a_file(finder: Any, tmp_path: Path) -> None:
    draw(tmp_path / "a.jpg", (RED, (10, 20, 30, 15)))
    draw(tmp_path / "a.png", (GREEN, (10, 20, 30, 15)))
    report = run(finder, tmp_path)
    assert content_of(tmp_path / "a.json")["imagePath"] == "a.jpg"
    sentence = f"{tmp_path / 'a.png'} would share the Labelme file a.json with a.jpg; rename one of them."
    assert report.failed == {str(tmp_path / "a.png"): sentence}


def test_unreadable_photos_are_told_and_the_others_done(finder: Any, tmp_path: Path) -> None:
    draw(tmp_path / "a.png", (RED, (10, 20, 30, 15)))
    (tmp_path / "b.jpg").write_text("not a picture")
    (tmp_path / "c.png").write_bytes(b"")
    report = run(finder, tmp_path, batch_size=1)
    assert report.written == [tmp_path / "a.json"]
    assert set(report.failed) == {str(tmp_path / "b.jpg"), str(tmp_path / "c.png")}
    assert "2 photos were left out:" in report.summary()


def test_a_linked_file_is_written_where_it_is(finder: Any, tmp_path: Path) -> None:
    draw(tmp_path / "photos" / "a.png", (RED, (10, 20, 30, 15)))
    run(finder, tmp_path / "photos")
    (tmp_path / "photos" / "a.json").rename(tmp_path / "kept.json")
    os.symlink(tmp_path / "kept.json", tmp_path / "photos" / "a.json")
    run(finder, tmp_path / "photos", tolerance=2.0)
    assert (tmp_path / "photos" / "a.json").is_symlink()
    assert content_of(tmp_path / "kept.json")["cardamage"]["tolerance"] == 2.0
    assert state_of(tmp_path / "photos" / "a.json") is State.OURS


def test_a_folder_that_cannot_be_written_is_named(finder: Any, tmp_path: Path) -> None:
    draw(tmp_path / "photos" / "a.png", (RED, (10, 20, 30, 15)))
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="set --output to another folder"):
        run(finder, tmp_path / "photos", output=tmp_path / "file" / "labels")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"threshold": 50}, "--threshold is a score from 0 to 1, not 50."),
        ({"threshold": float("nan")}, "--threshold is a score from 0 to 1, not nan."),
        ({"tolerance": -1}, "--tolerance is a distance of 0 to 1000 pixels, not -1."),
        ({"speck": -1}, "--speck is a number of pixels, 0 or more, not -1."),
        ({"batch_size": 0}, "--batch-size must be 1 or more, not 0."),
    ],
)
def test_values_out_of_range(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigValueError) as caught:
        PrelabelSettings(**change)
    assert str(caught.value) == sentence
