"""Norms, convolutions and ROIAlign do what their torch counterparts do."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cardamage.layers import (
    CNNBlockBase,
    Conv2d,
    DeformConv,
    DepthwiseSeparableConv2d,
    FrozenBatchNorm2d,
    ModulatedDeformConv,
    ROIAlign,
    ShapeSpec,
    cat,
    cross_entropy,
    empty_input_loss_func_wrapper,
    get_norm,
    move_device_like,
    shapes_to_tensor,
)


def _trained_norm(seed: int) -> nn.BatchNorm2d:
    generator = torch.Generator().manual_seed(seed)
    norm = nn.BatchNorm2d(6)
    for tensor in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
        assert tensor is not None
        tensor.copy_(torch.rand(6, generator=generator) + 0.1)
    norm.num_batches_tracked = torch.tensor(3)
    return norm.eval()


@pytest.mark.parametrize("seed", [0, 1])
def test_frozen_norm_equals_a_batch_norm_at_rest(seed: int) -> None:
    norm = _trained_norm(seed)
    frozen = FrozenBatchNorm2d.convert_frozen_batchnorm(nn.Sequential(nn.Sequential(norm)))
    assert isinstance(frozen, nn.Sequential)
    assert not list(frozen.parameters())
    assert set(frozen.state_dict()) == {f"0.0.{name}" for name in norm.state_dict()}
    x = torch.randn(2, 6, 5, 4)
    torch.testing.assert_close(frozen(x), norm(x))
    torch.testing.assert_close(frozen(x.clone().requires_grad_()), norm(x))
    back = FrozenBatchNorm2d.convert_frozenbatchnorm2d_to_batchnorm2d(frozen).eval()
    torch.testing.assert_close(back(x), norm(x))
    assert len(list(back.parameters())) == 2
    assert back.state_dict()["0.0.num_batches_tracked"] == norm.num_batches_tracked == 3


def test_frozen_norm_begins_as_identity_and_reads_old_weights() -> None:
    frozen = FrozenBatchNorm2d(3)
    x = torch.randn(1, 3, 2, 2)
    torch.testing.assert_close(frozen(x), x)
    assert frozen(x.half().requires_grad_()).dtype == torch.float16
    frozen.load_state_dict({"weight": torch.full((3,), 2.0), "bias": torch.ones(3)})
    torch.testing.assert_close(frozen(x), 2 * x / (1 + 1e-5) ** 0.5 + 1)
    assert "num_features=3" in repr(frozen)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("BN", nn.BatchNorm2d),
        ("SyncBN", nn.SyncBatchNorm),
        ("FrozenBN", FrozenBatchNorm2d),
        ("GN", nn.GroupNorm),
        (nn.InstanceNorm2d, nn.InstanceNorm2d),
    ],
)
def test_norms_by_name(name: str, kind: type[nn.Module]) -> None:
    assert isinstance(get_norm(name, 64), kind)


def test_no_norm_unknown_norm_and_layer_norm() -> None:
    assert get_norm("", 4) is None
    assert get_norm(None, 4) is None
    with pytest.raises(ValueError, match="no normalization 'Bn': use one of BN"):
        get_norm("Bn", 4)
    norm = get_norm("LN", 5)
    assert norm is not None
    x = torch.randn(2, 5, 3, 4)
    expected = F.layer_norm(x.permute(0, 2, 3, 1), (5,), eps=1e-6).permute(0, 3, 1, 2)
    torch.testing.assert_close(norm(x), expected)


def test_conv_runs_norm_then_activation() -> None:
    conv = Conv2d(3, 6, 3, padding=1, bias=False, norm=_trained_norm(0), activation=F.relu).eval()
    plain = nn.Conv2d(3, 6, 3, padding=1, bias=False)
    plain.load_state_dict({"weight": conv.weight})
    x = torch.randn(2, 3, 7, 5)
    torch.testing.assert_close(conv(x), F.relu(_trained_norm(0)(plain(x))))
    assert conv(x[:0]).shape == (0, 6, 7, 5)
    with pytest.raises(ValueError, match="SyncBN can't train on an empty batch"):
        Conv2d(3, 6, 1, norm=nn.SyncBatchNorm(6)).train()(x[:0])


def test_freezing_a_block() -> None:
    block = CNNBlockBase(3, 6, 1)
    block.conv = Conv2d(3, 6, 1, norm=nn.BatchNorm2d(6))
    assert block.freeze() is block
    assert isinstance(block.conv.norm, FrozenBatchNorm2d)
    assert not any(parameter.requires_grad for parameter in block.parameters())


def test_small_functions() -> None:
    one = torch.ones(2)
    assert cat([one]) is one
    assert cat([one, one]).shape == (4,)
    logits = torch.zeros(0, 3, requires_grad=True)
    loss = cross_entropy(logits, torch.zeros(0, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0
    assert ShapeSpec(channels=3, stride=4) == ShapeSpec(3, None, None, 4)


def test_roi_align_samples_a_ramp_at_cell_centres() -> None:
    ramp = torch.arange(16.0).expand(1, 1, 16, 16) + 0.5
    align = ROIAlign((2, 4), 0.5, 2)
    cut = align(ramp, torch.tensor([[0, 8.0, 8.0, 24.0, 24.0]]))
    torch.testing.assert_close(cut[0, 0], torch.tensor([5.0, 7, 9, 11]).expand(2, 4))
    assert align(ramp, torch.zeros(0, 5)).shape == (0, 1, 2, 4)
    assert "aligned=True" in repr(align)


@pytest.mark.parametrize("groups", [1, 2])
def test_deformable_layers_without_offsets_are_convolutions(groups: int) -> None:
    x = torch.randn(2, 4, 9, 8)
    offset = torch.zeros(2, 2 * groups * 9, 9, 8)
    layer = DeformConv(4, 6, 3, padding=1, deformable_groups=groups, activation=F.relu)
    torch.testing.assert_close(layer(x, offset), F.relu(F.conv2d(x, layer.weight, padding=1)))
    weighted = ModulatedDeformConv(4, 6, 3, padding=1, deformable_groups=groups)
    mask = torch.full((2, groups * 9, 9, 8), 0.5)
    torch.testing.assert_close(weighted(x, offset, mask), F.conv2d(x, weighted.weight, padding=1) / 2)
    assert set(weighted.state_dict()) == {"weight", "bias"}
    assert set(layer.state_dict()) == {"weight"}
    assert layer(x[:0], offset[:0]).shape == (0, 6, 9, 8)
    with pytest.raises(ValueError, match="channels, got 1"):
        layer(x, offset[:, :1])


@pytest.mark.parametrize("modulated", [False, True])
def test_deformable_layers_train_under_autocast(modulated: bool) -> None:
    torch.manual_seed(0)
    layer: nn.Module = (ModulatedDeformConv if modulated else DeformConv)(4, 6, 3, padding=1)
    points = [torch.randn(2, 18, 7, 5), *([torch.rand(2, 9, 7, 5)] if modulated else [])]
    x = torch.randn(2, 4, 7, 5).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(x, *(p.bfloat16() for p in points))
    expected = layer(x.float(), *(p.bfloat16().float() for p in points))
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, rtol=2**-8, atol=0)
    found.float().sum().backward()
    assert layer.get_parameter("weight").grad is not None


@pytest.mark.parametrize("kind", [DeformConv, ModulatedDeformConv])
def test_offsets_move_the_samples(kind: type[nn.Module]) -> None:
    """Offsets of one whole pixel to the right and two down sample the picture that is moved so."""
    x = torch.randn(1, 4, 12, 10)
    layer = kind(4, 6, (3, 5), 1, (1, 2), 1, 2, 1, False)
    offset = torch.zeros(1, 2 * 15, 12, 10)
    offset[:, 0::2], offset[:, 1::2] = 2.0, 1.0
    moved = F.pad(x, (0, 1, 0, 2))[:, :, 2:, 1:]
    expected = F.conv2d(moved, layer.weight, padding=(1, 2), groups=2)
    inputs = (x, offset) if kind is DeformConv else (x, offset, torch.ones(1, 15, 12, 10))
    # Near the borders, zeros come from beyond the picture or from beyond the moved one.
    inner = (slice(None), slice(None), slice(1, -3), slice(2, -3))
    torch.testing.assert_close(layer(*inputs)[inner], expected[inner], rtol=1e-4, atol=1e-4)


def _sample(plane: torch.Tensor, y: float, x: float) -> float:
    """Interpolate between a plane's four nearest cells, zeros around it."""
    top, left = math.floor(y), math.floor(x)
    value = 0.0
    for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
        if 0 <= row < plane.shape[0] and 0 <= column < plane.shape[1]:
            value += float(plane[row, column]) * (1 - abs(y - row)) * (1 - abs(x - column))
    return value


