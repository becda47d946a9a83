"""Reading YAML config files and the ``_BASE_`` files they build on."""

from __future__ import annotations

import os
from typing import Any

import yaml

from ..errors import ConfigError
from .scope import BY_ITSELF, find_absent

__all__ = ["BASE_KEY", "load_chain", "merge_dicts"]

BASE_KEY = "_BASE_"


def load_chain(filename: str | os.PathLike[str]) -> list[tuple[str, dict[str, Any]]]:
    """Load a config file and everything it builds on.

    A ``_BASE_`` is one path or a list of paths, relative to the file that names it, absolute, or beginning
    with ``~``.

    Args:
        filename: the YAML file.

    Returns:
        ``(path, content)`` pairs without ``_BASE_``, in the order in which they are to be merged.

    Raises:
        ConfigError: for a file that is missing, unreadable, not YAML, not a mapping, or its own base.
    """
    return _load(os.fspath(filename), ())


def merge_dicts(over: dict[str, Any], under: dict[str, Any]) -> dict[str, Any]:
    """Return `under` with `over` merged in, node by node; neither is changed."""
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = (
            merge_dicts(value, below) if isinstance(value, dict) and isinstance(below, dict) else value
        )
    return merged


def _load(path: str, users: tuple[str, ...]) -> list[tuple[str, dict[str, Any]]]:
    real = os.path.realpath(path)
    if real in users:
        raise ConfigError(f"{path} is its own _BASE_; remove the circle.")
    content = _read(path, users[-1] if users else None)
    chain: list[tuple[str, dict[str, Any]]] = []
    for base in _bases(content.pop(BASE_KEY, []), path):
        chain += _load(base, (*users, real))
    return [*chain, (path, content)]


def _bases(value: Any, path: str) -> list[str]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"_BASE_ in {path} is {value!r}, but a path or a list of paths is expected.")
    folder = os.path.dirname(path)
    return [os.path.normpath(os.path.join(folder, os.path.expanduser(name))) for name in names]


def _read(path: str, user: str | None) -> dict[str, Any]:
    if path.endswith(".py"):
        raise ConfigError(
            f"The config file {path} is Python, a LazyConfig of Detectron2, which cardamage doesn't have: "
            f"{BY_ITSELF}"
        )
    try:
        with open(path, encoding="utf-8") as file:
            content = yaml.safe_load(file)
    except FileNotFoundError:
        named = f", named as _BASE_ in {user}," if user else ""
        raise ConfigError(f"The config file {path}{named} does not exist.") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"The config file {path} can't be read: {reason}.") from None
    except yaml.constructor.ConstructorError as error:
        raise ConfigError(_unsafe_message(path, error)) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"The config file {path} is not valid YAML{_position(error)}.") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"The config file {path} holds no keys: its top level must be KEY: value lines.")
    return content


def _position(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None)
    if mark is None:
        return ""
    return f" at line {mark.line + 1}, column {mark.column + 1}" + (f" ({problem})" if problem else "")


class _TaglessLoader(yaml.SafeLoader):
    """Reads what a tag holds as plain data; nothing in it is run or used."""


def _without_tag(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Any:
    return None


_TaglessLoader.add_multi_constructor("", _without_tag)


def _unsafe_message(path: str, error: yaml.constructor.ConstructorError) -> str:
    """Say what the config is of where the keys around the tag tell, else that tags are refused."""
    with open(path, encoding="utf-8") as file:
        content = yaml.load(file, Loader=_TaglessLoader)
    absent = find_absent(content, f" in {path}") if isinstance(content, dict) else None
    if absent is not None:
        return absent
    mark = error.problem_mark
    line = f" at line {mark.line + 1}" if mark is not None else ""
    return (
        f"The config file {path} holds a YAML tag{line} that would run code; "
        "configs are read as plain data, so write the value out instead."
    )
