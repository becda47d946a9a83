"""What a file is, told from its bytes: a whole picture, a cut one, a pointer, text."""

from __future__ import annotations

__all__ = [
    "LFS_SIGN",
    "PICTURE_SUFFIXES",
    "SUFFIXES",
    "ends_whole",
    "is_cut_short",
    "kind_of",
    "plain_jpeg_size",
    "wrong_kind",
]

LFS_SIGN = b"version https://git-lfs.github.com/spec/"

# How files of each kind are called, the usual suffix first.
SUFFIXES: dict[str, tuple[str, ...]] = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png",),
    "WebP": (".webp",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "GIF": (".gif",),
    "HEIC": (".heic", ".heif"),
    "AVIF": (".avif",),
}
# Of pictures that can be read; HEIC can't.
PICTURE_SUFFIXES = frozenset(
    suffix for kind, suffixes in SUFFIXES.items() if kind != "HEIC" for suffix in suffixes
)

_SIGNS: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"BM", "BMP"),
    (b"GIF8", "GIF"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
)
# Baseline and progressive JPEG, of which every decoder takes the size from the first frame.
_FRAMES = (0xC0, 0xC1, 0xC2)
# JFIF, tables, Adobe's color transform and comments.
_WITHOUT_ORIENTATION = (0xE0, 0xDB, 0xC4, 0xDD, 0xEE, 0xFE)
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"mif1", b"msf1")


def kind_of(head: bytes) -> str | None:
    """Name the picture format that the first bytes show, or None."""
    for sign, kind in _SIGNS:
        if head.startswith(sign):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp":
        return "HEIC" if head[8:12] in _HEIF_BRANDS else "AVIF"
    return None


def wrong_kind(head: bytes) -> str | None:
    """Say in words why a file that begins with these bytes is no picture, or None where it may be one.

    Args:
        head: the first bytes of the file, 64 or more where it has them.
    """
    if not head:
        return "is empty (0 bytes); copy it again"
    if head.startswith(LFS_SIGN):
        return "is a Git LFS pointer, not the picture; run 'git lfs pull' where it was cloned"
    kind = kind_of(head)
    if kind == "HEIC":
        return "is in the HEIC format, which can't be read; save it as JPEG"
    if kind is None and _is_text(head):
        start = head[:24].decode("utf-8", errors="ignore").split("\n")[0].strip()
        return f"is text, not a picture; it begins with {start!r}"
    return None


def ends_whole(kind: str | None, tail: bytes) -> bool:
    """Whether the last bytes end a picture of this kind for certain; False means: look at all of it."""
    if kind == "JPEG":
        return tail.rstrip(b"\x00").endswith(b"\xff\xd9")
    if kind == "PNG":
        return b"IEND" in tail[-16:]
    return kind not in ("WebP",)


def is_cut_short(data: bytes) -> str | None:
    """Say in words what is missing at the end of a picture, or None where it is whole.

    A JPEG's end marker is looked for behind the start of its scan: the thumbnail in its header has one too.

    Args:
        data: the whole file.
    """
    kind = kind_of(data[:16])
    if kind == "JPEG" and data.find(b"\xff\xd9", _scan_start(data)) < 0:
        return "its JPEG data has no end marker"
    if kind == "PNG" and data.rfind(b"IEND") < 0:
        return "its PNG data has no end"
    if kind == "WebP" and len(data) < 8 + int.from_bytes(data[4:8], "little"):
        return "its WebP data is shorter than it says"
    return None


def plain_jpeg_size(head: bytes) -> tuple[int, int, int] | None:
    """Tell a JPEG's size from its first bytes, as :func:`~.reading.raw_image_size` gives it.

    Args:
        head: the first bytes of the file.

    Returns:
        Height, width and 1 for the orientation; None where these bytes don't tell, as the size comes later,
        or there are fields that may hold an orientation.
    """
    if head[:3] != b"\xff\xd8\xff":
        return None
    size: tuple[int, int, int] | None = None
    at = 2
    while at + 9 <= len(head) and head[at] == 0xFF:
        marker = head[at + 1]
        if marker == 0xDA:
            return size
        if marker in _FRAMES and size is None and head[at + 4] == 8:
            height, width = (int.from_bytes(head[at + i : at + i + 2], "big") for i in (5, 7))
            if not height or not width:
                return None
            size = (height, width, 1)
        elif marker not in _WITHOUT_ORIENTATION:
            return None
        at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return None


def _scan_start(data: bytes) -> int:
    """Where a JPEG's picture data begins; the end of the file if it doesn't get there."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xDA:
            return at
        if marker == 0xFF:
            at += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return len(data)


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return False
        text = head[: error.start].decode("utf-8")
    return all(char.isprintable() or char in "\r\n\t\ufeff" for char in text)
