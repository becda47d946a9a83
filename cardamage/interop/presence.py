"""Whether Detectron2 is there and works."""

from __future__ import annotations

import importlib
import importlib.util

from cardamage.errors import BackendError

__all__ = ["INSTALL_GUIDE", "require_detectron2"]

INSTALL_GUIDE = "https://detectron2.readthedocs.io/tutorials/install.html"

_WITHOUT = "leaving --backend out runs cardamage's own engine"
# What the backend takes from it; a broken installation shows in one of them.
_PARTS = ("config", "structures", "data", "modeling", "checkpoint", "evaluation", "engine")


def require_detectron2() -> None:
    """Import what the backend needs of Detectron2.

    Raises:
        BackendError: if it isn't installed (the sentence says how it is), or breaks while it is imported (the
            sentence says of what).
    """
    if not _is_installed():
        raise BackendError(
            "--backend detectron2 needs the Python package 'detectron2', which isn't installed here: its own "
            f"guide, {INSTALL_GUIDE}, says how to install it; {_WITHOUT}."
        )
    for part in _PARTS:
        try:
            importlib.import_module(f"detectron2.{part}")
        # An installation built for another torch or Python can fail with anything.
        except Exception as error:
            raise BackendError(
                f"--backend detectron2 finds the package 'detectron2', but it can't be imported: "
                f"{_cause(error)}; mend it by its own guide, {INSTALL_GUIDE}; {_WITHOUT}."
            ) from error


def _is_installed() -> bool:
    spec = importlib.util.find_spec("detectron2")
    # A mere folder of that name, such as the one around a checkout, is found too, but has no __init__.py.
    return spec is not None and spec.origin is not None


def _cause(error: Exception) -> str:
    """Return in a clause what broke, and what is known to mend it."""
    lines = str(error).strip().splitlines()
    said = f"{type(error).__name__}" + (f" ({lines[0].rstrip('.')})" if lines else "")
    missing = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
    if missing == "pkg_resources":
        return f"{said}, which setuptools 80 and later no longer bring, so install 'setuptools<80'"
    if missing == "detectron2._C" or "detectron2._C" in said or "detectron2/_C" in said:
        return f"{said}, its compiled part is missing or of another torch or Python, so build it again"
    if missing:
        return f"{said}, a package that it needs"
    return said
