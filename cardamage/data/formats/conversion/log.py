"""What a conversion found, written down as it is found: the cases may be more than memory holds."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import IO

from ....utils.files import atomic_write
from ...annotations.report import AnnotationReport

__all__ = ["ESCAPED", "ConversionLog", "LoggedReport"]

# A file's name need not be Unicode on Linux; text must be.
ESCAPED = "backslashreplace"

_SHOWN = 20


class ConversionLog:
    """Lines that wait in a temporary file until there is a folder for them."""

    def __init__(self) -> None:
        self._file: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8", errors=ESCAPED)

    def write(self, line: str) -> None:
        """Add a line."""
        self._file.write(f"{line}\n")

    def save(self, path: Path, heading: str) -> None:
        """Write a heading and all lines into a file.

        Raises:
            OSError: where it can't be written.
        """
        self._file.seek(0)
        with atomic_write(path, durable=False) as target:
            target.write(f"{heading}\n".encode("utf-8", ESCAPED).decode())
            shutil.copyfileobj(self._file, target)

    def close(self) -> None:
        """Forget the lines."""
        self._file.close()


class LoggedReport(AnnotationReport):
    """A report that counts all findings, keeps the first ones and passes every one on to a log.

    Args:
        source: what the dataset is called.
        log: takes the sentences.
        shown: findings that are kept.
    """

    def __init__(self, source: str, log: ConversionLog, shown: int = _SHOWN) -> None:
        super().__init__(source)
        self._log = log
        self._shown = shown
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, verdict: str, reason: str, place: str, detail: str | None = None) -> None:
        """Note a finding; see :meth:`AnnotationReport.add`."""
        super().add(verdict, reason, place, detail)
        self._counts[verdict, reason] += 1
        self._log.write(self.findings[-1].sentence)
        del self.findings[self._shown :]

    @property
    def counts(self) -> Counter[tuple[str, str]]:
        """How many findings there are of each verdict and reason."""
        return self._counts
