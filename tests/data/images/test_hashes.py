"""Photos recognized: saved again, resized and stamped, and never one for another."""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest

from cardamage.data.images import hashes as photo_hashes
from cardamage.data.images.hashes import (
    NEAR,
    equal_groups,
    mirrored_duplicates,
    near_duplicates,
    original_name,
    photo_hash,
    photo_print,
    photo_prints,
    same_photo,
)
from cardamage.errors import DataError
from tests.support.paths import SHARED_DATA

real = pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the real photographs are not here")


def distance(one: int | None, other: int | None) -> int:
    assert one is not None
    assert other is not None
    return bin(one ^ other).count("1")


def picture(rng: np.random.Generator, size: tuple[int, int] = (300, 400)) -> np.ndarray:
    """Smooth as a photo is: noise of a few pixels blown up."""
    small = rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return cv2.resize(small, size[::-1], interpolation=cv2.INTER_CUBIC)


def test_saving_resizing_and_brightness_change_few_bits() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        photo = picture(rng)
        own = photo_hash(photo)
        jpeg = cv2.imdecode(cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_COLOR)
        smaller = cv2.resize(photo, (160, 120), interpolation=cv2.INTER_AREA)
        darker = cv2.convertScaleAbs(photo, alpha=0.8, beta=10)
        for changed in (jpeg, smaller, darker, cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY)):
            assert distance(own, photo_hash(changed)) <= NEAR


def test_other_pictures_are_far_apart() -> None:
    rng = np.random.default_rng(1)
    hashes = [photo_hash(picture(rng)) for _ in range(60)]
    assert min(distance(a, b) for a, b in itertools.combinations(hashes, 2)) > 10


def test_a_hash_has_64_bits_and_a_flat_picture_none() -> None:
    rng = np.random.default_rng(2)
    hashes = [photo_hash(picture(rng)) for _ in range(50)]
    assert all(h is not None and 0 <= h < 2**64 for h in hashes)
    assert all(28 <= bin(h or 0).count("1") <= 32 for h in hashes)
    assert photo_hash(np.full((40, 50), 90, np.uint8)) is None
    assert photo_hash(np.zeros((1, 1, 3), np.uint8)) is None


def test_groups_are_those_of_a_slow_search() -> None:
    rng = np.random.default_rng(3)
    hashes: list[int | None] = [int(v) for v in rng.integers(0, 2**64, 60, dtype=np.uint64)]
    for start in (3, 7, 11):  # chains: each a few bits from the one before
        for _ in range(4):
            hashes.append((hashes[start] or 0) ^ sum(1 << int(b) for b in rng.choice(64, 5, replace=False)))
            start = len(hashes) - 1
    hashes += [hashes[0], None, None, hashes[20]]
    known = [i for i, h in enumerate(hashes) if h is not None]
    group = {i: {i} for i in known}
    for i, j in itertools.combinations(known, 2):
        if distance(hashes[i], hashes[j]) <= 5 and group[i] is not group[j]:
            whole = group[i] | group[j]
            for member in whole:
                group[member] = whole
    expected = sorted({tuple(sorted(g)) for g in group.values() if len(g) > 1})
    assert [tuple(g) for g in near_duplicates(hashes, 5)] == expected
    assert len(expected) >= 5


