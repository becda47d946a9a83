"""Ids of COCO files and class numbers of YOLO's."""

from ..registry import noted

noted(
    "D301",
    "error",
    "annotation id that is used twice",
    "Number the annotations from 1.",
    "numbered from 1",
)
noted(
    "D302",
    "error",
    "annotation with the id 0",
    "Number the annotations from 1: COCO's evaluation counts a match with 0 as none.",
    "numbered from 1",
)
noted(
    "D303",
    "error",
    "image id that is used twice",
    "Give each image its own; the annotations can't tell them apart.",
    "numbered from 1; the annotations stay with the first",
)
noted("D304", "note", "image with the id 0", "Most tools bear it; number images from 1.", "numbered from 1")
noted(
    "D305",
    "error",
    "annotation of an image that isn't there",
    "Export again with the image, or delete it.",
    "dropped",
)
noted(
    "D306",
    "error",
    "annotation of a class that isn't there",
    "Add the class, or correct the number.",
    "dropped",
)
noted(
    "D320",
    "error",
    "class numbers that are one off the list of classes",
    "Look at some pictures; then add or take 1 in all annotations, or number the list so.",
)
noted("D307", "error", "category id that is used twice", "Give each category its own.")
noted(
    "D308",
    "warning",
    "id that is missing or no number",
    "Number from 1.",
    "numbered from 1",
)
noted(
    "D309",
    "note",
    "category with the id 0",
    "Number categories from 1: some tools take 0 for the background.",
    "numbered from 1",
)
