"""Saving a checkpoint every so many iterations."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from fvcore.common.checkpoint import PeriodicCheckpointer as _FvcorePeriodicCheckpointer

__all__ = ["PeriodicCheckpointer"]


class PeriodicCheckpointer(_FvcorePeriodicCheckpointer):
    """Saves ``<prefix>_<iteration>.pth`` every ``period`` iterations, ``<prefix>_final.pth`` after the last.

    A period of 0 saves only the last. With ``max_to_keep``, older numbered files are removed, those of an
    earlier, interrupted run included.
    """

    def step(self, iteration: int, **kwargs: Any) -> None:
        """Save if it is time.

        Args:
            iteration: the iteration just done, from 0.
            kwargs: further entries of the file.
        """
        iteration = int(iteration)
        if self.is_numbered(iteration):
            self.save(f"{self.file_prefix}_{iteration:07d}", iteration=iteration, **kwargs)
            self._remove_old()
        if self.is_last(iteration):
            self.save(f"{self.file_prefix}_final", iteration=iteration, **kwargs)

    def is_numbered(self, iteration: int) -> bool:
        """Tell whether a numbered file is due after this iteration."""
        return self.period > 0 and (iteration + 1) % self.period == 0

    def is_last(self, iteration: int) -> bool:
        """Tell whether this is the training's last iteration."""
        return self.max_iter is not None and iteration >= self.max_iter - 1

    def _remove_old(self) -> None:
        if self.max_to_keep is None or not self.checkpointer.save_to_disk:
            return
        numbered = re.compile(rf"{re.escape(self.file_prefix)}_\d{{7,}}\.pth$")
        files = [file for file in Path(self.checkpointer.save_dir).iterdir() if numbered.match(file.name)]
        files.sort(key=lambda file: (file.stat().st_mtime_ns, file.name))
        for file in files[: -self.max_to_keep]:
            file.unlink(missing_ok=True)
