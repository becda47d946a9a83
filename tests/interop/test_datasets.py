"""Datasets in Detectron2's catalogs."""

from __future__ import annotations

import base64
import copy
import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip("detectron2", reason="needs Detectron2, see docs/parity.md")

from detectron2.data import DatasetCatalog as UpstreamDatasets
from detectron2.data import DatasetMapper as UpstreamMapper
from detectron2.data import MetadataCatalog as UpstreamMetadata
from detectron2.data.datasets import load_coco_json as upstream_load
from detectron2.evaluation import COCOEvaluator as UpstreamEvaluator
from detectron2.structures import Boxes as UpstreamBoxes
from detectron2.structures import Instances as UpstreamInstances
from pycocotools.coco import COCO

from cardamage.catalog import DatasetCatalog, MetadataCatalog
from cardamage.config import get_cfg
from cardamage.data import DatasetMapper, prepare_datasets
from cardamage.data.datasets import register_coco_instances, register_lvis_instances
from cardamage.errors import DataError
from cardamage.evaluation import COCOEvaluator, LVISEvaluator
from cardamage.evaluation.coco_ground_truth import load_ground_truth
from cardamage.interop.config import to_upstream
from cardamage.interop.datasets import (
    adopt_upstream,
    has_run_lengths,
    register_for_testing,
    register_for_training,
)
from cardamage.interop.trainer import RunPlan, trainer_class
from cardamage.structures import Boxes, Instances
from cardamage.structures.polygons import polygons_to_bitmask


def config(train: list[str], test: list[str]) -> Any:
    cfg = get_cfg()
    cfg.MODEL.MASK_ON = True
    cfg.MODEL.DEVICE = "cpu"
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = tuple(train), tuple(test)
    return cfg


def write_coco(folder: Path, names: list[str], rle: bool = False, first_id: int = 1) -> str:
    """One photo with a triangle of each class, category ids with gaps."""
    folder.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / "a.png"), np.full((60, 80, 3), 90, np.uint8))
    annotations = []
    for index in range(len(names)):
        x, y = 5.0 + 9 * index, 4.0 + 3 * index
        outline: Any = [[x, y, x + 20, y + 2, x + 8, y + 25]]
        if rle:
            mask = np.zeros((60, 80), np.uint8)
            cv2.fillPoly(mask, [np.array(outline[0]).reshape(-1, 2).astype(np.int32)], 1)
            flat = mask.flatten(order="F")
            edges = np.flatnonzero(np.diff(flat)) + 1
            outline = {"size": [60, 80], "counts": np.diff([0, *edges, flat.size]).tolist()}
        box = [x, y, 20.0, 25.0]
        annotations.append(
            {"id": first_id + index, "image_id": 4, "category_id": 10 * (index + 1), "bbox": box}
            | {"area": 777.0, "iscrowd": 0, "segmentation": outline}
        )
    content = {
        "images": [{"id": 4, "file_name": "a.png", "height": 60, "width": 80}],
        "annotations": annotations,
        "categories": [{"id": 10 * (i + 1), "name": name} for i, name in enumerate(names)],
    }
    (folder / "coco.json").write_text(json.dumps(content))
    return f"coco:{folder}/coco.json@{folder}"


def test_the_records_are_those_of_training_here(pictures: Path, tmp_path: Path) -> None:
    name = f"labelme:{pictures}"
    prepare_datasets(config([name], []))
    register_for_training(name, str(tmp_path / "out"))
    own, theirs = DatasetCatalog.get(name), UpstreamDatasets.get(name)
    assert theirs == own
    assert len(theirs) == 8
    assert UpstreamMetadata.get(name).thing_classes == MetadataCatalog.get(name).thing_classes
    assert not hasattr(UpstreamMetadata.get(name), "json_file")


