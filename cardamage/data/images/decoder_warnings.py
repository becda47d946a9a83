"""What libjpeg says of damaged data: OpenCV hands on the picture alone, and prints the warning on stderr.

Of a picture whose data is damaged in its middle, or cut short and closed, this is the only sign: decoders
make up what is missing.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["DecoderWarnings", "damage", "decoder_warnings"]

_STDERR = 2
_WARNING = re.compile(
    rb"^(?:Corrupt JPEG data: [^\n]*|Premature end of JPEG file|Inconsistent progression sequence[^\n]*"
    rb"|Invalid SOS parameters[^\n]*)\r?\n?",
    re.MULTILINE,
)
# Bytes that some cameras leave between the picture and the end marker.
_PADDING = 64
_EXTRANEOUS = re.compile(r"(\d+) extraneous bytes")
_MEANINGS = (
    ("premature end of data", "its data ends before the picture does"),
    ("Premature end", "its data ends before the picture does"),
    ("bad Huffman code", "its data holds what can't be decoded"),
    ("found marker", "a piece of its data is missing"),
)


class DecoderWarnings:
    """What was said so far; see :func:`decoder_warnings`.

    Attributes:
        lines: the warnings, in their order; complete once the block is left.
    """

    def __init__(self) -> None:
        """Nothing was said."""
        self.lines: list[str] = []


@contextmanager
def decoder_warnings() -> Iterator[DecoderWarnings]:
    """Collect what libjpeg prints, in place of showing it; everything else that is printed is shown after.

    Of all threads: decode one picture at a time to know which one is meant. Where the process has no stderr,
    nothing is collected.
    """
    said = DecoderWarnings()
    try:
        before = os.dup(_STDERR)
    except OSError:
        yield said
        return
    with tempfile.TemporaryFile() as file:
        try:
            _flush()
            os.dup2(file.fileno(), _STDERR)
            try:
                yield said
            finally:
                _flush()
                os.dup2(before, _STDERR)
        finally:
            os.close(before)
            file.seek(0)
            text = file.read()
            said.lines += [line.decode(errors="replace").strip() for line in _WARNING.findall(text)]
            rest = _WARNING.sub(b"", text)
            if rest:
                os.write(_STDERR, rest)


def _flush() -> None:
    if sys.stderr is not None and not sys.stderr.closed:
        sys.stderr.flush()


def damage(lines: list[str]) -> str:
    """Say in words what warnings of one picture tell of; empty where they are harmless."""
    for line in lines:
        extraneous = _EXTRANEOUS.search(line)
        if extraneous is not None and int(extraneous[1]) <= _PADDING:
            continue
        if extraneous is not None:
            return f"{int(extraneous[1]):,} bytes of its data belong to no part of the picture"
        return next((text for sign, text in _MEANINGS if sign in line), f"libjpeg says: {line}")
    return ""
