from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from cardamage.data.formats.conversion.split import part_names, photo_groups, split_images
from cardamage.errors import DataError


def drawn(seed: int, count: int = 120) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [
        rng.choice(6, size=rng.integers(0, 4), p=[0.4, 0.3, 0.15, 0.08, 0.05, 0.02]).tolist()
        for _ in range(count)
    ]


@pytest.mark.parametrize("shares", [(0.8, 0.2), (70, 20, 10)])
@pytest.mark.parametrize("seed", range(4))
def test_every_image_once_and_every_class_its_share(shares: tuple[float, ...], seed: int) -> None:
    classes = drawn(seed)
    parts = split_images(classes, shares, seed)
    assert sorted(i for part in parts for i in part) == list(range(len(classes)))
    assert all(part == sorted(part) for part in parts)
    total = Counter(c for present in classes for c in set(present))
    for part, share in zip(parts, shares, strict=True):
        fraction = share / sum(shares)
        assert abs(len(part) - fraction * len(classes)) <= 6
        found = Counter(c for i in part for c in set(classes[i]))
        for category, n in total.items():
            assert abs(found[category] - fraction * n) <= max(3, 0.15 * n)


@pytest.mark.parametrize("seed", range(4))
def test_groups_stay_together_and_classes_keep_their_share(seed: int) -> None:
    classes = drawn(seed, 300)
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(300)
    groups = [shuffled[i : i + 3].tolist() for i in range(0, 90, 3)] + [[int(shuffled[0]), int(shuffled[90])]]
    parts = split_images(classes, (0.8, 0.1, 0.1), seed, groups)
    assert sorted(i for part in parts for i in part) == list(range(300))
    side = {i: p for p, part in enumerate(parts) for i in part}
    assert all(len({side[i] for i in group}) == 1 for group in groups)
    total = Counter(c for present in classes for c in set(present))
    for part, share in zip(parts, (0.8, 0.1, 0.1), strict=True):
        assert abs(len(part) - share * 300) <= 15
        found = Counter(c for i in part for c in set(classes[i]))
        assert all(abs(found[c] - share * n) <= max(5, 0.15 * n) for c, n in total.items())


def test_a_group_larger_than_a_part_goes_where_it_fits() -> None:
    parts = split_images([[0]] * 20, (0.8, 0.2), 0, [list(range(3, 13))])
    assert set(range(3, 13)) <= set(parts[0])
    assert (len(parts[0]), len(parts[1])) == (16, 4)


def test_one_group_of_all_leaves_a_part_empty_rather_than_breaking_it() -> None:
    assert split_images([[0]] * 4, (0.5, 0.5), 0, [[0, 1], [2, 3], [1, 2]]) == [[0, 1, 2, 3], []]


def test_seed_decides() -> None:
    classes = drawn(0)
    assert split_images(classes, (0.8, 0.2), 5) == split_images(classes, (0.8, 0.2), 5)
    assert split_images(classes, (0.8, 0.2), 5) != split_images(classes, (0.8, 0.2), 6)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_images(count: int) -> None:
    parts = split_images([[0]] * count, (0.9, 0.1))
    assert sum(map(len, parts)) == count
    if count > 1:
        assert all(parts)


@pytest.mark.parametrize(
    "shares", [(), (0.8,), (0.8, 0.0), (0.5, 0.2, 0.2, 0.1), (1.0, -1.0), (float("nan"), 1.0)]
)
def test_bad_shares(shares: tuple[float, ...]) -> None:
    with pytest.raises(DataError, match="A split needs two or three shares above 0, such as 0.8 0.2"):
        part_names(shares)


def test_parts_have_names() -> None:
    assert part_names((8, 2)) == ["train", "val"]
    assert part_names((0.8, 0.1, 0.1)) == ["train", "val", "test"]


def photo(seed: int) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return cv2.resize(small, (240, 180), interpolation=cv2.INTER_CUBIC)


def test_copies_of_a_photo_are_grouped_by_content_and_by_name(tmp_path: Path) -> None:
    def save(name: str, picture: np.ndarray, quality: int = 95) -> tuple[str, str]:
        cv2.imwrite(str(tmp_path / name), picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        return f"images/{name}", str(tmp_path / name)

    shot = photo(0)
    files = [
        save("a.jpg", shot),
        save("b.jpg", photo(1)),
        save("a_small.jpg", cv2.resize(shot, (120, 90), interpolation=cv2.INTER_AREA), 70),
        save(f"x_jpg.rf.{'0' * 32}.jpg", photo(2)),
        save(f"x_jpg.rf.{'1' * 32}.jpg", photo(3)[::-1]),
        save("flat.jpg", np.full((9, 9, 3), 70, np.uint8)),
        save("same flat.jpg", np.full((9, 9, 3), 70, np.uint8)),
        save("other flat.jpg", np.full((9, 9, 3), 90, np.uint8)),
        ("images/gone.jpg", str(tmp_path / "gone.jpg")),
    ]
    names, sources = zip(*files, strict=True)
    assert photo_groups(names, sources) == [[0, 2], [3, 4], [5, 6]]
    assert photo_groups([], []) == []
