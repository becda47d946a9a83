"""VGG Image Annotator, versions 1 and 2, as found in practice.

Understood are the JSON exports with regions as a list (2) or an object (1), project files, and csv, also with
the ``undefined`` that VIA writes into it. Rules beyond VIA's own:

- the class of a region is the value of one of its attributes (the one asked for, or the one that most regions
  fill in), a box ticked in it, or an attribute of its own that is ticked: see :mod:`.classes`;
- regions of one picture with the same class and ``group_id`` are parts of one object;
- a region without a class, and a point, is left out and reported;
- VIA does not store image sizes, so the pictures must be there.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from ...annotations.report import AnnotationReport
from ..dataset import to_dicts
from .folder import read, recognize
from .reading import read_via
from .writing import write

__all__ = ["load_via", "read", "recognize", "write"]


def load_via(
    json_file: str | os.PathLike[str],
    image_root: str | os.PathLike[str] | None = None,
    classes: Sequence[str] | None = None,
    attribute: str | None = None,
    line_width: float = 5.0,
    report: AnnotationReport | None = None,
) -> tuple[list[dict[str, Any]], list[str]]:
    """Load a VIA export or project.

    Args:
        json_file: the file; JSON or csv.
        image_root: folder of the images; by default one of the usual places around the file.
        classes: their order; by default all that occur, sorted by name.
        attribute: region attribute whose value is the class.
        line_width: of polylines, in pixels.
        report: is told what was found; by default it is logged.

    Returns:
        Dataset dicts with ``image_id`` from 1, and the class names.

    Raises:
        DataError: for a file that can't be used, missing images, or a class that is not in `classes`.
    """
    findings = report or AnnotationReport(os.fspath(json_file))
    dataset, _ = read_via(json_file, findings, image_root, classes, attribute, line_width)
    found = to_dicts(dataset, report=findings)
    if report is None:
        findings.log()
    return found
