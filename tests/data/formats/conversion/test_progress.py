"""Images pass through a bar as they are, as often as they are wanted."""

from __future__ import annotations

import io
import sys

import pytest

from cardamage.data.formats.conversion.progress import ToldImages
from cardamage.data.formats.dataset import AnnotatedImage


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Slow(list[AnnotatedImage]):
    def __iter__(self):  # noqa: ANN204
        for image in super().__iter__():
            yield image
            Slow.clock += 2.0

    clock = 0.0


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_is_for_terminals(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr("tqdm.std.time", lambda: Slow.clock)
    images = Slow(AnnotatedImage(f"{number}.jpg", "s", 1, 1, []) for number in range(4))
    told = ToldImages(images, "write")
    assert len(told) == 4
    for _ in range(2):
        assert [image.name for image in told] == [image.name for image in images]
    assert ("write:  50%" in screen.getvalue()) == terminal
