"""VGG and ConvNeXt against torchvision's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from cardamage.config import validate_cfg
from cardamage.errors import ConfigValueError
from cardamage.layers import FrozenBatchNorm2d, ShapeSpec
from cardamage.modeling import build_backbone, build_model
from cardamage.solver import build_optimizer
from tests.support.trunks import CONVNEXT, LRN, SMALL, VGG, randomize

Make = Callable[..., Any]


def _outputs(features: nn.Sequential, x: torch.Tensor) -> list[torch.Tensor]:
    """The last map of each stride from 4 to 32."""
    by_stride, side = {}, x.shape[-1]
    for layer in features:
        x = layer(x)
        # Some layers of torchvision work in place.
        by_stride[side // x.shape[-1]] = x.clone()
    return [by_stride[stride] for stride in (4, 8, 16, 32)]


TRUNKS = [
    ("vgg16", {"MODEL.VGG.DEPTH": 16}),
    ("vgg11_bn", {"MODEL.VGG.DEPTH": 11, "MODEL.VGG.NORM": "BN"}),
    ("vgg13_bn", {"MODEL.VGG.DEPTH": 13, "MODEL.VGG.NORM": "FrozenBN"}),
    ("convnext_tiny", {}),
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
    randomize(features)
    own = build_backbone(tiny_cfg(**{"MODEL.BACKBONE.NAME": f"build_{kind}_backbone"}, **options))
    own = own.double().eval()
    theirs_by_order = [v for n, v in features.state_dict().items() if "num_batches" not in n]
    own_names = [n for n in own.state_dict() if "num_batches" not in n]
    missing = own.load_state_dict(dict(zip(own_names, theirs_by_order, strict=True)), strict=False)
    assert all("num_batches" in n for n in missing.missing_keys)
    image = torch.rand(2, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        found = own(image)
        expected = _outputs(features, image)
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


@pytest.mark.parametrize("kind", list(SMALL))
def test_norms_are_not_decayed(tiny_cfg: Make, kind: str) -> None:
    model = build_model(tiny_cfg(**SMALL[kind]))
    optimizer = build_optimizer(tiny_cfg(**SMALL[kind]), model)
    decayed = {p for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]}
    for name, parameter in model.backbone.bottom_up.named_parameters():
        assert (parameter in decayed) == (".norm." not in name), name


@pytest.mark.parametrize("kind", list(SMALL))
def test_trunks_script(tiny_cfg: Make, kind: str) -> None:
    network = build_backbone(tiny_cfg(**SMALL[kind], **LRN)).bottom_up.eval()
    images = torch.rand(1, 3, 64, 96)
    found, expected = torch.jit.script(network)(images), network(images)
    assert list(found) == list(expected)
    for name, features in expected.items():
        torch.testing.assert_close(found[name], features)


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
