"""From what was asked for to what is checked: which annotation files there are, and which pictures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ....errors import DataError
from ....utils.suggest import did_you_mean
from ...formats.registry import FORMATS
from ...formats.shared.json_opening import json_opening
from ...formats.shared.natural_order import natural_key
from ...formats.shared.text_files import read_json
from ..looks import look_at_all
from ..model import Part, Subject
from ..splits import split_of
from .coco import read_coco
from .foreign import foreign_json, names_of, note_foreign_files
from .labelme import is_labelme, read_labelme
from .masks import is_masks, read_masks
from .meanings import understand
from .moved import find_moved
from .values import below, image_files
from .via import is_via_csv, read_via, via_entries
from .yolo import label_folders, read_yolo

__all__ = ["read_sources"]

# Folders of single pictures are searched for pictures without labels; above this many, none is listed.
_READERS = {"coco": read_coco, "via": read_via, "labelme": read_labelme}


def read_sources(
    sources: Sequence[str | os.PathLike[str]],
    format: str | None = None,
    image_root: str | os.PathLike[str] | None = None,
    threads: int = 0,
) -> Subject:
    """Read all annotation files of some sources, and look at every picture.

    Args:
        sources: annotation files or folders. Of a folder, all annotation files in it and below it are read.
        format: one of the formats; None recognizes each file's.
        image_root: folder of the pictures; by default the usual places are searched.
        threads: that look at pictures at once; 0 is one for each core.

    Returns:
        The dataset with its mistakes. Broken files are noted in it.

    Raises:
        DataError: for a source that does not exist or holds nothing that is known, or an unknown format.
    """
    if format is not None and format not in FORMATS:
        raise DataError(f"The format {format!r} is unknown{did_you_mean(format, FORMATS) or '.'}")
    parts: list[Part] = []
    root = None if image_root is None else Path(image_root)
    if root is not None and not root.is_dir():
        raise DataError(f"The image folder {root} does not exist.")
    for source in sources:
        path = Path(source)
        if not path.exists():
            raise DataError(f"{path} does not exist.")
        found = _read(path, format, root)
        _name_splits(found, path)
        parts += found
    if not any(part.pictures or part.notes.keys() - {"D003", "D005"} for part in parts):
        raise DataError(_nothing_known(sources, parts))
    subject = Subject([os.fspath(source) for source in sources], parts)
    subject.loose = _loose(subject)
    find_moved(subject)
    looked = {p for q in subject.pictures for p in (q.source, q.embedded or "", *q.beside) if p}
    subject.looks = look_at_all([*sorted(looked), *subject.loose], threads)
    _size_shapes(subject)
    understand(subject)
    return subject


def _nothing_known(sources: Sequence[str | os.PathLike[str]], parts: list[Part]) -> str:
    named = ", ".join(map(str, sources))
    seen = "; ".join(text for part in parts if (text := names_of(part)))
    instead = f" It holds {seen}; export that as COCO, or name its format with --from." if seen else ""
    return f"{named} holds no annotations of a format that is known ({', '.join(FORMATS)}).{instead}"


def _read(path: Path, format: str | None, root: Path | None) -> list[Part]:
    if format == "yolo":
        return read_yolo(path, root)
    if format == "masks":
        return [read_masks(path, root)]
    if format == "labelme":
        return [read_labelme(path, root)]
    if path.is_file():
        name, why = (format, "") if format else _file_format(path)
        if name == "yolo":
            return read_yolo(path, root)
        if name == "broken" and path.suffix.lower() == ".json":
            raise DataError(why)
        if name not in _READERS:
            known = f" It looks like {why}; export it as COCO." if why else ""
            raise DataError(
                f"{path} is no annotation file that is known; name its format with --from.{known}"
            )
        return [_READERS[name](path, root)]
    return _read_folder(path, format, root)


def _read_folder(path: Path, format: str | None, root: Path | None) -> list[Part]:
    parts: list[Part] = []
    others = Part(str(path), "coco", states_classes=False)
    labelme: list[Path] = []
    broken: list[tuple[Path, str]] = []
    foreign: list[tuple[Path, str]] = []
    for file in below(path, [".json", ".csv"]):
        name, why = _file_format(file)
        if name == "labelme":
            labelme.append(file)
        elif name in ("coco", "via") and format in (None, name):
            parts.append(_READERS[name](file, root))
        elif name == "broken":
            broken.append((file, why))
        elif name == "other" and why:
            foreign.append((file, why))
        elif name == "other":
            others.note("D003", file, text="is no annotation file")
    note_foreign_files(path, others, foreign)
    if labelme and format is None:
        # A broken JSON among Labelme's is one of theirs.
        files = [*labelme, *(file for file, _ in broken)]
        parts.append(read_labelme(path, root, sorted(files, key=lambda file: natural_key(str(file)))))
    else:
        for file, why in broken:
            others.note("D001", file, text=why)
    if format is None and label_folders(path):
        parts += read_yolo(path, root)
    if not parts and is_masks(path):
        parts.append(read_masks(path, root))
    return [*parts, others] if others.notes else parts


def _file_format(file: Path) -> tuple[str | None, str]:
    """Tell the format of a file, also of a damaged one as long as it can be read.

    Returns:
        ``"broken"`` with a sentence for what can't be read, ``"other"`` with its format's name, where that is
        known, for other JSON; None for what is no annotation file for certain.
    """
    suffix = file.suffix.lower()
    if suffix in (".yaml", ".yml"):
        return "yolo", ""
    if suffix == ".csv":
        return ("via", "") if is_via_csv(file) else (None, "")
    early = _by_opening(file)
    if early is not None:
        return early, ""
    try:
        content = read_json(file, "annotation file")
    except DataError as error:
        return "broken", str(error)
    except MemoryError:
        return "broken", "takes more memory than there is"
    return (_json_format(content), "") if _json_format(content) else ("other", foreign_json(content) or "")


def _by_opening(file: Path) -> str | None:
    """The format where the first bytes show it, so that a large file is not read twice."""
    keys = json_opening(file)
    if "shapes" in keys and "imagePath" in keys:
        return "labelme"
    listed = keys.get("images", set())
    if "images" in keys and ({"annotations", "categories"} & keys.keys() or "file_name" in listed):
        return "coco"
    return None


def _json_format(content: Any) -> str | None:
    if is_labelme(content):
        return "labelme"
    if via_entries(content) is not None:
        return "via"
    if isinstance(content, dict) and "images" in content and {"annotations", "categories"} & content.keys():
        return "coco"
    return None


def _name_splits(parts: list[Part], source: Path) -> None:
    """Say which splits parts and pictures are of, where their format doesn't."""
    for part in parts:
        part.split = part.split or _split_below(part.source, source)
        for picture in part.pictures:
            path = picture.source or picture.file
            picture.split = picture.split or part.split or _split_of_picture(path, source)


