"""Weights of torchvision and timm: the same pictures must give the same numbers."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

from cardamage.checkpoint import DetectionCheckpointer, input_settings
from cardamage.checkpoint.torchvision_names import coco_classes, convert
from cardamage.config import get_cfg
from cardamage.errors import CheckpointError
from cardamage.modeling import build_model

Build = Callable[..., nn.Module]
Fill = Callable[[nn.Module], dict[str, torch.Tensor]]

CONFIGS = Path(__file__).parents[2] / "configs/torchvision"

MEAN = torch.tensor([123.675, 116.28, 103.53])[:, None, None]
STD = torch.tensor([58.395, 57.12, 57.375])[:, None, None]
BGR_STD = [57.375, 57.12, 58.395]


def _stages(trunk: Any, x: torch.Tensor) -> list[torch.Tensor]:
    x = torch.relu(trunk.bn1(trunk.conv1(x)))
    x = nn.functional.max_pool2d(x, 3, 2, 1)
    outputs = []
    for layer in (trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4):
        x = layer(x)
        outputs.append(x)
    return outputs


@torch.no_grad()
def _assert_same_features(trunk: nn.Module, model: Any, rgb: torch.Tensor) -> None:
    expected = _stages(trunk.eval(), ((rgb - MEAN) / STD)[None])
    picture = rgb.flip(0) if model.input_format == "BGR" else rgb
    got = model.backbone.bottom_up(model.preprocess_image([{"image": picture}]).tensor)
    for stage, features in enumerate(expected, 2):
        scale = features.abs().max().item()
        torch.testing.assert_close(got[f"res{stage}"], features, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize(
    ("name", "depth", "keys"),
    [
        ("resnet18", 18, {}),
        ("resnet18", 18, {"INPUT__FORMAT": "BGR", "MODEL__PIXEL_STD": BGR_STD}),
        (
            "resnet34",
            34,
            {
                "INPUT__FORMAT": "RGB",
                "MODEL__PIXEL_MEAN": MEAN.flatten().tolist(),
                "MODEL__PIXEL_STD": STD.flatten().tolist(),
            },
        ),
        ("resnet50", 50, {}),
        ("resnext50_32x4d", 50, {"MODEL__RESNETS__NUM_GROUPS": 32, "MODEL__RESNETS__WIDTH_PER_GROUP": 4}),
    ],
)
def test_trunks_compute_the_same(
    name: str,
    depth: int,
    keys: dict[str, Any],
    tmp_path: Path,
    small_model: Build,
    randomize: Fill,
    log: pytest.LogCaptureFixture,
) -> None:
    trunk = getattr(torchvision.models, name)()
    torch.save(randomize(trunk), tmp_path / "trunk.pth")
    model = small_model(depth, **keys)
    DetectionCheckpointer(model).load(str(tmp_path / "trunk.pth"))
    _assert_same_features(trunk, model, torch.randint(0, 256, (3, 64, 96)).float())
    assert not [record for record in log.records if record.levelname == "WARNING"]
    assert log.records[-1].getMessage() == (
        f"The weights file '{tmp_path}/trunk.pth' holds a trunk: the heads start fresh "
        "(backbone.fpn_lateral*, backbone.fpn_output*, proposal_generator, roi_heads)."
    )


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_timm_trunks_compute_the_same(name: str, tmp_path: Path, small_model: Build, randomize: Fill) -> None:
    timm = pytest.importorskip("timm")
    trunk = timm.create_model(name)
    torch.save({"state_dict": randomize(trunk)}, tmp_path / "trunk.pth")
    model = small_model(int(name[6:]))
    DetectionCheckpointer(model).load(str(tmp_path / "trunk.pth"))
    _assert_same_features(trunk, model, torch.randint(0, 256, (3, 64, 64)).float())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("conv1.0.weight", "a deep stem"),
        ("layer1.0.se.fc1.weight", "squeeze-and-excitation"),
        ("layer1.0.downsample.1.weight", "pooled shortcuts"),
    ],
)
def test_variants_that_are_not_here_are_refused(name: str, words: str) -> None:
    weights = {"layer1.0.conv1.weight": torch.zeros(1, 1, 1, 1), name: torch.zeros(1, 1, 1, 1)}
    with pytest.raises(
        CheckpointError, match=f"'f.pth' is a ResNet with {words}, which the models here don't"
    ):
        convert(weights, "f.pth")


def _detector() -> Any:
    backbone = resnet_fpn_backbone(backbone_name="resnet18", weights=None)
    return MaskRCNN(backbone, num_classes=5, min_size=128, max_size=128).eval()


@torch.no_grad()
def _sharpen(detector: Any) -> None:
    """Make random heads find something."""
    box = detector.roi_heads.box_predictor
    for layer, std in (
        (detector.rpn.head.cls_logits, 0.1),
        (detector.rpn.head.bbox_pred, 0.02),
        (box.cls_score, 0.5),
        (box.bbox_pred, 0.05),
        (detector.roi_heads.mask_predictor.mask_fcn_logits, 0.3),
    ):
        layer.weight.normal_(0, std)
        layer.bias.normal_(0, std)


def _old_names(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Name them as torchvision did up to 0.12."""
    renamed = {}
    for name, value in weights.items():
        name = name.replace("rpn.head.conv.0.0.", "rpn.head.conv.")
        name = re.sub(r"_blocks\.(\d)\.0\.", r"_blocks.\1.", name)
        name = re.sub(r"mask_head\.(\d)\.0", lambda m: f"mask_head.mask_fcn{int(m[1]) + 1}", name)
        renamed[name] = value
    return renamed