def test_both_mappers_make_the_same_targets(pictures: Path, tmp_path: Path) -> None:
    name = f"labelme:{pictures}"
    cfg = config([name], [])
    cfg.INPUT.RESIZE, cfg.INPUT.SCALED_DECODE = "exact", False
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.RANDOM_FLIP = (90,), "none"
    prepare_datasets(cfg)
    register_for_training(name, str(tmp_path / "out"))
    own, theirs = DatasetMapper(cfg, True), UpstreamMapper(to_upstream(cfg), True)
    for record in UpstreamDatasets.get(name):
        one, other = own(copy.deepcopy(record)), theirs(copy.deepcopy(record))
        assert np.array_equal(one["image"], other["image"])
        boxes = (sample["instances"].gt_boxes.tensor.numpy() for sample in (one, other))
        np.testing.assert_allclose(*boxes, rtol=0, atol=1e-4)
        assert one["instances"].gt_classes.tolist() == other["instances"].gt_classes.tolist()
        if len(one["instances"]) == 0:
            continue
        pairs = zip(one["instances"].gt_masks.polygons, other["instances"].gt_masks.polygons, strict=True)
        for mine, his in pairs:
            np.testing.assert_allclose(np.concatenate(mine), np.concatenate(his), rtol=0, atol=1e-4)


def test_classes_are_merged_by_name(tmp_path: Path) -> None:
    train = write_coco(tmp_path / "train", ["dent", "scratch", "crack"])
    test = write_coco(tmp_path / "test", ["crack", "dent"])
    assert prepare_datasets(config([train], [test])) == ["dent", "scratch", "crack"]
    register_for_testing(test, str(tmp_path / "out"))
    ids = [a["category_id"] for a in UpstreamDatasets.get(test)[0]["annotations"]]
    assert ids == [2, 0]
    metadata = UpstreamMetadata.get(test)
    assert metadata.thing_classes == ["dent", "scratch", "crack"]
    written = json.loads(Path(metadata.json_file).read_text())
    assert [c["name"] for c in written["categories"]] == metadata.thing_classes
    assert [a["category_id"] for a in written["annotations"]] == [2, 0]


def test_what_is_scored_is_what_is_scored_here(pictures: Path, tmp_path: Path) -> None:
    name = f"labelme:{pictures}"
    prepare_datasets(config([], [name]))
    assert register_for_testing(name, str(tmp_path)) is None
    file = Path(UpstreamMetadata.get(name).json_file)
    assert file.parent == tmp_path
    truth = load_ground_truth(name).for_task("segm")
    scored = COCO(str(file)).dataset
    assert scored["annotations"] == truth["annotations"]
    # Areas are pixels of the masks: the small, medium and large scores are cut alike.
    api = COCO(str(file))
    for annotation in api.dataset["annotations"]:
        assert annotation["area"] == api.annToMask(annotation).sum()
    ids = [record["image_id"] for record in UpstreamDatasets.get(name)]
    assert ids == [image["id"] for image in scored["images"]]


@pytest.mark.parametrize("kind", ["labelme", "registered"])
def test_both_evaluators_give_the_same_predictions_the_same_ap(
    pictures: Path, tmp_path: Path, kind: str
) -> None:
    name = f"labelme:{pictures}" if kind == "labelme" else "interop_scored"
    if kind == "registered":
        write_coco(tmp_path / "set", ["dent", "scratch", "crack"])
        register_coco_instances(name, {}, tmp_path / "set/coco.json", tmp_path / "set")
    prepare_datasets(config([], [name]))
    register_for_testing(name, str(tmp_path / "truth"))
    outputs = [shaken(record, seed) for seed, record in enumerate(DatasetCatalog.get(name))]
    inputs = [{"image_id": record["image_id"]} for record in DatasetCatalog.get(name)]
    results = []
    for evaluator, instances, boxes in (
        (COCOEvaluator(name), Instances, Boxes),
        (UpstreamEvaluator(name, output_dir=str(tmp_path / "out")), UpstreamInstances, UpstreamBoxes),
    ):
        evaluator.reset()
        for given, (size, fields) in zip(inputs, outputs, strict=True):
            found = instances(size, **fields)
            found.pred_boxes = boxes(fields["pred_boxes"])
            evaluator.process([given], [{"instances": found}])
        results.append(evaluator.evaluate())
    assert results[0].keys() == results[1].keys() == {"bbox", "segm"}
    for task, mine in results[0].items():
        assert 5 < mine["AP"] < 95
        assert mine == pytest.approx(results[1][task], abs=1e-9, nan_ok=True)


