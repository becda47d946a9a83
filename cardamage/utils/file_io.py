"""Files by path or address: what Detectron2 has under the same module path.

``PathManager`` is iopath's, with handlers for ``https://`` and ``http://``, ``detectron2://`` (the model zoo)
and ``torchvision://`` (torchvision's weights); :mod:`cardamage.checkpoint` adds ``catalog://``. What is
downloaded lies where iopath puts it, so that files which Detectron2 has fetched are found: under
``$FVCORE_CACHE``, else ``~/.torch/iopath_cache``.
"""

from __future__ import annotations

import abc
import hashlib
import logging
import os
import re
from pathlib import Path
from typing import IO, Any
from urllib.parse import parse_qs, urlsplit

from iopath.common.file_io import OneDrivePathHandler, PathHandler
from iopath.common.file_io import PathManager as _PathManager

from cardamage.errors import DownloadError
from cardamage.utils.download import download, sha256_of

__all__ = ["Downloads", "HTTPHandler", "PathHandler", "PathManager", "cache_folder", "fetch"]

logger = logging.getLogger(__name__)

DETECTRON2_URL = "https://dl.fbaipublicfiles.com/detectron2/"
TORCHVISION_URL = "https://download.pytorch.org/models/"

MIRROR_VARIABLE = "CARDAMAGE_WEIGHTS_MIRROR"
"""Environment variable: an address with the same paths as the hosts of Detectron2's and torch's weights."""

_MIRRORED = ("https://dl.fbaipublicfiles.com/", "https://download.pytorch.org/")
# The convention of torch.hub: the first digits of the file's SHA-256 sum end its name.
_SUM_IN_NAME = re.compile(r"-([a-f0-9]{8,64})\.[^.]+$")
_LONGEST_NAME = 200


def cache_folder() -> Path:
    """Return the folder of downloaded files: ``$FVCORE_CACHE``, else ``~/.torch/iopath_cache``."""
    return Path(os.path.expanduser(os.getenv("FVCORE_CACHE") or "~/.torch/iopath_cache"))


class Downloads(PathHandler, abc.ABC):
    """What handlers of files of the network share: files are downloaded once, and only read."""

    @abc.abstractmethod
    def _local(self, path: str, force: bool, cache_dir: str | None) -> Path:
        """Return the local file of an address, downloaded unless it is there."""

    def _get_local_path(
        self, path: str, force: bool = False, cache_dir: str | None = None, **kwargs: Any
    ) -> str:
        self._check_kwargs(kwargs)
        return str(self._local(path, force, cache_dir))

    def _open(self, path: str, mode: str = "r", buffering: int = -1, **kwargs: Any) -> IO[str] | IO[bytes]:
        if mode not in ("r", "rb", "rt"):
            raise DownloadError(
                f"'{path}' can't be opened with mode {mode!r}: files of the network are read."
            )
        return open(self._get_local_path(path), mode, buffering, **kwargs)

    def _exists(self, path: str, **kwargs: Any) -> bool:
        try:
            return os.path.isfile(self._get_local_path(path, **kwargs))
        except DownloadError as error:
            logger.info("%s", error)
            return False

    _isfile = _exists

    def _isdir(self, path: str, **kwargs: Any) -> bool:
        return False


class HTTPHandler(Downloads):
    """``https://`` and ``http://``: downloaded whole, resumed after a cut, checked where the sum is known.

    The sum is that of a fragment (``https://.../model.pth#sha256=...``), else that in the file's name where
    it follows torch.hub's convention (``resnet50-0676ba61.pth``).
    """

    def _get_supported_prefixes(self) -> list[str]:
        return ["https://", "http://"]

    def _local(self, path: str, force: bool, cache_dir: str | None) -> Path:
        return fetch(path, force=force, cache_dir=cache_dir)


class OneDriveHandler(Downloads):
    """Short links of OneDrive."""

    def _get_supported_prefixes(self) -> list[str]:
        return [OneDrivePathHandler.ONE_DRIVE_PREFIX]

    def _local(self, path: str, force: bool, cache_dir: str | None) -> Path:
        url = OneDrivePathHandler().create_one_drive_direct_download(path)
        return fetch(url, name=path, force=force, cache_dir=cache_dir)


class Detectron2Handler(Downloads):
    """``detectron2://``: the files of Detectron2's model zoo.

    ``cardamage://`` is what a script says in which every ``detectron2`` was renamed.
    """

    def _get_supported_prefixes(self) -> list[str]:
        return ["detectron2://", "cardamage://"]

    def _local(self, path: str, force: bool, cache_dir: str | None) -> Path:
        url = DETECTRON2_URL + path.partition("://")[2]
        return fetch(url, name=path, force=force, cache_dir=cache_dir)


