"""Evaluating 12-megapixel photos with 100 detections each needs less than 2 GiB in all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SCRIPT = """
import torch
from cardamage.catalog import DatasetCatalog, MetadataCatalog
from cardamage.evaluation import COCOEvaluator
from cardamage.layers.mask_ops import encode_pasted_masks
from cardamage.structures import Boxes, BoxMode, Instances

HEIGHT, WIDTH, COUNT, IMAGES = 3000, 4000, 100, 4
generator = torch.Generator().manual_seed(0)

def detections():
    corner = torch.rand(COUNT, 2, generator=generator) * torch.tensor([WIDTH, HEIGHT]) * 0.7
    side = torch.rand(COUNT, 2, generator=generator) ** 2 * torch.tensor([WIDTH, HEIGHT]) * 0.8 + 4
    boxes = Boxes(torch.cat([corner, corner + side], 1))
    boxes.clip((HEIGHT, WIDTH))
    masks = encode_pasted_masks(torch.rand(COUNT, 28, 28, generator=generator), boxes, (HEIGHT, WIDTH), 0.5)
    scores = torch.rand(COUNT, generator=generator)
    classes = torch.randint(0, 3, (COUNT,), generator=generator)
    return Instances((HEIGHT, WIDTH), pred_boxes=boxes, scores=scores, pred_classes=classes, pred_masks=masks)

found = [detections() for _ in range(IMAGES)]
dicts = [
    {"file_name": f"{i}.jpg", "image_id": i, "height": HEIGHT, "width": WIDTH, "annotations": [
        {"bbox": box, "bbox_mode": BoxMode.XYXY_ABS, "category_id": label, "segmentation": rle}
        for box, label, rle in zip(f.pred_boxes.tensor.tolist(), f.pred_classes.tolist(), f.pred_masks)
    ][:30]}
    for i, f in enumerate(found)
]
DatasetCatalog.register("large", lambda: dicts)
MetadataCatalog.get("large").thing_classes = ["a", "b", "c"]
evaluator = COCOEvaluator("large", distributed=False)
for i, f in enumerate(found):
    evaluator.process([{"image_id": i}], [{"instances": f}])
results = evaluator.evaluate()
assert 0 < results["segm"]["AP"] < 100, results
# Not getrusage's: after a fork that begins with what the parent holds.
with open("/proc/self/status") as status:
    print(next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM:")))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells a process's peak memory")
def test_peak_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) < 2048, f"{done.stdout} MiB"
