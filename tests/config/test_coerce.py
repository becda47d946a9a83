from __future__ import annotations

from typing import Any

import pytest

from cardamage.config.coerce import coerce, decode
from cardamage.errors import ConfigValueError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("1e-3", 1e-3),
        ("True", True),
        ("None", None),
        ("('a',)", ("a",)),
        ("[1, [2]]", [1, [2]]),
        ("./out", "./out"),
        ("labelme:/photos", "labelme:/photos"),
        ("__import__('os').getcwd()", "__import__('os').getcwd()"),
        ("(" * 500, "(" * 500),
        ([1], [1]),
    ],
)
def test_decode_reads_literals_and_runs_nothing(text: Any, value: Any) -> None:
    assert decode(text) == value


@pytest.mark.parametrize(
    ("value", "default", "expected"),
    [
        (1, 0.5, 1.0),
        ("2", 0.5, 2.0),
        ([1, 2], (3,), (1, 2)),
        ((1, 2), [3], [1, 2]),
        ("('a', 'b')", (), ("a", "b")),
        ("007", "x", "007"),
        ("'quoted'", "x", "quoted"),
        ([384, 600], [0.9, 0.9], [384, 600]),
        (5, None, 5),
        (None, None, None),
        ([[1, 2], [3]], [[32]], [[1, 2], [3]]),
        ([], (1,), ()),
    ],
)
def test_fits(value: Any, default: Any, expected: Any) -> None:
    result = coerce(value, default, "KEY")
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("value", "default", "sentence"),
    [
        ("fast", 0.01, "KEY in a.yaml is 'fast', but a number is expected."),
        (1.5, 1, "KEY in a.yaml is 1.5, but a whole number is expected."),
        (1, True, "KEY in a.yaml is 1, but true or false is expected."),
        (True, 1, "KEY in a.yaml is True, but a whole number is expected."),
        (True, 0.5, "KEY in a.yaml is True, but a number is expected."),
        (None, 4, "KEY in a.yaml is None, but a whole number is expected."),
        (3, "x", "KEY in a.yaml is 3, but a string is expected."),
        ("cars", (), "KEY in a.yaml is 'cars', but a tuple such as ('cars',) is expected."),
        (800, (640,), "KEY in a.yaml is 800, but a tuple such as (640,) is expected."),
        (["a"], [0.5], "KEY in a.yaml is ['a'], but a list such as [0.5] is expected."),
        ([1, 2], [[32]], "KEY in a.yaml is [1, 2], but a list such as [[32]] is expected."),
        ([["a"]], [[32]], "KEY in a.yaml is [['a']], but a list such as [[32]] is expected."),
    ],
)
def test_wrong_type_is_refused(value: Any, default: Any, sentence: str) -> None:
    with pytest.raises(ConfigValueError) as caught:
        coerce(value, default, "KEY", " in a.yaml")
    assert str(caught.value) == sentence


def test_weight_decay_of_norms_may_be_null() -> None:
    assert coerce("None", 0.0, "SOLVER.WEIGHT_DECAY_NORM") is None


@pytest.mark.parametrize(("value", "expected"), [("auto", "auto"), ("True", True), (False, False)])
@pytest.mark.parametrize("present", ["auto", True, False])
def test_switches_are_true_false_or_auto(value: Any, present: Any, expected: Any) -> None:
    assert coerce(value, present, "MODEL.COMPILE") == expected


@pytest.mark.parametrize("value", ["fast", 1, None])
def test_other_values_of_switches_are_refused(value: Any) -> None:
    with pytest.raises(ConfigValueError, match='MODEL.COMPILE is .*, but true, false or "auto" is expected'):
        coerce(value, "auto", "MODEL.COMPILE")
