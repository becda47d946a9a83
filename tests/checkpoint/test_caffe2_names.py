"""Caffe2's blobs: names, order of classes, and what is told about them."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from cardamage.checkpoint import DetectionCheckpointer, input_settings, num_classes_of
from cardamage.checkpoint.c2_model_loading import (
    align_and_update_state_dicts,
    convert_basic_c2_names,
    convert_c2_detectron_names,
)
from cardamage.errors import CheckpointError

Build = Callable[..., nn.Module]

TRUNK = {
    "conv1_w": "stem.conv1.weight",
    "conv1_b": "stem.conv1.bias",
    "res_conv1_bn_s": "stem.conv1.norm.weight",
    "res_conv1_bn_b": "stem.conv1.norm.bias",
    "conv1_gn_s": "stem.conv1.norm.weight",
    "res2_0_branch1_w": "res2.0.shortcut.weight",
    "res2_0_branch2a_w": "res2.0.conv1.weight",
    "res3_1_branch2b_bn_s": "res3.1.conv2.norm.weight",
    "res4_22_branch2c_bn_b": "res4.22.conv3.norm.bias",
    "res5_2_branch2a_bn_gamma": "res5.2.conv1.norm.weight",
    "res5_2_branch2a_bn_beta": "res5.2.conv1.norm.bias",
    "res5_2_branch2a_bn_running_mean": "res5.2.conv1.norm.running_mean",
    "res5_2_branch2a_bn_running_var": "res5.2.conv1.norm.running_var",
    "res5_2_branch2a_bn_rm": "res5.2.conv1.norm.running_mean",
    "res5_2_branch2a_bn_riv": "res5.2.conv1.norm.running_var",
    "res2_1_branch2b_gn_s": "res2.1.conv2.norm.weight",
    "res2_1_branch2b_gn_b": "res2.1.conv2.norm.bias",
    "pred_w": "linear.weight",
    "pred_b": "linear.bias",
}
HEADS = {
    "conv_rpn_w": "proposal_generator.rpn_head.conv.weight",
    "conv_rpn_fpn2_b": "proposal_generator.rpn_head.conv.bias",
    "rpn_cls_logits_fpn2_w": "proposal_generator.rpn_head.objectness_logits.weight",
    "rpn_cls_logits_b": "proposal_generator.rpn_head.objectness_logits.bias",
    "rpn_bbox_pred_w": "proposal_generator.rpn_head.anchor_deltas.weight",
    "rpn_bbox_pred_fpn2_b": "proposal_generator.rpn_head.anchor_deltas.bias",
    "fpn_inner_res5_2_sum_w": "fpn_lateral5.weight",
    "fpn_inner_res4_22_sum_lateral_b": "fpn_lateral4.bias",
    "fpn_inner_res3_3_sum_lateral_gn_s": "fpn_lateral3.norm.weight",
    "fpn_res2_2_sum_w": "fpn_output2.weight",
    "fpn_res2_2_sum_gn_b": "fpn_output2.norm.bias",
    "fc6_w": "box_head.fc1.weight",
    "fc7_b": "box_head.fc2.bias",
    "head_conv1_w": "box_head.conv1.weight",
    "head_conv4_gn_s": "box_head.conv4.norm.weight",
    "cls_score_w": "cls_score.weight",
    "bbox_pred_b": "bbox_pred.bias",
    "_[mask]_fcn1_w": "mask_head.mask_fcn1.weight",
    "_mask_fcn4_gn_b": "mask_head.mask_fcn4.norm.bias",
    "conv5_mask_w": "mask_head.deconv.weight",
    "mask_fcn_logits_b": "mask_head.predictor.bias",
}


def test_blobs_of_trunks() -> None:
    assert convert_basic_c2_names(list(TRUNK)) == list(TRUNK.values())


@pytest.mark.parametrize(("blob", "name"), (TRUNK | HEADS).items())
def test_blobs_of_detectors(blob: str, name: str) -> None:
    _, origin = convert_c2_detectron_names({blob: np.zeros(8, np.float32)})
    assert origin == {name: blob}


def test_the_background_comes_last_or_goes() -> None:
    blobs = {
        "cls_score_b": np.array([9.0, 1, 2]),
        "bbox_pred_b": np.array([9.0] * 4 + [1] * 4 + [2] * 4),
        "mask_fcn_logits_b": np.array([9.0, 1, 2]),
        "rpn_bbox_pred_b": np.arange(12.0),
    }
    converted, _ = convert_c2_detectron_names(blobs)
    assert converted["cls_score.bias"].tolist() == [1, 2, 9]
    assert converted["bbox_pred.bias"].tolist() == [1] * 4 + [2] * 4
    assert converted["mask_head.predictor.bias"].tolist() == [1, 2]
    assert converted["proposal_generator.rpn_head.anchor_deltas.bias"].tolist() == list(range(12))
    agnostic, _ = convert_c2_detectron_names({"mask_fcn_logits_b": np.array([5.0])})
    assert agnostic["mask_head.predictor.bias"].tolist() == [5.0]
    assert num_classes_of({"cls_score_w": np.zeros((81, 1024))}) == 80


def test_the_longest_ending_of_the_right_shape_is_taken() -> None:
    model = {
        "a.res.conv.weight": torch.zeros(2),
        "a.conv.weight": torch.zeros(2),
        "a.other_conv.weight": torch.zeros(2),
        "a.tall.weight": torch.zeros(3),
    }
    weights = {
        "res.conv.weight": torch.ones(2),
        "conv.weight": torch.full((2,), 2.0),
        "tall.weight": torch.ones(2),
        "left.over": torch.ones(1),
    }
    result = align_and_update_state_dicts(model, weights, c2_conversion=False)
    assert {name: float(value[0]) for name, value in result.items()} == {
        "a.res.conv.weight": 1,
        "a.conv.weight": 2,
        "tall.weight": 1,
        "left.over": 1,
    }
    with pytest.raises(ValueError, match=r"w\.weight fits a\.w\.weight and b\.w\.weight of the model alike"):
        align_and_update_state_dicts(
            {"a.w.weight": torch.zeros(1), "b.w.weight": torch.zeros(1)},
            {"w.weight": torch.zeros(1)},
            c2_conversion=False,
        )


def _blob(name: str) -> str | None:
    """Name a trunk's parameter as Caffe2 does, its frozen norms as scale and shift."""
    found = re.search(r"bottom_up\.(?:stem|res(\d)\.(\d))\.(\w+)\.(norm\.)?(weight|bias)$", name)
    if found is None:
        return None
    layers = {"shortcut": "branch1", "conv1": "branch2a", "conv2": "branch2b", "conv3": "branch2c"}
    layer = f"res{found[1]}_{found[2]}_{layers[found[3]]}" if found[1] else "conv1"
    if not found[4]:
        return f"{layer}_w"
    kind = "s" if found[5] == "weight" else "b"
    return f"{layer}_bn_{kind}" if found[1] else f"res_conv1_bn_{kind}"


