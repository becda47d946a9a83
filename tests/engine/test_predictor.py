"""Whose class names a predictor has."""

from __future__ import annotations

from cardamage.config import get_cfg
from cardamage.data import MetadataCatalog
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
