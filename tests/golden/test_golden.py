"""What upstream Detectron2 computes, recorded for some of its configs: see the README beside this file."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch

from cardamage.config import get_cfg
from cardamage.modeling import build_model
from cardamage.modeling.fusion import FastInference
from cardamage.solver import build_optimizer
from cardamage.structures import Boxes, Instances, PolygonMasks
from cardamage.utils.events import EventStorage

HERE = Path(__file__).parent
CONFIGS = HERE.parents[1] / "configs"
FPN = "mask_rcnn_R_50_FPN"
# Whole records at a middling size.
LARGE = ("cascade_mask_rcnn_R_50_FPN", "mask_rcnn_R_50_C4", FPN, "mask_rcnn_R_50_FPN_gn")
# Of small models on a small picture; upstream can't train deformable layers on a CPU.
TRAINED = (*LARGE, "mask_rcnn_R_50_DC5", "mask_rcnn_R_50_FPN_cls_agnostic_giou")
CASES = (*TRAINED, "mask_rcnn_X_50_FPN_dconv")

# Name parts and factors of the recorded weights, the first that fits holds.
FACTORS = {
    "conv2_offset": 0.001,
    "cls_score": 0.05,
    "bbox_pred": 0.002,
    "objectness_logits": 0.05,
    "anchor_deltas": 0.005,
    "mask_head.predictor": 0.1,
}
COMMON = [
    *("MODEL.DEVICE", "cpu"),
    *("MODEL.WEIGHTS", ""),
    *("MODEL.PIXEL_STD", [57.375, 57.12, 58.395]),
]
TRAIN = [
    *("MODEL.RPN.BATCH_SIZE_PER_IMAGE", 100000),
    *("MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", 100000),
    *("MODEL.RPN.POST_NMS_TOPK_TRAIN", 200),
    *("SOLVER.BASE_LR", 0.001),
]


def _weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    z = rng.standard_normal(shape).astype(np.float32)
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape)
    if name.endswith("running_var"):
        return 1 + 0.1 * np.abs(z)
    if name.endswith("running_mean"):
        return 0.05 * z
    if ".norm." in name and name.endswith("weight"):
        small = "conv3.norm" in name or "shortcut.norm" in name
        return (0.3 if small else 1.0) * (1 + 0.05 * z)
    if name.endswith("bias"):
        return 0.01 * z
    for part, factor in FACTORS.items():
        if part in name:
            return factor * z
    return z * np.sqrt(np.float32(2 / np.prod(shape[1:])))


def _cfg(record: dict[str, Any], options: Sequence[Any] = ()) -> Any:
    cfg = get_cfg()
    cfg.merge_from_file(str(CONFIGS / record["config"]))
    cfg.merge_from_list([*COMMON, *record["opts"], *options])
    return cfg


def weights_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {
        name: torch.as_tensor(_weight(name, tuple(value.shape))).to(value.dtype)
        for name, value in model.state_dict().items()
    }


def _model(cfg: Any) -> torch.nn.Module:
    model = build_model(cfg)
    model.load_state_dict(weights_of(model))
    return model


def _record(case: str) -> dict[str, Any]:
    return json.loads((HERE / f"{case}.json").read_text(encoding="utf-8"))


def _input(record: dict[str, Any]) -> dict[str, Any]:
    picture = cv2.imread(str(HERE / "picture.png"))
    height, width = record["resized_to_hw"]
    resized = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)
    image = torch.as_tensor(resized.astype(np.float32).transpose(2, 0, 1))
    return {"image": image, "height": picture.shape[0], "width": picture.shape[1]}


def _training_input(record: dict[str, Any]) -> dict[str, Any]:
    one = _input(record)
    height, width = record["resized_to_hw"]
    scale = np.array([width / one["width"], height / one["height"]])
    truth = json.loads((HERE / "ground_truth.json").read_text(encoding="utf-8"))
    boxes = np.array([t["bbox"] for t in truth]).reshape(-1, 2, 2)
    boxes[:, 1] += boxes[:, 0]
    polygons = [[(np.reshape(p, (-1, 2)) * scale).ravel() for p in t["segmentation"]] for t in truth]
    instances = Instances(
        (height, width),
        gt_boxes=Boxes(torch.as_tensor((boxes * scale).reshape(-1, 4), dtype=torch.float32)),
        gt_classes=torch.tensor([t["class"] for t in truth]),
        gt_masks=PolygonMasks(polygons),
    )
    return {"image": one["image"], "height": height, "width": width, "instances": instances}


@pytest.mark.parametrize("case", LARGE)
def test_names_and_shapes(case: str) -> None:
    record = _record(case)
    state = build_model(_cfg(record)).state_dict()
    assert {name: list(value.shape) for name, value in state.items()} == record["state_dict"]


@pytest.mark.parametrize("case", CASES)
def test_inference(case: str) -> None:
    record = _record(case)
    model = _model(_cfg(record)).eval()
    batch = [_input(record)]
    with torch.no_grad():
        images = model.preprocess_image(batch)
        features = model.backbone(images.tensor)
        for name, expected in record["features"].items():
            found = features[name]
            assert list(found.shape) == expected["shape"]
            summary = [found.mean().item(), found.std().item(), *found.flatten()[:6].tolist()]
            expected_summary = [expected["mean"], expected["std"], *expected["head"]]
            np.testing.assert_allclose(summary, expected_summary, rtol=1e-4, atol=1e-5)
        proposals = model.proposal_generator(images, features, None)[0]
    expected = record["proposals_top20"]
    assert len(proposals[0]) == expected["count"]
    np.testing.assert_allclose(proposals[0].proposal_boxes.tensor[:20], expected["boxes"], atol=0.01)
    np.testing.assert_allclose(proposals[0].objectness_logits[:20], expected["logits"], rtol=1e-4)
    check_instances(model(batch)[0]["instances"], record["instances"])
    fused = FastInference(model, torch.float32, torch.device("cpu"), fuse=True)
    check_instances(fused(batch)[0]["instances"], record["instances"])
    assert not fused.broken


def check_instances(found: Instances, expected: dict[str, Any]) -> None:
    count = len(expected["boxes"])
    assert len(found) == expected["count"]
    np.testing.assert_allclose(found.pred_boxes.tensor[:count], expected["boxes"], atol=0.01)
    np.testing.assert_allclose(found.scores[:count], expected["scores"], atol=1e-4)
    assert found.pred_classes[:count].tolist() == expected["classes"]
    for mask, rle in zip(
        found.pred_masks if expected["mask_rle"] else [], expected["mask_rle"], strict=False
    ):
        own = mask_util.encode(np.asfortranarray(mask.numpy(), dtype=np.uint8))
        assert mask_util.iou([own], [rle], [0])[0, 0] >= 0.999


def _comparable_steps(case: str) -> int:
    # GN's gradients magnify the order of sums, which the number of threads decides: with one thread they are
    # past the tolerance by the second step. A step of C4 takes as long as all three of another model.
    return {"mask_rcnn_R_50_FPN_gn": 1, "mask_rcnn_R_50_C4": 2}.get(case, 3)


@pytest.mark.parametrize("case", TRAINED)
def test_training_steps(case: str) -> None:
    record = _record(case)
    cfg = _cfg(record, TRAIN if case in LARGE else record["train_opts"])
    model = _model(cfg).train()
    optimizer = build_optimizer(cfg, model)
    batch = [_training_input(record)]
    parameters = dict(model.named_parameters())
    with EventStorage(0):
        for step in record["train_steps"][: _comparable_steps(case)]:
            losses = model(batch)
            optimizer.zero_grad()
            torch.stack(list(losses.values())).sum().backward()
            assert set(losses) == set(step["losses"])
            for name, expected in step["losses"].items():
                assert losses[name].item() == pytest.approx(expected, rel=1e-4), name
            for name, expected in step["grad_norms"].items():
                gradient = parameters[name].grad
                assert gradient is not None
                assert gradient.norm().item() == pytest.approx(expected, rel=1e-3), name
            optimizer.step()
