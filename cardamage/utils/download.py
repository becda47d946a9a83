"""Downloads that survive cut connections, kills and several processes that want the same file.

The data goes to ``.NAME.part`` next to the file's place and is renamed when it is whole. What is there after
a cut is gone on from, if the server can (RFC 9110: ``Range`` with ``If-Range``) and its file is still the
same; else the download starts again.
"""

from __future__ import annotations

import errno
import hashlib
import http
import http.client
import json
import logging
import os
import shutil
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import portalocker
from iopath.common.file_io import file_lock
from tqdm import tqdm

from cardamage.errors import DownloadError
from cardamage.utils.connection import CountedBody, CutError, decoded, safe_opener, version_of, words_of

__all__ = ["download", "sha256_of"]

logger = logging.getLogger(__name__)

DELAYS = (1.0, 2.0, 4.0, 8.0)
"""Seconds between attempts."""

TIMEOUT = 20.0
"""Seconds without a byte after which a connection counts as cut."""

# Whoever got this much further into the file than ever before starts counting attempts anew.
_PROGRESS = 1 << 20
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)


def download(
    url: str,
    target: Path,
    *,
    name: str = "",
    sha256: str = "",
    force: bool = False,
    delays: Sequence[float] | None = None,
    timeout: float | None = None,
) -> None:
    """Bring the file of a URL to ``target``; where it is there already, do nothing.

    Several processes may ask for the same file: one downloads, the others wait.

    Args:
        url: ``http://`` or ``https://``.
        target: where to put it.
        name: what the user called it, for messages.
        sha256: the file's SHA-256 sum or its first digits, checked before the file gets its name.
        force: whether to download it although it is there.
        delays: seconds to wait before each further attempt; None takes :data:`DELAYS`.
        timeout: seconds without a byte after which a connection counts as cut; None takes :data:`TIMEOUT`.

    Raises:
        DownloadError: if it can't be had; what was received is kept for the next call where that is possible.
    """
    if target.is_file() and not force:
        return  # without the lock, which a folder for reading alone wouldn't hold
    patience = DELAYS if delays is None else delays
    job = _Download(url, target, name or url, sha256.lower(), patience, timeout or TIMEOUT)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(str(target)):
            if force or not target.is_file():
                job.run()
    except OSError as error:
        if isinstance(error, DownloadError):
            job.part.tidy()
            raise
        raise job.unwritable(error) from error
    except portalocker.exceptions.LockException as error:
        raise job.failed(
            f"another process has held '{target}.lock' for an hour; remove it if there is none"
        ) from error


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 sum in hexadecimal digits."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            total.update(chunk)
    return total.hexdigest()


