from __future__ import annotations

import pytest

from cardamage.utils.counting import counted


@pytest.mark.parametrize(
    ("number", "what", "said"),
    [
        (0, "photo", "0 photos"),
        (1, "photo", "1 photo"),
        (2, "class", "2 classes"),
        (1, "class", "1 class"),
        (12345, "object", "12,345 objects"),
    ],
)
def test_counted(number: int, what: str, said: str) -> None:
    assert counted(number, what) == said
