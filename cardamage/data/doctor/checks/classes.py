"""Class names: unused, misspelled, different between splits, out of balance."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator

from ..model import Hit, Subject
from ..names import misspelled, numbered, same_but_case, stands_for_nothing, trimmed
from ..registry import check, noted
from ..tables import class_counts

_IMBALANCE = 20
_FEW = 10


def _stated(subject: Subject) -> dict[str, str]:
    """Names that files state, with the first file of each."""
    found: dict[str, str] = {}
    for part in subject.parts:
        for name in part.classes:
            found.setdefault(name, part.source)
    return found


def _placeholders(subject: Subject) -> dict[str, str]:
    return {name: part.source for part in subject.parts for name in part.placeholders}


@check(
    "D401",
    "warning",
    "class without objects",
    "Label some, or take it out of the list.",
)
def unused(subject: Subject) -> Iterator[Hit]:
    """Stated classes that no object has."""
    used = {shape.label for shape in subject.shapes}
    placeholders = _placeholders(subject)
    for name, source in _stated(subject).items():
        if name not in used and name not in placeholders:
            yield Hit(source, None, name)


@check(
    "D402",
    "warning",
    "classes whose names are nearly the same",
    "Rename one, if they mean the same.",
)
def nearly_equal(subject: Subject) -> Iterator[Hit]:
    """Misspelled names, singulars and plurals."""
    stated = _stated(subject)
    counts = class_counts(subject)
    for one, other in misspelled(list(stated)):
        text = f"{one!r} ({counts[one].total()} objects) and {other!r} ({counts[other].total()})"
        yield Hit(stated[other], None, text)


@check(
    "D403",
    "warning",
    "classes that differ in case or separators only",
    "Write them alike.",
    "renamed to the one most used",
)
def case(subject: Subject) -> Iterator[Hit]:
    """Names such as Dent and dent, or head_lamp and head lamp."""
    stated = _stated(subject)
    for group in same_but_case(list(stated)):
        yield Hit(stated[group[1]], None, ", ".join(map(repr, group)))


@check(
    "D404",
    "note",
    "placeholder among the classes",
    "Nothing needs to be done: it is left out when it is read.",
    "dropped",
)
def placeholders(subject: Subject) -> Iterator[Hit]:
    """Background, and the head of all classes in Roboflow's exports, where no object has them."""
    for part in subject.parts:
        for name in part.placeholders:
            yield Hit(part.source, None, name)


@check(
    "D405",
    "warning",
    "classes that differ between splits",
    "Give all splits the same list, in the same order.",
)
def differing(subject: Subject) -> Iterator[Hit]:
    """Lists that differ, and objects of classes that the training split doesn't have."""
    lists: dict[str, list[str]] = {}
    first = None
    for part in subject.parts:
        if not (part.states_classes and part.split and part.classes):
            continue
        first = first or part
        if part.classes != first.classes and str(part.classes) not in lists:
            lists[str(part.classes)] = part.classes
            yield Hit(part.source, None, _difference(part.classes, first.classes), (first.source,))
    by_split: dict[str, Counter[str]] = defaultdict(Counter)
    sources = {part.split: part.source for part in subject.parts if part.split}
    for shape, split in _labelled(subject):
        by_split[split][shape] += 1
    for split in sorted(by_split):
        new = sorted(by_split[split].keys() - by_split.get("train", {}).keys())
        if split != "train" and "train" in by_split and new:
            text = f"{split} has objects of {', '.join(new)}, train has none"
            yield Hit(sources.get(split, ""), None, text)


def _labelled(subject: Subject) -> Iterator[tuple[str, str]]:
    for picture in subject.pictures:
        for shape in picture.shapes:
            if shape.label and picture.split:
                yield shape.label, picture.split


def _difference(these: list[str], those: list[str]) -> str:
    more, fewer = sorted(set(these) - set(those)), sorted(set(those) - set(these))
    texts = [f"{word} {', '.join(names)}" for word, names in (("more:", more), ("not:", fewer)) if names]
    return "; ".join(texts) or "the same names in another order"


noted(
    "D406",
    "warning",
    "YAML files that name different classes",
    "Delete those that don't belong to these labels.",
)


