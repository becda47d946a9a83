"""What is repaired, decided once for all formats."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ...annotations import outlines
from ..checks.boxes import box_excess, box_overlap, is_flat_box, is_swapped
from ..checks.doubles import doubles
from ..checks.outlines import drawn_elsewhere, few_points, is_empty, is_outside
from ..model import Part, Shape, Subject
from ..names import same_but_case, trimmed
from ..tables import class_counts

__all__ = ["Change", "Plan", "Repair", "make_plan"]

_NOTHING = 0.01
_SAME_BOX = 0.9
Key = tuple[str, int]


@dataclass(frozen=True)
class Repair:
    """One thing that was repaired.

    Attributes:
        code: of the finding that it answers.
        file: as in the source.
        index: see :class:`..model.Hit`.
        text: what was done.
    """

    code: str
    file: str
    index: int | None
    text: str


@dataclass
class Change:
    """What becomes of a shape that stays; None is as before.

    Attributes:
        rings: new outlines, opened and within the picture.
        box: new x0, y0, x1, y1.
    """

    rings: list[Any] | None = None
    box: tuple[float, float, float, float] | None = None


@dataclass
class Plan:
    """All repairs of annotations.

    Attributes:
        dropped: shapes that are left out, by file and index.
        changed: shapes that are written otherwise.
        labels: new name of a class by its old one.
        lost: picture files that are left out, and why.
        kept: shapes that stay as they are, since nobody knows what they mean.
        repairs: what was done so far; writers add theirs.
    """

    dropped: set[Key] = field(default_factory=set)
    changed: dict[Key, Change] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)
    kept: set[Key] = field(default_factory=set)
    repairs: list[Repair] = field(default_factory=list)

    def tell(self, code: str, file: str, index: int | None, text: str) -> None:
        """Remember a repair for the list."""
        self.repairs.append(Repair(code, file, index, text))

    def drop(self, code: str, shape: Shape, why: str) -> None:
        """Leave a shape out."""
        self.dropped.add((shape.file, shape.index))
        self.tell(code, shape.file, shape.index, f"{shape.label or 'shape'} dropped: {why}")


_LOST = {"missing": "D101", "cut": "D102", "pointer": "D103", "other": "D104", "undecodable": "D105"}


def make_plan(subject: Subject) -> Plan:
    """Decide what is repaired."""
    plan = Plan()
    for source, look in subject.looks.items():
        if look.trouble and not source.lower().endswith(".json"):
            plan.lost[source] = look.text
            plan.tell(_LOST[look.trouble], source, None, f"picture left out: {look.text}")
    counts = class_counts(subject)
    for group in same_but_case(list(counts)):
        kept = trimmed(max(group, key=lambda name: counts[name].total()))
        plan.labels.update({name: kept for name in group if name != kept})
    alone = {name: trimmed(name) for name in counts if trimmed(name) and name not in plan.labels}
    plan.labels.update({name: new for name, new in alone.items() if new != name})
    for part in subject.parts:
        _plan_notes(part, plan)
        if drawn_elsewhere(part):
            past = (shape for shape in part.shapes if shape.excess > 0 and not shape.mask_trouble)
            plan.kept.update((shape.file, shape.index) for shape in past)
        for picture in part.pictures:
            copies = {id(s): f.index for s, f in doubles(picture) if s.label == f.label}
            for shape in picture.shapes:
                key = (shape.file, shape.index)
                if key not in plan.dropped and key not in plan.kept:
                    _plan_shape(shape, copies, plan)
    for old, new in plan.labels.items():
        code = "D414" if trimmed(old) == new else "D403"
        plan.tell(code, subject.sources[0], None, f"class {old!r} renamed to {new!r}")
    return plan


def _plan_notes(part: Part, plan: Plan) -> None:
    """Shapes that could not even be read; COCO's indices of notes are not all of annotations."""
    for code in ("D219", "D222"):
        plan.kept.update((hit.file, hit.index) for hit in part.notes.get(code, ()) if hit.index is not None)
    if part.format == "coco":
        for hit in part.notes.get("D002", ()):
            if hit.index is not None and hit.text.startswith("its "):
                plan.dropped.add((hit.file, hit.index))
                plan.tell("D002", hit.file, hit.index, f"annotation dropped: {hit.text}")
        return
    for code in ("D002", "D220", "D306", "D408"):
        for hit in part.notes.get(code, ()):
            if hit.index is not None:
                plan.dropped.add((hit.file, hit.index))
                plan.tell(code, hit.file, hit.index, f"dropped: {hit.text or 'it has no label'}")


