"""Detections as the content of a Labelme file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cardamage.data.annotations import outlines
from cardamage.data.annotations.checks import RawAnnotation
from cardamage.data.annotations.report import AnnotationReport
from cardamage.data.formats.dataset import AnnotatedImage
from cardamage.data.formats.labelme.writing import labelme_content

__all__ = ["REVIEWED", "detected_content"]

REVIEWED = "reviewed"
"""A box to tick in Labelme's list of flags: a file that is right as it is becomes a person's by that."""


def detected_content(
    found: Sequence[Mapping[str, Any]],
    polygons: Sequence[Sequence[np.ndarray]],
    picture: str,
    size: tuple[int, int],
) -> dict[str, Any]:
    """Return a Labelme file with detections, best score first; the parts of one object share a ``group_id``.

    Args:
        found: records with ``class`` and ``score``.
        polygons: the outlines of each, point arrays (points, 2) in pixels.
        picture: its path from the file's folder, with forward slashes.
        size: height and width of the upright picture.
    """
    order = sorted(range(len(found)), key=lambda index: -found[index]["score"])
    annotations = [
        RawAnnotation(
            f"{picture}, object {index}",
            polygons=[outlines.flat(points) for points in polygons[index]],
            label=found[index]["class"],
            extra={"description": f"{found[index]['score']:.2f} cardamage"},
        )
        for index in order
    ]
    image = AnnotatedImage(picture, picture, *size, annotations, extra={"flags": {REVIEWED: False}})
    return labelme_content(image, picture, size, None, AnnotationReport(picture))
