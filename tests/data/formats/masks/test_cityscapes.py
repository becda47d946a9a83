"""Cityscapes' label images, drawn here."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pycocotools.mask as mask_util
import pytest

from cardamage.catalog import DatasetCatalog, MetadataCatalog
from cardamage.data.datasets.cityscapes import load_cityscapes_instances
from cardamage.errors import DataError
from cardamage.evaluation import CityscapesInstanceEvaluator

IDS = np.full((40, 60), 7, np.uint16)  # road
IDS[5:15, 5:25] = 26000  # a car ...
IDS[8:12, 10:14] = 24001  # ... with a person in front of it
IDS[20:30, 0:60:2] = 33005  # a bicycle in stripes, from edge to edge
IDS[35:, 40:] = 24  # a group of people
IDS[0, 0] = 29000  # a caravan, which isn't evaluated
CLASSES = {26000: 2, 24001: 0, 33005: 7, 24: 0}


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    images, truth = tmp_path / "cityscapes/leftImg8bit/val", tmp_path / "cityscapes/gtFine/val"
    for folder in (images, truth):
        (folder / "ulm").mkdir(parents=True)
    for number in (2, 1):
        stem = f"ulm_00000{number}_000019"
        cv2.imwrite(str(images / f"ulm/{stem}_leftImg8bit.png"), np.zeros((40, 60, 3), np.uint8))
        cv2.imwrite(str(truth / f"ulm/{stem}_gtFine_instanceIds.png"), IDS)
    return images, truth


def test_every_object_has_exactly_its_pixels(folders: tuple[Path, Path]) -> None:
    records = load_cityscapes_instances(*folders, from_json=False, to_polygons=False)
    assert [r["image_id"] for r in records] == [f"ulm_00000{n}_000019_leftImg8bit.png" for n in (1, 2)]
    record = records[0]
    assert Path(record["file_name"]).is_file()
    assert (record["height"], record["width"]) == IDS.shape
    left = dict(CLASSES)
    for annotation in record["annotations"]:
        mask = mask_util.decode(annotation["segmentation"]).astype(bool)
        (number,) = np.unique(IDS[mask])
        np.testing.assert_array_equal(mask, number == IDS)
        assert annotation["category_id"] == left.pop(number)
        assert annotation["iscrowd"] == (number == 24)
        rows, columns = np.nonzero(mask)
        assert annotation["bbox"] == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert not left


def test_outlines_are_traced_where_asked(folders: tuple[Path, Path]) -> None:
    record = load_cityscapes_instances(*folders)[0]
    car = next(a for a in record["annotations"] if a["category_id"] == 2)
    (outline,) = car["segmentation"]
    points = np.array(outline).reshape(-1, 2)
    assert (*points.min(0), *points.max(0)) == (5.5, 5.5, 24.5, 14.5)  # through the pixels' centers


def test_missing_files_are_named(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no Cityscapes pictures \(\*/\*_leftImg8bit.png\)"):
        load_cityscapes_instances(tmp_path, tmp_path)
    labels = next(folders[1].glob("*/*"))
    cv2.imwrite(str(labels), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(DataError, match="is no Cityscapes label image"):
        load_cityscapes_instances(*folders)
    labels.unlink()
    with pytest.raises(DataError, match="instanceIds.png does not exist"):
        load_cityscapes_instances(*folders)


def test_the_built_in_name_is_scored(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from cardamage.structures import Boxes, Instances, RLEMasks

    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    name = "cityscapes_fine_instance_seg_val"
    assert MetadataCatalog.get(name).evaluator_type == "cityscapes_instance"
    records = DatasetCatalog.get(name)
    evaluator = CityscapesInstanceEvaluator(name)
    for record in records:
        own = [a for a in record["annotations"] if not a["iscrowd"]]
        instances = Instances(
            IDS.shape,
            pred_boxes=Boxes(torch.tensor([a["bbox"] for a in own])),
            scores=torch.ones(len(own)),
            pred_classes=torch.tensor([a["category_id"] for a in own]),
            pred_masks=RLEMasks([a["segmentation"] for a in own], IDS.shape),
        )
        evaluator.process([record], [{"instances": instances}])
    assert evaluator.evaluate() == {"segm": {"AP": pytest.approx(100), "AP50": pytest.approx(100)}}
