"""The section that measures suppression has a row for every kind, all on the same boxes."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import batched_nms

from cardamage.benchmark.sections import suppression
from cardamage.benchmark.settings import Settings
from cardamage.modeling.roi_heads.suppression import KINDS


def test_every_kind_has_a_row(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "CLASSES": 3,
        "PER_CLASS": 40,
        "_PICTURES": 2,
        "_CANDIDATES": 12,
        "_VIEWS": 4,
    }.items():
        monkeypatch.setattr(suppression, name, value)
    sections = suppression.run(settings)
    kept = {row.side: row.values["kept"] for section in sections for row in section.rows}
    boxes = ["torchvision, hard", *(kind for kind in KINDS if kind != "mask")]
    assert list(kept) == [*boxes, "12 masks in 2 pictures", "weighted boxes of 4 views"]
    given = suppression._Boxes.around_objects(3, 40, torch.device("cpu"))
    flat = given.boxes.flatten(0, 1), given.scores.flatten(), torch.arange(3).repeat_interleave(40)
    assert kept["torchvision, hard"] == kept["hard"] == kept["cluster"] == len(batched_nms(*flat, 0.5))
    assert 0 < kept["fast"] < kept["hard"] < kept["soft_linear"] <= 120
    assert all(row.timing is not None and row.items for section in sections for row in section.rows)
