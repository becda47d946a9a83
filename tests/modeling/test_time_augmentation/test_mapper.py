"""The views that test-time augmentation makes of a photo."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cardamage.config import get_cfg
from cardamage.errors import ConfigValueError
from cardamage.modeling import DatasetMapperTTA


def _photo(height: int, width: int) -> dict[str, object]:
    image = np.random.default_rng(3).integers(0, 256, (3, height, width)).astype(np.uint8)
    return {"image": torch.from_numpy(image), "height": height, "width": width, "image_id": 7}


def test_every_size_is_followed_by_its_mirror_image() -> None:
    photo = _photo(30, 41)
    before = photo["image"].clone()  # type: ignore[attr-defined]
    views = DatasetMapperTTA([60, 0, 45], 70, True)(photo)
    # 60 would make the longer edge 82: it is 70 then, and the shorter 51.2.
    assert [tuple(v["image"].shape) for v in views[::2]] == [(3, 51, 70), (3, 30, 41), (3, 45, 62)]
    for view, mirrored in zip(views[::2], views[1::2], strict=True):
        assert torch.equal(view["image"].flip(2), mirrored["image"])
        assert view["image_id"] == mirrored["image_id"] == 7
        assert mirrored["image"].dtype == torch.uint8
    assert torch.equal(views[2]["image"], before)
    assert torch.equal(photo["image"], before)  # type: ignore[arg-type]
    assert set(photo) == {"image", "height", "width", "image_id"}


def test_transforms_lead_from_the_photo_to_the_view_and_back() -> None:
    # A photo of 60x80 that the loader has made half as large.
    photo = {**_photo(30, 40), "height": 60, "width": 80}
    plain, mirrored = DatasetMapperTTA([15], 100, True)(photo)
    box = np.array([[8.0, 4.0, 24.0, 60.0]], dtype=np.float32)
    assert plain["transforms"].apply_box(box).tolist() == [[2, 1, 6, 15]]
    assert mirrored["transforms"].apply_box(box).tolist() == [[14, 1, 18, 15]]
    for view in (plain, mirrored):
        there = view["transforms"].apply_box(box)
        np.testing.assert_allclose(view["transforms"].inverse().apply_box(there), box, atol=1e-4)


def test_the_config_says_which() -> None:
    cfg = get_cfg()
    assert len(DatasetMapperTTA(cfg)(_photo(4, 4))) == 18
    cfg.TEST.AUG.MIN_SIZES, cfg.TEST.AUG.FLIP, cfg.INPUT.RESIZE = (5,), False, "exact"
    mapper = DatasetMapperTTA(cfg)
    assert (len(mapper(_photo(9, 9))), mapper.max_size, mapper.native_resize) == (1, 4000, False)
    for sizes in ((), (-1,)):
        cfg.TEST.AUG.MIN_SIZES = sizes
        with pytest.raises(ConfigValueError, match="TEST.AUG.MIN_SIZES is .* name one or more"):
            DatasetMapperTTA(cfg)


def test_views_do_not_draw_random_numbers() -> None:
    np.random.seed(0)
    expected = np.random.rand()
    np.random.seed(0)
    DatasetMapperTTA([8, 9], 20, True)(_photo(4, 5))
    assert np.random.rand() == expected
