"""Pictures where Detectron2 can read them."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cardamage.data.images.reading import read_bytes, record_source
from cardamage.utils.files import atomic_write

__all__ = ["unpack_embedded"]

logger = logging.getLogger(__name__)

_PNG = b"\x89PNG"


def unpack_embedded(records: Iterable[Mapping[str, Any]], folder: str, write: bool = True) -> dict[str, str]:
    """Copy the pictures that lie within Labelme files, which Detectron2 can't open, into files of their own.

    Args:
        records: dataset dicts.
        folder: where the copies go; made if there are any.
        write: whether this process writes them, or only tells where they are.

    Returns:
        The copy of each Labelme file that is a picture's source; bytes are those embedded, EXIF and all.

    Raises:
        DataError: if what is embedded can't be read.
    """
    copies: dict[str, str] = {}
    for record in records:
        source = record_source(record)
        if not source.lower().endswith(".json"):
            continue
        data = read_bytes(source)
        suffix = "png" if data.startswith(_PNG) else "jpg"
        file = Path(folder) / f"{Path(source).stem}_{zlib.crc32(source.encode()):08x}.{suffix}"
        copies[source] = str(file)
        if write:
            file.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(file, "wb") as stream:
                stream.write(data)
    if copies:
        logger.info(
            "%d pictures lie within Labelme files; Detectron2 reads copies in %s.", len(copies), folder
        )
    return copies
