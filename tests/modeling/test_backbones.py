from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision

from cardamage.errors import ConfigValueError
from cardamage.layers import FrozenBatchNorm2d, ShapeSpec
from cardamage.modeling import BACKBONE_REGISTRY, Backbone, build_backbone
from cardamage.modeling.backbone import BasicBlock, BasicStem, BottleneckBlock, DeformBottleneckBlock, ResNet

Make = Callable[..., Any]
DEEP = {"MODEL.RESNETS.RES2_OUT_CHANNELS": 256, "MODEL.FPN.OUT_CHANNELS": 32}


def _torchvision_name(name: str) -> str:
    """The name torchvision's ResNet has for a weight of ours."""
    head, _, rest = name.partition(".")
    if head == "stem":
        return rest.replace("conv1.norm.", "bn1.")
    stage, block = f"layer{int(head[3:]) - 1}", rest
    block = block.replace("shortcut.norm.", "downsample.1.").replace("shortcut.", "downsample.0.")
    for i in "123":
        block = block.replace(f"conv{i}.norm.", f"bn{i}.")
    return f"{stage}.{block}"


@pytest.mark.parametrize("depth", [18, 34, 50])
def test_resnet_equals_torchvisions(tiny_cfg: Make, depth: int) -> None:
    torch.manual_seed(depth)
    options = {"MODEL.BACKBONE.NAME": "build_resnet_backbone", "MODEL.RESNETS.DEPTH": depth}
    if depth >= 50:
        options |= {**DEEP, "MODEL.RESNETS.STRIDE_IN_1X1": False}
    own = build_backbone(tiny_cfg(**options)).eval()
    theirs = getattr(torchvision.models, f"resnet{depth}")().eval()
    weights = theirs.state_dict()
    own.load_state_dict({name: weights[_torchvision_name(name)] for name in own.state_dict()})
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        found = own(image)["res5"]
        x = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(image))))
        expected = theirs.layer4(theirs.layer3(theirs.layer2(theirs.layer1(x))))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert own.output_shape()["res5"] == ShapeSpec(channels=expected.shape[1], stride=32)


@pytest.mark.parametrize("freeze_at", [0, 1, 2, 3])
def test_freezing(tiny_cfg: Make, freeze_at: int) -> None:
    network = build_backbone(tiny_cfg(**{"MODEL.BACKBONE.FREEZE_AT": freeze_at})).bottom_up
    for i, name in enumerate(["stem", "res2", "res3", "res4"]):
        part = getattr(network, name)
        frozen = i < freeze_at
        assert all(p.requires_grad != frozen for p in part.parameters())
        assert any(isinstance(m, FrozenBatchNorm2d) for m in part.modules()) == frozen


