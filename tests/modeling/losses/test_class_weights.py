from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cardamage.catalog import DatasetCatalog, MetadataCatalog
from cardamage.catalog.consistency import get_class_instance_counts
from cardamage.checkpoint import DetectionCheckpointer
from cardamage.data import prepare_datasets
from cardamage.errors import ConfigValueError, DataError
from cardamage.modeling import build_model
from cardamage.modeling.losses.class_weights import weights_of_counts
from cardamage.utils.events import EventStorage

Make = Callable[..., Any]
NAMES = ["_weighted_a", "_weighted_b"]


def test_weights_by_hand() -> None:
    # Objects in all: 20; with one over the count every class adds the same: 20 / 2 classes / count.
    assert weights_of_counts([16, 4], "inverse").tolist() == pytest.approx([0.625, 2.5])
    # Effective numbers with beta 0.5: 1 + 1/2 + 1/4 = 1.75 of three, 1 of one.
    common, rare = 1 / 1.75, 1.0
    scale = 4 / (3 * common + rare)
    found = weights_of_counts([3, 1], "effective", 0.5)
    assert found.tolist() == pytest.approx([common * scale, rare * scale])


@pytest.mark.parametrize("count", [1, 2, 80])
@pytest.mark.parametrize("kind", ["inverse", "effective"])
def test_weights_against_plain_loops(rng: np.random.Generator, kind: str, count: int) -> None:
    counts = rng.integers(0, 5000, count).tolist()
    counts[0] = 7
    beta = float(rng.uniform(0.5, 0.99999))
    raw = []
    for n in counts:
        n = max(n, 1)
        raw.append(1 / n if kind == "inverse" else (1 - beta) / (1 - beta**n))
    mean = sum(n * w for n, w in zip(counts, raw, strict=True)) / sum(counts)
    found = weights_of_counts(counts, kind, beta)
    assert found.tolist() == pytest.approx([w / mean for w in raw], rel=1e-5)


def test_bounds_of_the_effective_number() -> None:
    # With 0 one object is as many as a thousand; near 1 the number is the count itself.
    assert weights_of_counts([5, 1000, 0], "effective", 0.0).tolist() == [1.0, 1.0, 1.0]
    nearly = weights_of_counts([5, 1000], "effective", 1 - 1e-9)
    torch.testing.assert_close(nearly, weights_of_counts([5, 1000], "inverse"), rtol=1e-4, atol=0)
    assert weights_of_counts([0, 0], "inverse").tolist() == [1.0, 1.0]


def _records(categories: list[list[int]], crowd: int = 0) -> list[dict[str, Any]]:
    box = {"bbox": [0.0, 0.0, 9.0, 9.0], "bbox_mode": 0, "segmentation": [[0.0, 0, 9, 0, 9, 9]]}
    return [
        {
            "file_name": f"{number}.jpg",
            "height": 20,
            "width": 20,
            "annotations": [{**box, "category_id": c, "iscrowd": int(c == crowd)} for c in found],
        }
        for number, found in enumerate(categories)
    ]


@pytest.fixture
def reads() -> Iterator[list[str]]:
    """Two training sets, the second with its classes in another order, and the names that were read."""
    calls: list[str] = []
    sets = {NAMES[0]: ([[0, 0, 2], [0], []], ["dent", "scratch", "glass"])}
    sets[NAMES[1]] = ([[0, 1], [1, 1, 2]], ["glass", "dent", "scratch"])
    for name, (categories, classes) in sets.items():

        def load(name: str = name, categories: Any = categories) -> list[dict[str, Any]]:
            calls.append(name)
            return _records(categories, crowd=-1)

        DatasetCatalog.register(name, load)
        MetadataCatalog.get(name).thing_classes = classes
    yield calls
    for name in NAMES:
        DatasetCatalog.pop(name, None)
        MetadataCatalog.pop(name, None)


def _cfg(tiny_cfg: Make, **options: Any) -> Any:
    options = {"DATASETS.TRAIN": tuple(NAMES), "MODEL.ROI_BOX_HEAD.CLASS_WEIGHTS": "inverse", **options}
    return tiny_cfg(**{"INPUT.CHECK_IMAGES": False, **options})


