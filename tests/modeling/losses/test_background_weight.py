"""Background that counts more, or less, against plain loops in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from cardamage.config import get_cfg
from cardamage.config.validate import validate_cfg
from cardamage.errors import ConfigValueError
from cardamage.modeling import build_model
from cardamage.modeling.losses import build_class_loss
from cardamage.utils.compiling import Compiler, compiling
from cardamage.utils.events import EventStorage

Make = Callable[..., Any]
K = 3
KINDS: dict[str, dict[str, Any]] = {
    "softmax": {},
    "sigmoid": {"USE_SIGMOID_CE": True},
    "smoothed": {"LABEL_SMOOTHING": 0.2},
    "focal": {"CLASS_LOSS": "focal"},
    "quality_focal": {"CLASS_LOSS": "quality_focal"},
    "seesaw": {"CLASS_LOSS": "seesaw"},
    "equalization": {"CLASS_LOSS": "equalization"},
}


def _loss(weight: float, **keys: Any) -> Any:
    cfg = get_cfg()
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = K
    cfg.MODEL.ROI_BOX_HEAD.BACKGROUND_WEIGHT = weight
    for key, value in keys.items():
        cfg.MODEL.ROI_BOX_HEAD[key] = value
    return build_class_loss(cfg)


def _inputs(seed: int, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    scores = torch.randn(count, K + 1, generator=draw, dtype=torch.float64) * 2
    scores[: count // 4] = 0.0  # ties
    classes = torch.randint(-1, K + 1, (count,), generator=draw)
    return scores, classes, torch.rand(count, generator=draw, dtype=torch.float64)


def _row(kind: str, scores: list[float], cls: int) -> float:
    if kind == "softmax":
        return math.log(sum(math.exp(s) for s in scores)) - scores[cls]
    return sum(math.log1p(math.exp(-s if c == cls else s)) for c, s in enumerate(scores[:-1]))


@pytest.mark.parametrize("count", [0, 1, 50, 10_000])
@pytest.mark.parametrize("weight", [0.25, 1.0, 3.0])
@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_against_loops(kind: str, weight: float, count: int, fresh_seed: int) -> None:
    scores, classes, _ = _inputs(fresh_seed, count)
    # A smoothing too small to see, so that a loss is built for the weight of 1, too.
    found = _loss(weight, **KINDS[kind], LABEL_SMOOTHING=1e-13).double()(scores, classes)
    total, used = 0.0, 0
    for row, cls in zip(scores.tolist(), classes.tolist(), strict=True):
        if cls >= 0:
            total += _row(kind, row, cls) * (weight if cls == K else 1.0)
            used += 1
    assert found.item() == pytest.approx(total / max(used, 1), rel=1e-9)


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_loss_weighs_its_background(kind: str, fresh_seed: int) -> None:
    scores, classes, quality = _inputs(fresh_seed, 60)

    def of(weight: float, only: torch.Tensor | None = None) -> torch.Tensor:
        module = (
            (_loss(weight, **KINDS[kind]) or _loss(1.0, LABEL_SMOOTHING=1e-13, **KINDS[kind])).double().eval()
        )
        kept = classes if only is None else torch.where(only, classes, -1)
        return module(scores, kept, quality) * module.divisor(kept)

    background = classes == K
    wanted = of(1.0, ~background) + 2.5 * of(1.0, background)
    torch.testing.assert_close(of(2.5), wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", ["softmax", "sigmoid", "focal"])
def test_gradients(kind: str, fresh_seed: int) -> None:
    scores, classes, _ = _inputs(fresh_seed, 12)
    loss = _loss(2.0, **KINDS[kind]).double()
    assert torch.autograd.gradcheck(lambda x: loss(x, classes), scores.requires_grad_())


def test_compiled() -> None:
    scores, classes, _ = _inputs(0, 40)
    loss = _loss(2.0)
    with compiling(Compiler("eager")):
        found = loss(scores.float(), classes)
    torch.testing.assert_close(found, loss(scores.float(), classes))


def test_the_default_is_detectron2s_own() -> None:
    assert _loss(1.0) is None
    assert _loss(1.0, USE_SIGMOID_CE=True) is None


@pytest.mark.parametrize("cascade", [False, True])
def test_models_learn_with_it(tiny_cfg: Make, sample: Make, cascade: bool) -> None:
    options: dict[str, Any] = {"MODEL.ROI_BOX_HEAD.BACKGROUND_WEIGHT": 4.0}
    if cascade:
        options |= {
            "MODEL.ROI_HEADS.NAME": "CascadeROIHeads",
            "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": True,
        }
    found = []
    for more in (options, {**options, "MODEL.ROI_BOX_HEAD.BACKGROUND_WEIGHT": 1.0}):
        torch.manual_seed(0)
        model = build_model(tiny_cfg(**more)).train()
        torch.manual_seed(1)
        with EventStorage():
            losses = model([sample(0, 2), sample(1, 0)])
        sum(losses.values()).backward()
        found.append((losses, model.state_dict().keys()))
    heavy, plain = found
    assert heavy[1] == plain[1]
    for name, loss in plain[0].items():
        if "loss_cls" in name:
            assert heavy[0][name] > loss
        else:
            torch.testing.assert_close(heavy[0][name], loss)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_bad_value_is_refused(value: float) -> None:
    cfg = get_cfg()
    cfg.MODEL.ROI_BOX_HEAD.BACKGROUND_WEIGHT = value
    with pytest.raises(ConfigValueError, match="BACKGROUND_WEIGHT is .*; it must be above 0"):
        validate_cfg(cfg)


def test_the_federated_loss_does_not_know_it() -> None:
    cfg = get_cfg()
    cfg.MODEL.ROI_BOX_HEAD.BACKGROUND_WEIGHT = 2.0
    cfg.MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE = cfg.MODEL.ROI_BOX_HEAD.USE_FED_LOSS = True
    with pytest.raises(ConfigValueError, match="BACKGROUND_WEIGHT is 2.0, which USE_FED_LOSS doesn't know"):
        validate_cfg(cfg)
