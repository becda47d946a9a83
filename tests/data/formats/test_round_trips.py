"""Real sets there and back: the same pictures, objects and masks, and a line for all that is not.

Both ends and the middle are read here anew, by pycocotools, ``json`` and OpenCV, not by the package.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pycocotools.mask as mask_util
import pytest
import yaml
from PIL import Image
from pycocotools.coco import COCO

from cardamage.data.formats.conversion.convert import LOG_NAME, Conversion, ConvertOptions, convert
from cardamage.data.formats.registry import WriteOptions
from tests.support.paths import SHARED_DATA

pytestmark = pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the real photographs are not here")

# Class and mask of each object, by the digest of the picture's bytes.
Objects = dict[str, list[tuple[str, dict[str, Any]]]]
LINKED = ConvertOptions(write=WriteOptions(pictures="link"))


def drawn(polygons: list[Any], height: int, width: int) -> dict[str, Any]:
    flat = [np.asarray(polygon, dtype=float).reshape(-1).tolist() for polygon in polygons]
    return mask_util.merge(mask_util.frPyObjects([p for p in flat if len(p) >= 6], height, width))


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def coco(folder: Path, pictures: Callable[[Path], Path]) -> Objects:
    found: Objects = defaultdict(list)
    for path in [folder] if folder.is_file() else sorted(folder.rglob("*.json")):
        whole = COCO(str(path))
        for number, image in whole.imgs.items():
            key = digest((pictures(path) / image["file_name"]).read_bytes())
            for annotation in whole.loadAnns(whole.getAnnIds([number])):
                shape, size = annotation["segmentation"], (image["height"], image["width"])
                rle = drawn(shape, *size) if isinstance(shape, list) else whole.annToRLE(annotation)
                found[key].append((whole.cats[annotation["category_id"]]["name"], rle))
            found[key] += []
    return found


def labelme(folder: Path) -> Objects:
    found: Objects = defaultdict(list)
    for path in sorted(folder.rglob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        data = content["imageData"]
        key = digest(base64.b64decode(data) if data else (path.parent / content["imagePath"]).read_bytes())
        found[key] += []
        for shape in content["shapes"]:
            assert shape["shape_type"] == "polygon"
            assert shape["group_id"] is None
            rle = drawn([shape["points"]], content["imageHeight"], content["imageWidth"])
            found[key].append((shape["label"], rle))
    return found


def yolo(folder: Path) -> Objects:
    names = yaml.safe_load((folder / "data.yaml").read_text(encoding="utf-8"))["names"]
    found: Objects = defaultdict(list)
    for path in sorted((folder / "images").rglob("*.*")):
        key = digest(path.read_bytes())
        found[key] += []
        with Image.open(path) as image:
            width, height = image.size
        text = (folder / "labels" / path.relative_to(folder / "images")).with_suffix(".txt").read_text()
        for row in text.splitlines():
            number, *shares = row.split()
            points = np.array(shares, dtype=float).reshape(-1, 2) * (width, height)
            found[key].append((names[int(number)], drawn([points], height, width)))
    return found


def via(path: Path, pictures: Path) -> Objects:
    content = json.loads(path.read_text(encoding="utf-8"))
    found: Objects = defaultdict(list)
    for entry in content.get("_via_img_metadata", content).values():
        picture = pictures / entry["filename"]
        key = digest(picture.read_bytes())
        found[key] += []
        with Image.open(picture) as image:
            width, height = image.size
        for region in entry["regions"]:
            shape = region["shape_attributes"]
            points = np.stack([shape["all_points_x"], shape["all_points_y"]], axis=1)
            (label,) = (v for v in region["region_attributes"].values())
            found[key].append((label, drawn([points], height, width)))
    return found


def masks(folder: Path) -> Objects:
    names = (folder / "classes.txt").read_text(encoding="utf-8").splitlines()
    found: Objects = defaultdict(list)
    for picture in sorted(p for p in (folder / "images").rglob("*") if p.is_file()):
        key = digest(picture.read_bytes())
        found[key] += []
        below = (folder / "masks" / picture.relative_to(folder / "images")).with_suffix("")
        for path in sorted(below.glob("*.png"), key=lambda p: int(p.name.split("_")[0])):
            (name,) = (n for n in names if path.stem.split("_", 1)[1] == n.replace(" ", "_"))
            pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            found[key].append((name, mask_util.encode(np.asfortranarray(pixels > 0).astype(np.uint8))))
    return found


def same(before: Objects, after: Objects) -> None:
    """The same pictures, and for each object one of its class with the same mask."""
    assert after.keys() == before.keys()
    for key, objects in before.items():
        left = list(after[key])
        assert Counter(name for name, _ in left) == Counter(name for name, _ in objects)
        for name, mask in objects:
            overlaps = [mask_util.iou([mask], [m], [0])[0, 0] if n == name else -1 for n, m in left]
            best = int(np.argmax(overlaps))
            assert overlaps[best] >= 0.999, (key, name, overlaps[best])
            left.pop(best)


def told(done: Conversion) -> dict[tuple[str, str], int]:
    """What was found, each case of it in the log."""
    counts = sum((report.counts for report in done.reports), done.losses.counts)
    folder = done.written.files[0]
    while not (folder / LOG_NAME).is_file():
        folder = folder.parent
    cases = (folder / LOG_NAME).read_text(encoding="utf-8").partition("Each case:\n")[2].splitlines()
    assert len(cases) == counts.total()
    return dict(counts)


def beside(path: Path) -> Path:
    return path.parent


def in_images(path: Path) -> Path:
    return path.parents[1] / "images"


def there_and_back(source: Path, format: str, by: str, folder: Path) -> tuple[Conversion, Conversion]:
    first = convert([source], folder / "there", by, LINKED)
    return first, convert([folder / "there"], folder / "back", format, LINKED)


CROSSING = ("kept", "its outline crosses itself")


def test_labelme_by_coco(tmp_path: Path) -> None:
    source = SHARED_DATA / "damage-labelme"
    first, second = there_and_back(source, "labelme", "coco", tmp_path)
    before = labelme(source)
    assert (len(before), sum(map(len, before.values()))) == (140, 252)
    same(before, coco(tmp_path / "there", in_images))
    same(before, labelme(tmp_path / "back"))
    assert told(first) == {CROSSING: 4}
    assert told(second) == {CROSSING: 4, ("lost", "Labelme has no place for its 'info'"): 1}


def shapes(folder: Path) -> Iterator[tuple[str, list[Any]]]:
    for path in folder.rglob("*.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        keys = ("label", "points", "group_id", "shape_type", "flags")
        yield path.stem, [[shape[key] for key in keys] for shape in content["shapes"]]


def test_labelme_gets_its_very_points_back(tmp_path: Path) -> None:
    there_and_back(SHARED_DATA / "damage-labelme", "labelme", "coco", tmp_path)
    before, after = dict(shapes(SHARED_DATA / "damage-labelme")), dict(shapes(tmp_path / "back"))
    assert after == before


@pytest.mark.parametrize(
    ("name", "objects", "clipped"),
    [
        ("damage-coco", 738, {}),
        ("carparts/testset/annotations.json", 811, {}),
        (
            "carparts/trainingset/annotations.json",
            3073,
            {("clipped", "it reaches past the edge of the image"): 3, CROSSING: 2},
        ),
    ],
)
def test_coco_by_yolo(name: str, objects: int, clipped: dict[tuple[str, str], int], tmp_path: Path) -> None:
    source = SHARED_DATA / name
    first, _ = there_and_back(source, "coco", "yolo", tmp_path)
    before = coco(source, beside if source.is_dir() else lambda path: path.parent / "JPEGImages")
    assert sum(map(len, before.values())) == objects
    same(before, yolo(tmp_path / "there"))
    same(before, coco(tmp_path / "back", in_images))
    found = told(first)
    assert clipped.items() <= found.items()
    # Whatever the file has beside COCO's own fields is listed, for each that has it.
    files = [source] if source.is_file() else list(source.rglob("*.coco.json"))
    own = {"id", "file_name", "height", "width"}
    fields: Counter[str] = Counter()
    for path in files:
        for image in json.loads(path.read_text())["images"]:
            fields.update(
                key for key, value in image.items() if key not in own and value not in (None, [], {}, "")
            )
    assert fields
    assert (
        fields.items()
        <= {
            reason.split("'")[1]: count for (_, reason), count in found.items() if "no place for" in reason
        }.items()
    )


@pytest.mark.parametrize(
    ("name", "objects"),
    [
        ("train/via_region_data.json", 152),
        ("train/car-damage-train.json", 152),
        ("val/val_multiclass.json", 24),
        ("train/train_multiclass.json", 191),
    ],
)
def test_via_by_coco(name: str, objects: int, tmp_path: Path) -> None:
    source = SHARED_DATA / "damage-via" / name
    first, _ = there_and_back(source, "via", "coco", tmp_path)
    before = via(source, source.parent)
    assert sum(map(len, before.values())) == objects
    same(before, coco(tmp_path / "there", in_images))
    same(before, via(tmp_path / "back/via_project.json", tmp_path / "back/images"))
    assert {verdict for verdict, _ in told(first)} <= {"kept", "clipped"}


def test_coco_by_masks(tmp_path: Path) -> None:
    source = SHARED_DATA / "damage-coco/test/_annotations.coco.json"
    first, _ = there_and_back(source, "coco", "masks", tmp_path)
    before = coco(source, beside)
    assert sum(map(len, before.values())) == 114
    same(before, masks(tmp_path / "there"))
    same(before, coco(tmp_path / "back", in_images))
    assert ("lost", "a folder of masks has no place for its 'licenses'") in told(first)


@pytest.mark.parametrize("by", ["labelme", "via"])
def test_coco_by_formats_of_tools(by: str, tmp_path: Path) -> None:
    source = SHARED_DATA / "damage-coco"
    first, second = there_and_back(source, "coco", by, tmp_path)
    before = coco(source, beside)
    same(before, coco(tmp_path / "back", in_images))
    assert second.images == {"train": 160, "valid": 50, "test": 30} == first.images


def test_yolo_by_coco(tmp_path: Path) -> None:
    source = SHARED_DATA / "odd/odd-yoloseg-parts-rectpoly"
    first, second = there_and_back(source / "data.yaml", "yolo", "coco", tmp_path)
    assert first.images == second.images == {"train": 12, "val": 7, "test": 6}
    assert first.objects == second.objects
    same(coco(tmp_path / "there", in_images), yolo(tmp_path / "back"))