def _split_of_picture(path: str, source: Path) -> str:
    # A picture's own name says nothing: test12.jpg may lie in any split, or in none.
    return _split_below(os.path.join(os.path.dirname(path), "_"), source)


def _split_below(path: str, source: Path) -> str:
    """The split that a path names by what is below the source, and by the source's own name."""
    top = Path(os.path.abspath(source))
    above = top.parent.parent if top.is_file() else top.parent
    parts = Path(os.path.relpath(os.path.abspath(path), above)).parts
    return split_of(os.path.join("", *(part for part in parts if part != os.pardir)))


def _loose(subject: Subject) -> dict[str, str]:
    """Pictures below the sources' folders that no annotation is about, with their splits."""
    known = {
        os.path.abspath(path)
        for picture in subject.pictures
        for path in (picture.source, *(picture.beside if picture.embedded is not None else ()))
        if path
    }
    if all(part.format == "masks" for part in subject.parts):
        return {}
    found: dict[str, str] = {}
    for folder in (Path(source) for source in subject.sources if os.path.isdir(source)):
        paths = [str(path) for path in image_files(folder) if os.path.abspath(path) not in known]
        found.update({path: _split_of_picture(path, folder) for path in paths})
    return found


def _size_shapes(subject: Subject) -> None:
    """Give shapes of formats that state no size that of their picture."""
    for picture in subject.pictures:
        size = picture.size or subject.look(picture.source).upright
        for shape in picture.shapes:
            if 0 in shape.size and size is not None:
                shape.size = size
