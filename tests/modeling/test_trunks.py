"""VGG and ConvNeXt against torchvision's, and in everything that a model does with its trunk."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from cardamage.checkpoint import DetectionCheckpointer
from cardamage.config import validate_cfg
from cardamage.errors import ConfigValueError
from cardamage.layers import FrozenBatchNorm2d, LocalResponseNorm, ShapeSpec
from cardamage.layers.fused_conv import has_fused_kernels
from cardamage.modeling import BACKBONE_REGISTRY, Backbone, build_backbone, build_model
from cardamage.modeling.batch import force_fixed_shapes
from cardamage.modeling.fusion import FastInference
from cardamage.modeling.fusion.plan import plan_fusion
from cardamage.modeling.meta_arch.preprocessing import ImageModel
from cardamage.modeling.regions import _REGIONS, compile_model
from cardamage.solver import build_optimizer
from cardamage.solver.ema import ModelEMA
from cardamage.utils.compiling import compiling
from cardamage.utils.events import EventStorage

Make = Callable[..., Any]
CPU = torch.device("cpu")

VGG = {"MODEL.BACKBONE.NAME": "build_vgg_fpn_backbone"}
CONVNEXT = {"MODEL.BACKBONE.NAME": "build_convnext_fpn_backbone"}
# The smallest of each kind, with blocks of ConvNeXt that do something from the beginning.
SMALL: dict[str, dict[str, Any]] = {
    "vgg": {**VGG, "MODEL.VGG.DEPTH": 11},
    "vgg_bn": {**VGG, "MODEL.VGG.DEPTH": 11, "MODEL.VGG.NORM": "BN"},
    "convnext": {**CONVNEXT, "MODEL.CONVNEXT.LAYER_SCALE": 0.5, "MODEL.CONVNEXT.DROP_PATH": 0.0},
}


@torch.no_grad()
def _randomize(model: nn.Module) -> None:
    """Give each normalization and scale values of its own, so that its place matters."""
    for name, value in model.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
        elif value.dim() == 1 and value.is_floating_point():
            value.add_(torch.randn_like(value) * 0.1)
        elif name.endswith("layer_scale"):
            value.normal_(0, 0.5)


def _vgg_outputs(features: nn.Sequential, x: torch.Tensor) -> list[torch.Tensor]:
    """The last map of each stride from 4 to 32."""
    maps, size = [], x.shape[-1]
    for layer in features:
        x = layer(x)
        while maps and maps[-1].shape == x.shape:
            maps.pop()
        maps.append(x)
    by_stride: dict[int, torch.Tensor] = {}
    for one in maps:
        by_stride[size // one.shape[-1]] = one
    return [by_stride[stride].clone() for stride in (4, 8, 16, 32)]


def _convnext_outputs(features: nn.Sequential, x: torch.Tensor) -> list[torch.Tensor]:
    maps = []
    for i, stage in enumerate(features):
        x = stage(x)
        if i % 2:
            maps.append(x)
    return maps


TRUNKS = [
    ("vgg11", {"MODEL.VGG.DEPTH": 11}),
    ("vgg16", {"MODEL.VGG.DEPTH": 16}),
    ("vgg16_bn", {"MODEL.VGG.DEPTH": 16, "MODEL.VGG.NORM": "BN"}),
    ("vgg19_bn", {"MODEL.VGG.DEPTH": 19, "MODEL.VGG.NORM": "FrozenBN"}),
    ("convnext_tiny", {}),
    ("convnext_small", {"MODEL.CONVNEXT.SIZE": "small"}),
]


@pytest.mark.parametrize(("name", "options"), TRUNKS, ids=[name for name, _ in TRUNKS])
def test_features_are_torchvisions(tiny_cfg: Make, name: str, options: dict[str, Any]) -> None:
    kind = name.split("_")[0].rstrip("0123456789")
    torch.manual_seed(seed := int(torch.randint(10**6, ())))
    with torch.device("meta"):
        theirs: Any = getattr(torchvision.models, name)()
    features = theirs.features.to_empty(device="cpu").double().eval()
    for value in features.state_dict().values():
        value.normal_(0, 0.05) if value.is_floating_point() else value.zero_()
    _randomize(features)
    own = build_backbone(tiny_cfg(**{"MODEL.BACKBONE.NAME": f"build_{kind}_backbone"}, **options))
    own = own.double().eval()
    theirs_by_order = [v for n, v in features.state_dict().items() if "num_batches" not in n]
    own_names = [n for n in own.state_dict() if "num_batches" not in n]
    missing = own.load_state_dict(dict(zip(own_names, theirs_by_order, strict=True)), strict=False)
    assert all("num_batches" in n for n in missing.missing_keys)
    image = torch.rand(2, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        found = own(image)
        expected = (_vgg_outputs if kind == "vgg" else _convnext_outputs)(features, image)
    assert list(found) == ["res2", "res3", "res4", "res5"]
    for (stage, x), y, stride in zip(found.items(), expected, (4, 8, 16, 32), strict=True):
        scale = y.abs().max().item()
        assert scale > 1e-6, seed
        torch.testing.assert_close(x, y, rtol=0, atol=1e-12 * scale, msg=f"{stage}, seed {seed}")
        assert own.output_shape()[stage] == ShapeSpec(channels=y.shape[1], stride=stride)


def test_parameters_are_as_many_as_counted_by_hand(tiny_cfg: Make) -> None:
    def count(name: str, **options: Any) -> int:
        cfg = tiny_cfg(**{"MODEL.BACKBONE.NAME": name, **options})
        with torch.device("meta"):
            return sum(p.numel() for p in build_backbone(cfg).parameters())

    sizes = [3, 64, 64, 128, 128, *[256] * 3, *[512] * 6]
    convolutions = sum(9 * a * b + b for a, b in zip(sizes, sizes[1:], strict=False))
    assert count("build_vgg_backbone") == convolutions == 14_714_688
    assert count("build_vgg_backbone", **{"MODEL.VGG.NORM": "BN"}) == convolutions + 2 * sum(sizes[1:])
    total = 3 * 16 * 96 + 96 + 2 * 96
    for stage, blocks in enumerate((3, 3, 9, 3)):
        c = 96 << stage
        total += blocks * (49 * c + c + 2 * c + 4 * c * c + 4 * c + 4 * c * c + c + c)
        total += 0 if stage == 0 else 2 * (c // 2) + 4 * (c // 2) * c + c
    assert count("build_convnext_backbone") == total == 27_818_592


@pytest.mark.parametrize("kind", list(SMALL))
@pytest.mark.parametrize("freeze_at", [0, 1, 3])
def test_freezing(tiny_cfg: Make, kind: str, freeze_at: int) -> None:
    options = {**SMALL[kind], "MODEL.CONVNEXT.DROP_PATH": 0.5, "MODEL.BACKBONE.FREEZE_AT": freeze_at}
    network = build_backbone(tiny_cfg(**options)).bottom_up
    for i, name in enumerate(["stem", "res2", "res3", "res4"]):
        part, frozen = getattr(network, name), i < freeze_at
        assert all(p.requires_grad != frozen for p in part.parameters())
        assert any(isinstance(m, FrozenBatchNorm2d) for m in part.modules()) == (frozen and kind == "vgg_bn")
        if kind == "convnext" and frozen:
            x = torch.rand(1, 3 if i == 0 else 96, 64, 64)
            assert torch.equal(part.train()(x), part.eval()(x))


def test_dropped_blocks_leave_their_input(tiny_cfg: Make) -> None:
    options = {**CONVNEXT, "MODEL.CONVNEXT.LAYER_SCALE": 1.0, "MODEL.CONVNEXT.DROP_PATH": 1.0}
    network = build_backbone(tiny_cfg(**options)).bottom_up.train()
    rates = [m.p for m in network.modules() if isinstance(m, torchvision.ops.StochasticDepth)]
    assert rates == pytest.approx([i / 17 for i in range(18)])
    block = network.res5[-1]
    x = torch.rand(2, 768, 2, 3)
    assert torch.equal(block(x), x)
    assert not torch.equal(block.eval()(x), x)


def _step(model: nn.Module, batch: list[Any], dtype: torch.dtype | None = None) -> Any:
    torch.manual_seed(1)
    model.zero_grad()
    with force_fixed_shapes(True), EventStorage(0):
        with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
            losses = model(batch)
        sum(losses.values()).backward()
    return losses, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("kind", list(SMALL))
def test_a_step_in_bfloat16_with_channels_last(tiny_cfg: Make, sample: Make, kind: str) -> None:
    batch = [sample(0, 3), sample(1, 2, (64, 100))]
    results = []
    for fast in (False, True):
        torch.manual_seed(0)
        model = build_model(tiny_cfg(**SMALL[kind], **{"MODEL.CHANNELS_LAST": fast}))
        results.append(_step(model, batch, torch.bfloat16 if fast else None))
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
    _randomize(model)
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
    _step(model, [sample(0, 2)])
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


@pytest.mark.parametrize("kind", list(SMALL))
def test_norms_are_not_decayed(tiny_cfg: Make, kind: str) -> None:
    model = build_model(tiny_cfg(**SMALL[kind]))
    optimizer = build_optimizer(tiny_cfg(**SMALL[kind]), model)
    decayed = {p for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]}
    for name, parameter in model.backbone.bottom_up.named_parameters():
        assert (parameter in decayed) == (".norm." not in name), name


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
    _, grads = _step(model, [sample(0, 3), sample(1, 2, (64, 100))], torch.bfloat16)
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


LRN = {"MODEL.BACKBONE.STEM_LRN.ENABLED": True, "MODEL.BACKBONE.STEM_LRN.ALPHA": 0.5}
WITH_STEMS = {"resnet": {}, **SMALL}


@pytest.mark.parametrize("kind", list(WITH_STEMS))
def test_a_stem_with_response_normalization(tiny_cfg: Make, kind: str) -> None:
    torch.manual_seed(0)
    plain = build_backbone(tiny_cfg(**WITH_STEMS[kind])).bottom_up.eval()
    _randomize(plain)
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
    _, grads = _step(model, [sample(0, 2)], torch.bfloat16)
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


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("MODEL.VGG.DEPTH", 12, "11, 13, 16, 19"),
        ("MODEL.VGG.NORM", "LRN", "'GN'"),
        ("MODEL.CONVNEXT.SIZE", "huge", "'tiny'"),
        ("MODEL.CONVNEXT.DROP_PATH", 1.5, "between 0 and 1"),
        ("MODEL.CONVNEXT.LAYER_SCALE", -1.0, "at least 0"),
        ("MODEL.BACKBONE.STEM_LRN.SIZE", 0, "at least 1"),
        ("MODEL.BACKBONE.STEM_LRN.ALPHA", -1.0, "at least 0"),
        ("MODEL.BACKBONE.STEM_LRN.K", 0.0, "above 0"),
    ],
)
def test_bad_values_are_refused(tiny_cfg: Make, key: str, value: Any, allowed: str) -> None:
    with pytest.raises(ConfigValueError, match=rf"{key} is {value!r}; it must be .*{allowed}"):
        validate_cfg(tiny_cfg(**{key: value}))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({**VGG, "MODEL.VGG.DEPTH": 18}, r"MODEL.VGG.DEPTH is 18, but must be one of \[11, 13, 16, 19\]"),
        ({**CONVNEXT, "MODEL.CONVNEXT.SIZE": "nano"}, "MODEL.CONVNEXT.SIZE is 'nano', but must be one of"),
        ({**VGG, "MODEL.VGG.OUT_FEATURES": ["conv5"]}, r"MODEL.VGG.OUT_FEATURES \['conv5'\] must name"),
        (
            {**CONVNEXT, "MODEL.FPN.IN_FEATURES": ["res6"]},
            "MODEL.FPN.IN_FEATURES is .*'res5'.*the trunk gives",
        ),
    ],
)
def test_trunks_that_can_not_be_built_are_refused(
    tiny_cfg: Make, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigValueError, match=words):
        build_backbone(tiny_cfg(**options))
