"""Classes that change places in a mirrored picture: a car's left door becomes a right one.

Pairs are found in the names of classes. A name is cut into words where it has other signs than letters, where
a capital follows a small letter, and where digits begin; two classes are a pair where turning every word for
a side around makes one name of the other. A word counts only as a whole: ``leftover`` names no side.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import DataError
from ..utils.suggest import did_you_mean

__all__ = ["FlipMap", "class_flip_indices", "find_flip_map", "flip_classes", "one_sided"]

FlipMap = list[tuple[str, str]]
"""Pairs of class names, the left one first."""

# Left and right: English, German, French, Spanish, Portuguese, Italian, Dutch, Polish, Turkish, Vietnamese,
# Chinese and Japanese, all without accents. An adjective may have several forms on one side only.
_WORDS = (
    "left right, leftside rightside, lefthand righthand, links rechts, linke rechte, linker rechter, "
    "linkes rechtes, linken rechten, gauche droite, gauche droit, gauches droites, gauches droits, "
    "izquierdo derecho, izquierda derecha, izquierdos derechos, izquierdas derechas, esquerdo direito, "
    "esquerda direita, sinistro destro, sinistra destra, lewy prawy, lewa prawa, lewe prawe, 左 右"
)
# Short, alone or with front, rear and back, or such as may mean something else where they stand alone.
_SHORT = (
    "l r, fl fr, rl rr, bl br, lf rf, lr rr, lb rb, lh rh, lhs rhs, izq der, izdo dcho, izda dcha, sx dx, "
    "sol sag, trai phai"
)

_SIGNS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[\u3400-\u9fff]|[^\W\d_A-Za-z\u3400-\u9fff]+")


def _counterparts(*texts: str) -> dict[str, tuple[str, ...]]:
    """For each word of either side those of the other."""
    other: dict[str, dict[str, None]] = defaultdict(dict)
    for left, right in (pair.split() for text in texts for pair in text.split(",")):
        other[left][right] = None
        other[right][left] = None
    return {word: tuple(words) for word, words in other.items()}


_OTHER = _counterparts(_WORDS, _SHORT)
_LEFT = frozenset(pair.split()[0] for text in (_WORDS, _SHORT) for pair in text.split(","))
_WHOLE_WORDS = frozenset(_counterparts(_WORDS))
# Names with more words for sides than this are none of parts; the ways to turn them around double with each.
_MOST_SIDES = 4

_Words = tuple[str, ...]


def find_flip_map(classes: Sequence[str]) -> FlipMap:
    """Find the pairs of classes that differ in their side alone.

    Args:
        classes: class names.

    Returns:
        Pairs, in the order of the classes, each left before right. A class whose counterpart is not among
        the names, or of which there are several, is in none.
    """
    by_words: dict[_Words, list[str]] = defaultdict(list)
    for name in classes:
        by_words[_words(name)].append(name)
    other = {}
    for name in classes:
        words = _words(name)
        found = {twin for mirrored in _mirrored(words) for twin in by_words.get(mirrored, ())}
        if len(found) == 1 and len(by_words[words]) == 1:
            other[name] = found.pop()
    pairs = [
        (name, twin) if _begins_left(name) else (twin, name)
        for name, twin in other.items()
        if other.get(twin) == name
    ]
    return list(dict.fromkeys(pairs))


def one_sided(classes: Sequence[str]) -> list[str]:
    """Return the classes that name a side in a whole word and have no counterpart.

    Args:
        classes: class names.
    """
    paired = {name for pair in find_flip_map(classes) for name in pair}
    return [name for name in classes if name not in paired and not _WHOLE_WORDS.isdisjoint(_words(name))]


def _words(name: str) -> _Words:
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    return tuple(word.lower() for word in _SIGNS.findall(plain))


def _mirrored(words: _Words) -> Iterator[_Words]:
    """Every way to say the same of the other side; none for a name without side."""
    if 0 < sum(word in _OTHER for word in words) <= _MOST_SIDES:
        yield from itertools.product(*(_OTHER.get(word, (word,)) for word in words))


def _begins_left(name: str) -> bool:
    return next(word in _LEFT for word in _words(name) if word in _OTHER)


def class_flip_indices(classes: Sequence[str], pairs: Sequence[Sequence[str]], where: str) -> list[int]:
    """Tell what each class becomes in a mirrored picture.

    Args:
        classes: class names by contiguous id.
        pairs: of class names, in either order.
        where: what names the pairs, for messages.

    Returns:
        For each class the id of the one it becomes: its own where it has no side.

    Raises:
        DataError: for a pair that is none, a name that is no class, or a class in two pairs.
    """
    ids = {name: index for index, name in enumerate(classes)}
    order = list(range(len(classes)))
    for pair in pairs:
        if isinstance(pair, str) or len(pair) != 2 or pair[0] == pair[1]:
            raise DataError(f"{where} has {pair!r}, which is not a pair of two class names.")
        for name in pair:
            if name not in ids:
                hint = did_you_mean(str(name), ids) or f" ({', '.join(ids)})."
                raise DataError(f"{where} names {name!r}, which is not among the classes{hint}")
        one, two = (ids[name] for name in pair)
        if (order[one], order[two]) not in ((one, two), (two, one)):
            raise DataError(
                f"{where} has {pair[0]!r} or {pair[1]!r} in two pairs; every class can have one counterpart."
            )
        order[one], order[two] = two, one
    return order


def flip_classes(instances: Any, indices: Sequence[int]) -> Any:
    """Give objects of a mirrored picture the classes that they have in the picture itself, or the reverse.

    Who predicts on a flipped picture, as test-time augmentation does, applies it to the predictions.

    Args:
        instances: :class:`cardamage.structures.Instances` with ``pred_classes``, ``gt_classes`` or both,
            int64 (N,); they are replaced.
        indices: what each class becomes, see :func:`class_flip_indices`.

    Returns:
        The same instances.

    Raises:
        DataError: for a class without index.
    """
    for field in ("pred_classes", "gt_classes"):
        if not instances.has(field):
            continue
        classes = instances.get(field)
        if len(classes) and not 0 <= int(classes.min()) <= int(classes.max()) < len(indices):
            raise DataError(f"The instances' {field} go beyond the {len(indices)} classes of the indices.")
        instances.set(field, classes.new_tensor(list(indices))[classes])
    return instances