@pytest.mark.parametrize("norm", ["FrozenBN", "GN", "SyncBN"])
def test_pyramid_shapes(tiny_cfg: Make, norm: str) -> None:
    fpn = build_backbone(tiny_cfg(**{"MODEL.RESNETS.NORM": norm, "MODEL.FPN.NORM": "GN"})).eval()
    features = fpn(torch.rand(2, 3, 64, 96))
    assert list(features) == ["p2", "p3", "p4", "p5", "p6"]
    for name, stride in zip(features, (4, 8, 16, 32, 64), strict=True):
        assert features[name].shape == (2, 32, -(-64 // stride), -(-96 // stride))
        assert fpn.output_shape()[name] == ShapeSpec(channels=32, stride=stride)
    assert fpn.size_divisibility == 32
    assert fpn.fpn_lateral2.bias is None


def test_average_fusion_is_half_the_sum_per_level(tiny_cfg: Make) -> None:
    found = {}
    for fuse in ("sum", "avg"):
        torch.manual_seed(0)
        fpn = build_backbone(tiny_cfg(**{"MODEL.FPN.FUSE_TYPE": fuse})).eval()
        found[fuse] = fpn(torch.ones(1, 3, 64, 64))
    torch.testing.assert_close(found["sum"]["p5"], found["avg"]["p5"])
    torch.testing.assert_close(found["sum"]["p4"], found["avg"]["p4"] * 2)


def test_deformable_blocks_begin_as_plain_ones() -> None:
    torch.manual_seed(0)
    arguments = {"in_channels": 16, "out_channels": 32, "bottleneck_channels": 8, "stride": 2}
    plain = BottleneckBlock(**arguments).eval()
    x = torch.rand(2, 16, 8, 12)
    for modulated in (False, True):
        block = DeformBottleneckBlock(**arguments, deform_modulated=modulated).eval()
        missing = block.load_state_dict(plain.state_dict(), strict=False)
        assert all("offset" in name for name in missing.missing_keys)
        if modulated:
            # Every sample's weight begins at sigmoid(0) = 1/2.
            block.conv2.weight.data *= 2
        torch.testing.assert_close(block(x), plain(x), rtol=1e-4, atol=1e-5)


def test_deformable_stages_by_config(tiny_cfg: Make) -> None:
    options = {
        **DEEP,
        "MODEL.RESNETS.DEPTH": 50,
        "MODEL.RESNETS.DEFORM_ON_PER_STAGE": [False, False, False, True],
        "MODEL.RESNETS.DEFORM_MODULATED": True,
        "MODEL.RESNETS.DEFORM_NUM_GROUPS": 2,
    }
    network = build_backbone(tiny_cfg(**options)).bottom_up
    assert not any("offset" in name for name in network.res4.state_dict())
    assert network.res5[0].conv2_offset.weight.shape == (54, 512, 3, 3)


def test_stages_of_ones_own(tiny_cfg: Make) -> None:
    blocks = ResNet.make_stage(
        BottleneckBlock,
        3,
        in_channels=16,
        out_channels=32,
        bottleneck_channels=8,
        stride_per_block=[2, 1, 1],
        dilation_per_block=[1, 1, 2],
    )
    x = torch.nn.Sequential(*blocks)(torch.rand(1, 16, 8, 8))
    assert x.shape == (1, 32, 4, 4)
    with pytest.raises(ValueError, match="stride_per_block"):
        ResNet.make_stage(BottleneckBlock, 3, in_channels=16, out_channels=32, stride_per_block=[1])


@pytest.mark.parametrize("norm", ["BN", "FrozenBN", "GN", ""])
@pytest.mark.parametrize("training", [False, True])
def test_resnet_scripts(tiny_cfg: Make, norm: str, training: bool) -> None:
    options = {"MODEL.BACKBONE.NAME": "build_resnet_backbone", "MODEL.RESNETS.DEPTH": 50, **DEEP}
    cfg = tiny_cfg(**options, **{"MODEL.RESNETS.NORM": norm, "MODEL.BACKBONE.FREEZE_AT": 2})
    backbone = build_backbone(cfg).train(training)
    images = torch.rand(2, 3, 64, 96)
    found, expected = torch.jit.script(backbone)(images), backbone(images)
    assert list(found) == list(expected)
    for name, features in expected.items():
        torch.testing.assert_close(found[name], features)


def test_classifier_scripts() -> None:
    stages = [ResNet.make_stage(BasicBlock, 1, in_channels=8, out_channels=8)]
    network = ResNet(BasicStem(3, 8), stages, num_classes=5, out_features=["stem", "linear"]).eval()
    images = torch.rand(2, 3, 32, 32)
    found, expected = torch.jit.script(network)(images), network(images)
    assert list(found) == ["stem", "linear"]
    torch.testing.assert_close(found["linear"], expected["linear"])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("MODEL.RESNETS.DEPTH", 20),
        ("MODEL.RESNETS.RES5_DILATION", 2),
        ("MODEL.RESNETS.RES2_OUT_CHANNELS", 256),
        ("MODEL.FPN.FUSE_TYPE", "max"),
        ("MODEL.FPN.IN_FEATURES", ["res2", "res4"]),
    ],
)
def test_bad_configs_are_refused(tiny_cfg: Make, key: str, value: Any) -> None:
    with pytest.raises(ConfigValueError, match=key.rsplit(".", 1)[1]):
        build_backbone(tiny_cfg(**{key: value}))


def test_registered_backbone_of_ones_own(tiny_cfg: Make) -> None:
    @BACKBONE_REGISTRY.register()
    class _Patches(Backbone):
        def __init__(self, cfg: Any, input_shape: ShapeSpec) -> None:
            super().__init__()
            self._out_features = ["patches"]
            self._out_feature_channels = {"patches": 8}
            self._out_feature_strides = {"patches": 16}
            self.layer = torch.nn.Conv2d(input_shape.channels or 3, 8, 16, 16)

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"patches": self.layer(x)}

    backbone = build_backbone(tiny_cfg(**{"MODEL.BACKBONE.NAME": "_Patches"}))
    assert backbone.output_shape() == {"patches": ShapeSpec(channels=8, stride=16)}
    assert backbone(torch.rand(1, 3, 32, 32))["patches"].shape == (1, 8, 2, 2)
