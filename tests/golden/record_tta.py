"""Record what upstream's ``GeneralizedRCNNWithTTA`` finds, in ``test_time_augmentation.json``.

It needs Detectron2::

    python -m tests.golden.record_tta
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import torch
from detectron2.modeling import GeneralizedRCNNWithTTA, build_model

from cardamage.interop.config import to_upstream

from .test_golden import weights_of
from .test_tta import CASES, HERE, NAME, config_of, photo


def main() -> None:
    records = []
    for case in CASES:
        cfg = to_upstream(config_of(case))
        model = build_model(cfg).eval()
        model.load_state_dict(weights_of(model))
        with torch.no_grad():
            found = GeneralizedRCNNWithTTA(cfg, model)([photo()])[0]["instances"]
        records.append({"case": case, **_described(found)})
        print(f"{case}: {len(found)} objects")
    rows = ",\n".join(json.dumps(record) for record in records)
    (HERE / NAME).write_text(f"[\n{rows}\n]\n", encoding="utf-8")


def _described(found: Any) -> dict[str, Any]:
    record = {
        "count": len(found),
        "boxes": found.pred_boxes.tensor[:15].double().numpy().round(3).tolist(),
        "scores": found.scores[:15].double().numpy().round(6).tolist(),
        "classes": found.pred_classes[:15].tolist(),
    }
    masks = found.pred_masks.numpy() if found.has("pred_masks") else []
    # Many a mask of random weights is empty.
    large = [index for index, mask in enumerate(masks) if mask.sum() > 200][:4]
    encoded = [mask_util.encode(np.asfortranarray(masks[index], dtype=np.uint8)) for index in large]
    texts = [{**rle, "counts": rle["counts"].decode("ascii")} for rle in encoded]
    return {**record, "mask_rle": [], "masks": list(zip(large, texts, strict=True))}


if __name__ == "__main__":
    main()
