"""COCO's JSON, as found in practice.

Rules beyond COCO's own:

- ids may start anywhere and may be strings of digits; other strings number the images from 1;
- ``iscrowd`` may be a boolean or a string, and lists and objects may be JSON within a string;
- an outline may be closed, may be one flat list, and may be an RLE, compressed or not;
- a category is left out if no annotation uses it and it is a placeholder: its name is ``background`` with or
  without underscores, or its id is 0 and every other category names it as supercategory (Roboflow's export);
- the file of an image is its ``file_name`` in the image folder, or its ``path`` where only that exists.
"""

from __future__ import annotations

from .dataset_dicts import CocoDataset, load_coco_json, read_coco, register_coco_instances, write_coco
from .folder import read, recognize
from .writing import write

__all__ = [
    "CocoDataset",
    "load_coco_json",
    "read",
    "read_coco",
    "recognize",
    "register_coco_instances",
    "write",
    "write_coco",
]
