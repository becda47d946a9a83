"""Weights named by an address: in training, evaluation and prediction, and without a network."""

from __future__ import annotations

import argparse
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from cardamage.checkpoint import DetectionCheckpointer
from cardamage.config import CfgNode, get_cfg
from cardamage.engine import DefaultPredictor, default_setup
from cardamage.engine.evaluating import prepare_evaluation
from cardamage.errors import CheckpointError
from cardamage.modeling import build_model

ZOO = "detectron2://ImageNetPretrained/MSRA/R-50.pkl"


@pytest.fixture
def cfg(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> CfgNode:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("CARDAMAGE_WEIGHTS_MIRROR", "http://127.0.0.1:9")
    cfg = get_cfg()
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.WEIGHTS = ZOO
    cfg.OUTPUT_DIR = str(tmp_path / "run")
    return cfg


def unreachable(cache: Path) -> str:
    return (
        f"The weights '{ZOO}' can't be downloaded from 'http://127.0.0.1:9/detectron2/ImageNetPretrained/MSRA/"
        "R-50.pkl' (Connection refused): check the address and the network, or download the file elsewhere "
        f"and put it at '{cache}/detectron2/ImageNetPretrained/MSRA/R-50.pkl'."
    )


@pytest.mark.parametrize("command", ["train", "evaluate", "predict"])
def test_without_a_network_the_weights_are_what_is_told(cfg: CfgNode, cache: Path, command: str) -> None:
    # Data that isn't there would be told as soon as it is looked at.
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = ("coco:none.json@none",)
    with pytest.raises(CheckpointError) as caught:
        {"train": default_setup, "evaluate": prepare_evaluation, "predict": DefaultPredictor}[command](cfg)
    assert str(caught.value) == unreachable(cache)


def test_a_missing_file_is_told_before_the_data_is_read(cfg: CfgNode) -> None:
    cfg.MODEL.WEIGHTS = "none.pth"
    with pytest.raises(CheckpointError, match=r"The weights file 'none.pth' doesn't exist: check the path\."):
        default_setup(cfg)


def test_resuming_needs_no_network(cfg: CfgNode) -> None:
    resume = argparse.Namespace(resume=True)
    with pytest.raises(CheckpointError, match="can't be downloaded"):
        default_setup(cfg, resume)
    DetectionCheckpointer(nn.Linear(1, 1), cfg.OUTPUT_DIR).save("model_0000001", iteration=1)
    default_setup(cfg, resume)


def test_a_predictor_of_the_model_zoo(cfg: CfgNode, loopback: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg.merge_from_list(["MODEL.RESNETS.DEPTH", 18, "MODEL.RESNETS.RES2_OUT_CHANNELS", 64])
    cfg.merge_from_list(["MODEL.BACKBONE.NAME", "build_resnet_fpn_backbone", "MODEL.FPN.OUT_CHANNELS", 8])
    cfg.merge_from_list(["MODEL.RESNETS.OUT_FEATURES", ["res2", "res3", "res4", "res5"]])
    cfg.merge_from_list(["MODEL.FPN.IN_FEATURES", ["res2", "res3", "res4", "res5"]])
    cfg.merge_from_list(["MODEL.RPN.IN_FEATURES", ["p2", "p3", "p4", "p5", "p6"]])
    cfg.merge_from_list(["MODEL.ANCHOR_GENERATOR.SIZES", [[32], [64], [128], [256], [512]]])
    cfg.merge_from_list(["MODEL.ROI_HEADS.NAME", "StandardROIHeads", "MODEL.ROI_BOX_HEAD.FC_DIM", 8])
    cfg.merge_from_list(["MODEL.ROI_HEADS.IN_FEATURES", ["p2", "p3", "p4", "p5"]])
    cfg.merge_from_list(["MODEL.ROI_BOX_HEAD.NAME", "FastRCNNConvFCHead", "MODEL.ROI_BOX_HEAD.NUM_FC", 1])
    wide = cfg.clone()
    wide.MODEL.ROI_HEADS.NUM_CLASSES = 3
    state = {name: value.numpy() for name, value in build_model(wide).state_dict().items()}
    content = pickle.dumps({"model": state, "__author__": "Detectron2 Model Zoo"})
    loopback.files["/detectron2/ImageNetPretrained/MSRA/R-50.pkl"] = content
    monkeypatch.setenv("CARDAMAGE_WEIGHTS_MIRROR", loopback.url)
    loopback.cut_after, loopback.cuts = len(content) // 2, 1
    default_setup(cfg)
    predictor = DefaultPredictor(cfg)
    assert predictor.cfg.MODEL.ROI_HEADS.NUM_CLASSES == 3
    for name, value in predictor.model.state_dict().items():
        assert torch.equal(value, torch.from_numpy(state[name])), name
    assert len(predictor(np.zeros((40, 50, 3), np.uint8))["instances"].image_size) == 2
    assert [asked for _, asked in loopback.requests] == [None, f"bytes={len(content) // 2}-"]