def test_counts_are_made_while_the_data_is_read(
    tiny_cfg: Make, sample: Make, reads: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    cfg = _cfg(tiny_cfg, **{"MODEL.ROI_HEADS.NAME": "CascadeROIHeads"})
    cfg.MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG = True
    assert prepare_datasets(cfg) == ["dent", "scratch", "glass"]
    assert sorted(reads) == NAMES
    # dent 3 + 3, scratch 0 + 1, glass 1 + 1
    assert get_class_instance_counts(NAMES) == [6, 1, 2]
    with caplog.at_level(logging.INFO):
        model = build_model(cfg)
    assert sorted(reads) == NAMES
    text = (
        "Weight of each class in the loss (number of its objects): dent 0.5 (6), scratch 3 (1), glass 1.5 (2)"
    )
    assert [record.getMessage() for record in caplog.records].count(text) == 1
    for predictor in model.roi_heads.box_predictor:
        assert predictor.class_loss.class_weights.tolist() == pytest.approx([0.5, 3.0, 1.5, 1.0])
    with EventStorage(0):
        assert model([sample(1, 2), sample(2, 0)])["loss_cls_stage0"].isfinite()


def test_they_are_counted_anew_for_other_data(tiny_cfg: Make, reads: list[str]) -> None:
    prepare_datasets(_cfg(tiny_cfg))
    prepare_datasets(_cfg(tiny_cfg, **{"DATASETS.TRAIN": (NAMES[1],)}))
    assert get_class_instance_counts(NAMES[1:]) == [1, 3, 1]
    assert get_class_instance_counts(["_nobody_knows"]) is None
    assert get_class_instance_counts([]) is None
    MetadataCatalog.get(NAMES[0]).replace(class_instance_count=[1, 2])
    with pytest.raises(DataError, match="different numbers of classes"):
        get_class_instance_counts(NAMES)


def test_crowds_are_no_objects_and_without_the_key_nothing_is_counted(tiny_cfg: Make) -> None:
    DatasetCatalog.register("_weighted_c", lambda: _records([[0, 1, 1], [2]], crowd=1))
    MetadataCatalog.get("_weighted_c").thing_classes = ["dent", "scratch", "glass"]
    try:
        options: dict[str, Any] = {"DATASETS.TRAIN": ("_weighted_c",)}
        prepare_datasets(_cfg(tiny_cfg, **options, **{"MODEL.ROI_BOX_HEAD.CLASS_WEIGHTS": "none"}))
        assert get_class_instance_counts(["_weighted_c"]) is None
        prepare_datasets(_cfg(tiny_cfg, **options))
        assert get_class_instance_counts(["_weighted_c"]) == [1, 0, 1]
    finally:
        DatasetCatalog.pop("_weighted_c")
        MetadataCatalog.pop("_weighted_c")


def test_without_data_the_weights_come_from_the_checkpoint(
    tiny_cfg: Make, sample: Make, reads: list[str], tmp_path: Path, storage: EventStorage
) -> None:
    cfg = _cfg(tiny_cfg)
    prepare_datasets(cfg)
    trained = build_model(cfg)
    DetectionCheckpointer(trained, str(tmp_path)).save("model")
    for name in NAMES:
        MetadataCatalog.pop(name)
    reads.clear()
    model = build_model(cfg)
    with pytest.raises(ConfigValueError, match="CLASS_WEIGHTS is 'inverse', but nobody has counted"):
        model([sample(1, 2)])
    model.eval()
    with torch.no_grad():
        assert len(model([sample(1, 2)])) == 1
    DetectionCheckpointer(model).load(str(tmp_path / "model.pth"), strict=True)
    assert model.roi_heads.box_predictor.class_loss.class_weights.tolist() == [0.5, 3.0, 1.5, 1.0]
    assert model.train()([sample(1, 2)])["loss_cls"].isfinite()
    assert reads == []


def test_the_data_goes_before_the_checkpoint(
    tiny_cfg: Make, sample: Make, reads: list[str], tmp_path: Path
) -> None:
    cfg = _cfg(tiny_cfg)
    prepare_datasets(cfg)
    DetectionCheckpointer(build_model(cfg), str(tmp_path)).save("model")
    other = _cfg(tiny_cfg, **{"DATASETS.TRAIN": (NAMES[0],)})
    prepare_datasets(other)
    model = build_model(other)
    own = model.roi_heads.box_predictor.class_loss.class_weights.clone()
    DetectionCheckpointer(model).load(str(tmp_path / "model.pth"), strict=True)
    assert torch.equal(model.roi_heads.box_predictor.class_loss.class_weights, own)
    # A checkpoint with weights serves a model without any, and the other way round.
    plain = build_model(_cfg(tiny_cfg, **{"MODEL.ROI_BOX_HEAD.CLASS_WEIGHTS": "none"}))
    DetectionCheckpointer(plain, str(tmp_path)).load(str(tmp_path / "model.pth"), strict=True)
    DetectionCheckpointer(plain, str(tmp_path)).save("plain")
    DetectionCheckpointer(model).load(str(tmp_path / "plain.pth"), strict=True)
    assert torch.equal(model.roi_heads.box_predictor.class_loss.class_weights, own)


def test_another_number_of_classes_is_refused(tiny_cfg: Make, reads: list[str]) -> None:
    cfg = _cfg(tiny_cfg, **{"MODEL.ROI_HEADS.NUM_CLASSES": 4})
    prepare_datasets(cfg)
    with pytest.raises(
        ConfigValueError, match="has counts of 3 classes, but MODEL.ROI_HEADS.NUM_CLASSES is 4"
    ):
        build_model(cfg)