@torch.no_grad()
def test_a_mask_rcnn_detects_the_same(tmp_path: Path, small_model: Build, randomize: Fill) -> None:
    detector = _detector()
    _sharpen(detector)
    state = randomize(detector)
    torch.save(state, tmp_path / "new.pth")
    torch.save(_old_names(state), tmp_path / "old.pth")
    pooling: dict[str, Any] = {}
    for head in ("BOX", "MASK"):
        pooling[f"MODEL__ROI_{head}_HEAD__POOLER_TYPE"] = "ROIAlign"
        pooling[f"MODEL__ROI_{head}_HEAD__POOLER_SAMPLING_RATIO"] = 2
    model, old = small_model(**pooling), small_model(**pooling)
    DetectionCheckpointer(model).load(str(tmp_path / "new.pth"), strict=True)
    DetectionCheckpointer(old).load(str(tmp_path / "old.pth"), strict=True)
    for name, value in model.state_dict().items():
        assert torch.equal(value, old.state_dict()[name]), name
    # torchvision rounds its anchors.
    for anchors in model.proposal_generator.anchor_generator.cell_anchors:
        anchors.round_()
    logits: dict[str, torch.Tensor] = {}
    for key, layer in (
        ("theirs", detector.roi_heads.mask_predictor),
        ("ours", model.roi_heads.mask_head.predictor),
    ):
        layer.register_forward_hook(lambda _, __, out, key=key: logits.__setitem__(key, out))
    rgb = torch.randint(0, 256, (3, 128, 128))
    expected = detector([rgb / 255])[0]
    got = model.inference([{"image": rgb.flip(0)}], do_postprocess=False)[0]
    assert len(got) == len(expected["boxes"]) > 3
    pairs = _pairs(got, expected)
    assert sorted(pairs) == list(range(len(got)))
    torch.testing.assert_close(got.pred_boxes.tensor, expected["boxes"][pairs], rtol=0, atol=2e-3)
    torch.testing.assert_close(got.scores, expected["scores"][pairs], rtol=0, atol=1e-4)
    rows = torch.arange(len(got))
    theirs = logits["theirs"][rows, expected["labels"]][pairs]
    torch.testing.assert_close(logits["ours"][rows, got.pred_classes], theirs, rtol=0, atol=1e-2)


def _pairs(got: Any, expected: dict[str, torch.Tensor]) -> list[int]:
    """Return which expected detection of the same class is nearest to each of ours."""
    distance = torch.cdist(got.pred_boxes.tensor, expected["boxes"])
    distance[(got.pred_classes + 1)[:, None] != expected["labels"]] = torch.inf
    return distance.argmin(1).tolist()


def test_a_detector_is_fine_tuned_on_other_classes(
    tmp_path: Path, small_model: Build, log: pytest.LogCaptureFixture
) -> None:
    detector = _detector()
    torch.save(detector.state_dict(), tmp_path / "tv.pth")
    keys = {f"MODEL__ROI_{head}_HEAD__POOLER_TYPE": "ROIAlign" for head in ("BOX", "MASK")}
    model = small_model(MODEL__ROI_HEADS__NUM_CLASSES=2, **keys)
    DetectionCheckpointer(model).load(str(tmp_path / "tv.pth"))
    assert torch.equal(model.roi_heads.box_head.fc2.weight, detector.roi_heads.box_head.fc7.weight)
    assert [record.getMessage() for record in log.records if record.levelname == "WARNING"] == [
        f"The weights file '{tmp_path}/tv.pth' knows 4 classes, the model 2: "
        "the class predictors start from fresh weights."
    ]


