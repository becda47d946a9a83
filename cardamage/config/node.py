"""The config tree: yacs nodes that know which keys the user set and refuse the ones that don't exist."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any

from fvcore.common.config import CfgNode as _FvcoreNode

from ..errors import ConfigError, ConfigKeyError, ConfigValueError
from ..utils.suggest import closest
from .coerce import coerce, decode
from .loading import BASE_KEY, load_chain, merge_dicts
from .scope import project_message, project_of
from .versions import LATEST_VERSION, guess_version, upgrade_tree

__all__ = ["CfgNode"]

logger = logging.getLogger(__name__)

_EXPLICIT = "__explicit__"
_PATH = "__path__"
_KNOWN = "__known__"


class CfgNode(_FvcoreNode):
    """A node of the config tree, used as Detectron2's ``CfgNode`` is.

    Beyond that one: YAML is only ever read as plain data, a key that doesn't exist is refused with the
    closest one that does, and :meth:`is_explicit` tells what the user set. Values are read as attributes.
    """

    def __init__(
        self,
        init_dict: dict[str, Any] | None = None,
        key_list: list[str] | None = None,
        new_allowed: bool = False,
    ) -> None:
        super().__init__(init_dict, key_list, new_allowed)
        self.__dict__[_EXPLICIT] = set()
        self.__dict__[_PATH] = None
        self.__dict__[_KNOWN] = frozenset()

    # -- reading ------------------------------------------------------------------------------------------

    def is_explicit(self, key: str) -> bool:
        """Tell whether a YAML file, a list of options or an assignment set this key.

        Args:
            key: dotted name below this node, such as ``"MODEL.ROI_HEADS.NUM_CLASSES"``.

        Returns:
            True if it was set since :func:`get_cfg`, even to its default value.

        Raises:
            ConfigKeyError: for a key that doesn't exist.
        """
        node, name = self._locate(key, "")
        return name in node.__dict__[_EXPLICIT]

    def leaves(self, prefix: str = "") -> Iterator[tuple[str, Any]]:
        """Yield ``(dotted name, value)`` of every key below this node."""
        for name, value in self.items():
            if isinstance(value, CfgNode):
                yield from value.leaves(f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}", value

    @classmethod
    def load_yaml_with_base(cls, filename: str, allow_unsafe: bool = False) -> dict[str, Any]:
        """Load a YAML file merged onto its ``_BASE_`` files, as one plain dict.

        Args:
            filename: the file.
            allow_unsafe: kept for Detectron2's signature; YAML tags that run code are refused in any case.

        Returns:
            Nested dicts.

        Raises:
            ConfigError: for a file that can't be used.
        """
        merged: dict[str, Any] = {}
        for _, content in load_chain(filename):
            merged = merge_dicts(content, merged)
        return merged

    # -- changing -----------------------------------------------------------------------------------------

    def merge_from_file(self, cfg_filename: str | os.PathLike[str], allow_unsafe: bool = False) -> None:
        """Merge a YAML file and the ``_BASE_`` files below it; nothing is changed where one of them fails.

        Args:
            cfg_filename: the file.
            allow_unsafe: kept for Detectron2's signature; YAML tags that run code are refused in any case.

        Raises:
            ConfigError: for a file that can't be used, or of a later ``VERSION``; earlier ones are upgraded.
            ConfigKeyError: for a key that doesn't exist; names the file and the closest key.
            ConfigValueError: for a value of the wrong type.
        """
        changes: list[_Change] = []
        version: int | None = None
        for path, content in load_chain(cfg_filename):
            # A file that doesn't say its version is of its bases'.
            version = _upgraded(content, path, version)
            changes += self._plan(content, f" in {path}")
        _apply(changes)

    def merge_from_other_cfg(self, cfg_other: dict[str, Any]) -> None:
        """Merge another tree (nodes or nested dicts) into this one.

        Raises:
            ConfigKeyError: for a key that doesn't exist.
            ConfigValueError: for a value of the wrong type.
        """
        if BASE_KEY in cfg_other:
            raise ConfigKeyError(f"{BASE_KEY} can only stand in a config file.")
        _apply(self._plan(cfg_other, ""))

    def merge_from_list(self, cfg_list: Sequence[Any]) -> None:
        """Merge ``KEY VALUE`` pairs, as from a command line.

        Args:
            cfg_list: ``["SOLVER.BASE_LR", "0.01", ...]``; strings are read as Python literals.

        Raises:
            ConfigError: for an odd number of elements.
            ConfigKeyError: for a key that doesn't exist.
            ConfigValueError: for a value of the wrong type.
        """
        if len(cfg_list) % 2:
            raise ConfigError(
                f"Options come in KEY VALUE pairs, but {len(cfg_list)} were given and "
                f"{cfg_list[-1]!r} at the end has no value."
            )
        changes: list[_Change] = []
        for key, value in zip(cfg_list[0::2], cfg_list[1::2], strict=True):
            node, name = self._locate(str(key), "")
            if isinstance(node[name], CfgNode):
                changes += node[name]._plan(_as_group(value, str(key), ""), "", f"{key}.")
            else:
                changes.append((node, name, coerce(value, node[name], str(key))))
        _apply(changes)

    def set_derived(self, key: str, value: Any) -> None:
        """Set a key to what follows from elsewhere (the data, the machine); it stays not explicit.

        Args:
            key: dotted name below this node.
            value: of the key's type.

        Raises:
            ConfigKeyError: for a key that doesn't exist.
            ConfigValueError: for a value of the wrong type.
            AttributeError: where the tree is frozen.
        """
        node, name = self._locate(key, "")
        if node.is_frozen():
            raise AttributeError(f"{key} can't be set to {value!r}: the config is frozen.")
        node[name] = coerce(value, node[name], key)

    def seal(self, path: str = "") -> None:
        """Take the present keys as the known ones and none of them as set by the user.

        From here on, assigning an attribute that looks like a misspelled key is refused. Called on the
        default tree; every clone stays sealed.
        """
        self.__dict__[_PATH] = path
        self.__dict__[_KNOWN] = frozenset(self)
        self.__dict__[_EXPLICIT] = set()
        for name, value in self.items():
            if isinstance(value, CfgNode):
                value.seal(f"{path}{name}.")

    def __setattr__(self, name: str, val: Any) -> None:
        """Set a key; it counts as explicit.

        Raises:
            ConfigKeyError: for a key that doesn't exist but looks like one that does.
            AttributeError: where the tree is frozen.
        """
        path = self.__dict__.get(_PATH)
        if path is not None and name not in self and not name.startswith("COMPUTED_"):
            self._refuse_misspelled(name, path)
        super().__setattr__(name, val)
        if isinstance(val, CfgNode):
            return
        self.__dict__[_EXPLICIT].add(name)

    def _refuse_misspelled(self, name: str, path: str) -> None:
        """A new name is the user's own key, unless it is close to a known one or known in another place."""
        if self.is_new_allowed() or self.is_frozen() or project_of(path + name):
            return
        # Two keys of the user's own may be as alike as they like.
        match = closest(name, self.__dict__[_KNOWN], cutoff=0.75)
        if match is None:
            match = _elsewhere(name) if not path else None
        else:
            match = path + match
        if match is not None:
            raise ConfigKeyError(
                f"{path}{name} is not a config key; did you mean {match}? "
                "(To add a key of your own, call set_new_allowed(True) on its node first.)"
            )

    def _locate(self, key: str, where: str) -> tuple[CfgNode, str]:
        """Find the node that holds a dotted key."""
        *parents, name = key.split(".")
        node: Any = self
        for parent in parents:
            node = node.get(parent) if isinstance(node, CfgNode) else None
        if not isinstance(node, CfgNode) or name not in node:
            raise ConfigKeyError(self._unknown_message(key, where))
        return node, name

    def _unknown_message(self, key: str, where: str, prefix: str = "") -> str:
        project = project_of(key)
        if project is not None:
            return project_message(key, where, project)
        own = closest(key, _names(self, prefix))
        leaf = key.rsplit(".", 1)[-1]
        moved = [name for name in _names(self, prefix) if name.rsplit(".", 1)[-1] == leaf]
        match = moved[0] if len(moved) == 1 else own
        return f"{key}{where} is not a config key" + (f"; did you mean {match}?" if match else ".")

    def _plan(self, other: dict[str, Any], where: str, prefix: str = "") -> list[_Change]:
        """List what merging `other` would change, so that nothing changes where a later key is wrong."""
        return list(self._planned(other, where, prefix, self))

    def _planned(
        self, other: dict[str, Any], where: str, prefix: str, root: CfgNode, top: str | None = None
    ) -> Iterator[_Change]:
        top = prefix if top is None else top
        for name, value in other.items():
            key = f"{prefix}{name}"
            if name not in self:
                if not self.is_new_allowed():
                    raise ConfigKeyError(root._unknown_message(key, where, top))
                yield self, str(name), CfgNode(value) if isinstance(value, dict) else decode(value)
            elif isinstance(self[name], CfgNode):
                group = _as_group(value, key, where)
                yield from self[name]._planned(group, where, f"{key}.", root, top)
            else:
                yield self, name, coerce(copy.deepcopy(value), self[name], key, where)


