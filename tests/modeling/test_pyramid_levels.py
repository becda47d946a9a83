"""Pyramids of which only some levels are computed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cardamage.config import get_cfg, validate_cfg
from cardamage.errors import ConfigValueError
from cardamage.layers import ShapeSpec
from cardamage.layers.fused_conv import has_fused_kernels
from cardamage.modeling import build_backbone, build_model
from cardamage.modeling.fusion import FastInference
from cardamage.modeling.fusion.plan import plan_fusion
from cardamage.utils.events import EventStorage

Make = Callable[..., Any]
CPU = torch.device("cpu")
BASES = Path(__file__).resolve().parents[2] / "configs/bases"

P2 = {
    "MODEL.FPN.OUT_FEATURES": ["p2"],
    "MODEL.RPN.IN_FEATURES": ["p2"],
    "MODEL.ROI_HEADS.IN_FEATURES": ["p2"],
    "MODEL.ANCHOR_GENERATOR.SIZES": [[8, 16, 32]],
}
P2_P3 = {
    "MODEL.FPN.OUT_FEATURES": ["p2", "p3"],
    "MODEL.RPN.IN_FEATURES": ["p2", "p3"],
    "MODEL.ROI_HEADS.IN_FEATURES": ["p2", "p3"],
    "MODEL.ANCHOR_GENERATOR.SIZES": [[8], [16]],
    "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS": [[0.5, 1.0], [1.0, 2.0]],
}


@pytest.mark.parametrize(
    ("wanted", "laterals", "outputs"),
    [
        ([], [2, 3, 4, 5], [2, 3, 4, 5]),
        (["p2"], [2, 3, 4, 5], [2]),
        (["p2", "p3"], [2, 3, 4, 5], [2, 3]),
        (["p4"], [4, 5], [4]),
        (["p3", "p6"], [3, 4, 5], [3, 5]),
        (["p6"], [5], [5]),
    ],
)
@pytest.mark.parametrize("fuse", ["sum", "avg"])
def test_levels_are_those_of_the_whole_pyramid(
    tiny_cfg: Make, wanted: list[str], laterals: list[int], outputs: list[int], fuse: str
) -> None:
    torch.manual_seed(0)
    common = {"MODEL.FPN.FUSE_TYPE": fuse, "MODEL.FPN.NORM": "GN"}
    whole = build_backbone(tiny_cfg(**common)).eval()
    part = build_backbone(tiny_cfg(**common, **{"MODEL.FPN.OUT_FEATURES": wanted})).eval()
    kept = {n.split(".")[0] for n in part.state_dict() if n.startswith("fpn_")}
    assert kept == {f"fpn_lateral{n}" for n in laterals} | {f"fpn_output{n}" for n in outputs}
    part.load_state_dict({n: v for n, v in whole.state_dict().items() if n in part.state_dict()})
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        expected, found = whole(image), part(image)
        with plan_fusion(part, torch.float32, CPU).applied():
            fused = part(image)
    assert list(found) == list(fused) == (wanted or list(expected))
    for name, value in found.items():
        assert torch.equal(value, expected[name])
        assert (fused[name] - value).norm() < 1e-4 * value.norm()
        assert part.output_shape()[name] == ShapeSpec(channels=32, stride=2 ** int(name[1:]))
    assert part.size_divisibility == 32


@pytest.mark.parametrize("options", [P2, P2_P3], ids=["p2", "p2_p3"])
def test_every_weight_learns(tiny_cfg: Make, sample: Make, options: dict[str, Any]) -> None:
    """Processes that train together wait for a gradient of each."""
    torch.manual_seed(0)
    model = build_model(tiny_cfg(**options))
    with EventStorage(0):
        sum(model([sample(0, 4), sample(1, 3, (64, 100))]).values()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("options", [P2, P2_P3], ids=["p2", "p2_p3"])
def test_objects_are_found(tiny_cfg: Make, sample: Make, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = build_model(tiny_cfg(**options, **{"MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.0})).eval()
    found = model([sample(0), sample(1, 0, (70, 110))])
    assert all(len(one["instances"]) > 0 for one in found)
    dtype = torch.bfloat16 if has_fused_kernels(torch.bfloat16) else torch.float32
    fast = FastInference(model, dtype, CPU)
    assert all(len(one["instances"]) > 0 for one in fast([sample(0)]))
    assert not fast.broken


def test_the_base_for_small_objects_is_complete() -> None:
    cfg = get_cfg()
    cfg.merge_from_file(str(BASES.parent / "Base-RCNN-FPN.yaml"))
    cfg.merge_from_file(str(BASES / "small-objects.yaml"))
    validate_cfg(cfg)
    cfg.MODEL.DEVICE = "meta"
    with torch.device("meta"):
        model: Any = build_model(cfg)
    assert list(model.backbone.output_shape()) == ["p2"]
    generator = model.proposal_generator.anchor_generator
    assert generator.strides == [4]
    assert generator.num_anchors == [15]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"MODEL.FPN.OUT_FEATURES": ["res2"]}, r"OUT_FEATURES is \['res2'\]; it must hold names of levels"),
        (
            {"MODEL.FPN.OUT_FEATURES": ["p2"]},
            r"MODEL.RPN.IN_FEATURES is \['p2', .*'p6'\]; with MODEL.FPN.OUT_FEATURES \['p2'\] it must name",
        ),
        (
            {**P2, "MODEL.ROI_HEADS.IN_FEATURES": ["p2", "p3"]},
            r"MODEL.ROI_HEADS.IN_FEATURES is \['p2', 'p3'\]; with MODEL.FPN.OUT_FEATURES \['p2'\]",
        ),
        (
            {**P2, "MODEL.ANCHOR_GENERATOR.SIZES": [[16], [32], [64], [128], [256]]},
            r"SIZES is \[\[16\], .*; with MODEL.RPN.IN_FEATURES \['p2'\] it must hold one list for",
        ),
        (
            {**P2_P3, "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS": [[1.0], [1.0], [1.0]]},
            r"ASPECT_RATIOS is .* it must hold one list for all levels or 2, one for each",
        ),
        (
            {**P2, "MODEL.FPN.OUT_FEATURES": ["p2", "p4"]},
            r"MODEL.RPN.IN_FEATURES and MODEL.ROI_HEADS.IN_FEATURES don't name p4, so leave that out",
        ),
    ],
)
def test_levels_that_do_not_go_together_are_refused(
    tiny_cfg: Make, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigValueError, match=words):
        validate_cfg(tiny_cfg(**options))


def test_a_model_of_proposals_alone_has_no_heads_to_read_levels(tiny_cfg: Make) -> None:
    options = {**P2, "MODEL.META_ARCHITECTURE": "ProposalNetwork", "MODEL.ROI_HEADS.IN_FEATURES": ["res4"]}
    validate_cfg(tiny_cfg(**options))


def test_a_level_that_the_pyramid_lacks_is_refused(tiny_cfg: Make) -> None:
    options = {"MODEL.FPN.IN_FEATURES": ["res3", "res4", "res5"], "MODEL.FPN.OUT_FEATURES": ["p2"]}
    with pytest.raises(
        ConfigValueError, match=r"\['p2'\], but must name some of .*\['p3', 'p4', 'p5', 'p6'\]"
    ):
        build_backbone(tiny_cfg(**options))
