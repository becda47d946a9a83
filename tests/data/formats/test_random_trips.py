"""Drawn objects of every kind carried through each format and back: their masks stay what they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pycocotools.mask as mask_util
import pytest
from PIL import Image
from pycocotools.coco import COCO

from cardamage.data.formats.conversion.convert import convert

CLASSES = ["scratch", "dent/crack", "front left door", "Ünused", "ü"]


def star(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A polygon around a point, with corners between pixels and some at the image's very edge."""
    count = int(rng.integers(3, 30))
    angles = np.sort(rng.uniform(0, 2 * np.pi, count))
    radius = rng.uniform(3, 0.6 * min(height, width)) * rng.uniform(0.4, 1, count)
    center = rng.uniform((0, 0), (width, height))
    points = center + radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    points = np.clip(points, 0, (width, height))
    return points.round(int(rng.integers(0, 4))) if rng.random() < 0.7 else points


def blob(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A mask of several pieces with holes; sometimes of one pixel, or of all."""
    kind = rng.integers(8)
    mask = np.zeros((height, width), dtype=np.uint8)
    if kind == 0:
        mask[rng.integers(height), rng.integers(width)] = 1
    elif kind == 1:
        mask[:] = 1
    else:
        small = rng.random((5, 6)).astype(np.float32)
        mask[cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC) > 0.6] = 1
    return mask


def segmentation(rng: np.random.Generator, height: int, width: int) -> tuple[Any, dict[str, Any]]:
    """What COCO writes for an object, and its mask."""
    if rng.random() < 0.4:
        rle = mask_util.encode(np.asfortranarray(blob(rng, height, width)))
        return {"size": [height, width], "counts": rle["counts"].decode()}, rle
    polygons = [star(rng, height, width).reshape(-1).tolist() for _ in range(rng.choice([1, 1, 1, 2, 3]))]
    return polygons, mask_util.merge(mask_util.frPyObjects(polygons, height, width))


def drawn_set(folder: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    folder.mkdir()
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in range(1, 7):
        height, width = (int(v) for v in rng.integers(20, 90, 2))
        Image.effect_noise((width, height), 60).save(folder / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "height": height, "width": width})
        for _ in range(rng.integers(0, 9)):
            shape, rle = segmentation(rng, height, width)
            if mask_util.area(rle) == 0:
                continue
            annotation = {"id": len(annotations) + 1, "image_id": number, "segmentation": shape}
            annotation["category_id"] = int(rng.choice([1, 2, 3, 5]))
            annotations.append({**annotation, "iscrowd": 0, "bbox": mask_util.toBbox(rle).tolist()})
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES, start=1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "set.json").write_text(json.dumps(content))


def objects(path: Path) -> dict[str, list[tuple[str, bytes]]]:
    """Class and mask of each object by picture; the masks as run lengths, of which each mask has one."""
    coco = COCO(str(path))
    return {
        Path(image["file_name"]).name: sorted(
            (
                coco.cats[annotation["category_id"]]["name"],
                mask_util.encode(np.asfortranarray(coco.annToMask(annotation)))["counts"],
            )
            for annotation in coco.loadAnns(coco.getAnnIds([image["id"]]))
        )
        for image in coco.imgs.values()
    }


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("by", ["coco", "labelme", "via", "yolo", "masks"])
def test_every_mask_comes_back_pixel_for_pixel(by: str, seed: int, tmp_path: Path) -> None:
    drawn_set(tmp_path / "set", seed)
    before = objects(tmp_path / "set/set.json")
    assert sum(map(len, before.values())) > 5
    convert([tmp_path / "set"], tmp_path / "there", by)
    done = convert([tmp_path / "there"], tmp_path / "back", "coco")
    (path,) = done.written.files
    assert objects(path) == before
