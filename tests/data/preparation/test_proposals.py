"""Precomputed proposals: files that are good, damaged, old, and malicious."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cardamage.data import load_proposals_into_dataset
from cardamage.data.detection_utils import transform_proposals
from cardamage.data.transforms import NoOpTransform
from cardamage.errors import DataError, DownloadError
from cardamage.structures import BoxMode


def _write(path: Path, content: Any, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


def _content(seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    counts = [5, 0, 3]
    return {
        "ids": [11, 12, 13],
        "boxes": [rng.uniform(0, 50, (n, 4)).astype(np.float32) for n in counts],
        "objectness_logits": [rng.permutation(n).astype(np.float32) for n in counts],
    }


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_every_image_gets_its_own_best_first(tmp_path: Path, protocol: int) -> None:
    content = _content()
    file = _write(tmp_path / "p.pkl", {**content, "bbox_mode": 1}, protocol)
    dicts = [{"image_id": "13"}, {"image_id": 11}]
    assert load_proposals_into_dataset(dicts, file) is dicts
    for record, place in zip(dicts, (2, 0), strict=True):
        logits = content["objectness_logits"][place]
        assert record["proposal_bbox_mode"] == BoxMode.XYWH_ABS
        assert record["proposal_objectness_logits"].tolist() == sorted(logits.tolist(), reverse=True)
        for box, logit in zip(record["proposal_boxes"], record["proposal_objectness_logits"], strict=True):
            np.testing.assert_array_equal(box, content["boxes"][place][logits.tolist().index(logit)])


def test_detectrons_names_and_mode(tmp_path: Path) -> None:
    content = _content()
    old = {"indexes": content["ids"], "scores": content["objectness_logits"], "boxes": content["boxes"]}
    (record,) = load_proposals_into_dataset([{"image_id": 12}], _write(tmp_path / "p.pkl", old))
    assert record["proposal_boxes"].shape == (0, 4)
    assert record["proposal_bbox_mode"] == BoxMode.XYXY_ABS
    transform_proposals(record, (40, 60), NoOpTransform(), proposal_topk=7)
    assert len(record["proposals"]) == 0


def test_files_that_can_not_be_used_are_named(tmp_path: Path) -> None:
    content = _content()
    with pytest.raises(DataError, match=r"p\.pkl has nothing for image 99 \(a\.jpg\)"):
        load_proposals_into_dataset(
            [{"image_id": 99, "file_name": "a.jpg"}], _write(tmp_path / "p.pkl", content)
        )
    short = {**content, "boxes": content["boxes"][:2]}
    for wrong, sentence in (
        ({"ids": []}, r"w\.pkl is no proposal file: .* with boxes, objectness_logits\."),
        ([1, 2], r"w\.pkl is no proposal file"),
        (short, r"lists of different lengths"),
    ):
        with pytest.raises(DataError, match=sentence):
            load_proposals_into_dataset([], _write(tmp_path / "w.pkl", wrong))
    (tmp_path / "cut.pkl").write_bytes(pickle.dumps(content)[:-40])
    for name in ("cut.pkl", "missing.pkl"):
        with pytest.raises(DataError, match=f"{name} can't be read"):
            load_proposals_into_dataset([], tmp_path / name)


def test_a_file_that_cant_be_downloaded_is_one_sentence(loopback: Any, cache: Path) -> None:
    url = f"{loopback.url}/rpn/p.pkl"
    with pytest.raises(DownloadError) as caught:
        load_proposals_into_dataset([], url)
    assert str(caught.value) == (
        f"'{url}' can't be downloaded (the server answers 404 Not Found): check the address and the network, "
        f"or download the file elsewhere and put it at '{cache}/rpn/p.pkl'."
    )


class _Attack:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.mark),)


def test_a_file_that_carries_code_is_refused_and_never_run(tmp_path: Path) -> None:
    file = _write(tmp_path / "evil.pkl", {**_content(), "note": _Attack(tmp_path / "mark")})
    with pytest.raises(DataError, match=r"evil\.pkl can't be read: .*mkdir"):
        load_proposals_into_dataset([{"image_id": 11}], file)
    assert not (tmp_path / "mark").exists()


def test_images_without_proposals_are_left_as_they_are() -> None:
    record = {"image_id": 1}
    transform_proposals(record, (4, 4), NoOpTransform(), proposal_topk=3)
    assert record == {"image_id": 1}