def test_bits_are_counted_the_same_without_numpy_2(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(4).integers(0, 2**64, 100, dtype=np.uint64)
    expected = [bin(int(v)).count("1") for v in values]
    assert photo_hashes._bits(values).tolist() == expected
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    assert photo_hashes._bits(values).tolist() == expected


@pytest.mark.parametrize("hashes", [[], [None], [5], [None, 7, None]])
def test_too_few_make_no_group(hashes: list[int | None]) -> None:
    assert near_duplicates(hashes) == []


def test_many_photos_are_grouped() -> None:
    values = np.random.default_rng(5).integers(0, 2**64, 10_000, dtype=np.uint64).tolist()
    values += [v ^ 0b101 for v in values[:50]] + [values[9]] * 5_000
    groups = near_duplicates(values)
    assert len(groups) == 50
    assert len(groups[9]) == 5_002


def test_a_jpeg_decoded_small_has_the_hash_of_the_whole(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    for number in range(5):
        photo = picture(rng, (1500, 2100))
        path = tmp_path / f"{number}.jpg"
        cv2.imwrite(str(path), photo)
        assert distance(photo_print(path).hash, photo_hash(photo)) <= 2


def test_files_that_cannot_be_read_have_no_print(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(50))
    (tmp_path / "pointer.jpg").write_text("version https://git-lfs.github.com/spec/v1\noid 1\n")
    cv2.imwrite(str(tmp_path / "good.png"), picture(np.random.default_rng(7)))
    found = photo_prints([str(tmp_path / n) for n in ("none.jpg", "broken.jpg", "pointer.jpg", "good.png")])
    assert found[0] is None
    assert found[2] is None
    assert found[1] is not None
    assert found[1].hash is None
    assert found[3] == photo_print(tmp_path / "good.png")
    with pytest.raises(DataError, match="does not exist"):
        photo_print(tmp_path / "none.jpg")


def test_roboflow_names_lead_back_to_the_original() -> None:
    first = "train/images/0002_JPEG_jpg.rf.0522a42532a410d753b6b1e452344134.jpg"
    second = "valid/images/0002_JPEG_jpg.rf.6de6970c2e1b6aee16e22d131937ebf9.jpg"
    assert original_name(first) == original_name(second) == "0002_JPEG_jpg"
    assert original_name("photo.jpg") is None
    assert original_name("a.rf.jpg") is None


@real
def test_real_copies_are_found() -> None:
    lujaina = SHARED_DATA / "odd/odd-yolobox/lujaina/images/train"
    pairs = [
        (SHARED_DATA / "damage-via/test/66.jpg", SHARED_DATA / "damage-via/train/17.jpg"),
        (SHARED_DATA / "damage-via/train/48.jpg", SHARED_DATA / "damage-via/train/25.jpg"),
        (lujaina / "9.jpg", lujaina / "coco9.jpg"),
        (lujaina / "42.jpg", lujaina / "coco42.jpg"),
    ]
    files = sorted(
        {str(f) for p in ("damage-via", "odd/odd-yolobox") for f in (SHARED_DATA / p).rglob("*.jpg")}
    )
    prints = photo_prints(files)
    exact = equal_groups([p.digest if p else None for p in prints])
    near = near_duplicates([p.hash if p else None for p in prints])
    for one, other in pairs:
        indices = {files.index(str(one)), files.index(str(other))}
        assert any(indices <= set(group) for group in exact)
        assert any(indices <= set(group) for group in near)


@real
def test_real_car_parts_have_no_false_group() -> None:
    """Looked at: each of these pairs shows one photo, with another stamp or edit."""
    files = sorted((SHARED_DATA / "carparts").rglob("*.jpg"))
    prints = photo_prints([str(f) for f in files])
    groups = near_duplicates([p.hash if p else None for p in prints])
    assert sorted(sorted(files[i].stem for i in group) for group in groups) == [
        ["train109", "train11"],
        ["train162", "train201"],
        ["train33", "train67"],
    ]


@real
def test_real_roboflow_copies_share_their_original() -> None:
    folder = SHARED_DATA / "odd/odd-yoloseg-parts-rectpoly"
    files = sorted(folder.rglob("*.jpg"))
    groups = [{files[i].parts[-3] for i in g} for g in equal_groups([original_name(f.name) for f in files])]
    assert groups.count({"train", "valid"}) == 4
    assert groups.count({"train"}) == 2


def test_one_photo_or_two() -> None:
    assert same_photo(0b1011, 0b1011) is True
    assert same_photo(0, (1 << NEAR) - 1) is True
    assert same_photo(0, (1 << (NEAR + 1)) - 1) is False
    assert same_photo(None, 3) is None
    assert same_photo(3, None) is None


def test_mirror_images() -> None:
    rng = np.random.default_rng(5)
    photos = [picture(rng) for _ in range(12)]
    # The fourth is the first mirrored, the fifth the second as it is; the third is its own mirror image.
    photos[3] = np.ascontiguousarray(photos[0][:, ::-1])
    photos[4] = photos[1]
    photos[5] = photos[2] = np.concatenate([photos[2][:, :200], photos[2][:, :200][:, ::-1]], axis=1)
    hashes = [photo_hash(photo) for photo in photos]
    mirrored = [photo_hash(np.ascontiguousarray(photo[:, ::-1])) for photo in photos]
    assert near_duplicates(hashes) == [[1, 4], [2, 5]]
    assert mirrored_duplicates(hashes, mirrored) == [[0, 3]]
    assert mirrored_duplicates([None, hashes[0], hashes[3]], [None, mirrored[0], mirrored[3]]) == [[1, 2]]