class _Download:
    def __init__(
        self, url: str, target: Path, name: str, sha256: str, delays: Sequence[float], timeout: float
    ) -> None:
        self.url, self.target, self.name, self.sha256 = url, target, name, sha256
        self.delays, self.timeout = delays, timeout
        self.part = _Part(target.with_name(f".{target.name}.part"))
        self.received = self.furthest = 0

    # ------------------------------------------------------------------ messages
    def failed(self, reason: str) -> DownloadError:
        """Return the error that says what happened and what to do by hand."""
        where = "" if self.name == self.url else f" from '{self.url}'"
        kept = self.part.size()
        kept_words = f" {_mib(kept)} of it are kept, and the next run goes on from there." if kept else ""
        return DownloadError(
            f"'{self.name}' can't be downloaded{where} ({reason}): check the address and the network, or "
            f"download the file elsewhere and put it at '{self.target}'.{kept_words}"
        )

    def unwritable(self, error: OSError) -> DownloadError:
        """Return the error of a cache folder that takes no files."""
        return DownloadError(
            f"'{self.name}' can't be downloaded from '{self.url}' to '{self.target}' "
            f"({error.strerror or error}): free space or change permissions there, set the environment "
            "variable FVCORE_CACHE to another folder, or download the file elsewhere and give its path."
        )

    # ------------------------------------------------------------------ attempts
    def run(self) -> None:
        """Download, with as many attempts as there are delays, and more while there is progress."""
        attempt = 0
        while True:
            before = self.furthest
            try:
                self._attempt()
                break
            except CutError as cut:
                attempt = 0 if self.furthest - before >= _PROGRESS else attempt
                if attempt == len(self.delays):
                    raise self.failed(f"{cut}; tried {attempt + 1} times") from cut
                logger.warning(
                    "The download of '%s' was cut (%s): trying again in %g s.",
                    self.name, cut, self.delays[attempt],
                )  # fmt: skip
                time.sleep(self.delays[attempt])
                attempt += 1
        self._check_sum()
        self.part.rename(self.target)
        logger.info("Downloaded '%s' to '%s'.", self.name, self.target)

    def _attempt(self) -> None:
        begin, version = self.part.resumable(self.url)
        headers = {"User-Agent": "cardamage", "Accept-Encoding": "identity"}
        if begin:
            headers.update({"Range": f"bytes={begin}-", "If-Range": version})
        try:
            request = urllib.request.Request(self.url, headers=headers)
            with safe_opener().open(request, timeout=self.timeout) as response:
                self._receive(response, begin)
        except urllib.error.HTTPError as error:
            with error:
                self._raise_status(error)
        except urllib.error.URLError as error:
            self._raise_unreachable(error.reason)
        except (ValueError, http.client.InvalidURL) as error:
            raise self.failed(f"the address can't be used: {error}") from error
        except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
            raise CutError(words_of(error)) from error

    def _raise_status(self, error: urllib.error.HTTPError) -> None:
        words = " ".join(f"the server answers {error.code} {error.reason}".split())
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            self.part.remove()
            raise CutError(words) from error
        if error.code in _TRANSIENT:
            raise CutError(words) from error
        raise self.failed(words) from error

    def _raise_unreachable(self, reason: Any) -> None:
        # Where nothing was ever received, there is no network or a wrong address: waiting doesn't help.
        if self.received and not isinstance(reason, ssl.SSLError):
            raise CutError(words_of(reason))
        raise self.failed(words_of(reason))

    # ------------------------------------------------------------------ one answer
    def _receive(self, response: http.client.HTTPResponse, begin: int) -> None:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            begin = 0
        elif not (response.headers["Content-Range"] or "").startswith(f"bytes {begin}-"):
            self.part.remove()
            raise CutError("the server sent another part than it was asked for")
        encoding = (response.headers["Content-Encoding"] or "identity").lower()
        if encoding not in ("identity", "gzip", "x-gzip", "deflate"):
            raise self.failed(f"the server sends it in the encoding '{encoding}'")
        length = response.headers["Content-Length"]
        total = begin + int(length) if length and length.isdigit() else None
        if begin and encoding != "identity":
            self.part.remove()
            raise CutError("the server sent it in another encoding than before")
        self._check_space(total, begin)
        self.part.describe(self.url, version_of(response) if encoding == "identity" else "")
        counted = CountedBody(response, begin)
        chunks = iter(counted) if encoding == "identity" else decoded(counted)
        bar = tqdm(
            total=total, initial=begin, unit="B", unit_scale=True, desc=self.target.name, leave=False,
            disable=not sys.stderr.isatty(),
        )  # fmt: skip
        logger.info(
            "Downloading '%s'%s to '%s'.", self.url, f" ({_mib(total)})" if total else "", self.target
        )
        with bar, self.part.open(append=bool(begin)) as file:
            for chunk in chunks:
                self._write(file, chunk)
                self.furthest = max(self.furthest, counted.count)
                bar.update(len(chunk))
            if total is not None and counted.count != total:
                raise CutError(f"the connection ended after {counted.count} of {total} bytes")
            self._write(file, b"")

    def _write(self, file: IO[bytes], chunk: bytes) -> None:
        """Write a chunk; an empty one ends the file."""
        try:
            file.write(chunk)
            if not chunk:
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            self.part.remove()
            raise self.unwritable(error) from error
        self.received += len(chunk)

    def _check_space(self, total: int | None, begin: int) -> None:
        if total is not None and shutil.disk_usage(self.target.parent).free < total - begin:
            raise self.unwritable(
                OSError(errno.ENOSPC, f"{_mib(total - begin)} don't fit: {os.strerror(errno.ENOSPC)}")
            )

    def _check_sum(self) -> None:
        if not self.sha256:
            return
        found = sha256_of(self.part.path)
        if not found.startswith(self.sha256):
            self.part.remove()
            raise self.failed(f"its SHA-256 sum is {found}, not {self.sha256}: it isn't the file expected")


class _Part:
    """What has been received of a file, and a note on which version of which file it is."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.note = path.with_name(f"{path.name}.json")

    def size(self) -> int:
        """Return how many bytes are here that can be gone on from."""
        with suppress(OSError):
            return self.path.stat().st_size if self.note.is_file() else 0
        return 0

    def resumable(self, url: str) -> tuple[int, str]:
        """Return the number of bytes and their version; (0, "") where the download must start again."""
        try:
            note = json.loads(self.note.read_text(encoding="utf-8"))
            size = self.size() if note["url"] == url else 0
            return (size, str(note["version"])) if size else (0, "")
        except (OSError, ValueError, KeyError, TypeError):
            return 0, ""

    def describe(self, url: str, version: str) -> None:
        """Note what is being received; without a version it can't be gone on from."""
        self.note.unlink(missing_ok=True)
        if version:
            self.note.write_text(json.dumps({"url": url, "version": version}), encoding="utf-8")

    def open(self, append: bool) -> IO[bytes]:
        return self.path.open("ab" if append else "wb")

    def rename(self, target: Path) -> None:
        os.replace(self.path, target)
        self.note.unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove what can't be gone on from."""
        if not self.size():
            self.remove()

    def remove(self) -> None:
        for path in (self.note, self.path):
            with suppress(OSError):
                path.unlink()


def _mib(count: int | None) -> str:
    return f"{(count or 0) / 2**20:.1f} MiB"