class TorchvisionHandler(Downloads):
    """``torchvision://MODEL`` or ``torchvision://MODEL/WEIGHTS``: weights that torchvision offers.

    Without ``WEIGHTS`` the oldest are taken (``IMAGENET1K_V1``, ``COCO_V1``), as
    torchvision's own detectors start from.
    """

    def _get_supported_prefixes(self) -> list[str]:
        return ["torchvision://"]

    def _local(self, path: str, force: bool, cache_dir: str | None) -> Path:
        import torch
        from torchvision.models import get_model_weights, list_models

        model, _, wanted = path.partition("://")[2].partition("/")
        if model not in list_models():
            raise DownloadError(f"'{path}' names no model of torchvision, such as torchvision://resnet50.")
        weights = {member.name: member for member in get_model_weights(model)}
        if (wanted and wanted not in weights) or not weights:
            known = ", ".join(weights) or "none"
            raise DownloadError(f"'{path}': torchvision's weights of {model} are {known}.")
        url = weights[wanted or next(iter(weights))].url
        beside = Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])
        if beside.is_file() and not force:
            return beside
        return fetch(url, name=path, force=force, cache_dir=cache_dir)


def fetch(path: str, *, name: str = "", force: bool = False, cache_dir: str | None = None) -> Path:
    """Return the local file of an address, downloaded unless it is there.

    Args:
        path: ``https://`` or ``http://``; a fragment ``#sha256=DIGITS`` tells the file's sum or its first
            digits.
        name: what the user called it, for messages.
        force: whether to download it although it is there.
        cache_dir: the folder of downloaded files; None takes :func:`cache_folder`.

    Raises:
        DownloadError: if it can't be had.
    """
    url, _, fragment = path.partition("#")
    told = _sum_in_fragment(fragment, path)
    root = Path(cache_dir) if cache_dir else cache_folder()
    target = _place(url, root)
    if told and target.is_file() and not sha256_of(target).startswith(told):
        logger.warning("'%s' hasn't the SHA-256 sum %s: downloading it again.", target, told)
        force = True
    if force or not target.is_file():
        source = _mirrored(url)
        download(source, target, name=name or url, sha256=told or _sum_in_name(url), force=force)
        _note_address(target, url)
    return target


def _place(url: str, root: Path) -> Path:
    """Return where iopath caches an address: its path, without the host."""
    parts = urlsplit(url)
    folders, _, name = parts.path.lstrip("/").rpartition("/")
    name += f"?{parts.query.replace('/', '_')}" if parts.query else ""
    if not parts.path.rpartition("/")[2] or ".." in parts.path.split("/") or "\0" in url:
        raise DownloadError(f"'{url}' names no file that can be downloaded: check the address.")
    if len(name.encode()) > _LONGEST_NAME:
        name = f"{name[:50]}_{hashlib.sha256(name.encode()).hexdigest()}"
    place = root / folders / name
    # Two hosts may have different files of one path, such as /model_final.pth.
    if _noted_address(place) not in ("", url):
        place = root / (parts.hostname or "") / folders / name
    return place


def _address_file(place: Path) -> Path:
    return place.with_name(f".{place.name}.url")


def _noted_address(place: Path) -> str:
    """Return where a cached file came from; empty if nobody noted it, as iopath and people don't."""
    try:
        return _address_file(place).read_text(encoding="utf-8") if place.is_file() else ""
    except (OSError, ValueError):
        return ""


def _note_address(place: Path, url: str) -> None:
    try:
        _address_file(place).write_text(url, encoding="utf-8")
    except OSError as error:
        logger.debug("'%s' can't be noted: %s", place, error)


def _mirrored(url: str) -> str:
    mirror = os.getenv(MIRROR_VARIABLE, "")
    if mirror and not mirror.startswith(("https://", "http://")):
        raise DownloadError(f"{MIRROR_VARIABLE} is '{mirror}': set it to an https:// address or unset it.")
    for host in _MIRRORED:
        if mirror and url.startswith(host):
            return f"{mirror.rstrip('/')}/{url[len(host) :]}"
    return url


def _sum_in_fragment(fragment: str, path: str) -> str:
    told = parse_qs(fragment).get("sha256", [""])[0].lower()
    if "sha256" in fragment and not re.fullmatch(r"[a-f0-9]{8,64}", told):
        raise DownloadError(f"'{path}' ends with no SHA-256 sum: write #sha256= and 8 to 64 digits of it.")
    return told


def _sum_in_name(url: str) -> str:
    found = _SUM_IN_NAME.search(urlsplit(url).path)
    # Eight digits without letters are a date more likely than a sum, but for torch's own files.
    if found is None or (found[1].isdigit() and not url.startswith(TORCHVISION_URL)):
        return ""
    return found[1]


PathManager = _PathManager()
"""What opens, lists and downloads; handlers of one's own are added with ``register_handler``."""

for _handler in (HTTPHandler(), OneDriveHandler(), Detectron2Handler(), TorchvisionHandler()):
    PathManager.register_handler(_handler)
