"""Which photos are measured with: those the user names, else what is at hand."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cardamage.catalog import DatasetCatalog, MetadataCatalog
from cardamage.errors import DataError

__all__ = ["CHECKOUT", "Photos", "find_photos"]

CHECKOUT = Path(__file__).resolve().parents[2]
"""Where ``train_net.py`` and ``datasets/`` lie, if this is a checkout."""

_CAR_PARTS = "../shared/data/carparts/trainingset/annotations.json"
_DEMO_SIZE = (960, 640)

Record = dict[str, Any]


@dataclass(frozen=True)
class Photos:
    """Annotated photos.

    Attributes:
        records: dataset dicts with at least one object each.
        classes: class names.
        source: what they are, for the report.
    """

    records: list[Record]
    classes: list[str]
    source: str


def find_photos(named: Sequence[str], count: int, scratch: Path) -> Photos:
    """Read the first annotated photos.

    Args:
        named: a folder of Labelme files or with COCO's ``annotations.json``, or a dataset's name; several are
            joined if they have the same classes. None named takes the car parts beside the checkout, else
            draws pictures.
        count: how many at most.
        scratch: a folder for drawn ones.

    Raises:
        DataError: a name stands for nothing, or for photos without objects.
    """
    names = [_dataset_name(name) for name in named] or [_at_hand(count, scratch)]
    records: list[Record] = []
    classes: list[str] = []
    for name in names:
        loaded = DatasetCatalog.get(name)
        found = list(MetadataCatalog.get(name).get("thing_classes") or [])
        if classes and found != classes:
            raise DataError(
                f"--images {named[0]} and {name} have different classes: name photos of one set only."
            )
        classes = found
        records += [record for record in loaded if _is_usable(record)]
    if not records:
        raise DataError(
            f"There is no annotated photo in {', '.join(map(str, named or names))}: name a Labelme folder or "
            "coco:FILE.json@PHOTO_DIR with --images."
        )
    return Photos(records[:count], classes, _source(named, names))


def _is_usable(record: Record) -> bool:
    objects = [a for a in record.get("annotations", ()) if not a.get("iscrowd", 0)]
    return bool(objects) and all(a.get("segmentation") for a in objects)


def _dataset_name(name: str) -> str:
    path = Path(name).expanduser()
    if not path.exists() and ":" not in name and name not in DatasetCatalog:
        raise DataError(
            f"--images {name} is no folder, file or dataset: name a Labelme folder or "
            "coco:FILE.json@PHOTO_DIR."
        )
    if not path.is_dir():
        return f"coco:{name}" if path.suffix == ".json" and path.is_file() else name
    coco = path / "annotations.json"
    if coco.is_file():
        return f"coco:{coco}"
    if not any(path.rglob("*.json")):
        raise DataError(
            f"The folder {name} has no Labelme files and no annotations.json, but training is measured with "
            "objects: name annotated photos with --images."
        )
    return f"labelme:{path}"


def _at_hand(count: int, scratch: Path) -> str:
    car_parts = CHECKOUT / _CAR_PARTS
    if car_parts.is_file():
        return f"coco:{car_parts}"
    maker = CHECKOUT / "datasets/make_demo.py"
    if not maker.is_file():
        raise DataError("No photos are at hand outside of a checkout: name annotated ones with --images.")
    width, height = _DEMO_SIZE
    options = {"--output": scratch / "drawn", "--num": count, "--width": width, "--height": height}
    words = [str(word) for pair in options.items() for word in pair]
    done = subprocess.run([sys.executable, str(maker), *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise DataError(f"The demo's pictures can't be drawn: {done.stderr.strip()}")
    return f"labelme:{scratch / 'drawn'}"


def _source(named: Sequence[str], names: Sequence[str]) -> str:
    if named:
        return ", ".join(named)
    return "car parts" if names[0].startswith("coco:") else "the demo's drawings"
