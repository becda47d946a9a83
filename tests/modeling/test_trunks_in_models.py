"""VGG, ConvNeXt and kinds of ResNet in everything that a model does with its trunk."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from cardamage.checkpoint import DetectionCheckpointer
from cardamage.errors import ConfigValueError
from cardamage.layers import LocalResponseNorm, ShapeSpec
from cardamage.layers.fused_conv import has_fused_kernels
from cardamage.modeling import BACKBONE_REGISTRY, Backbone, build_backbone, build_model
from cardamage.modeling.fusion import FastInference
from cardamage.modeling.fusion.plan import plan_fusion
from cardamage.modeling.meta_arch.preprocessing import ImageModel
from cardamage.modeling.regions import _REGIONS, compile_model
from cardamage.solver import build_optimizer
from cardamage.solver.ema import ModelEMA
from cardamage.utils.compiling import compiling
from tests.support.trunks import LRN, SMALL, randomize, step

Make = Callable[..., Any]
CPU = torch.device("cpu")


@pytest.mark.parametrize("kind", list(SMALL))
def test_a_step_in_bfloat16_with_channels_last(tiny_cfg: Make, sample: Make, kind: str) -> None:
    batch = [sample(0, 3), sample(1, 2, (64, 100))]
    results = []
    for fast in (False, True):
        torch.manual_seed(0)
        model = build_model(tiny_cfg(**SMALL[kind], **{"MODEL.CHANNELS_LAST": fast}))
        results.append(step(model, batch, torch.bfloat16 if fast else None))
    (exact, exact_grads), (rough, grads) = results
    for name in ("loss_rpn_cls", "loss_cls", "loss_mask"):
        torch.testing.assert_close(rough[name], exact[name], rtol=0.05, atol=5e-3)
    assert grads.keys() == exact_grads.keys() == {name for name, _ in model.named_parameters()}
    assert all(gradient.isfinite().all() for gradient in grads.values())
    for name in (
        "fpn_lateral2.weight",
        "bottom_up.res4.1." + ("conv.weight" if kind != "convnext" else "fc1.weight"),
    ):
        gradient = exact_grads[f"backbone.{name}"]
        # The proposals that are sampled may be others.
        assert torch.cosine_similarity(grads[f"backbone.{name}"].flatten(), gradient.flatten(), 0) > 0.8


class _Counter:
    """A compiler that counts what it is given, and runs it as it is."""

    def __init__(self) -> None:
        self.graphs = 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: Any) -> Callable[..., Any]:
        self.graphs += 1
        return graph.forward


@pytest.fixture
def _forget_compilations() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


# Each shape of block is one more thing to compile.
_LEVELS = {
    "MODEL.VGG.OUT_FEATURES": ["res2", "res3"],
    "MODEL.CONVNEXT.OUT_FEATURES": ["res2", "res3"],
    "MODEL.FPN.IN_FEATURES": ["res2", "res3"],
}


class _Trunk(ImageModel):
    def __init__(self, trunk: Backbone) -> None:
        super().__init__(trunk, [0.0] * 3, [1.0] * 3)


@pytest.mark.usefixtures("_forget_compilations")
@pytest.mark.parametrize("kind", ["vgg", "convnext"])
def test_compiled_trunks_have_plain_numbers(tiny_cfg: Make, sample: Make, kind: str) -> None:
    torch.manual_seed(0)
    model: Any = _Trunk(build_backbone(tiny_cfg(**SMALL[kind], **_LEVELS)).bottom_up)
    sizes = [(64, 96), (96, 64), (128, 160)]

    def trunk(size: tuple[int, int]) -> list[torch.Tensor]:
        torch.manual_seed(2)
        model.zero_grad()
        with compiling(model.train_compiler):
            maps = list(model.backbone(torch.rand(2, 3, *size)).values())
        sum(x.square().mean() for x in maps).backward()  # type: ignore[union-attr]
        grads = [p.grad.clone() for p in model.backbone.parameters() if p.grad is not None]
        return [x.detach() for x in maps] + grads

    expected = [trunk(size) for size in sizes]
    counter = _Counter()
    compile_model(model, backend=counter)
    graphs = []
    for size, wanted in zip(sizes, expected, strict=True):
        for found, exact in zip(trunk(size), wanted, strict=True):
            scale = exact.abs().max().item()
            torch.testing.assert_close(found, exact, rtol=1e-3, atol=1e-4 * scale + 1e-9)
        graphs.append(counter.graphs)
    assert graphs[0] > 4
    assert graphs == [graphs[0]] * 3
    assert model.train_compiler is not None
    assert not model.train_compiler.broken
    assert not torch._dynamo.utils.counters["graph_break"]


@pytest.mark.parametrize("kind", list(SMALL))
def test_fused_trunks_give_the_same_maps(tiny_cfg: Make, kind: str) -> None:
    torch.manual_seed(0)
    model = build_model(tiny_cfg(**SMALL[kind])).eval()
    randomize(model)
    image = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        exact = model.backbone(image)
        with plan_fusion(model, torch.float32, CPU).applied():
            fused = model.backbone(image)
        with torch.autocast("cpu", torch.bfloat16):
            usual = model.backbone(image)
        with plan_fusion(model, torch.bfloat16, torch.device("meta")).applied():
            rounded = model.backbone(image)
    for name, value in exact.items():
        assert (fused[name] - value).norm() < 1e-5 * value.norm()
        assert rounded[name].dtype == torch.bfloat16
        error = (rounded[name].float() - value).norm()
        assert error < 1.3 * (usual[name].float() - value).norm()
        assert error < 0.05 * value.norm()


@pytest.mark.parametrize("kind", list(SMALL))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fused_models_run_and_stay_themselves(
    tiny_cfg: Make, sample: Make, kind: str, dtype: torch.dtype
) -> None:
    if not has_fused_kernels(dtype):
        pytest.skip("torch has no oneDNN here")
    torch.manual_seed(0)
    model = build_model(tiny_cfg(**SMALL[kind], **{"MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.0})).eval()
    before = copy.deepcopy(model.state_dict())
    batch = [sample(0), sample(1, size=(70, 110))]
    fast = FastInference(model, dtype, CPU)
    assert [len(one["instances"]) > 0 for one in fast(batch)] == [True, True]
    assert not fast.broken
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    replaced = {type(module).__name__ for module, _, _ in fast._overrides._methods}  # type: ignore[union-attr]
    assert ("ConvNeXtBlock" in replaced) == (kind == "convnext")
    seen: list[str] = []
    part = model.backbone.bottom_up.res3[1]
    (part.norm if kind == "convnext" else part.conv).register_forward_hook(lambda *_: seen.append("hook"))
    watched = FastInference(model, dtype, CPU)
    assert len(watched(batch)) == 2
    assert seen
    assert not watched.broken


@pytest.mark.parametrize("kind", list(SMALL))
def test_checkpoints_and_averages_hold_the_whole_trunk(
    tiny_cfg: Make, sample: Make, kind: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    cfg = tiny_cfg(**SMALL[kind])
    model = build_model(cfg)
    average = ModelEMA(model, 0.5)
    step(model, [sample(0, 2)])
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    build_optimizer(cfg, model).step()
    after = {name: p.detach().clone() for name, p in model.named_parameters()}
    average.update()
    with average.applied():
        for name, parameter in model.named_parameters():
            # The first update goes 1 - 2 / 11 of the way.
            expected = before[name] + (after[name] - before[name]) * 9 / 11
            torch.testing.assert_close(parameter.detach(), expected)
    DetectionCheckpointer(model, str(tmp_path)).save("model")
    torch.manual_seed(1)
    other = build_model(cfg)
    DetectionCheckpointer(other).load(str(tmp_path / "model.pth"), strict=True)
    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


DEEP = {
    "MODEL.RESNETS.DEPTH": 50,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 256,
    "MODEL.RESNETS.STRIDE_IN_1X1": False,
}
DEFORMABLE = {**DEEP, "MODEL.RESNETS.DEFORM_ON_PER_STAGE": [False, False, False, True]}
RESNETS: dict[str, dict[str, Any]] = {
    "deformable": DEFORMABLE,
    "deformable_v2": {**DEFORMABLE, "MODEL.RESNETS.DEFORM_MODULATED": True},
    "group_norm": {"MODEL.RESNETS.NORM": "GN", "MODEL.FPN.NORM": "GN", "MODEL.ROI_MASK_HEAD.NORM": "GN"},
    "resnet34": {"MODEL.RESNETS.DEPTH": 34},
}


@pytest.mark.parametrize("kind", list(RESNETS))
def test_kinds_of_resnet_train_in_bfloat16_and_are_fused(tiny_cfg: Make, sample: Make, kind: str) -> None:
    torch.manual_seed(0)
    cfg = tiny_cfg(**RESNETS[kind], **{"MODEL.CHANNELS_LAST": True, "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.0})
    model = build_model(cfg)
    _, grads = step(model, [sample(0, 3), sample(1, 2, (64, 100))], torch.bfloat16)
    assert grads.keys() == {name for name, _ in model.named_parameters()}
    assert all(gradient.isfinite().all() for gradient in grads.values())
    offsets = [gradient for name, gradient in grads.items() if "conv2_offset.weight" in name]
    assert len(offsets) == (3 if "deformable" in kind else 0)
    assert all(gradient.abs().max() > 0 for gradient in offsets)
    build_optimizer(cfg, model).step()
    model.eval()
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        exact = model.backbone(image)
        with plan_fusion(model, torch.float32, CPU).applied():
            fused = model.backbone(image)
    for name, value in exact.items():
        assert (fused[name] - value).norm() < 1e-4 * value.norm()
    fast = FastInference(model, torch.bfloat16 if has_fused_kernels(torch.bfloat16) else torch.float32, CPU)
    assert len(fast([sample(0)])[0]["instances"]) > 0
    assert not fast.broken


WITH_STEMS = {"resnet": {}, **SMALL}


@pytest.mark.parametrize("kind", list(WITH_STEMS))
def test_a_stem_with_response_normalization(tiny_cfg: Make, kind: str) -> None:
    torch.manual_seed(0)
    plain = build_backbone(tiny_cfg(**WITH_STEMS[kind])).bottom_up.eval()
    randomize(plain)
    options = {**WITH_STEMS[kind], **LRN, "MODEL.BACKBONE.FREEZE_AT": 1}
    model = build_model(tiny_cfg(**options)).eval()
    trunk: Any = model.backbone.bottom_up
    trunk.load_state_dict(plain.state_dict())
    image = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        x = nn.LocalResponseNorm(5, 0.5)(plain.stem(image))
        found = trunk(image)
        for name, value in found.items():
            x = getattr(plain, name)(x)
            torch.testing.assert_close(value, x, rtol=1e-4, atol=1e-5)
        for dtype, limit in ((torch.float32, 1e-5), (torch.bfloat16, 0.05)):
            with plan_fusion(model, dtype, CPU).applied():
                fused = trunk(image)
            for name, value in found.items():
                assert (fused[name].float() - value).norm() < limit * value.norm(), (name, dtype)


def test_response_normalization_trains_compiled(tiny_cfg: Make, sample: Make) -> None:
    model = build_model(tiny_cfg(**LRN))
    assert LocalResponseNorm in _REGIONS
    _, grads = step(model, [sample(0, 2)], torch.bfloat16)
    assert grads["backbone.bottom_up.stem.conv1.weight"].abs().max() > 0


def test_response_normalization_needs_a_stem_that_has_a_place_for_it(tiny_cfg: Make) -> None:
    @BACKBONE_REGISTRY.register()
    class _NoStem(Backbone):
        def __init__(self, cfg: Any, input_shape: ShapeSpec) -> None:
            super().__init__()

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"x": x}

    cfg = tiny_cfg(**LRN, **{"MODEL.BACKBONE.NAME": "_NoStem"})
    with pytest.raises(
        ConfigValueError, match="STEM_LRN.ENABLED is True, but MODEL.BACKBONE.NAME _NoStem has"
    ):
        build_backbone(cfg)
