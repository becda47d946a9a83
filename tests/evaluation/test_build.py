from __future__ import annotations

import json
from pathlib import Path

import pytest

from cardamage.catalog import MetadataCatalog
from cardamage.evaluation import CityscapesInstanceEvaluator, COCOEvaluator, LVISEvaluator, evaluator_of


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("lvis", LVISEvaluator),
        ("cityscapes_instance", CityscapesInstanceEvaluator),
        ("coco", COCOEvaluator),
        (None, COCOEvaluator),
    ],
)
def test_the_metadata_decides(kind: str | None, wanted: type, tmp_path: Path) -> None:
    (tmp_path / "truth.json").write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    metadata = MetadataCatalog.get("evaluator_of_test").set(json_file=str(tmp_path / "truth.json"))
    if kind:
        metadata.evaluator_type = kind
    try:
        evaluator = evaluator_of("evaluator_of_test", str(tmp_path))
    finally:
        MetadataCatalog.remove("evaluator_of_test")
    assert type(evaluator) is wanted
    assert evaluator._output_dir == tmp_path
    # The limits of Detectron2's own evaluators, whatever TEST.DETECTIONS_PER_IMAGE is.
    assert evaluator._max_dets == (300 if kind == "lvis" else 100)