def test_lvis_is_scored_by_its_own_rules_and_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lvis")
    # Its last release asks for an alias that numpy no longer has.
    monkeypatch.setattr(np, "float", float, raising=False)
    write_coco(tmp_path, ["dent", "scratch", "crack"])
    file = tmp_path / "coco.json"
    content = json.loads(file.read_text())
    content["categories"] = [
        {"id": i + 1, "name": c["name"], "synonyms": [c["name"]], "frequency": "rcf"[i], "image_count": 1}
        for i, c in enumerate(content["categories"])
    ]
    for image in content["images"]:
        image.update(neg_category_ids=[2], not_exhaustive_category_ids=[])
    for annotation in content["annotations"]:
        annotation["category_id"] //= 10
    file.write_text(json.dumps(content))
    name = "interop_lvis"
    register_lvis_instances(name, {}, file, tmp_path)
    cfg = config([], [name])
    cfg.OUTPUT_DIR = str(tmp_path / "out")
    classes = prepare_datasets(cfg)
    assert register_for_testing(name, str(tmp_path / "out")) is None
    assert UpstreamMetadata.get(name).json_file == str(file)
    theirs = trainer_class(RunPlan(cfg, classes)).build_evaluator(to_upstream(cfg), name)
    record = DatasetCatalog.get(name)[0]
    size, fields = shaken(record, 2)
    results = []
    for evaluator, instances, boxes in (
        (LVISEvaluator(name), Instances, Boxes),
        (theirs, UpstreamInstances, UpstreamBoxes),
    ):
        evaluator.reset()
        found = instances(size, **fields)
        found.pred_boxes = boxes(fields["pred_boxes"])
        evaluator.process([{"image_id": record["image_id"]}], [{"instances": found}])
        results.append(evaluator.evaluate())
    assert 0 < results[0]["segm"]["AP"] < 100
    for task in ("bbox", "segm"):
        shared = results[0][task].keys() & results[1][task].keys()
        assert {"AP", "AP50", "APr", "APc", "APf"} <= shared
        for metric in shared:
            # The lvis package says -1 where nothing was to be measured, times 100.
            value = results[1][task][metric] if results[1][task][metric] >= 0 else math.nan
            assert results[0][task][metric] == pytest.approx(value, abs=1e-9, nan_ok=True)


