"""Whose class names a predictor has, and how it prepares pictures."""

from __future__ import annotations

import numpy as np
import pytest

from cardamage.config import get_cfg
from cardamage.data import MetadataCatalog
from cardamage.data import transforms as T
from cardamage.engine import DefaultPredictor
from cardamage.engine.predictor import _metadata


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
