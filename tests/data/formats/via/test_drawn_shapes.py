"""Rectangles, circles and lines stay what they are between VIA and Labelme."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cardamage.data.annotations.report import AnnotationReport
from cardamage.data.formats import labelme, via
from cardamage.data.formats.dataset import AnnotatedDataset
from cardamage.data.formats.registry import ReadOptions, WriteOptions

LABELME = {
    "rectangle": [[12.0, 3.0], [22.5, 9.0]],
    "circle": [[30.0, 20.0], [37.0, 20.0]],
    "linestrip": [[5.0, 5.0], [30.0, 8.0], [40.0, 30.0]],
}
VIA: dict[str, dict[str, Any]] = {
    "rectangle": {"name": "rect", "x": 12, "y": 3, "width": 10.5, "height": 6},
    "circle": {"name": "circle", "cx": 30, "cy": 20, "r": 7},
    "linestrip": {"name": "polyline", "all_points_x": [5, 30, 40], "all_points_y": [5, 8, 30]},
}
KINDS = list(LABELME)


def outlines(dataset: AnnotatedDataset) -> list[Any]:
    (image,) = dataset.images
    return [[np.asarray(polygon).reshape(-1, 2) for polygon in raw.polygons] for raw in image.annotations]  # type: ignore[union-attr]


def from_labelme(folder: Path, *shapes: dict[str, Any]) -> AnnotatedDataset:
    Image.new("RGB", (60, 40)).save(folder / "a.jpg")
    content = {"shapes": list(shapes), "imagePath": "a.jpg", "imageData": None}
    (folder / "a.json").write_text(json.dumps(content | {"imageHeight": 40, "imageWidth": 60}))
    return labelme.read(folder, ReadOptions(), AnnotationReport("x"))


def regions_of(dataset: AnnotatedDataset, folder: Path) -> list[dict[str, Any]]:
    losses = AnnotationReport("x")
    via.write(dataset, folder, WriteOptions("copy"), losses)
    assert losses.findings == []
    (entry,) = json.loads((folder / "via_region_data.json").read_text()).values()
    regions: list[dict[str, Any]] = entry["regions"]
    return regions


@pytest.mark.parametrize("kind", KINDS)
def test_from_labelme_to_via_and_back(kind: str, tmp_path: Path) -> None:
    shape = {"label": "dent", "points": LABELME[kind], "shape_type": kind, "group_id": None, "flags": {}}
    dataset = from_labelme(tmp_path, shape)
    (region,) = regions_of(dataset, tmp_path / "via")
    assert region["region_attributes"] == {"class": "dent"}
    assert region["shape_attributes"] == VIA[kind]
    again = via.read(tmp_path / "via", ReadOptions(), AnnotationReport("x"))
    for one, other in zip(outlines(dataset)[0], outlines(again)[0], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    labelme.write(again, tmp_path / "back", WriteOptions("copy"), AnnotationReport("x"))
    (back,) = json.loads((tmp_path / "back/a.json").read_text())["shapes"]
    assert (back["label"], back["shape_type"]) == ("dent", kind)
    np.testing.assert_allclose(back["points"], LABELME[kind], atol=0.02)


@pytest.mark.parametrize(
    ("kind", "points", "width"),
    [
        # A width that VIA's lines don't have; a line of one piece, which Labelme tells from a strip.
        ("linestrip", LABELME["linestrip"], 7),
        ("line", LABELME["linestrip"][:2], 5),
        ("polygon", [[12, 3], [22, 3], [22, 9], [12, 9]], 5),
    ],
)
def test_what_via_has_no_shape_for_is_a_polygon(
    kind: str, points: list[list[float]], width: float, tmp_path: Path
) -> None:
    shape = {"label": "dent", "points": points, "shape_type": kind, "line_width": width}
    regions = regions_of(from_labelme(tmp_path, shape), tmp_path / "via")
    assert {region["shape_attributes"]["name"] for region in regions} == {"polygon"}


def test_a_cut_rectangle_is_a_polygon(tmp_path: Path) -> None:
    shape = {"label": "dent", "points": LABELME["rectangle"], "shape_type": "rectangle"}
    dataset = from_labelme(tmp_path, shape)
    (image,) = list(dataset.images)
    image.annotations[0].polygons = [[12, 3, 22, 3, 22, 9]]
    dataset.images = [image]
    (region,) = regions_of(dataset, tmp_path / "via")
    assert region["shape_attributes"]["name"] == "polygon"
