"""Files and entries that can't be understood."""

from ..registry import noted

noted(
    "D001",
    "error",
    "annotation file that can't be read",
    "Export or copy it again.",
    "left out",
)
noted(
    "D002",
    "error",
    "entry that can't be understood",
    "Correct or delete it; readers stop at it or leave it out.",
    "dropped",
)
noted(
    "D005",
    "note",
    "annotations in a format that isn't read",
    "Export them as COCO, Labelme, VIA or YOLO.",
)
noted("D003", "note", "file that holds no annotations", "Nothing needs to be done: it is not read.")
noted(
    "D004",
    "note",
    'csv with "undefined" in place of JSON',
    'It is read as "not said"; other readers may stop at it.',
    "written as null",
)
