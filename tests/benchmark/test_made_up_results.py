"""Made-up results: as many as asked for, good but not perfect."""

from __future__ import annotations

from cardamage.benchmark.made_up_results import make_results
from cardamage.benchmark.photo_files import PhotoFiles
from cardamage.evaluation.coco_ground_truth import GroundTruth
from cardamage.evaluation.coco_scoring import score_detections


def test_results_are_like_a_models(files: PhotoFiles) -> None:
    truth, results = make_results(files, images=5, per_image=6)
    assert len(truth["images"]) == 5
    assert len(results) == 5 * 6
    assert {result["image_id"] for result in results} == {image["id"] for image in truth["images"]}
    scores = score_detections(GroundTruth(truth, "made up"), results, "segm")
    assert 5 < scores.average_precision() < 95
    assert make_results(files, 5, 6) == (truth, results)
    assert make_results(files, 5, 6, seed=1) != (truth, results)
