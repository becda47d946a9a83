"""Where a source's files go in the copy."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ....errors import DataError

__all__ = ["Places", "make_places"]


@dataclass
class Places:
    """Paths in the copy.

    Attributes:
        roots: folder of each source, and where its copy is.
        renamed: new paths in the copy of pictures whose names change, by path in the source.
    """

    roots: list[tuple[str, Path]]
    renamed: dict[str, Path] = field(default_factory=dict)

    def is_outside(self, path: str | os.PathLike[str]) -> bool:
        """Whether a file is in none of the sources."""
        name = os.path.abspath(path)
        return not any(os.path.commonpath([root, name]) == root for root, _ in self.roots)

    def target(self, path: str | os.PathLike[str]) -> Path:
        """Return where a file goes; one outside of all sources goes to ``pictures`` in the first's copy."""
        name = os.path.abspath(path)
        if name in self.renamed:
            return self.renamed[name]
        for root, target in self.roots:
            if os.path.commonpath([root, name]) == root:
                return target / os.path.relpath(name, root)
        parts = [p for p in Path(os.path.relpath(name, self.roots[0][0])).parts if p != os.pardir]
        place = self.roots[0][1].joinpath("pictures", *parts)
        taken = set(self.renamed.values())
        while place in taken:
            place = place.with_name(f"other-{place.name}")
        self.renamed[name] = place
        return place

    def rename(self, path: str, suffix: str) -> Path | None:
        """Give a picture another suffix; None where a file has that name already."""
        new = self.target(path).with_suffix(suffix)
        if os.path.lexists(Path(path).with_suffix(suffix)) or new in self.renamed.values():
            return None
        self.renamed[os.path.abspath(path)] = new
        return new


def make_places(sources: Sequence[str], target: Path) -> Places:
    """Lay the copy out: a single source at `target`, each of several in a folder of its name.

    Raises:
        DataError: where the target exists and is not an empty folder, or lies in a source.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DataError(f"{target} is there already; name a folder that doesn't exist, or an empty one.")
    roots: list[tuple[str, Path]] = []
    for source in sources:
        root = os.path.abspath(source if os.path.isdir(source) else os.path.dirname(source) or ".")
        if os.path.commonpath([root, os.path.abspath(target)]) == root:
            raise DataError(f"{target} lies in {source}; name a folder outside of it.")
        if root in [known for known, _ in roots]:
            continue
        name, number = os.path.basename(root) or "set", 1
        taken = {place.name for _, place in roots}
        while len(sources) > 1 and name in taken:
            number += 1
            name = f"{os.path.basename(root)}-{number}"
        roots.append((root, target / name if len(sources) > 1 else target))
    return Places(sorted(roots, key=lambda pair: -len(pair[0])))
