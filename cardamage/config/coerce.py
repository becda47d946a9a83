"""Whether a value fits a key: decoded, cast where nothing is lost, and refused otherwise."""

from __future__ import annotations

import ast
from typing import Any

import yaml

from ..errors import ConfigValueError

__all__ = ["coerce", "decode"]

# Keys that may be null although their default is not.
_NULLABLE = frozenset({"SOLVER.WEIGHT_DECAY_NORM"})
# Keys that are true, false or "auto".
_SWITCHES = frozenset({"MODEL.CHANNELS_LAST", "MODEL.COMPILE", "SOLVER.FUSED"})
# Keys that are a list of pairs of names, "auto" or "none".
_PAIRED = frozenset({"INPUT.FLIP_CLASS_PAIRS"})

_TYPE_NAMES: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
    list: "a list",
    tuple: "a tuple",
    type(None): "null",
    dict: "a group of keys",
}


def decode(value: Any) -> Any:
    """Read a string as the Python literal it spells, where it spells one.

    Nothing is evaluated: only numbers, strings, tuples, lists, dicts, booleans and None are understood.
    """
    if not isinstance(value, str):
        return value
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value


def coerce(value: Any, default: Any, key: str, where: str = "") -> Any:
    """Fit a raw value to the type that a key has.

    Args:
        value: as YAML or the command line gave it.
        default: the key's present value, whose type counts.
        key: full dotted name, for the message.
        where: ``" in FILE"`` or empty, for the message.

    Returns:
        The value in the key's type: whole numbers become floats, lists tuples and the other way round.

    Raises:
        ConfigValueError: where the type is another one.
    """
    if key in _SWITCHES:
        return _switch(value, key, where)
    if key in _PAIRED:
        return _paired(value, key, where)
    if isinstance(default, str) and isinstance(value, str):
        return _unquoted(value)
    decoded = decode(value)
    kind = type(default)
    if default is None or type(decoded) is kind:
        result = decoded
    elif decoded is None and key in _NULLABLE:
        return None
    elif kind is float and type(decoded) is int:
        result = float(decoded)
    elif kind in (list, tuple) and isinstance(decoded, (list, tuple)):
        result = kind(_nested(element, default) for element in decoded)
    else:
        raise ConfigValueError(_type_message(value, default, key, where))
    if not _elements_fit(result, default):
        raise ConfigValueError(_type_message(value, default, key, where))
    return result


def _switch(value: Any, key: str, where: str) -> Any:
    decoded = decode(value)
    if isinstance(decoded, bool) or decoded == "auto":
        return decoded
    raise ConfigValueError(f'{key}{where} is {value!r}, but true, false or "auto" is expected.')


def _paired(value: Any, key: str, where: str) -> Any:
    decoded = decode(value)
    if isinstance(decoded, str):
        # On a command line names may stand without quotes, as in a file.
        try:
            decoded = yaml.safe_load(decoded)
        except (yaml.YAMLError, RecursionError):
            decoded = None
    if decoded in ("auto", "none"):
        return decoded
    if isinstance(decoded, (list, tuple)) and all(_is_pair(pair) for pair in decoded):
        return tuple((str(one), str(two)) for one, two in decoded)
    raise ConfigValueError(
        f'{key}{where} is {value!r}, but "auto", "none" or a list of pairs of class names is expected, '
        "such as [[left_door, right_door], [left_light, right_light]]."
    )


def _is_pair(pair: Any) -> bool:
    names = isinstance(pair, (list, tuple)) and len(pair) == 2
    return names and all(isinstance(name, (str, int)) for name in pair)


def _nested(element: Any, default: Any) -> Any:
    """Cast an inner sequence to the kind that the default has there: YAML knows lists only."""
    like = _first_like(element, default)
    return type(like)(element) if isinstance(like, (list, tuple)) else element


def _unquoted(text: str) -> str:
    """``"'a'"`` on a command line is the string ``a``; any other text is kept as it is, even ``"007"``."""
    decoded = decode(text)
    return decoded if isinstance(decoded, str) else text


def _elements_fit(value: Any, default: Any) -> bool:
    """Whether the elements of a sequence are of the same kinds as the default's (numbers are one kind)."""
    if not isinstance(value, (list, tuple)) or not isinstance(default, (list, tuple)) or not default:
        return True
    kinds = {_kind(element) for element in default}
    return all(
        _kind(element) in kinds and _elements_fit(element, _first_like(element, default)) for element in value
    )


def _first_like(element: Any, default: Any) -> Any:
    return next((d for d in default if _kind(d) == _kind(element)), None)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, (list, tuple)):
        return "sequence"
    return type(value).__name__


def _type_message(value: Any, default: Any, key: str, where: str) -> str:
    expected = _TYPE_NAMES.get(type(default), type(default).__name__)
    if isinstance(default, (list, tuple)):
        expected += f" such as {_example(default, value)}"
    return f"{key}{where} is {value!r}, but {expected} is expected."


def _example(default: Any, value: Any) -> str:
    """Show the default, or, where that is empty, the one value given in the right form."""
    if default:
        return repr(default)
    return repr(type(default)([value if isinstance(value, str) else "name"]))