@pytest.mark.parametrize("version", ["", "_v2"])
def test_configs_take_the_coco_detectors_whole(
    version: str, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    build = getattr(torchvision.models.detection, f"maskrcnn_resnet50_fpn{version}")
    detector = build(weights=None, weights_backbone=None)
    torch.save(detector.state_dict(), tmp_path / "tv.pth")
    cfg = get_cfg()
    cfg.merge_from_file(str(CONFIGS / f"mask_rcnn_R_50_FPN{version}.yaml"))
    cfg.MODEL.DEVICE = "cpu"
    model = build_model(cfg)
    DetectionCheckpointer(model).load(str(tmp_path / "tv.pth"), strict=True)
    assert not [record for record in log.records if record.levelname == "WARNING"]
    scores = detector.roi_heads.box_predictor.cls_score.bias
    assert torch.equal(model.roi_heads.box_predictor.cls_score.bias[[0, 11, 80]], scores[[1, 13, 0]])


def test_newer_heads_have_their_names() -> None:
    names = {
        "backbone.body.layer1.0.conv1.weight": "backbone.bottom_up.res2.0.conv1.weight",
        "backbone.body.bn1.running_mean": "backbone.bottom_up.stem.conv1.norm.running_mean",
        "backbone.fpn.inner_blocks.0.0.weight": "backbone.fpn_lateral2.weight",
        "backbone.fpn.inner_blocks.3.1.weight": "backbone.fpn_lateral5.norm.weight",
        "backbone.fpn.layer_blocks.1.1.bias": "backbone.fpn_output3.norm.bias",
        "rpn.head.conv.0.0.weight": "proposal_generator.rpn_head.conv.conv0.weight",
        "rpn.head.conv.1.0.weight": "proposal_generator.rpn_head.conv.conv1.weight",
        "rpn.head.cls_logits.weight": "proposal_generator.rpn_head.objectness_logits.weight",
        "rpn.head.bbox_pred.bias": "proposal_generator.rpn_head.anchor_deltas.bias",
        "roi_heads.box_head.0.0.weight": "roi_heads.box_head.conv1.weight",
        "roi_heads.box_head.3.1.running_var": "roi_heads.box_head.conv4.norm.running_var",
        "roi_heads.box_head.5.weight": "roi_heads.box_head.fc1.weight",
        "roi_heads.mask_head.0.1.weight": "roi_heads.mask_head.mask_fcn1.norm.weight",
        "roi_heads.mask_predictor.conv5_mask.weight": "roi_heads.mask_head.deconv.weight",
    }
    _, origin = convert({name: torch.zeros(1) for name in names}, "f.pth")
    assert origin == {ours: theirs for theirs, ours in names.items()}


def test_coco_rows_are_those_of_the_80_classes() -> None:
    # Each row holds its category id; the background's, last, 0.
    ids = torch.cat([torch.arange(1, 91), torch.zeros(1, dtype=torch.long)])
    kept = coco_classes("roi_heads.box_predictor.cls_score.bias", ids)
    assert len(kept) == 81
    assert kept[-1] == 0
    # Ends and gaps of the list: person, stop sign after fire hydrant, toothbrush.
    assert kept[:13].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14]
    assert kept[79] == 90
    deltas = ids[:90].repeat_interleave(4)
    assert torch.equal(coco_classes("roi_heads.box_predictor.bbox_pred.bias", deltas)[::4], kept[:80])
    assert torch.equal(coco_classes("roi_heads.mask_head.predictor.bias", ids[:90]), kept[:80])
    other = torch.zeros(90)
    assert coco_classes("roi_heads.box_head.fc1.bias", other) is other


def test_settings_that_do_not_suit_are_named(
    tmp_path: Path, small_model: Build, log: pytest.LogCaptureFixture
) -> None:
    torch.save(torchvision.models.resnet50().state_dict(), tmp_path / "r50.pth")
    assert input_settings(str(tmp_path / "r50.pth")) == {
        "INPUT.FORMAT": "RGB",
        "MODEL.PIXEL_MEAN": [123.675, 116.28, 103.53],
        "MODEL.PIXEL_STD": [58.395, 57.12, 57.375],
        "MODEL.RESNETS.STRIDE_IN_1X1": False,
    }
    model = small_model(50, MODEL__RESNETS__STRIDE_IN_1X1=True, MODEL__PIXEL_MEAN=[127.5, 127.5, 127.5])
    DetectionCheckpointer(model).load(str(tmp_path / "r50.pth"))
    assert [record.getMessage() for record in log.records if record.levelname == "WARNING"] == [
        f"The weights file '{tmp_path}/r50.pth' was trained with other settings than the config's: "
        "set MODEL.PIXEL_MEAN [103.53, 116.28, 123.675], MODEL.RESNETS.STRIDE_IN_1X1 False."
    ]


@pytest.mark.parametrize(
    ("in_file", "in_model", "hint"),
    [
        (18, 50, "set MODEL.RESNETS.DEPTH 18, .RES2_OUT_CHANNELS 64."),
        (34, 18, "set MODEL.RESNETS.DEPTH 34."),
        (50, 34, "set MODEL.RESNETS.DEPTH 50, .RES2_OUT_CHANNELS 256."),
        (101, 50, "set MODEL.RESNETS.DEPTH 101."),
        (50, 50, None),
    ],
)
def test_a_trunk_of_another_depth_is_named(
    tmp_path: Path,
    small_model: Build,
    log: pytest.LogCaptureFixture,
    in_file: int,
    in_model: int,
    hint: str | None,
) -> None:
    file = str(tmp_path / "trunk.pth")
    torch.save(getattr(torchvision.models, f"resnet{in_file}")().state_dict(), file)
    DetectionCheckpointer(small_model(in_model)).load(file)
    said = [record.getMessage() for record in log.records if "other settings" in record.getMessage()]
    assert (
        said
        == [f"The weights file '{file}' was trained with other settings than the config's: {hint}"][
            : hint is not None
        ]
    )
