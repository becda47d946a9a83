"""Writing files whole, and saying plainly where nothing can be written."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from cardamage.errors import TrainingError

_PROBE_BYTES = 4096
# Not blocking: a pipe that nobody writes to would be waited for while it is opened.
_READ_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def local_path(path: str | os.PathLike[str]) -> str:
    """Return where a file can be opened, downloading it where it is named by an address (``https://...``).

    Args:
        path: a path, which is returned as it is, or an address that
            :data:`cardamage.utils.file_io.PathManager` has a handler for.

    Raises:
        DownloadError: if it can't be had.
    """
    name = os.fspath(path)
    if "://" not in name:
        return name
    from cardamage.utils.file_io import PathManager

    return str(PathManager.get_local_path(name))


def open_regular(path: str | os.PathLike[str], buffering: int = -1) -> IO[bytes]:
    """Open a file to read its bytes, but no pipe or device: those may never end, or never begin.

    Args:
        path: the file.
        buffering: as :func:`open` has it.

    Raises:
        OSError: as :func:`open`, and for what is no file.
        ValueError: for a name that no file can have.
    """
    handle = os.open(path, _READ_FLAGS)
    try:
        mode = os.fstat(handle).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is a device or pipe, not a file", os.fspath(path))
        return os.fdopen(handle, "rb", buffering)
    except BaseException:
        os.close(handle)
        raise


@contextmanager
def atomic_write(
    path: str | os.PathLike[str], mode: str = "w", encoding: str = "utf-8", durable: bool = True
) -> Iterator[IO[Any]]:
    """Open a file that appears at ``path`` only when the block ends without an error.

    The data goes to a temporary file in the same folder, is flushed to the disk and renamed over ``path``.
    A process killed at any moment leaves the old file or the new one, never a part.

    Args:
        path: the file to write. Its folder is made if missing.
        mode: "w" for text or "wb" for bytes.
        encoding: of text.
        durable: whether to wait for the disk, so that it also survives a power cut. What can be made again
            need not: of a large file that is most of the time of writing it.

    Yields:
        The open temporary file.

    Raises:
        ValueError: another mode.
        OSError: the folder can't be written; nothing is left behind.
    """
    if mode not in ("w", "wb"):
        raise ValueError(f"atomic_write opens with mode 'w' or 'wb', not {mode!r}.")
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, mode, encoding=None if "b" in mode else encoding) as stream:
            yield stream
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        os.chmod(temporary, _mode_for(target))
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    if durable:
        _sync_folder(target.parent)


def ensure_writable_dir(path: str | os.PathLike[str], option: str = "OUTPUT_DIR") -> Path:
    """Make a folder if needed and prove, by writing a small file, that it takes data.

    Args:
        path: the folder.
        option: what the user sets to choose another one, for the message.

    Returns:
        The folder as a path.

    Raises:
        TrainingError: it is not a folder, or can't be written, or its disk is full.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".probe.") as probe:
            probe.write(b"\0" * _PROBE_BYTES)
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        raise TrainingError(describe_write_error(folder, error, option)) from error
    return folder


def describe_write_error(path: str | os.PathLike[str], error: OSError, option: str = "OUTPUT_DIR") -> str:
    """Return the sentence that tells a user why ``path`` can't be written and what to do."""
    advice = f"set {option} to another folder"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk of the output folder '{path}' is full: free some space or {advice}."
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return f"The output folder '{path}' is, or lies under, a file: {advice}."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"The output folder '{path}' can't be written: change its permissions or {advice}."
    return f"The output folder '{path}' can't be written ({error.strerror or error}): {advice}."


def _mode_for(target: Path) -> int:
    """Return the permissions the target has, or would get from the user's umask (mkstemp gives 0600)."""
    try:
        return stat.S_IMODE(target.stat().st_mode)
    except OSError:
        umask = os.umask(0)
        os.umask(umask)
        return 0o666 & ~umask


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut, where the system lets a folder be synced."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
