"""Which weights a model takes, and what it says of the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from cardamage.checkpoint import DetectionCheckpointer, input_settings
from cardamage.errors import CheckpointError

Build = Callable[..., nn.Module]

CASCADE = {
    "MODEL__ROI_HEADS__NAME": "CascadeROIHeads",
    "MODEL__ROI_BOX_HEAD__CLS_AGNOSTIC_BBOX_REG": True,
    "MODEL__RPN__POST_NMS_TOPK_TRAIN": 2000,
}
C4 = {
    "MODEL__BACKBONE__NAME": "build_resnet_backbone",
    "MODEL__RESNETS__OUT_FEATURES": ["res4"],
    "MODEL__RPN__IN_FEATURES": ["res4"],
    "MODEL__ANCHOR_GENERATOR__SIZES": [[32, 64, 128, 256, 512]],
    "MODEL__ROI_HEADS__NAME": "Res5ROIHeads",
    "MODEL__ROI_HEADS__IN_FEATURES": ["res4"],
    "MODEL__ROI_MASK_HEAD__NUM_CONV": 0,
}
BOX = ("box_predictor.cls_score", "box_predictor.bbox_pred")


@pytest.mark.parametrize(
    ("depth", "keys", "fresh"),
    [
        (18, {}, (*BOX, "mask_head.predictor")),
        (18, CASCADE, (*(f"box_predictor.{i}.cls_score" for i in range(3)), "mask_head.predictor")),
        (50, C4, (*BOX, "mask_head.predictor")),
        (
            18,
            {
                "MODEL__ROI_BOX_HEAD__CLS_AGNOSTIC_BBOX_REG": True,
                "MODEL__ROI_MASK_HEAD__CLS_AGNOSTIC_MASK": True,
            },
            ("box_predictor.cls_score",),
        ),
        (18, {"MODEL__MASK_ON": False}, BOX),
    ],
    ids=["fpn", "cascade", "c4", "agnostic", "boxes"],
)
def test_only_what_depends_on_the_classes_starts_fresh(
    depth: int,
    keys: dict[str, Any],
    fresh: tuple[str, ...],
    tmp_path: Path,
    small_model: Build,
    log: pytest.LogCaptureFixture,
) -> None:
    source = small_model(depth, **keys)
    torch.save({"model": source.state_dict()}, tmp_path / "four.pth")
    model = small_model(depth, **keys, MODEL__ROI_HEADS__NUM_CLASSES=3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    DetectionCheckpointer(model).load(str(tmp_path / "four.pth"))
    saved = source.state_dict()
    for name, value in model.state_dict().items():
        left = any(f"roi_heads.{part}." in name for part in fresh)
        assert torch.equal(value, before[name] if left else saved[name]), name
    assert [record.getMessage() for record in log.records if record.levelname == "WARNING"] == [
        f"The weights file '{tmp_path}/four.pth' knows 4 classes, the model 3: "
        "the class predictors start from fresh weights."
    ]


@pytest.mark.parametrize("pooler", ["", "ROIAlignV2"])
def test_points_keep_what_does_not_depend_on_the_classes(
    tmp_path: Path, small_model: Build, log: pytest.LogCaptureFixture, pooler: str
) -> None:
    keys = {"NAME": "PointRendMaskHead", "POOLER_TYPE": pooler, "FC_DIM": 16, "CONV_DIM": 8}
    options = {f"MODEL__ROI_MASK_HEAD__{name}": value for name, value in keys.items()}
    options["MODEL__POINT_HEAD__FC_DIM"] = 8
    source = small_model(18, **options)
    torch.save({"model": source.state_dict()}, tmp_path / "four.pth")
    model = small_model(18, **options, MODEL__ROI_HEADS__NUM_CLASSES=3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    DetectionCheckpointer(model).load(str(tmp_path / "four.pth"))
    saved = source.state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name] if saved[name].shape != value.shape else saved[name]), name
    told = [record.getMessage() for record in log.records if record.levelname == "WARNING"]
    assert len(told) == 1
    assert told[0].endswith("the class predictors start from fresh weights.")


def test_a_trunk_that_lacks_a_layer_is_told_of(
    tmp_path: Path, small_model: Build, log: pytest.LogCaptureFixture
) -> None:
    source = small_model(18).backbone.bottom_up.state_dict()
    lost = [name for name in source if name.startswith("res4.1.conv")]
    torch.save({name: value for name, value in source.items() if name not in lost}, tmp_path / "t.pth")
    DetectionCheckpointer(small_model(18)).load(str(tmp_path / "t.pth"))
    told = [record.getMessage() for record in log.records if record.levelname == "WARNING"]
    assert len(told) == 1
    rows = [line.split("|")[1].strip() for line in told[0].splitlines()[3:]]
    assert rows == ["backbone.bottom_up.res4.1.conv{1,2}.{norm.{bias,weight},weight}"]
    assert "holds a trunk: the heads start fresh" in log.text


def test_a_trunk_does_for_an_evaluation_what_any_misfit_does(tmp_path: Path, small_model: Build) -> None:
    model = small_model(18)
    torch.save(model.backbone.bottom_up.state_dict(), tmp_path / "t.pth")
    with pytest.raises(CheckpointError, match="doesn't fit the model"):
        DetectionCheckpointer(model).load(str(tmp_path / "t.pth"), strict=True)


def test_a_trunk_loads_beside_an_optimizer(tmp_path: Path, small_model: Build) -> None:
    source, model = small_model(18), small_model(18)
    torch.save(source.backbone.bottom_up.state_dict(), tmp_path / "t.pth")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    DetectionCheckpointer(model, optimizer=optimizer).load(str(tmp_path / "t.pth"))
    assert torch.equal(
        model.backbone.bottom_up.stem.conv1.weight, source.backbone.bottom_up.stem.conv1.weight
    )


class Nested(nn.Module):
    """A layer with a prefix, and one without."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Module()
        self.inner.layer = nn.Linear(2, 3)
        self.top = nn.Linear(3, 2)


