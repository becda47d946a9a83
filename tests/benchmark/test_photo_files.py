"""Photos written anew: their size, and outlines that moved with it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pycocotools.mask as mask_util
import pytest

from cardamage.benchmark.photo_files import PhotoFiles, write_photos
from cardamage.benchmark.photos import Photos
from cardamage.catalog import DatasetCatalog


def test_every_file_has_the_size(files: PhotoFiles) -> None:
    for record in files.records:
        assert cv2.imread(record["file_name"]).shape == (96, 144, 3)
        assert (record["height"], record["width"]) == files.size == (96, 144)


def test_outlines_are_stretched_with_the_photo(files: PhotoFiles, photos: Photos) -> None:
    # 120 x 160 became 96 x 144: 0.8 of the height and 0.9 of the width.
    before = np.reshape(photos.records[0]["annotations"][0]["segmentation"][0], (-1, 2))
    after = files.records[0]["annotations"][0]
    np.testing.assert_allclose(np.reshape(after["segmentation"][0], (-1, 2)), before * (0.9, 0.8))
    corners = [*(before.min(0) * (0.9, 0.8)), *(before.max(0) * (0.9, 0.8))]
    assert after["bbox"] == pytest.approx(corners)


def test_the_coco_file_reads_back_as_the_same_objects(files: PhotoFiles) -> None:
    read = DatasetCatalog.get(files.dataset)
    assert [r["file_name"] for r in read] == [r["file_name"] for r in files.records]
    assert [[a["category_id"] for a in r["annotations"]] for r in read] == [[0, 1], [0, 1]]
    assert files.objects == 2


def test_a_run_length_mask_becomes_its_outline(photos: Photos, tmp_path: Path) -> None:
    mask = np.zeros((120, 160), np.uint8, order="F")
    mask[20:61, 40:101] = 1
    record = dict(photos.records[0])
    record["annotations"] = [{**record["annotations"][0], "segmentation": mask_util.encode(mask)}]
    files = write_photos(Photos([record], photos.classes, "drawn"), (120, 160), tmp_path / "same")
    assert files.records[0]["annotations"][0]["bbox"] == [40, 20, 100, 60]
