"""Keys of projects that build on Detectron2."""

from __future__ import annotations

from pathlib import Path

import pytest

from cardamage.config import get_cfg
from cardamage.config.scope import find_absent, project_of
from cardamage.errors import ConfigKeyError


@pytest.mark.parametrize(
    ("key", "project"),
    [
        ("MODEL.POINT_HEAD.COARSE_SEM_SEG_HEAD_NAME", "PointRend"),
        ("MODEL.IMPLICIT_POINTREND", "PointRend"),
        ("MODEL.IMPLICIT_POINTREND.POS_ENC_ENABLED", "PointRend"),
        ("MODEL.DENSEPOSE_ON", "DensePose"),
        ("MODEL.ROI_DENSEPOSE_HEAD.CSE.EMBED_SIZE", "DensePose"),
        ("MODEL.SEM_SEG_HEAD.ASPP_DROPOUT", "DeepLab"),
        ("MODEL.INS_EMBED_HEAD.NAME", "Panoptic-DeepLab"),
        ("MODEL.TENSOR_MASK.NUM_CONVS", "TensorMask"),
        ("MODEL.TRIDENT.NUM_BRANCH", "TridentNet"),
        ("MODEL.MASK_FORMER.NUM_OBJECT_QUERIES", "MaskFormer"),
    ],
)
def test_project_keys_are_refused_with_their_project(tmp_path: Path, key: str, project: str) -> None:
    assert project_of(key) == project
    *groups, name = key.split(".")
    lines = [f"{'  ' * depth}{group}:" for depth, group in enumerate(groups)]
    path = tmp_path / "a.yaml"
    path.write_text("\n".join([*lines, f"{'  ' * len(groups)}{name}: 1"]), encoding="utf-8")
    for merge in (
        lambda: get_cfg().merge_from_file(path),
        lambda: get_cfg().merge_from_list([key, "1"]),
    ):
        with pytest.raises(ConfigKeyError, match=f"is a config key of {project}, a project on") as caught:
            merge()
        assert str(caught.value).endswith("or start from configs/damage/mask_rcnn_R_50_FPN.yaml.")


def test_no_project_owns_a_key_that_is_here() -> None:
    owned = [key for key, _ in get_cfg().leaves() if project_of(key)]
    assert owned == []
    assert project_of("MODEL.POINT_HEADS") is None


def test_nothing_absent_is_found_in_what_runs() -> None:
    assert find_absent({"MODEL": {"META_ARCHITECTURE": "GeneralizedRCNN", "MASK_ON": True}}, "") is None
