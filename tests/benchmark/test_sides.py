"""The sides: what each one is built with, and that all of them compute the same things."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
import torch

from cardamage.benchmark.samples import make_samples, to_torchvision
from cardamage.benchmark.settings import PLAIN, Settings
from cardamage.benchmark.shared_weights import shared_config
from cardamage.benchmark.sides import own, theirs_torchvision
from cardamage.benchmark.sides.floor import floors_of
from cardamage.benchmark.sides.lineup import own_of, peers_of
from cardamage.modeling import build_model
from cardamage.utils.events import EventStorage

HAS_DETECTRON2 = importlib.util.find_spec("detectron2") is not None


@pytest.fixture
def samples(settings: Settings) -> list[dict[str, Any]]:
    return make_samples(settings, 2)


def test_samples_are_repeated_where_photos_are_few(settings: Settings) -> None:
    made = make_samples(settings, 5)
    assert len(made) == 5
    assert made[0]["image"].shape == (3, 64, 96)
    assert torch.equal(made[4]["image"], made[0]["image"])
    assert not torch.equal(made[1]["image"], made[0]["image"])


def test_torchvision_gets_the_same_objects(samples: list[dict[str, Any]]) -> None:
    images, targets = to_torchvision(samples)
    assert torch.equal((images[0] * 255).round().to(torch.uint8), samples[0]["image"])
    truth = samples[0]["instances"]
    assert torch.equal(targets[0]["boxes"], truth.gt_boxes.tensor)
    assert targets[0]["labels"].tolist() == [1, 2]
    # An outline of 40 x 30 in a photo of 160 x 120 is now 24 x 16.
    areas = targets[0]["masks"].flatten(1).sum(1).tolist()
    assert targets[0]["masks"].shape == (2, 64, 96)
    assert areas == pytest.approx([24 * 16] * 2, rel=0.1)


def test_the_lineup_has_cardamage_first_and_the_floor_apart(
    settings: Settings, samples: list[dict[str, Any]]
) -> None:
    cfg = shared_config(settings, samples)
    named = own_of(own.training_side, settings, samples, cfg, train=True)
    assert next(iter(named)) == "cardamage"
    assert "cardamage, plain float32" in named
    peers = peers_of("training_side", settings, samples, cfg)
    assert "torchvision, float32" in peers
    assert ("Detectron2, float32" in peers) == HAS_DETECTRON2
    assert {role for role, _ in peers.values()} == {"peer"}
    assert {role for role, _ in floors_of(settings, samples, cfg, train=True).values()} == {"floor"}


def test_the_predictor_of_a_side_finds_what_the_plain_model_finds(
    settings: Settings, samples: list[dict[str, Any]]
) -> None:
    cfg = shared_config(settings, samples)
    side = own.inference_side("plain", settings, samples, (*PLAIN, "MODEL.WEIGHTS", cfg.MODEL.WEIGHTS))
    found = side()
    model = build_model(cfg).eval()
    model.load_state_dict(torch.load(cfg.MODEL.WEIGHTS, weights_only=True)["model"])
    expected = model([{"image": sample["image"]} for sample in samples])
    assert side.detections is not None
    assert side.detections(found) == [20, 20]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one["instances"].scores, other["instances"].scores)


def test_a_training_side_trains(settings: Settings, samples: list[dict[str, Any]]) -> None:
    cfg = shared_config(settings, samples)
    weights = ("MODEL.WEIGHTS", cfg.MODEL.WEIGHTS)
    side = own.training_side("plain", settings, samples, (*PLAIN, *weights, "SOLVER.BASE_LR", 0.001))
    assert side.root is not None
    before = {name: value.clone() for name, value in side.root.state_dict().items()}
    side()
    with side.with_loader():
        side()
    side()
    after = side.root.state_dict()
    assert all(torch.isfinite(value).all() for value in after.values())
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert any("mask_head" in name for name in changed)
    assert any("bottom_up" in name for name in changed)


def test_torchvision_of_another_network_is_as_busy(settings: Settings, samples: list[dict[str, Any]]) -> None:
    cfg = shared_config(settings, samples)
    side = theirs_torchvision.inference_side("torchvision", settings, samples, cfg)
    assert side.detections is not None
    assert side.detections(side()) == [20, 20]


def test_detectron2_computes_the_same(settings: Settings, samples: list[dict[str, Any]]) -> None:
    pytest.importorskip("detectron2")
    from cardamage.benchmark.sides import theirs_detectron2

    cfg = shared_config(settings, samples)
    theirs = theirs_detectron2.build_with_weights(cfg)
    weights = torch.load(cfg.MODEL.WEIGHTS, weights_only=True)["model"]
    assert all(torch.equal(theirs.state_dict()[name], value) for name, value in weights.items())
    ours = own.inference_side("plain", settings, samples, (*PLAIN, "MODEL.WEIGHTS", cfg.MODEL.WEIGHTS))
    side = theirs_detectron2.inference_side("Detectron2", settings, samples, cfg)
    for one, other in zip(ours(), side(), strict=True):
        mine, found = one["instances"], other["instances"]
        torch.testing.assert_close(mine.scores, found.scores, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(mine.pred_boxes.tensor, found.pred_boxes.tensor, rtol=1e-4, atol=1e-2)
        assert mine.pred_masks.shape == found.pred_masks.shape == (20, 64, 96)


def test_detectron2_is_given_the_same_ground_truth(settings: Settings, samples: list[dict[str, Any]]) -> None:
    pytest.importorskip("detectron2")
    from detectron2.utils.events import EventStorage as UpstreamStorage

    from cardamage.benchmark.sides import theirs_detectron2

    cfg = shared_config(settings, samples)
    # No sampling: every anchor and proposal counts, so that nothing depends on chance.
    cfg.MODEL.RPN.BATCH_SIZE_PER_IMAGE = cfg.MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE = 100000
    ours = build_model(cfg)
    ours.load_state_dict(torch.load(cfg.MODEL.WEIGHTS, weights_only=True)["model"])
    theirs = theirs_detectron2.build_with_weights(cfg)
    with EventStorage(0):
        mine = ours(samples)
    with UpstreamStorage(0):
        found = theirs(theirs_detectron2.to_detectron2(samples))
    assert mine.keys() == found.keys()
    for name, loss in found.items():
        torch.testing.assert_close(mine[name], loss, rtol=2e-3, atol=1e-4, msg=name)


def test_detectron2_s_step_and_loader_run(settings: Settings, samples: list[dict[str, Any]]) -> None:
    pytest.importorskip("detectron2")
    from cardamage.benchmark.sides import theirs_detectron2

    cfg = shared_config(settings, samples)
    side = theirs_detectron2.training_side("Detectron2", settings, samples, cfg)
    side()
    with side.with_loader():
        side()
    side()
