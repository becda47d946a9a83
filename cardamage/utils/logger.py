"""Log lines on the console and in ``log.txt``, and the small helpers around them."""

from __future__ import annotations

import copy
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Hashable, Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from tabulate import tabulate
from tqdm import tqdm

from cardamage.errors import TrainingError
from cardamage.utils.files import describe_write_error

ROOT = "cardamage"
_DATE = "%m/%d %H:%M:%S"
_FILE_FORMAT = "[%(asctime)s] %(name)s %(levelname)s: %(message)s"
_CONSOLE_FORMAT = "[%(asctime)s %(name)s]: %(message)s"
_GREEN, _YELLOW, _RED, _PLAIN = "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[0m"

FILE_ONLY: dict[str, Any] = {"file_only": True}
"""``extra`` of long texts: a terminal doesn't show them where the log file has them."""

_counts: Counter[Hashable] = Counter()
_last_logged: dict[Hashable, float] = {}


class TqdmHandler(logging.Handler):
    """Write lines to stdout above any progress bar instead of through it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; a failure is reported the way the logging module does."""
        try:
            # sys.stdout is looked up each time: it may be redirected after the handler was made.
            tqdm.write(self.format(record), file=sys.stdout)
            sys.stdout.flush()
        except Exception:
            self.handleError(record)


class LogFileHandler(logging.FileHandler):
    """Writes lines to a file; one that can't be written is given up, after a sentence about it."""

    def __init__(self, filename: str) -> None:
        self._given_up = False
        super().__init__(filename, encoding="utf-8")

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record.

        Raises:
            TrainingError: the first time that the disk takes no more.
        """
        if not self._given_up:
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's own name)
        """Stop for what the disk says; report anything else the way the logging module does."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        self._given_up = True
        if self.stream is not None:
            with suppress(OSError):
                self.stream.close()  # tries to write what is left
        raise TrainingError(describe_write_error(Path(self.baseFilename).parent, error)) from error


class ConsoleFormatter(logging.Formatter):
    """Short lines, coloured on a terminal, with the level named from WARNING up.

    Args:
        color: use the terminal's colours.
        root: a logger's name to abbreviate.
        abbreviation: what to show for it in its own and its children's lines.
    """

    def __init__(self, color: bool, root: str = "", abbreviation: str = "") -> None:
        super().__init__(_CONSOLE_FORMAT, datefmt=_DATE)
        self._color = color
        self._root, self._abbreviation = root, abbreviation

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's own name)
        """Return the line, without the traceback."""
        head, _, message = super().formatMessage(self._abbreviate(record)).partition("]: ")
        level = f"{record.levelname}: " if record.levelno >= logging.WARNING else ""
        if not self._color:
            return f"{head}]: {level}{message}"
        tint = _RED if record.levelno >= logging.ERROR else _YELLOW
        return f"{_GREEN}{head}]:{_PLAIN} {tint if level else ''}{level}{_PLAIN if level else ''}{message}"

    def _abbreviate(self, record: logging.LogRecord) -> logging.LogRecord:
        if self._root == self._abbreviation or not record.name.startswith(f"{self._root}."):
            return record
        short = copy.copy(record)  # other handlers show the whole name
        short.name = f"{self._abbreviation}{record.name[len(self._root) :]}".lstrip(".")
        return short


def setup_logger(
    output: str | os.PathLike[str] | None = None,
    distributed_rank: int = 0,
    *,
    color: bool | None = None,
    name: str = ROOT,
    abbrev_name: str | None = None,
    enable_propagation: bool = False,
    configure_stdout: bool = True,
) -> logging.Logger:
    """Send a logger's lines to the console (process 0 only) and to a file. Calling it again changes nothing.

    Args:
        output: a folder, which gets ``log.txt``, or a file that ends in .txt or .log; None for no file.
        distributed_rank: processes above 0 write ``log.txt.rank<N>``.
        color: colour the console's lines; None does so on a terminal.
        name: the logger; its children's lines are included.
        abbrev_name: what the console shows in the name's stead, "" for nothing; None for the name itself.
        enable_propagation: whether to pass lines on to the logger's parents too.
        configure_stdout: whether to write to the console at all.

    Returns:
        The logger, at level DEBUG.

    Raises:
        OSError: the file can't be opened.
    """
    logger = logging.getLogger(name)
    logger.setLevel(logging.DEBUG)
    logger.propagate = enable_propagation
    if configure_stdout and distributed_rank == 0 and not any(_is_console(h) for h in logger.handlers):
        console = TqdmHandler(logging.DEBUG)
        color = sys.stdout.isatty() if color is None else color
        console.setFormatter(ConsoleFormatter(color, name, name if abbrev_name is None else abbrev_name))
        if sys.stdout.isatty():
            console.addFilter(lambda record: not (getattr(record, "file_only", False) and _has_file(logger)))
        logger.addHandler(console)
    if output is not None:
        _add_file(logger, _log_path(Path(output), distributed_rank))
    return logger


