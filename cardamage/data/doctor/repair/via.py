"""VIA files repaired."""

from __future__ import annotations

import csv
import io
import json
import os
from typing import Any

from ...formats.shared.text_files import read_json, read_text
from ..model import Part, Picture
from ..reading.via import parsed_cell
from .pictures import relative
from .places import Places
from .plan import Plan
from .writing import write_json

__all__ = ["write_via"]


def write_via(part: Part, plan: Plan, places: Places) -> None:
    """Write a VIA file's repaired copy.

    Args:
        part: the file as it was read.
        plan: what is repaired; is told what is repaired here.
        places: of the copy.
    """
    sources = {picture.name: picture for picture in part.pictures}
    target = places.target(part.source)
    target.parent.mkdir(parents=True, exist_ok=True)
    if part.source.lower().endswith(".csv"):
        text = _csv(part.source, sources, plan, places)
        target.write_bytes(text.encode("utf-8", errors="backslashreplace"))
        return
    content = read_json(part.source, "VIA file")
    inner = content.get("_via_img_metadata") if "_via_img_metadata" in content else content
    entries = list(inner.items()) if isinstance(inner, dict) else list(enumerate(inner))
    kept: dict[str, Any] = {}
    count = 0
    for key, entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("filename"), str):
            continue
        count = _regions(entry, count, part.source, plan)
        name = entry["filename"]
        if name not in sources or not sources[name].source or sources[name].source in plan.lost:
            plan.tell(
                "D101", part.source, None, f"{name} left out with its regions: there is no good picture"
            )
            continue
        entry["filename"] = _renamed(name, sources[name], part.source, plan, places)
        kept[str(key).replace(name, entry["filename"], 1)] = entry
    if inner is content:
        content = kept
    else:
        content["_via_img_metadata"] = kept
        if isinstance(content.get("_via_image_id_list"), list):
            content["_via_image_id_list"] = list(kept)
    write_json(target, content)


def _renamed(name: str, picture: Picture, file: str, plan: Plan, places: Places) -> str:
    new = places.target(picture.source).name
    old = os.path.basename(picture.source)
    if picture.moved:
        found = relative(places.target(picture.source), places.target(file).parent)
        plan.tell("D120", file, picture.index, f"{name!r} is {found!r} now")
        return found
    return name[: len(name) - len(old)] + new if new != old and name.endswith(old) else name


def _regions(entry: dict[str, Any], count: int, file: str, plan: Plan) -> int:
    """Repair an entry's regions, which are counted through the file; return the count after them."""
    regions = entry.get("regions") or []
    listed = list(regions.values()) if isinstance(regions, dict) else regions
    if not isinstance(listed, list):
        return count
    kept = []
    for index, region in enumerate(listed, start=count):
        if isinstance(region, dict) and (file, index) not in plan.dropped:
            _repair(region.get("shape_attributes"), region.get("region_attributes"), (file, index), plan)
            kept.append(region)
    entry["regions"] = {str(i): r for i, r in enumerate(kept)} if isinstance(regions, dict) else kept
    return count + len(listed)


def _repair(shape: Any, attributes: Any, key: tuple[str, int], plan: Plan) -> None:
    change = plan.changed.get(key)
    if isinstance(shape, dict) and change is not None and change.rings and len(change.rings) == 1:
        shape.clear()
        x, y = change.rings[0].T.tolist()
        shape.update({"name": "polygon", "all_points_x": x, "all_points_y": y})
    if isinstance(attributes, dict):
        for name, value in attributes.items():
            if isinstance(value, str) and plan.labels.get(value.strip(), value.strip()) != value:
                attributes[name] = plan.labels.get(value.strip(), value.strip())


def _csv(file: str, sources: dict[str, Picture], plan: Plan, places: Places) -> str:
    reader = csv.DictReader(io.StringIO(read_text(file, "VIA csv")))
    out = io.StringIO()
    writer = csv.DictWriter(out, reader.fieldnames or [], lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    column = "#filename" if "#filename" in (reader.fieldnames or []) else "filename"
    odd = 0
    renamed: dict[str, str] = {}
    for line, row in enumerate(reader, start=2):
        name = row.get(column) or ""
        picture = sources.get(name)
        if (file, line) in plan.dropped or picture is None or picture.source in ("", *plan.lost):
            continue
        shape, _ = parsed_cell(row.get("region_shape_attributes") or "{}")
        attributes, repaired = parsed_cell(row.get("region_attributes") or "{}")
        odd += repaired
        _repair(shape, attributes, (file, line), plan)
        row[column] = renamed.setdefault(name, "") or _renamed(name, picture, file, plan, places)
        renamed[name] = row[column]
        row["region_shape_attributes"] = json.dumps(shape or {}, ensure_ascii=False)
        row["region_attributes"] = json.dumps(attributes or {}, ensure_ascii=False)
        writer.writerow(row)
    if odd:
        plan.tell("D004", file, None, f'"undefined" written as null in {odd} cells')
    return out.getvalue()
