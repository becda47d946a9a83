"""Many annotations checked at once are what they are one by one, word for word."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cardamage.data.annotations import outlines
from cardamage.data.annotations.bulk_checks import check_annotations
from cardamage.data.annotations.checks import RawAnnotation, check_annotation
from cardamage.data.annotations.report import AnnotationReport

HEIGHT, WIDTH = 60, 80


def star(rng: np.random.Generator) -> np.ndarray:
    """A polygon of any number of points that may cross itself, repeat points or lie past the edge."""
    count = int(rng.integers(1, 90 if rng.random() < 0.1 else 20))
    angles = np.sort(rng.uniform(0, 2 * math.pi, count)) if rng.random() < 0.8 else rng.uniform(0, 6, count)
    radius = rng.uniform(0, rng.choice([1, 4, 30]), count)[:, None]
    points = rng.uniform(0, 70, 2) + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    if rng.random() < 0.3:
        points = np.round(points)
    if rng.random() < 0.2:
        points = points.clip(0, (WIDTH, HEIGHT))
    if rng.random() < 0.2:
        points = np.concatenate([points, points[:1]])
    if rng.random() < 0.2:
        points = np.repeat(points, rng.integers(1, 3, len(points)), axis=0)
    if rng.random() < 0.05:
        points[0] = rng.choice([np.nan, np.inf, 1e308, -1e12])
    return points


def any_annotation(rng: np.random.Generator, number: int) -> RawAnnotation:
    raw = RawAnnotation(f"number {number}", iscrowd=int(rng.random() < 0.1))
    kind = rng.random()
    if kind < 0.8:
        raw.polygons = [star(rng) for _ in range(rng.choice([1, 1, 1, 2, 3]))]
    elif kind < 0.9:
        raw.polygons = [star(rng).reshape(-1).tolist()]
    elif kind < 0.93:
        raw.polygons = []
    elif kind < 0.96:
        raw.rle = {"size": [HEIGHT, WIDTH], "counts": [100, 20, HEIGHT * WIDTH - 120]}
    if rng.random() < 0.3:
        raw.bbox = rng.uniform(-10, 90, 4).tolist()
    return raw


@pytest.mark.parametrize("seed", range(5))
def test_the_same_as_one_by_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    raws = [any_annotation(rng, i) for i in range(300)]
    one, all_at_once = AnnotationReport("x"), AnnotationReport("x")
    expected = [check_annotation(raw, HEIGHT, WIDTH, one) for raw in raws]
    found = check_annotations(raws, [(HEIGHT, WIDTH)] * len(raws), all_at_once)
    assert found == expected
    assert all_at_once.findings == one.findings
    assert all_at_once.read == one.read == 300
    assert 50 < sum(annotation is not None for annotation in found) < 300
    assert len({finding.reason for finding in one.findings}) >= 6


def test_each_with_the_size_of_its_image() -> None:
    square = RawAnnotation("x", polygons=[outlines.rectangle((10, 10), (30, 30))])
    report = AnnotationReport("x")
    found = check_annotations([square, square], [(40, 40), (20, 40)], report)
    assert [annotation and annotation["bbox"] for annotation in found] == [[10, 10, 30, 30], [10, 10, 30, 20]]
    assert [finding.verdict for finding in report.findings] == ["clipped"]


def test_nothing() -> None:
    assert check_annotations([], [], AnnotationReport("x")) == []


def test_crossings_of_several_are_those_of_each() -> None:
    rng = np.random.default_rng(0)
    polygons = rng.uniform(0, 10, (200, 6, 2))
    found = outlines.cross_themselves(polygons)
    assert found.tolist() == [outlines.crosses_itself(polygon) for polygon in polygons]
    assert 0 < found.sum() < 200
    assert outlines.cross_themselves(np.array([[[0, 0], [2, 2], [2, 0], [0, 2]]])).tolist() == [True]