def _trunk_file(model: nn.Module, path: Path) -> dict[str, np.ndarray]:
    blobs: dict[str, np.ndarray] = {}
    for name, value in model.state_dict().items():
        blob = _blob(name)
        if blob:
            blobs[blob] = np.random.rand(*value.shape).astype(np.float32)
    extra = {"pred_w": np.zeros((1000, 8)), "lr": np.zeros(1), "conv1_w_momentum": np.zeros(1)}
    path.write_bytes(pickle.dumps({"blobs": {**blobs, **extra}}, protocol=2))
    return blobs


def test_a_trunk_is_loaded_quietly(tmp_path: Path, small_model: Build, log: pytest.LogCaptureFixture) -> None:
    model = small_model(50, MODEL__RESNETS__STRIDE_IN_1X1=True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    blobs = _trunk_file(model, tmp_path / "R-50.pkl")
    DetectionCheckpointer(model).load(str(tmp_path / "R-50.pkl"))
    for name, value in model.state_dict().items():
        blob = _blob(name)
        if blob:
            assert np.array_equal(value.numpy(), blobs[blob]), name
        elif ".norm.running_var" not in name:
            assert torch.equal(value, before[name]), name
    assert not [record for record in log.records if record.levelname == "WARNING"]
    assert f"The weights file '{tmp_path}/R-50.pkl' holds a trunk: the heads start fresh" in log.text
    assert "| res2_{0..2}_branch2b_{bn_{b,s},w}" in log.text
    assert "lr" not in [line.split("|")[1].strip() for line in log.text.splitlines() if line.startswith("|")]


@pytest.mark.parametrize(
    ("depth", "keys", "words"),
    [
        (50, {}, "set MODEL.RESNETS.STRIDE_IN_1X1 True."),
        (
            50,
            {
                "INPUT__FORMAT": "RGB",
                "MODEL__PIXEL_MEAN": [123.675, 116.28, 103.53],
                "MODEL__PIXEL_STD": [58.395, 57.12, 57.375],
                "MODEL__RESNETS__STRIDE_IN_1X1": True,
            },
            "set INPUT.FORMAT BGR, MODEL.PIXEL_MEAN [103.53, 116.28, 123.675], "
            "MODEL.PIXEL_STD [1.0, 1.0, 1.0].",
        ),
        (
            18,
            {"MODEL__RESNETS__NORM": "BN"},
            "set MODEL.RESNETS.NORM FrozenBN (their batch norms are folded into a scale and a shift).",
        ),
    ],
)
def test_settings_that_do_not_suit_are_named(
    depth: int,
    keys: dict[str, Any],
    words: str,
    tmp_path: Path,
    small_model: Build,
    log: pytest.LogCaptureFixture,
) -> None:
    model = small_model(depth, **keys)
    _trunk_file(model, tmp_path / "trunk.pkl")
    DetectionCheckpointer(model).load(str(tmp_path / "trunk.pkl"))
    told = [record.getMessage() for record in log.records if record.levelname == "WARNING"]
    assert told[0] == (
        f"The weights file '{tmp_path}/trunk.pkl' was trained with other settings than the config's: {words}"
    )


@pytest.mark.parametrize(
    ("groups", "norm", "stride", "std"),
    [(1, "bn", True, [1.0, 1.0, 1.0]), (1, "gn", False, [1.0, 1.0, 1.0]), (32, "bn", False, None)],
)
def test_settings_follow_from_the_kind_of_trunk(
    groups: int, norm: str, stride: bool, std: list[float] | None, tmp_path: Path
) -> None:
    blobs = {
        "conv1_w": np.zeros((64, 3, 7, 7), np.float32),
        f"res2_0_branch2b_{norm}_s": np.zeros(64, np.float32),
        "res2_0_branch2b_w": np.zeros((64, 64 // groups, 3, 3), np.float32),
        "res2_0_branch2c_w": np.zeros((256, 64, 1, 1), np.float32),
    }
    (tmp_path / "t.pkl").write_bytes(pickle.dumps(blobs))
    settings = input_settings(str(tmp_path / "t.pkl"))
    assert settings["INPUT.FORMAT"] == "BGR"
    assert settings["MODEL.RESNETS.STRIDE_IN_1X1"] is stride
    assert settings.get("MODEL.PIXEL_STD") == std


def test_other_classes_start_fresh_in_every_stage(
    tmp_path: Path, small_model: Build, log: pytest.LogCaptureFixture
) -> None:
    keys = {"MODEL__ROI_HEADS__NAME": "CascadeROIHeads", "MODEL__ROI_BOX_HEAD__CLS_AGNOSTIC_BBOX_REG": True}
    model = small_model(18, **keys)
    heads = {"cls_score": (81, 1024), "bbox_pred": (324, 1024), "mask_fcn_logits": (81, 256, 1, 1)}
    blobs = {f"{layer}_w": np.zeros(shape, np.float32) for layer, shape in heads.items()}
    blobs["conv5_mask_w"] = np.full((256, 256, 2, 2), 0.5, np.float32)
    (tmp_path / "coco.pkl").write_bytes(pickle.dumps({"blobs": blobs}))
    DetectionCheckpointer(model).load(str(tmp_path / "coco.pkl"))
    assert (model.roi_heads.mask_head.deconv.weight == 0.5).all()
    told = [record.getMessage() for record in log.records if record.levelname == "WARNING"]
    assert told[0] == (
        f"The weights file '{tmp_path}/coco.pkl' knows 80 classes, the model 4: "
        "the class predictors start from fresh weights."
    )
    # The rest of what this file lacks is listed, each layer in one row; the predictors' weights are not.
    assert "| roi_heads.box_head.{0..2}.fc1.{bias,weight}" in told[1]
    assert "cls_score.{bias,weight}" not in told[1]


def test_two_blobs_of_one_parameter_are_refused(tmp_path: Path) -> None:
    blobs = {"conv_rpn_w": np.zeros(1), "conv_rpn_fpn2_w": np.zeros(1)}
    (tmp_path / "two.pkl").write_bytes(pickle.dumps(blobs))
    with pytest.raises(CheckpointError, match="has two entries for one parameter, 'conv_rpn_w' is one"):
        DetectionCheckpointer(nn.Linear(1, 1)).load(str(tmp_path / "two.pkl"))