def _nested_file(path: Path) -> dict[str, torch.Tensor]:
    weights = {"layer.weight": torch.rand(3, 2), "layer.bias": torch.rand(3)}
    torch.save({"model": weights | Nested().top.state_dict(prefix="top.")}, path)
    return weights


@pytest.mark.parametrize("query", ["", "?matching_heuristics=False", "?matching_heuristics=True"])
def test_endings_of_names_match_where_asked(query: str, tmp_path: Path) -> None:
    weights = _nested_file(tmp_path / "w.pth")
    model = Nested()
    before = model.inner.layer.weight.clone()
    DetectionCheckpointer(model).load(f"{tmp_path}/w.pth{query}")
    expected = weights["layer.weight"] if query.endswith("True") else before
    assert torch.equal(model.inner.layer.weight, expected)


def test_a_file_can_ask_itself(tmp_path: Path) -> None:
    weights = {"layer.weight": torch.rand(3, 2).numpy(), "layer.bias": torch.rand(3).numpy()}
    content = {"model": weights, "matching_heuristics": True, "__author__": "somebody"}
    torch.save(content, tmp_path / "w.pth")
    model = Nested()
    rest = DetectionCheckpointer(model).load(str(tmp_path / "w.pth"))
    assert rest == {"matching_heuristics": True, "__author__": "somebody"}
    assert torch.equal(model.inner.layer.bias, torch.as_tensor(weights["layer.bias"]))
    assert input_settings(str(tmp_path / "w.pth")) == {}


def test_a_wrapper_makes_no_difference(tmp_path: Path) -> None:
    source, model = Nested(), Nested()
    torch.save(nn.DataParallel(source).state_dict(), tmp_path / "w.pth")
    DetectionCheckpointer(nn.DataParallel(model)).load(str(tmp_path / "w.pth"), strict=True)
    assert torch.equal(model.top.weight, source.top.weight)
