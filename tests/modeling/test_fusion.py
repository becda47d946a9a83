"""Models prepared for inference find what the plain ones find."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.ops import box_iou

from cardamage.errors import ConfigValueError
from cardamage.layers import FrozenBatchNorm2d
from cardamage.layers.fused_conv import has_fused_kernels
from cardamage.modeling import GeneralizedRCNN, build_model
from cardamage.modeling.batch import force_fixed_shapes
from cardamage.modeling.fusion import FastInference, inference_dtype, prepare_for_inference
from cardamage.modeling.fusion.backbone import max_pool_3x3
from cardamage.modeling.fusion.plan import plan_fusion
from cardamage.structures import Instances

CPU = torch.device("cpu")
NEEDS_BF16 = pytest.mark.skipif(not has_fused_kernels(torch.bfloat16), reason="torch has no oneDNN here")


def _calibrate(model: nn.Module, batch: Any) -> nn.Module:
    """Give every norm the statistics of what it sees and every last layer a spread, as training does."""
    spread = {"objectness_logits": 2.0, "anchor_deltas": 0.2, "cls_score": 3.0}
    spread |= {"bbox_pred": 0.5, "predictor": 3.0}

    def settle(name: str) -> Callable[..., Any]:
        def hook(module: Any, args: Any, output: torch.Tensor) -> torch.Tensor | None:
            if isinstance(module, (nn.BatchNorm2d, FrozenBatchNorm2d)):
                module.running_mean.copy_(args[0].mean((0, 2, 3)))
                module.running_var.copy_(args[0].var((0, 2, 3)) + 1e-3)
                if name.endswith(("conv2.norm", "conv3.norm")):
                    module.weight.data.fill_(0.5 if "conv2" in name else 0.3)
                return type(module).forward(module, args[0])
            if module in done or getattr(module, "norm", None) is not None:
                return None
            done.add(module)
            factor = spread.get(name.rsplit(".", 1)[-1], 1.0) / (output.std() + 1e-6)
            module.weight.data *= factor
            return output * factor

        return hook

    done: set[nn.Module] = set()
    kinds = (nn.BatchNorm2d, FrozenBatchNorm2d, nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    hooks = [m.register_forward_hook(settle(n)) for n, m in model.named_modules() if isinstance(m, kinds)]
    with torch.no_grad():
        model.eval()(batch)
    for hook in hooks:
        hook.remove()
    return model


@pytest.fixture
def small(tiny_cfg: Any, sample: Any) -> Callable[..., tuple[nn.Module, list[dict[str, Any]]]]:
    """Makes a calibrated small model and a batch of two pictures."""

    def make(**options: Any) -> tuple[nn.Module, list[dict[str, Any]]]:
        torch.manual_seed(0)
        model = build_model(tiny_cfg(**options))
        batch = [sample(0), sample(1, size=(70, 110))]
        return _calibrate(model, batch), batch

    return make


def _same(found: Instances, expected: Instances, atol: float = 2e-3) -> None:
    assert len(found) == len(expected)
    if len(expected) == 0:
        return
    # Of two that score alike either may be the first.
    away = (expected.pred_boxes.tensor[:, None] - found.pred_boxes.tensor).abs().amax(dim=2)
    away += (expected.pred_classes[:, None] != found.pred_classes) * 1e3
    nearest, place = away.min(dim=1)
    assert nearest.max() <= atol
    assert len(place.unique()) == len(expected)
    assert torch.allclose(found.scores[place], expected.scores, atol=2e-4)
    assert (found.pred_masks[place] != expected.pred_masks).float().mean() < 1e-3


OPTIONS = [
    {},
    {"MODEL.RESNETS.DEPTH": 50, "MODEL.RESNETS.RES2_OUT_CHANNELS": 256, "MODEL.RESNETS.NORM": "FrozenBN"},
    {"MODEL.RESNETS.NORM": "GN", "MODEL.FPN.NORM": "GN", "MODEL.ROI_MASK_HEAD.NORM": "GN"},
    {"MODEL.FPN.NORM": "BN", "MODEL.FPN.FUSE_TYPE": "avg", "MODEL.ROI_BOX_HEAD.NUM_CONV": 1},
    {"MODEL.FPN.OUT_CHANNELS": 192, "MODEL.ROI_MASK_HEAD.CONV_DIM": 192},
    {"MODEL.ROI_MASK_HEAD.NUM_UPSAMPLE": 2},
    {"MODEL.ROI_MASK_HEAD.NAME": "PointRendMaskHead", "MODEL.POINT_HEAD.FC_DIM": 32},
    {
        "MODEL.ROI_MASK_HEAD.NAME": "PointRendMaskHead",
        "MODEL.ROI_MASK_HEAD.POOLER_TYPE": "",
        "MODEL.ROI_MASK_HEAD.FC_DIM": 32,
        "MODEL.POINT_HEAD.FC_DIM": 32,
    },
    {"MODEL.RPN.CONV_DIMS": [-1, -1], "MODEL.ROI_BOX_HEAD.POOLER_TYPE": "ROIPool", "MODEL.MASK_ON": False},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_fused_float32_finds_the_same(small: Any, options: dict[str, Any]) -> None:
    model, batch = small(**options)
    fast = FastInference(model, torch.float32, CPU, fuse=True)
    for inputs in (batch, batch[:1], []):
        expected, found = model(inputs), fast(inputs)
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert len(one["instances"]) > 0
            if one["instances"].has("pred_masks"):
                _same(one["instances"], other["instances"])
    assert not fast.broken


@NEEDS_BF16
@pytest.mark.parametrize("options", OPTIONS)
def test_bfloat16_finds_nearly_the_same(small: Any, options: dict[str, Any]) -> None:
    model, batch = small(**options)
    fast = FastInference(model, torch.bfloat16, CPU, fuse=True)
    features = model.backbone(model.preprocess_image(batch).tensor)
    images = model.preprocess_image(batch).tensor
    with torch.no_grad():
        with fast._fast():
            rounded = model.backbone(images)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            usual = model.backbone(images)
    for name, exact in features.items():
        error = (rounded[name].float() - exact).norm()
        assert error < 1.3 * (usual[name].float() - exact).norm()
        assert error < 0.1 * exact.norm()
    for one, other in zip(fast(batch), model(batch), strict=True):
        found, expected = one["instances"], other["instances"]
        assert all(t.dtype == torch.float32 for t in (found.scores, found.pred_boxes.tensor))
        overlap = box_iou(expected.pred_boxes.tensor, found.pred_boxes.tensor)
        overlap = overlap * (expected.pred_classes[:, None] == found.pred_classes)
        best, place = overlap.max(dim=1)
        # Of untrained scores some are next to a threshold or to a rival's.
        assert best.median() > 0.9
        assert (expected.scores - found.scores[place])[best > 0.9].abs().median() < 0.03
    assert not fast.broken


def test_the_model_stays_as_it_is(small: Any) -> None:
    model, batch = small()
    before = copy.deepcopy(model.state_dict())
    fast = FastInference(model, torch.float32, CPU, fuse=True)
    expected = model(batch[:1])[0]["instances"]
    fast(batch)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any("forward" in module.__dict__ for module in model.modules())
    _same(model(batch[:1])[0]["instances"], expected, atol=0)
    assert list(fast.module.state_dict()) == list(before)


def test_training_goes_on_bit_for_bit(tiny_cfg: Any, sample: Any, storage: Any) -> None:
    def train(evaluates: bool) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        model = build_model(tiny_cfg())
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        for step in range(2):
            torch.manual_seed(step)
            losses = model.train()([sample(0)])
            optimizer.zero_grad()
            torch.stack(list(losses.values())).sum().backward()
            optimizer.step()
            if evaluates:
                FastInference(model.eval(), torch.float32, CPU, fuse=True)([sample(1)])
        return model.state_dict()

    plain, evaluated = train(False), train(True)
    assert all(torch.equal(value, evaluated[name]) for name, value in plain.items())


def test_changes_of_the_model_count(small: Any) -> None:
    model, batch = small()
    fast = FastInference(model, torch.float32, CPU, fuse=True)
    fast(batch)
    with torch.no_grad():
        model.roi_heads.box_predictor.cls_score.bias[0] += 0.5
        model.backbone.bottom_up.stem.conv1.weight *= 1.1
        model.backbone.bottom_up.stem.conv1.norm.running_mean += 0.1
    model.roi_heads.box_predictor.test_score_thresh = 0.3
    _same(fast(batch)[0]["instances"], model(batch)[0]["instances"])
    assert fast(batch)[0]["instances"].scores.min() > 0.3
    model.mask_output = "rle"
    assert type(fast(batch)[0]["instances"].pred_masks).__name__ == "RLEMasks"


def test_nothing_found_and_one_pixel(small: Any) -> None:
    model, _ = small()
    for dtype in (torch.float32, torch.bfloat16):
        fast = FastInference(model, dtype, CPU, fuse=True)
        pixel = [{"image": torch.full((3, 1, 1), 100, dtype=torch.uint8)}]
        assert len(fast(pixel)) == 1
        model.roi_heads.box_predictor.test_score_thresh = 1.0
        found = fast(pixel)[0]["instances"]
        assert len(found) == 0
        assert found.pred_masks.shape == (0, 1, 1)
        model.roi_heads.box_predictor.test_score_thresh = 0.05
        assert not fast.broken


class OwnRCNN(GeneralizedRCNN):
    """A model of a user's own that looks at features itself."""

    def inference(self, batched_inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Detect, and remember the dtype of the features."""
        features = self.backbone(self.preprocess_image(batched_inputs).tensor)
        self.seen = {value.dtype for value in features.values()}
        return super().inference(batched_inputs, *args, **kwargs)


class OwnHead(nn.Module):
    """A box head of a user's own."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.conv = nn.Conv2d(32, 32, 1)
        self.head = head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run a layer of its own before ours."""
        return self.head(self.conv(x))


def test_own_parts_get_float32(small: Any) -> None:
    model, batch = small()
    model.__class__ = OwnRCNN
    model.roi_heads.box_head = OwnHead(model.roi_heads.box_head).eval()
    fast = prepare_for_inference(model, _Cfg("auto", True))
    assert fast.dtype == torch.float32
    _same(fast(batch)[0]["instances"], model(batch)[0]["instances"])
    assert model.seen == {torch.float32}
    replaced = [module for module, _, _ in fast._overrides._methods]
    assert model.roi_heads.box_head not in replaced
    assert model.roi_heads.box_head.conv not in replaced
    assert model.roi_heads.box_head.head in replaced
    forced = FastInference(model, torch.bfloat16, CPU, fuse=True)
    assert len(forced(batch)) == 2
    assert not forced.broken


def test_hooks_are_called(small: Any) -> None:
    model, batch = small()
    seen = []
    block = model.backbone.bottom_up.res3[0]
    for part in (block.conv1, block, model.backbone):
        part.register_forward_hook(lambda module, args, output: seen.append(module))
    fast = FastInference(model, torch.float32, CPU, fuse=True)
    _same(fast(batch)[0]["instances"], model(batch)[0]["instances"])
    assert seen[: len(seen) // 2] == seen[len(seen) // 2 :] == [block.conv1, block, model.backbone]


def test_what_fails_runs_plainly(small: Any, caplog: pytest.LogCaptureFixture) -> None:
    model, batch = small()
    fast = FastInference(model, torch.float32, CPU, fuse=True)
    expected = model(batch)[0]["instances"]
    fast._overrides = plan_fusion(model, torch.float32, CPU)
    fast._overrides.add(model.roi_heads.box_head, lambda x: x @ x)
    from cardamage.modeling.fusion.prepare import _fingerprint

    fast._prepared_from = _fingerprint(model)
    with caplog.at_level(logging.WARNING):
        _same(fast(batch)[0]["instances"], expected, atol=0)
        fast(batch)
    assert fast.broken
    assert len(caplog.records) == 1
    with pytest.raises(KeyError):
        fast([{"picture": None}])


@pytest.mark.parametrize(
    "part", ["backbone.bottom_up.stem.conv1", "roi_heads.box_head.fc1", "roi_heads.mask_head.mask_fcn1"]
)
def test_numbers_beyond_float16_are_computed_in_bfloat16(
    small: Any, caplog: pytest.LogCaptureFixture, part: str
) -> None:
    model, batch = small()
    with torch.no_grad():
        model.get_submodule(part).weight *= 1e6
    fast = FastInference(model, torch.float16, CPU)
    with caplog.at_level(logging.WARNING):
        found = fast(batch)[0]["instances"]
        fast(batch)
    assert (fast.dtype, fast.broken, len(caplog.records)) == (torch.bfloat16, False, 1)
    _same(found, FastInference(model, torch.bfloat16, CPU)(batch)[0]["instances"], atol=0)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 2), (5, 6), (8, 9)])
def test_pooling_one_axis_after_the_other(size: tuple[int, int]) -> None:
    x = torch.randn(2, 4, *size)
    assert torch.equal(max_pool_3x3(x), torch.nn.functional.max_pool2d(x, 3, 2, 1))


class _Cfg:
    """The keys that are read."""

    def __init__(self, precision: str, fuse: bool) -> None:
        self.TEST = self
        self.PRECISION, self.FUSE, self.WINOGRAD = precision, fuse, True


def test_keys(small: Any) -> None:
    model, batch = small()
    assert prepare_for_inference(model, _Cfg("float32", False)) is model
    assert prepare_for_inference(len, _Cfg("auto", True)) is len
    fast = prepare_for_inference(model, _Cfg("float32", True))
    assert prepare_for_inference(fast, _Cfg("float32", True)) is fast
    assert fast.dtype == torch.float32
    half = prepare_for_inference(model, _Cfg("bfloat16", False))
    assert len(half(batch)) == 2
    assert not half.broken
    with pytest.raises(ConfigValueError, match="needs a GPU"):
        inference_dtype("float16", CPU)
    with pytest.raises(ConfigValueError, match="must be one of"):
        inference_dtype("int8", CPU)
    assert inference_dtype("float16", torch.device("cuda")) == torch.float16


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_plain_kernels_in_half_precision(small: Any, dtype: torch.dtype) -> None:
    """What runs on a GPU: folded weights in half precision and torch's own operators."""
    model, batch = small()
    images = model.preprocess_image(batch).tensor
    with torch.no_grad():
        exact = model.backbone(images)
        with plan_fusion(model, dtype, torch.device("meta")).applied():
            found = model.backbone(images)
    for name, value in exact.items():
        assert found[name].dtype == dtype
        assert (found[name].float() - value).norm() < 0.04 * value.norm()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_other_pooling_takes_half_precision(small: Any, dtype: torch.dtype) -> None:
    model, batch = small(**{"MODEL.ROI_BOX_HEAD.POOLER_TYPE": "ROIPool", "MODEL.MASK_ON": False})
    with torch.no_grad(), force_fixed_shapes(True):
        with plan_fusion(model, dtype, torch.device("meta")).applied():
            found = model(batch)
    assert all(len(one["instances"]) for one in found)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_on_a_gpu(small: Any, dtype: torch.dtype, options: dict[str, Any]) -> None:
    model, batch = small(**options)
    expected = model(batch)
    fast = FastInference(model.cuda(), dtype, torch.device("cuda"))
    for one, other in zip(expected, fast(batch), strict=True):
        wanted, found = one["instances"], other["instances"].to("cpu")
        overlap = box_iou(wanted.pred_boxes.tensor, found.pred_boxes.tensor)
        overlap = overlap * (wanted.pred_classes[:, None] == found.pred_classes)
        assert overlap.amax(dim=1).median() > 0.9
    assert (fast.dtype, fast.broken) == (dtype, False)