def shaken(record: dict[str, Any], seed: int) -> tuple[tuple[int, int], dict[str, Any]]:
    """Predict a picture's own objects, some of them shifted, missed, or of another class."""
    rng = np.random.default_rng(seed)
    size = (record["height"], record["width"])
    boxes, masks, classes = [], [], []
    for annotation in record["annotations"]:
        shift = int(rng.integers(0, 4))
        mask = np.roll(polygons_to_bitmask(annotation["segmentation"], *size), shift, axis=1)
        rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        boxes.append([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        masks.append(mask)
        classes.append(annotation["category_id"] if rng.random() < 0.9 else 0)
    fields = {
        "pred_boxes": torch.tensor(np.array(boxes, np.float32).reshape(-1, 4)),
        "scores": torch.tensor(rng.random(len(boxes)), dtype=torch.float32),
        "pred_classes": torch.tensor(classes, dtype=torch.int64),
        "pred_masks": torch.tensor(np.array(masks, bool).reshape(-1, *size)),
    }
    return size, fields


def test_a_registered_file_is_scored_with_its_own_areas_and_ids_from_1(tmp_path: Path) -> None:
    write_coco(tmp_path / "set", ["dent", "scratch"], first_id=0)
    name = "interop_registered"
    register_coco_instances(name, {}, tmp_path / "set/coco.json", tmp_path / "set")
    prepare_datasets(config([], [name]))
    register_for_testing(name, str(tmp_path / "out"))
    written = json.loads(Path(UpstreamMetadata.get(name).json_file).read_text())
    assert [a["id"] for a in written["annotations"]] == [1, 2]
    assert {a["area"] for a in written["annotations"]} == {777.0}
    # Detectron2's own reader of that file gives the same records.
    theirs = upstream_load(UpstreamMetadata.get(name).json_file, str(tmp_path / "set"))
    back = {v: k for k, v in UpstreamMetadata.get(name).thing_dataset_id_to_contiguous_id.items()}
    for record, registered in zip(theirs, UpstreamDatasets.get(name), strict=True):
        assert record["file_name"] == registered["file_name"]
        for one, other in zip(record["annotations"], registered["annotations"], strict=True):
            assert one["category_id"] == back[other["category_id"]]
            np.testing.assert_allclose(one["segmentation"], other["segmentation"])


def test_run_lengths_in_lists_become_what_detectron2_reads(tmp_path: Path) -> None:
    name = write_coco(tmp_path, ["dent", "scratch"], rle=True)
    cfg = config([name], [])
    cfg.INPUT.MASK_FORMAT = "bitmask"
    prepare_datasets(cfg)
    assert has_run_lengths([name])
    register_for_training(name, str(tmp_path / "out"))
    sample = UpstreamMapper(to_upstream(cfg), True)(UpstreamDatasets.get(name)[0])
    assert sample["instances"].gt_masks.tensor.flatten(1).sum(dim=1).gt(0).all()


def test_names_that_are_paths_become_one_file_name_each(tmp_path: Path) -> None:
    names = [write_coco(tmp_path / folder, ["dent"]) for folder in ("a b", "a_b", "ä/b")]
    prepare_datasets(config([], names))
    for name in names:
        register_for_testing(name, str(tmp_path / "out"))
    assert len({UpstreamMetadata.get(name).json_file for name in names}) == 3
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_a_picture_within_a_labelme_file_is_copied_as_it_is(pictures: Path, tmp_path: Path) -> None:
    first = min(pictures.glob("*.json"))
    content = json.loads(first.read_text())
    stored = (pictures / content["imagePath"]).read_bytes()
    content.update(imageData=base64.b64encode(stored).decode(), imagePath="elsewhere.jpg")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/a.json").write_text(json.dumps(content))
    name = f"labelme:{tmp_path}/set"
    cfg = config([name], [name])
    cfg.INPUT.RESIZE = "exact"
    prepare_datasets(cfg)
    register_for_training(name, str(tmp_path / "train"))
    files = [Path(UpstreamDatasets.get(name)[0]["file_name"])]
    register_for_testing(name, str(tmp_path / "test"))
    files.append(Path(UpstreamDatasets.get(name)[0]["file_name"]))
    assert [file.parent for file in files] == [tmp_path / "train/pictures", tmp_path / "test/pictures"]
    assert all(file.read_bytes() == stored for file in files)
    seen = UpstreamMapper(to_upstream(cfg), False)(UpstreamDatasets.get(name)[0])["image"]
    assert np.array_equal(seen, DatasetMapper(cfg, False)(DatasetCatalog.get(name)[0])["image"])


def test_objects_without_outline_leave_boxes_to_score(tmp_path: Path) -> None:
    name = write_coco(tmp_path, ["dent", "scratch"])
    file = tmp_path / "coco.json"
    content = json.loads(file.read_text())
    del content["annotations"][0]["segmentation"]
    file.write_text(json.dumps(content))
    prepare_datasets(config([], [name]))
    assert register_for_testing(name, str(tmp_path / "out")) == ("bbox",)


def test_a_set_that_only_detectron2_knows_is_used_from_there(tmp_path: Path) -> None:
    record = {
        "file_name": str(tmp_path / "a.png"),
        "height": 60,
        "width": 80,
        "image_id": 1,
        "annotations": [
            {
                "bbox": [1, 2, 30, 40],
                "bbox_mode": 0,
                "category_id": 0,
                "segmentation": [[1, 2, 30, 2, 30, 40]],
            }
        ],
    }
    cv2.imwrite(record["file_name"], np.zeros((60, 80, 3), np.uint8))
    UpstreamDatasets.register("interop_theirs", lambda: [copy.deepcopy(record)])
    UpstreamMetadata.get("interop_theirs").set(thing_classes=["dent"])
    adopt_upstream(["interop_theirs", "carparts_test", "interop_nobody"])
    assert prepare_datasets(config(["interop_theirs"], [])) == ["dent"]
    register_for_training("interop_theirs", str(tmp_path / "out"))
    assert UpstreamDatasets.get("interop_theirs") == [record]
    with pytest.raises(DataError, match="interop_nobody"):
        DatasetCatalog.get("interop_nobody")
