"""Names are put in the order in which people number files, always the same."""

from __future__ import annotations

import random

from cardamage.data.formats.shared.natural_order import natural_key


def test_numbers_count_by_their_value() -> None:
    wanted = ["1.jpg", "2.jpg", "10.jpg", "a", "a1", "a2", "a10", "b"]
    assert sorted(wanted[::-1], key=natural_key) == wanted


def test_the_order_does_not_depend_on_where_names_come_from() -> None:
    names = ["1", "01", "001", "a1", "a01", "1\N{SUPERSCRIPT TWO}2", "12", "\N{CIRCLED DIGIT ONE}", ""]
    wanted = sorted(names, key=natural_key)
    for seed in range(20):
        random.Random(seed).shuffle(names)
        assert sorted(names, key=natural_key) == wanted
    assert wanted[0] == ""
    assert wanted.index("001") < wanted.index("01") < wanted.index("1") < wanted.index("12")
