"""Which weights and classes an evaluation uses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from cardamage.catalog import DatasetCatalog, MetadataCatalog
from cardamage.checkpoint import DetectionCheckpointer
from cardamage.config import CfgNode, get_cfg
from cardamage.engine.evaluating import prepare_evaluation
from cardamage.errors import CardamageError


def photos(folder: Path, *labels: str) -> str:
    """A Labelme folder with one object of each label."""
    folder.mkdir()
    Image.new("RGB", (60, 40)).save(folder / "a.jpg")
    shapes = [{"label": label, "points": [[1, 1], [9, 1], [9, 9]]} for label in labels]
    content = {"shapes": shapes, "imagePath": "a.jpg", "imageHeight": 40, "imageWidth": 60}
    (folder / "a.json").write_text(json.dumps(content))
    return f"labelme:{folder}"


def config(folder: Path, test: str = "", train: str = "") -> CfgNode:
    cfg = get_cfg()
    cfg.OUTPUT_DIR = str(folder)
    cfg.DATASETS.TEST, cfg.DATASETS.TRAIN = (test,) if test else (), (train,) if train else ()
    return cfg


def save(folder: Path, name: str, classes: list[str]) -> str:
    DetectionCheckpointer(nn.Linear(1, 1), str(folder), thing_classes=classes).save(name, iteration=0)
    return str(folder / f"{name}.pth")


def sentence_of(cfg: CfgNode, resume: bool = False) -> str:
    with pytest.raises(CardamageError) as caught:
        prepare_evaluation(cfg, resume)
    return str(caught.value)


def test_nothing_to_evaluate(tmp_path: Path) -> None:
    cfg = config(tmp_path, train="cars")
    cfg.MODEL.WEIGHTS = save(tmp_path, "m", ["dent"])
    assert sentence_of(cfg) == (
        "DATASETS.TEST is empty, so --eval-only has nothing to evaluate: "
        "name the data, such as DATASETS.TEST \"('labelme:FOLDER',)\"."
    )


def test_no_weights(tmp_path: Path) -> None:
    cfg = config(tmp_path, "cars")
    assert sentence_of(cfg) == "--eval-only needs weights: add MODEL.WEIGHTS FILE, or --resume."
    assert sentence_of(cfg, resume=True) == (
        f"There is no checkpoint in '{tmp_path}' to evaluate: set OUTPUT_DIR to the folder of a training, "
        "or add MODEL.WEIGHTS FILE."
    )


def test_weights_name_the_classes_and_training_data_is_not_read(tmp_path: Path) -> None:
    test = photos(tmp_path / "test", "scratch", "dent")
    cfg = config(tmp_path / "output", test, "labelme:/nowhere")
    cfg.MODEL.WEIGHTS = save(tmp_path, "m", ["dent", "crack", "scratch"])
    cfg.freeze()
    assert prepare_evaluation(cfg) == (cfg.MODEL.WEIGHTS, ["dent", "crack", "scratch"])
    assert cfg.MODEL.ROI_HEADS.NUM_CLASSES == 3
    assert MetadataCatalog.get(test).thing_classes == ["dent", "crack", "scratch"]
    (record,) = DatasetCatalog.get(test)
    assert sorted(a["category_id"] for a in record["annotations"]) == [0, 2]


def test_class_that_the_weights_lack(tmp_path: Path) -> None:
    test = photos(tmp_path / "test", "dent", "scrtch")
    cfg = config(tmp_path / "output", test)
    cfg.MODEL.WEIGHTS = save(tmp_path, "m", ["dent", "scratch"])
    assert sentence_of(cfg) == (
        f"Dataset '{test}' has objects of class 'scrtch', but the weights have the classes dent, scratch; "
        "did you mean scratch?"
    )


def test_number_of_classes_of_config_and_weights(tmp_path: Path) -> None:
    cfg = config(tmp_path, photos(tmp_path / "test", "dent"))
    cfg.MODEL.WEIGHTS = save(tmp_path, "m", ["dent", "scratch"])
    cfg.merge_from_list(["MODEL.ROI_HEADS.NUM_CLASSES", "5"])
    assert sentence_of(cfg) == (
        f"MODEL.ROI_HEADS.NUM_CLASSES is 5, but the weights file '{cfg.MODEL.WEIGHTS}' knows 2 classes "
        "(dent, scratch): set it to 2, or leave the key out and it follows from the weights."
    )


def test_last_checkpoint_comes_before_the_weights_file(tmp_path: Path) -> None:
    cfg = config(tmp_path, photos(tmp_path / "test", "dent"))
    last = save(tmp_path, "m", ["crack", "dent"])
    cfg.MODEL.WEIGHTS = "none.pth"
    assert prepare_evaluation(cfg, resume=True) == (last, ["crack", "dent"])
    assert sentence_of(cfg) == "The weights file 'none.pth' doesn't exist: check the path."


def test_weights_without_names_know_the_classes_of_the_data(tmp_path: Path) -> None:
    train = photos(tmp_path / "train", "scratch", "dent")
    cfg = config(tmp_path, photos(tmp_path / "test", "dent"), train)
    cfg.MODEL.WEIGHTS = str(tmp_path / "plain.pth")
    torch.save(nn.Linear(1, 1).state_dict(), cfg.MODEL.WEIGHTS)
    assert prepare_evaluation(cfg) == (cfg.MODEL.WEIGHTS, MetadataCatalog.get(train).thing_classes)