@check(
    "D407",
    "note",
    "classes out of balance",
    "Label more of the rare ones, or set DATALOADER.SAMPLER_TRAIN RepeatFactorTrainingSampler.",
)
def imbalance(subject: Subject) -> Iterator[Hit]:
    """A class with many times the objects of another."""
    totals = {name: counts.total() for name, counts in class_counts(subject).items() if counts.total()}
    if len(totals) < 2:
        return
    most, least = max(totals, key=totals.__getitem__), min(totals, key=totals.__getitem__)
    if totals[most] >= _IMBALANCE * totals[least]:
        yield Hit(subject.sources[0], None, f"{most} {totals[most]}, {least} {totals[least]}")


noted("D408", "error", "shape without label", "Name it, or delete it.", "dropped")
noted(
    "D409",
    "warning",
    "class numbers without names",
    "Add the names: to YOLO's a data.yaml, to COCO's the categories.",
)
noted(
    "D410",
    "error",
    "class names that are not numbered from 0 without gaps",
    "Number them so, and let nc be their count.",
)


@check(
    "D411",
    "note",
    "class with few objects",
    f"Below {_FEW}, neither training nor its score says much; label more.",
)
def few(subject: Subject) -> Iterator[Hit]:
    """Classes of fewer than 10 objects."""
    for name, counts in class_counts(subject).items():
        if 0 < counts.total() < _FEW:
            yield Hit(subject.sources[0], None, f"{name}: {counts.total()}")


_TINY = 16.0


@check(
    "D412",
    "note",
    "object of fewer than 16 pixels",
    "Look whether it is a slip of the mouse.",
)
def tiny(subject: Subject) -> Iterator[Hit]:
    """Objects smaller than 4 by 4 pixels."""
    for shape in subject.shapes:
        box = shape.extent
        if box is None or (box[2] - box[0]) * (box[3] - box[1]) > 4 * _TINY**2:
            continue
        if shape.area is not None and 0 < shape.area < _TINY:
            yield shape.hit(f"{shape.area:.0f} px")


_EMPTY_NAME = re.compile(r"^\s*$")


@check("D413", "error", "class without a name", "Name it.")
def unnamed(subject: Subject) -> Iterator[Hit]:
    """Stated classes whose name is empty or missing."""
    for part in subject.parts:
        yield from part.notes.get("D413", ())
    for name, source in _stated(subject).items():
        if _EMPTY_NAME.match(name):
            yield Hit(source)


@check(
    "D414",
    "warning",
    "class name with spaces or signs around it",
    "Write the name alone: to most tools it is another class with them.",
    "taken off",
)
def untrimmed(subject: Subject) -> Iterator[Hit]:
    """Names such as "dent " and "- dent"."""
    for part in subject.parts:
        yield from part.notes.get("D414", ())
    for name, source in _stated(subject).items():
        if trimmed(name) not in ("", name):
            yield Hit(source, None, repr(name))


noted(
    "D415",
    "warning",
    "class name that two categories have",
    "Give one another name, or join them.",
    "joined",
)


@check(
    "D416",
    "warning",
    "class whose name is a number",
    "Look up what it stands for, and name it.",
)
def numbers(subject: Subject) -> Iterator[Hit]:
    """Names that an export lost."""
    nameless = {
        part.source
        for part in subject.parts
        if part.notes.get("D413") or (part.format in ("yolo", "coco") and not part.states_classes)
    }
    for name, source in _stated(subject).items():
        if name.strip().isdecimal() and source not in nameless:
            yield Hit(source, None, name)


@check(
    "D417",
    "warning",
    "class that says nothing, with objects",
    "Look what was marked so; name it, or delete it.",
)
def says_nothing(subject: Subject) -> Iterator[Hit]:
    """Objects called none, unknown, background or ???."""
    stated, placeholders = _stated(subject), _placeholders(subject)
    for name, counts in class_counts(subject).items():
        if counts.total() and name not in placeholders and stands_for_nothing(name):
            yield Hit(stated.get(name, subject.sources[0]), None, f"{name!r}: {counts.total()}")


@check(
    "D418",
    "warning",
    "classes that differ in a number only",
    "If the number counts objects, take it off: each number is a class to a training.",
)
def counted_names(subject: Subject) -> Iterator[Hit]:
    """Labels such as dent1 and dent2, by which objects of a picture were told apart."""
    stated = _stated(subject)
    counts = class_counts(subject)
    for group in numbered([name for name in stated if counts[name].total()]).values():
        yield Hit(stated[group[0]], None, ", ".join(map(repr, group[:10])))
