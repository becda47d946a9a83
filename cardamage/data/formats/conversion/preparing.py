"""What a conversion needs of each image, made by the process that reads it, and kept by its cache."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...annotations.bulk_checks import check_annotations
from ...annotations.checks import RawAnnotation
from ...annotations.report import AnnotationReport, Notes
from ...images.checks import picture_trouble, size_mismatch
from ...images.reading import embedded_header
from ..coco.text import annotation_text
from ..dataset import AnnotatedImage, Prepared
from ..shared.packing import KeptAnnotations

__all__ = ["Preparation", "usable"]


@dataclass(frozen=True)
class Preparation:
    """Checks annotations as for a training, looks at pictures, and writes what has no need of the others.

    Attributes:
        texts: whether annotations are to be written as COCO's JSON.
        version: changes with what is made, which caches keep.
    """

    texts: bool
    version: int = 1

    def __call__(self, images: Sequence[AnnotatedImage], embedded: Sequence[bytes | None]) -> list[Prepared]:
        """Prepare images.

        Args:
            images: as they were read; they stay as they are.
            embedded: for each the beginning of its embedded picture in base64, or None.

        Raises:
            DataError: for a damaged mask.
        """
        report = _Placed("")
        raws = [raw for image in images for raw in image.annotations]
        sizes = [(image.height, image.width) for image in images for _ in image.annotations]
        checked = iter(check_annotations(raws, sizes, report))
        prepared = []
        for image, picture in zip(images, embedded, strict=True):
            findings = [
                finding for raw in image.annotations for finding in report.by_place.pop(raw.place, ())
            ]
            kept = usable(image.annotations, checked)
            annotations = KeptAnnotations.of(kept, _texts(kept, image) if self.texts else None)
            left_out = len(image.annotations) - len(kept)
            notes = Notes(left_out, findings) if findings or left_out else None
            prepared.append(Prepared(annotations, notes, _is_good(image, picture)))
        return prepared


class _Placed(AnnotationReport):
    """A report that keeps what it is told by place, to be told again."""

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self.by_place: dict[str, list[tuple[str, str, str, str | None]]] = defaultdict(list)

    def add(self, verdict: str, reason: str, place: str, detail: str | None = None) -> None:
        """Note a finding; see :meth:`AnnotationReport.add`."""
        self.by_place[place].append((verdict, reason, place, detail))


def usable(
    annotations: Iterable[RawAnnotation], checked: Iterable[Mapping[str, Any] | None]
) -> list[RawAnnotation]:
    """Return annotations as a check left them, without those that it dropped.

    Args:
        annotations: as they were read.
        checked: what :func:`~cardamage.data.annotations.checks.check_annotation` made of each; of an iterator
            as many are taken.
    """
    kept = []
    for raw, found in zip(annotations, checked, strict=False):
        if found is not None:
            outline, box = found.get("segmentation"), None if raw.bbox is None else found["bbox"]
            polygons, rle = None, outline
            if isinstance(outline, list):
                polygons, rle = [np.array(polygon).reshape(-1, 2) for polygon in outline], None
            kept.append(RawAnnotation(raw.place, polygons, rle, box, raw.iscrowd, raw.extra, raw.label))
    return kept


def _texts(annotations: Sequence[RawAnnotation], image: AnnotatedImage) -> list[str] | None:
    """None where there is something to tell, which is told when it is written."""
    losses = AnnotationReport("")
    texts = [annotation_text(raw, image.height, image.width, losses) for raw in annotations]
    written = [text for text in texts if text is not None]
    return written if len(written) == len(texts) and not losses.findings else None


def _is_good(image: AnnotatedImage, embedded: bytes | None) -> bool:
    record = {"file_name": image.source, "height": image.height, "width": image.width}
    header = None if embedded is None else embedded_header(embedded)
    if header is None:
        return picture_trouble(record) is None
    return size_mismatch(record, (header.height, header.width, header.orientation)) is None
