"""Whose class names a predictor has, and how it prepares pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from cardamage.config import get_cfg
from cardamage.data import MetadataCatalog
from cardamage.data import transforms as T
from cardamage.engine import DefaultPredictor
from cardamage.engine.predictor import _metadata
from cardamage.engine.testing import test_datasets
from cardamage.errors import ConfigValueError
from cardamage.evaluation import DatasetEvaluator
from cardamage.modeling import GeneralizedRCNNWithTTA, build_model
from cardamage.modeling.fusion import FastInference

test_datasets.__test__ = False  # type: ignore[attr-defined]


def _tiny_cfg() -> Any:
    cfg = get_cfg()
    cfg.MODEL.DEVICE, cfg.MODEL.WEIGHTS = "cpu", ""
    cfg.MODEL.BACKBONE.NAME = "build_resnet_fpn_backbone"
    cfg.MODEL.RESNETS.DEPTH, cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 18, 64
    cfg.MODEL.RESNETS.OUT_FEATURES = cfg.MODEL.FPN.IN_FEATURES = ["res2", "res3", "res4", "res5"]
    cfg.MODEL.FPN.OUT_CHANNELS, cfg.MODEL.ROI_BOX_HEAD.FC_DIM, cfg.MODEL.ROI_BOX_HEAD.NUM_FC = 32, 32, 1
    cfg.MODEL.ROI_BOX_HEAD.NAME, cfg.MODEL.ROI_HEADS.NAME = "FastRCNNConvFCHead", "StandardROIHeads"
    cfg.MODEL.ANCHOR_GENERATOR.SIZES = [[16], [32], [64], [128], [256]]
    cfg.MODEL.RPN.IN_FEATURES = ["p2", "p3", "p4", "p5", "p6"]
    cfg.MODEL.ROI_HEADS.IN_FEATURES = ["p2", "p3", "p4", "p5"]
    cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = 0.0
    cfg.INPUT.MIN_SIZE_TEST = 64
    return cfg


def test_the_model_runs_as_the_config_says() -> None:
    cfg = _tiny_cfg()
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    cfg.TEST.PRECISION = "float32"
    predictor = DefaultPredictor(cfg)
    fast = predictor.fast_model
    assert isinstance(fast, FastInference)
    assert predictor.fast_model is fast
    assert fast.module is predictor.model
    found = predictor(image)["instances"]
    expected = predictor.model([predictor.preprocess(image)])[0]["instances"]
    assert not fast.broken
    assert len(found) > 0
    assert np.allclose(found.scores, expected.scores, atol=1e-5)
    predictor.model = build_model(cfg).eval()
    assert predictor.fast_model.module is predictor.model
    cfg.TEST.FUSE = False
    plain = DefaultPredictor(cfg)
    assert plain.fast_model is plain.model


@pytest.mark.parametrize("precision", ["float16", "fp8"])
def test_a_precision_that_can_not_be_is_refused_before_the_first_picture(precision: str) -> None:
    cfg = _tiny_cfg()
    cfg.TEST.PRECISION = precision
    with pytest.raises(ConfigValueError, match=f"TEST.PRECISION is .?{precision}"):
        DefaultPredictor(cfg)


def test_evaluation_runs_as_the_config_says() -> None:
    class Seen(DatasetEvaluator):
        def process(self, inputs: Any, outputs: Any) -> None:
            prepared.append("forward" in model.backbone.bottom_up.stem.__dict__)
            self.results = outputs

        def evaluate(self) -> dict[str, Any]:
            return {"bbox": {"AP": 1.0}}

    class Builder:
        @staticmethod
        def build_test_loader(cfg: Any, name: str) -> list[Any]:
            return [[{"image": torch.zeros(3, 64, 64, dtype=torch.uint8)}]]

    cfg = _tiny_cfg()
    cfg.DATASETS.TEST = ("one",)
    calls: list[bool] = []
    prepared: list[bool] = []
    model = build_model(cfg).train()
    model.backbone.register_forward_pre_hook(
        lambda module, args: calls.append("forward" in module.bottom_up.stem.__dict__)
    )
    assert test_datasets(Builder, cfg, model, Seen()) == {"bbox": {"AP": 1.0}}
    assert calls == [True]
    assert prepared == [False]
    assert model.training
    cfg.TEST.FUSE, cfg.TEST.PRECISION = False, "float32"
    test_datasets(Builder, cfg, model, Seen())
    assert calls == [True, False]


def test_metadata_is_the_test_sets_unless_the_weights_know_other_classes() -> None:
    cfg = get_cfg()
    assert _metadata(cfg, ["dent"]).thing_classes == ["dent"]
    cfg.DATASETS.TEST = ("my_val",)
    known = MetadataCatalog.get("my_val")
    try:
        assert _metadata(cfg, None) is known
        assert _metadata(cfg, ["dent"]).thing_classes == ["dent"]
        known.set(thing_classes=["dent"], thing_colors=[(1, 2, 3)])
        assert _metadata(cfg, None) is known
        assert _metadata(cfg, ["dent"]) is known
        assert _metadata(cfg, ["scratch", "dent"]).thing_classes == ["scratch", "dent"]
        assert known.thing_classes == ["dent"]
    finally:
        MetadataCatalog.remove("my_val")


@pytest.mark.parametrize("format", ["BGR", "RGB"])
@pytest.mark.parametrize(("resize", "least", "most"), [("exact", 0, 0), ("native", 1, 2)])
def test_pictures_are_resized_as_the_config_says(format: str, resize: str, least: int, most: int) -> None:
    predictor = DefaultPredictor.__new__(DefaultPredictor)  # without a model
    predictor.cfg = get_cfg()
    predictor.cfg.INPUT.RESIZE, predictor.input_format = resize, format
    predictor.aug = T.ResizeShortestEdge(50, 1333)
    image = np.random.default_rng(0).integers(0, 256, (70, 110, 3)).astype(np.uint8)
    sample = predictor.preprocess(image)
    assert (sample["height"], sample["width"]) == (70, 110)
    expected = T.ResizeTransform(70, 110, 50, 79).apply_image(image)
    expected = expected if format == "BGR" else expected[:, :, ::-1]
    difference = np.abs(sample["image"].numpy().astype(int) - expected.transpose(2, 0, 1))
    assert least <= difference.max() <= most


def test_several_views_of_whole_pictures_are_looked_at_where_the_config_asks_for_it() -> None:
    cfg = _tiny_cfg()
    cfg.TEST.AUG.ENABLED, cfg.TEST.AUG.MIN_SIZES, cfg.TEST.PRECISION = True, (48, 64), "float32"
    cfg.MODEL.ROI_HEADS.NUM_CLASSES, cfg.DATASETS.TEST = 3, ("views_val",)
    MetadataCatalog.get("views_val").thing_classes = ["left_door", "hood", "right_door"]
    try:
        predictor = DefaultPredictor(cfg)
        rng = np.random.default_rng(0)
        images = [
            rng.integers(0, 256, (h, w, 3)).astype(np.uint8) for h, w in ((90, 120), (70, 60), (90, 120))
        ]
        assert predictor.preprocess(images[0])["image"].shape == (3, 90, 120)
        augmented = GeneralizedRCNNWithTTA(cfg, predictor.model)
        assert augmented._exchange.tolist() == [2, 1, 0]
        for image, output in zip(images, predictor(images), strict=True):
            expected = augmented([predictor.preprocess(image)])[0]["instances"]
            assert len(output["instances"]) == len(expected) > 0
            assert np.allclose(output["instances"].scores, expected.scores, atol=1e-4)
        # Scripts put a model of views in place by themselves; it isn't wrapped again.
        predictor.model = augmented
        assert predictor.fast_model.module is augmented
    finally:
        MetadataCatalog.remove("views_val")
    cfg.INPUT.RESIZE = "exact"
    assert DefaultPredictor(cfg).preprocess(images[0])["image"].shape == (3, 64, 85)