@pytest.mark.parametrize("kind", [DeformConv, ModulatedDeformConv])
def test_random_offsets_equal_a_loop_in_float64(kind: type[nn.Module]) -> None:
    generator = torch.Generator().manual_seed(0)
    x, offset = (torch.randn(1, c, 4, 5, generator=generator) for c in (4, 2 * 2 * 9))
    weights = torch.rand(1, 2 * 9, 4, 5, generator=generator)
    layer = kind(4, 2, 3, padding=1, deformable_groups=2, bias=False)
    found = layer(x, offset) if kind is DeformConv else layer(x, offset, weights)
    expected = torch.zeros(2, 4, 5, dtype=torch.float64)
    for channel, place, row, column in itertools.product(range(4), range(9), range(4), range(5)):
        group = channel // 2
        dy, dx = offset[0, 18 * group + 2 * place : 18 * group + 2 * place + 2, row, column].tolist()
        value = _sample(x[0, channel], row + place // 3 - 1 + dy, column + place % 3 - 1 + dx)
        if kind is ModulatedDeformConv:
            value *= float(weights[0, 9 * group + place, row, column])
        expected[:, row, column] += layer.weight[:, channel, place // 3, place % 3].double() * value
    torch.testing.assert_close(found[0].double(), expected, rtol=1e-4, atol=1e-5)


def test_deformable_layers_describe_themselves() -> None:
    assert repr(DeformConv(3, 10, 3, padding=1, deformable_groups=2)) == (
        "DeformConv(in_channels=3, out_channels=10, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), "
        "dilation=(1, 1), groups=1, deformable_groups=2, bias=False)"
    )
    described = repr(ModulatedDeformConv(4, 8, 1, 2, 0, 1, 4, norm=nn.GroupNorm(2, 8)))
    assert "stride=2, padding=0, dilation=1, groups=4, deformable_groups=1, bias=True" in described
    assert "(norm): GroupNorm" in described


def test_separable_convolution_is_two_convolutions() -> None:
    x = torch.randn(2, 6, 9, 8)
    block = DepthwiseSeparableConv2d(6, 10, 5, 2, norm1="BN", activation1=F.relu, activation2=F.relu).eval()
    depthwise, pointwise = block.depthwise, block.pointwise
    first = torch.cat(
        [F.conv2d(x[:, i : i + 1], depthwise.weight[i : i + 1], padding=2) for i in range(6)], 1
    )
    first = F.relu(first / (1 + 1e-5) ** 0.5)
    second = torch.einsum("nchw,oc->nohw", first, pointwise.weight[..., 0, 0])
    torch.testing.assert_close(block(x), F.relu(second + pointwise.bias[:, None, None]), rtol=1e-4, atol=1e-4)
    assert depthwise.bias is None
    plain = DepthwiseSeparableConv2d(6, 10, dilation=2, padding=2)
    assert plain(x).shape == (2, 10, 9, 8)
    assert set(plain.state_dict()) == {
        f"{n}.{p}" for n in ("depthwise", "pointwise") for p in ("weight", "bias")
    }


def test_losses_of_nothing_are_zero_with_a_gradient() -> None:
    loss = empty_input_loss_func_wrapper(F.l1_loss)
    nothing = torch.zeros(0, 4, requires_grad=True)
    loss(nothing, torch.zeros(0, 4)).backward()
    assert nothing.grad is not None
    assert loss(torch.ones(2), torch.zeros(2), reduction="sum").item() == 2
    assert loss(torch.zeros(0), torch.zeros(0), reduction="none").shape == (0,)


def test_sizes_become_a_vector_in_a_trace_too() -> None:
    assert torch.equal(shapes_to_tensor([3, 4]), torch.tensor([3, 4]))
    assert shapes_to_tensor([], torch.device("cpu")).shape == (0,)
    traced = torch.jit.trace(lambda x: shapes_to_tensor(x.shape), torch.zeros(2, 3))
    assert traced(torch.zeros(5, 7)).tolist() == [5, 7]
    assert move_device_like(torch.ones(1), torch.zeros(1)).device == torch.device("cpu")


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_roi_align_places_boxes_to_the_pixel_in_half_precision(dtype: torch.dtype, autocast: bool) -> None:
    # Columns 1100 and on are one; bfloat16 holds only multiples of 8 there.
    features = (torch.arange(1200) >= 1100).to(dtype).expand(1, 1, 4, 1200)
    rois = torch.tensor([[0, 1098.0, 0.0, 1102.0, 4.0]])
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        found = ROIAlign((1, 2), 1.0, 1)(features, rois)
    assert found.dtype == dtype
    assert found.flatten().tolist() == [0.0, 1.0]