def _plan_shape(shape: Shape, copies: dict[int, int], plan: Plan) -> None:
    if shape.label is None and shape.kind != "":
        plan.drop("D306", shape, "its class is not known")
    elif shape.mask_trouble:
        plan.drop("D215", shape, shape.mask_trouble)
    elif is_flat_box(shape):
        plan.drop("D218", shape, "neither outline nor box with an area")
    elif shape.rings and few_points(shape):
        plan.drop("D201", shape, "fewer than 3 points")
    elif is_outside(shape):
        plan.drop("D202", shape, "outside the picture")
    elif is_empty(shape):
        plan.drop("D205", shape, "it has no area")
    elif id(shape) in copies:
        plan.drop("D206", shape, f"the same as {copies[id(shape)]}")
    else:
        _plan_outline(shape, plan)


def _plan_outline(shape: Shape, plan: Plan) -> None:
    change = Change()
    if shape.rings and not shape.line:
        rings = [points for points in shape.rings if len(points) >= 3]
        past = shape.excess > _NOTHING and 0 not in shape.size
        if past:
            height, width = shape.size
            clipped = [outlines.as_points(outlines.clip(points, width, height).tolist()) for points in rings]
            rings = [points for points in clipped if len(points) >= 3 and outlines.area(points) > 0]
            plan.tell("D203", shape.file, shape.index, f"cut at the edge, {shape.excess:.2f} px")
        elif len(rings) < len(shape.rings):
            plan.tell("D201", shape.file, shape.index, "parts of fewer than 3 points dropped")
        if not rings or (past and is_empty(Shape(shape.file, shape.index, None, rings, size=shape.size))):
            plan.drop("D205", shape, "nothing is left of it inside the picture")
            return
        if past or shape.closed or shape.repeats or shape.rewrite or len(rings) < len(shape.rings):
            change.rings = rings
            if not past and (shape.closed or shape.repeats):
                plan.tell("D213", shape.file, shape.index, "repeated points taken out")
    _plan_box(shape, change, plan)
    if change.rings is not None or change.box is not None:
        plan.changed[shape.file, shape.index] = change


def _plan_box(shape: Shape, change: Change, plan: Plan) -> None:
    if shape.box is None:
        return
    box = shape.box
    wrong = box_overlap(shape) < _SAME_BOX and not is_swapped(shape)
    if shape.rle is not None and shape.extent is not None and wrong:
        box = shape.extent
        plan.tell("D216", shape.file, shape.index, "box computed from the mask")
    elif shape.rings and (wrong or change.rings is not None):
        rings = change.rings if change.rings is not None else shape.rings
        lows, highs = zip(*((r.min(axis=0), r.max(axis=0)) for r in rings if len(r)), strict=True)
        x0, y0 = (min(float(low[axis]) for low in lows) for axis in (0, 1))
        x1, y1 = (max(float(high[axis]) for high in highs) for axis in (0, 1))
        box = (x0, y0, x1, y1)
        if wrong:
            plan.tell("D216", shape.file, shape.index, "box computed from the outline")
    if 0 not in shape.size and box_excess(shape) > _NOTHING:
        height, width = shape.size
        box = (max(box[0], 0.0), max(box[1], 0.0), min(box[2], float(width)), min(box[3], float(height)))
        plan.tell("D207", shape.file, shape.index, f"box cut at the edge, {box_excess(shape):.2f} px")
    if box != shape.box or shape.rewrite:
        change.box = box
