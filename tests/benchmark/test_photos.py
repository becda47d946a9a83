"""Which photos are taken, and the sentences about those that can't be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cardamage.benchmark import photos as room
from cardamage.benchmark.photo_files import PhotoFiles
from cardamage.benchmark.photos import find_photos
from cardamage.errors import DataError


def test_a_labelme_folder_is_taken_with_its_classes(labelme: Path, tmp_path: Path) -> None:
    found = find_photos([str(labelme)], 2, tmp_path)
    assert found.classes == ["dent", "scratch"]
    assert len(found.records) == 2
    assert found.source == str(labelme)


def test_a_coco_folder_and_its_file_and_its_name_are_the_same(files: PhotoFiles, tmp_path: Path) -> None:
    names = (str(files.folder), str(files.coco), files.dataset)
    found = [find_photos([name], 9, tmp_path) for name in names]
    assert found[0].records == found[1].records == found[2].records
    assert len(found[0].records) == 2


def test_folders_of_other_classes_are_not_joined(labelme: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(labelme, other)
    for path in other.glob("*.json"):
        path.write_text(path.read_text().replace('"dent"', '"hole"'))
    with pytest.raises(DataError, match="have different classes"):
        find_photos([str(labelme), str(other)], 9, tmp_path)
    assert len(find_photos([str(labelme), str(labelme)], 9, tmp_path).records) == 6


def test_a_folder_of_bare_pictures_is_refused(labelme: Path, tmp_path: Path) -> None:
    shutil.copy(labelme / "0.jpg", tmp_path)
    with pytest.raises(DataError, match=r"has no Labelme files and no annotations\.json"):
        find_photos([str(tmp_path)], 9, tmp_path)


def test_photos_without_objects_are_refused(labelme: Path, tmp_path: Path) -> None:
    content = json.loads((labelme / "0.json").read_text())
    (tmp_path / "0.json").write_text(json.dumps({**content, "shapes": []}))
    shutil.copy(labelme / "0.jpg", tmp_path)
    with pytest.raises(DataError, match="There is no annotated photo in"):
        find_photos([str(tmp_path)], 9, tmp_path)


def test_a_name_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        find_photos([str(tmp_path / "missing")], 9, tmp_path)


def test_pictures_are_drawn_where_none_are_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_CAR_PARTS", "no such file")
    found = find_photos([], 2, tmp_path)
    assert found.source == "the demo's drawings"
    assert 1 <= len(found.records) <= 2


def test_outside_of_a_checkout_photos_must_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "CHECKOUT", tmp_path)
    with pytest.raises(DataError, match="name annotated ones with --images"):
        find_photos([], 2, tmp_path)
