"""Asking a server for a file: http and https alone, answers as they were sent, errors in words."""

from __future__ import annotations

import http.client
import socket
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin, urlsplit

__all__ = ["CountedBody", "CutError", "decoded", "safe_opener", "version_of", "words_of"]

CHUNK = 1 << 18
"""Bytes read at a time."""


class CutError(Exception):
    """A connection that broke, or a server that is busy: worth another attempt."""


class CountedBody:
    """The bytes of an answer, as they were sent."""

    def __init__(self, response: http.client.HTTPResponse, begin: int) -> None:
        self.response, self.count = response, begin

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self._next():
            self.count += len(chunk)
            yield chunk

    def _next(self) -> bytes:
        try:
            return self.response.read1(CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise CutError(words_of(error)) from error


def decoded(chunks: CountedBody) -> Iterator[bytes]:
    """Unpack an answer that the server packed although it was asked not to."""
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        for chunk in chunks:
            while chunk:
                yield decoder.decompress(chunk, CHUNK)
                chunk = decoder.unconsumed_tail
    except zlib.error as error:
        raise CutError("its encoding is damaged") from error
    if not decoder.eof:
        raise CutError("its encoding ends early")


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirect to another http or https address, and never from https to http."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request:
        newurl = urljoin(req.full_url, newurl)
        schemes = ("https",) if urlsplit(req.full_url).scheme == "https" else ("http", "https")
        if urlsplit(newurl).scheme not in schemes:
            raise urllib.error.HTTPError(req.full_url, code, f"and leads to '{newurl}'", headers, fp)
        return urllib.request.Request(newurl, headers=dict(req.headers), unverifiable=True)

    http_error_308 = urllib.request.HTTPRedirectHandler.http_error_302


def safe_opener() -> urllib.request.OpenerDirector:
    """Return an opener for http and https alone; the usual one also opens files."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        _SafeRedirects,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.UnknownHandler,
    ):
        opener.add_handler(handler())
    return opener


def version_of(response: http.client.HTTPResponse) -> str:
    """Return what tells this version of the file from others, empty if nothing does for certain."""
    etag = response.headers["ETag"] or ""
    if etag and not etag.startswith("W/"):
        return etag
    return response.headers["Last-Modified"] or ""


def words_of(error: Any) -> str:
    """Return an error in words for users."""
    if isinstance(error, socket.gaierror):
        return "the name of the server can't be resolved; is there a network?"
    if isinstance(error, TimeoutError):
        return "the server doesn't answer"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