_Change = tuple[CfgNode, str, Any]


def _upgraded(content: dict[str, Any], path: str, inherited: int | None) -> int:
    """Bring a file's content to the latest version in place, and return the version it is of."""
    guessed = guess_version(content) if inherited is None else inherited
    version = content.get("VERSION", LATEST_VERSION if guessed is None else guessed)
    if not isinstance(version, int) or not 0 <= version <= LATEST_VERSION:
        raise ConfigError(
            f"The config file {path} is of VERSION {version!r}, but versions 0 to {LATEST_VERSION} are "
            "understood: rename its keys to the present ones."
        )
    if version < LATEST_VERSION:
        logger.warning("The config file %s is of VERSION %d: its keys are read as today's.", path, version)
        upgrade_tree(content, version, LATEST_VERSION)
        if "VERSION" in content:
            content["VERSION"] = LATEST_VERSION
    return version


def _apply(changes: list[_Change]) -> None:
    for node, name, value in changes:
        node[name] = value
        node.__dict__[_EXPLICIT].add(name)


def _as_group(value: Any, key: str, where: str) -> dict[str, Any]:
    decoded = decode(value)
    if decoded is None:
        return {}
    if not isinstance(decoded, dict):
        raise ConfigValueError(f"{key}{where} is {value!r}, but it is a group of keys and takes no value.")
    return decoded


def _names(node: CfgNode, prefix: str = "") -> Iterator[str]:
    """Dotted names of all keys and groups below a node."""
    for name, value in node.items():
        yield f"{prefix}{name}"
        if isinstance(value, CfgNode):
            yield from _names(value, f"{prefix}{name}.")


def _elsewhere(name: str) -> str | None:
    """The full key that ends in `name`, for one set on the root by mistake."""
    from .defaults import default_tree

    return next((key for key in _names(CfgNode(default_tree())) if key.rsplit(".", 1)[-1] == name), None)
