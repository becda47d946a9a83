"""Telling a trunk's parameters from a detector's heads."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

__all__ = ["heads_without_weights", "is_classifier", "parts_of"]

_STEM = "stem.conv1.weight"
_CLASSIFIER = re.compile(
    r"^(backbone\.(bottom_up\.)?)?(stem\.)?(fc\d*|linear|classifier\.\d)\.(weight|bias)$"
)


def heads_without_weights(names: Collection[str], missing: Iterable[str]) -> list[str]:
    """Return the parameters that a file of a trunk alone rightly lacks.

    Args:
        names: all of the model's.
        missing: those that the file lacks.

    Returns:
        Those missing outside of the trunk, if the file has weights for the trunk and nothing else; else none.
    """
    prefix = next((name.removesuffix(_STEM) for name in names if f".{name}".endswith(f".{_STEM}")), None)
    if prefix is None:
        return []
    # Without a pyramid the last stage belongs to the ROI heads.
    trunk = re.compile(rf"^({re.escape(prefix)}|roi_heads\.)(stem|res\d|linear)\.")
    missing = list(missing)
    loaded = set(names).difference(missing)
    if not loaded or not all(trunk.match(name) for name in loaded):
        return []
    return [name for name in missing if not trunk.match(name)]


def is_classifier(name: str) -> bool:
    """Tell whether a name is that of the ImageNet classifier on top of a trunk."""
    return _CLASSIFIER.match(name) is not None


def parts_of(names: Iterable[str], loaded: Collection[str]) -> list[str]:
    """Name the parts of a model that parameters make up, ``backbone.fpn_output*`` or ``roi_heads``.

    Args:
        names: the parameters.
        loaded: the others; a part has none of them.
    """
    taken = {part for name in loaded for part in _ancestors(name)}
    parts = [next((part for part in _ancestors(name) if part not in taken), name) for name in names]
    return list(dict.fromkeys(re.sub(r"\d+$", "*", part) for part in parts))


def _ancestors(name: str) -> list[str]:
    """Return the modules that hold a parameter, outermost first."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]
