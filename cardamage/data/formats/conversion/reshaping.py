"""Datasets changed as a whole on their way to a target: classes renamed and ordered, several made one.

Images go through one at a time, whenever they are asked for; none are kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from ....errors import DataError
from ....utils.suggest import did_you_mean
from ...annotations.report import AnnotationReport
from ..dataset import AnnotatedDataset, AnnotatedImage, ImageHead, Images
from ..pictures.placing import FreeNames
from ..shared.packing import KeptAnnotations

__all__ = ["ChangedImages", "JoinedImages", "merged", "ordered", "parse_renames", "renamed"]

# What only holds for the file or the parts that were read.
_OWN = ("category_ids", "splits")


class ChangedImages:
    """Images with a change that is made again each time they are gone through.

    Args:
        images: the originals, which are not changed.
        change: makes an image of the place and the original.
    """

    def __init__(self, images: Images, change: Callable[[int, AnnotatedImage], AnnotatedImage]) -> None:
        self._images = images
        self._change = change

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[AnnotatedImage]:
        for index, image in enumerate(self._images):
            yield self._change(index, image)


class JoinedImages:
    """The images of several datasets in a row, each under a name of its own and without its old id.

    Args:
        sets: the images of each.
        dropped: keys of ``extra`` that are left out.
    """

    def __init__(self, sets: Sequence[Images], dropped: Sequence[str] = ("id",)) -> None:
        self._sets = sets
        self._dropped = frozenset(dropped)

    def __len__(self) -> int:
        return sum(map(len, self._sets))

    def __iter__(self) -> Iterator[AnnotatedImage]:
        names = FreeNames()
        for images in self._sets:
            for image in images:
                extra = {key: value for key, value in image.extra.items() if key not in self._dropped}
                yield replace(image, name=names.take(PurePosixPath(image.name)), extra=extra)


def parse_renames(rules: Sequence[str], classes: Sequence[str]) -> dict[str, str]:
    """Read ``old=new`` rules.

    Args:
        rules: as a user writes them; either name may hold an equals sign.
        classes: the names that there are.

    Returns:
        New names by old ones.

    Raises:
        DataError: for a rule without equals sign or new name, an old name that isn't a class, or one that is
            renamed twice.
    """
    names: dict[str, str] = {}
    for rule in rules:
        cuts = [i for i, char in enumerate(rule) if char == "="]
        pairs = [(rule[:i].strip(), rule[i + 1 :].strip()) for i in cuts]
        old, new = next((pair for pair in pairs if pair[0] in classes), pairs[0] if pairs else ("", ""))
        if not old or not new:
            raise DataError(f"--rename takes OLD=NEW, such as dents=dent, not {rule!r}.")
        if old not in classes:
            hint = did_you_mean(old, classes) or f"; there are {', '.join(classes)}."
            raise DataError(f"--rename {rule}: there is no class {old!r}{hint}")
        if names.setdefault(old, new) != new:
            raise DataError(f"--rename gives {old!r} two new names, {names[old]!r} and {new!r}; keep one.")
    return names


def renamed(dataset: AnnotatedDataset, names: dict[str, str]) -> AnnotatedDataset:
    """Give classes other names; those that get the same name become one class, in the place of the first.

    Args:
        dataset: is not changed.
        names: new names by old ones, all at once: ``a=b b=a`` swaps two.
    """
    if not names:
        return dataset

    def change(_: int, image: AnnotatedImage) -> AnnotatedImage:
        kept = image.annotations
        if isinstance(kept, KeptAnnotations):
            return replace(image, annotations=kept.renamed(names))
        found = [replace(raw, label=names.get(raw.label, raw.label)) for raw in kept]
        return replace(image, annotations=found)

    classes = list(dict.fromkeys(names.get(name, name) for name in dataset.classes))
    fields = dataset.extra.get("categories", {})
    heads = None if dataset.heads is None else [_renamed(head, names) for head in dataset.heads]
    images = ChangedImages(dataset.images, change)
    changed = replace(dataset, images=images, extra=dict(dataset.extra), heads=heads)
    if fields:
        # Backwards, so that of united classes the first one's fields count.
        changed.extra["categories"] = {names.get(n, n): fields[n] for n in reversed(list(fields))}
    return _with_classes(changed, classes)


def _renamed(head: ImageHead, names: dict[str, str]) -> ImageHead:
    counts: Counter[str] = Counter()
    for label, count in head.counts:
        counts[names.get(label, label)] += count
    return head._replace(counts=tuple(counts.items()))


def ordered(dataset: AnnotatedDataset, classes: Sequence[str] | None) -> AnnotatedDataset:
    """Put a dataset's classes into a given order; None keeps its own.

    Raises:
        DataError: for a class that is named twice.
    """
    if classes is None:
        return dataset
    twice = [name for name, count in Counter(classes).items() if count > 1]
    if twice:
        raise DataError(f"The class {twice[0]!r} is named twice in the list of classes; name it once.")
    return _with_classes(dataset, list(classes))


def merged(datasets: Sequence[AnnotatedDataset], losses: AnnotationReport) -> AnnotatedDataset:
    """Make one dataset of several; classes of the same name are one class.

    Args:
        datasets: one or more.
        losses: is told of fields of the sets as a whole that differ, which are left out.

    Returns:
        The images in the order of the sets. Where pictures share a name, the later ones get another.
    """
    if len(datasets) == 1:
        return datasets[0]
    extra: dict[str, Any] = {}
    lost = []
    for key in dict.fromkeys(key for dataset in datasets for key in dataset.extra):
        values = [dataset.extra[key] for dataset in datasets if key in dataset.extra]
        if key == "categories":
            extra[key] = {name: fields for value in reversed(values) for name, fields in value.items()}
        elif key not in _OWN and all(value == values[0] for value in values):
            extra[key] = values[0]
        elif key not in _OWN:
            lost.append(key)
    source = ", ".join(dataset.source for dataset in datasets)
    for key in lost:
        losses.add(
            "lost", "a field differs between the sets", source, f"its field {key!r} differs between them"
        )
    dropped = ["id", "license"] if "licenses" in lost else ["id"]
    classes = list(dict.fromkeys(name for dataset in datasets for name in dataset.classes))
    images = JoinedImages([dataset.images for dataset in datasets], dropped)
    return AnnotatedDataset(source, datasets[0].format, classes, images, extra)


def _with_classes(dataset: AnnotatedDataset, classes: list[str]) -> AnnotatedDataset:
    if classes == dataset.classes:
        return dataset
    extra = {key: value for key, value in dataset.extra.items() if key != "category_ids"}
    return replace(dataset, classes=classes, extra=extra)