def _has_file(logger: logging.Logger) -> bool:
    return any(isinstance(handler, logging.FileHandler) for handler in logger.handlers)


def _is_console(handler: logging.Handler) -> bool:
    return isinstance(handler, TqdmHandler)


def _log_path(output: Path, rank: int) -> Path:
    path = output if output.suffix in (".txt", ".log") else output / "log.txt"
    return path if rank == 0 else path.with_name(f"{path.name}.rank{rank}")


def _add_file(logger: logging.Logger, path: Path) -> None:
    target = os.path.abspath(path)
    if any(getattr(handler, "baseFilename", None) == target for handler in logger.handlers):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = LogFileHandler(target)
    handler.setFormatter(logging.Formatter(_FILE_FORMAT, datefmt=_DATE))
    logger.addHandler(handler)


def log_first_n(
    lvl: int, msg: str, n: int = 1, *, name: str | None = None, key: str | tuple[str, ...] = "caller"
) -> None:
    """Log a message at most ``n`` times.

    Args:
        lvl: the logging level.
        msg: the message.
        n: how often.
        name: the logger; the calling module's by default.
        key: what counts as the same message: "caller" (the line of code), "message" (its text), or both.

    Raises:
        ValueError: another key.
    """
    keys = (key,) if isinstance(key, str) else tuple(key)
    if not keys or not set(keys) <= {"caller", "message"}:
        raise ValueError(f"The key must be 'caller', 'message' or both, got {key!r}.")
    module, place = _find_caller()
    identity: Hashable = ("first", place if "caller" in keys else None, msg if "message" in keys else None)
    _counts[identity] += 1
    if _counts[identity] <= n:
        logging.getLogger(name or module).log(lvl, msg)


def log_every_n(lvl: int, msg: str, n: int = 1, *, name: str | None = None) -> None:
    """Log the first and then every ``n``-th time this line of code is reached."""
    module, place = _find_caller()
    identity = ("every", place)
    if _counts[identity] % n == 0:
        logging.getLogger(name or module).log(lvl, msg)
    _counts[identity] += 1


def log_every_n_seconds(lvl: int, msg: str, n: float = 1, *, name: str | None = None) -> None:
    """Log at most once in ``n`` seconds from this line of code."""
    module, place = _find_caller()
    now = time.monotonic()
    if place not in _last_logged or now - _last_logged[place] >= n:
        logging.getLogger(name or module).log(lvl, msg)
        _last_logged[place] = now


def _find_caller() -> tuple[str, Hashable]:
    """Return the module and the place of the nearest frame outside this file."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    if frame is None:
        return ROOT, None
    module = frame.f_globals.get("__name__", ROOT)
    # A script's lines belong under the package's logger, or no handler would print them.
    return ROOT if module == "__main__" else module, (frame.f_code.co_filename, frame.f_lineno)


def create_small_table(small_dict: Mapping[str, Any]) -> str:
    """Return a one-row table in Markdown whose headers are the keys; for dicts of few entries."""
    return tabulate(
        [list(small_dict.values())],
        headers=list(small_dict),
        tablefmt="pipe",
        floatfmt=".3f",
        stralign="center",
        numalign="center",
    )


def _log_api_usage(identifier: str) -> None:
    """Tell torch's usage hook, which does nothing unless a site installs one, that a part is used."""
    import torch

    torch._C._log_api_usage_once(f"{ROOT}.{identifier}")
