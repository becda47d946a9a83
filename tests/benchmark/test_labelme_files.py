"""Labelme files of the photos: converted back they are the same objects."""

from __future__ import annotations

from pathlib import Path

import pytest

from cardamage.benchmark.labelme_files import write_labelme
from cardamage.benchmark.photo_files import PhotoFiles
from cardamage.data.formats.labelme import load_labelme


def test_the_objects_come_back(files: PhotoFiles, tmp_path: Path) -> None:
    assert write_labelme(files, 2, tmp_path / "labelme") == 4
    records, classes = load_labelme(tmp_path / "labelme")
    assert classes == files.classes
    assert len(records) == 4
    first = records[0]["annotations"][0]
    assert first["segmentation"][0] == pytest.approx(files.records[0]["annotations"][0]["segmentation"][0])
