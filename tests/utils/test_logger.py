"""Log lines reach console and file once each, above progress bars."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from tqdm import tqdm

from cardamage.utils.logger import (
    FILE_ONLY,
    create_small_table,
    log_every_n,
    log_every_n_seconds,
    log_first_n,
    setup_logger,
)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    unique = f"cardamage_{request.node.name}"
    yield unique
    logger = logging.getLogger(unique)
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()


def test_lines_go_to_console_and_file_once(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        logger = setup_logger(tmp_path / "run", name=name)
    logging.getLogger(f"{name}.part").warning("careful %d", 7)
    logger.info("calm")
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 2
    assert shown[0].endswith(f"{name}.part]: WARNING: careful 7")
    assert shown[1].endswith(f"{name}]: calm")
    written = (tmp_path / "run" / "log.txt").read_text(encoding="utf-8").splitlines()
    assert [line.split("] ")[1] for line in written] == [
        f"{name}.part WARNING: careful 7",
        f"{name} INFO: calm",
    ]


def test_other_ranks_write_their_own_file_only(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    setup_logger(tmp_path / "mine.log", 2, name=name).info("hello")
    assert capsys.readouterr().out == ""
    assert "hello" in (tmp_path / "mine.log.rank2").read_text()


def test_colour(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    setup_logger(color=True, name=name).error("bad")
    assert "\x1b[31mERROR: \x1b[0mbad" in capsys.readouterr().out


@pytest.mark.parametrize(("short", "shown"), [(None, "{}.data.x"), ("cd", "cd.data.x"), ("", "data.x")])
def test_the_console_shortens_names_the_file_does_not(
    name: str, short: str | None, shown: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = setup_logger(tmp_path, name=name, abbrev_name=short)
    for line in (logging.getLogger(f"{name}.data.x"), logger, logging.getLogger(f"{name}.data.x")):
        line.info("hello")
    lines = [line.split(" ", 2)[2] for line in capsys.readouterr().out.splitlines()]
    assert lines == [f"{shown.format(name)}]: hello", f"{name}]: hello", f"{shown.format(name)}]: hello"]
    assert (tmp_path / "log.txt").read_text().count(f"{name}.data.x INFO: hello") == 2


@pytest.mark.parametrize("propagate", [False, True])
def test_lines_reach_the_parents_if_asked(
    name: str, propagate: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        setup_logger(name=name, enable_propagation=propagate).info("hello")
    assert ("hello" in caplog.text) == propagate


def test_lines_clear_a_progress_bar(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr("sys.stdout", terminal)
    logger = setup_logger(name=name)
    with tqdm(total=3, file=terminal, mininterval=0) as bar:
        bar.update(1)
        logger.info("between")
    lines = terminal.getvalue().split("\n")
    between = next(line for line in lines if line.endswith("between"))
    assert "%|" not in between.split("\r")[-1]


def test_first_n(name: str, caplog: pytest.LogCaptureFixture) -> None:
    for text in ("a", "b", "a"):
        log_first_n(logging.INFO, text, 2, name=name)
        log_first_n(logging.INFO, f"message {text}", name=name, key="message")
    with caplog.at_level(logging.INFO):
        caplog.clear()
        for text in ("c", "d", "c"):
            log_first_n(logging.INFO, text, 2, name=name)
            log_first_n(logging.INFO, f"message {text}", name=name, key=("message", "caller"))
    assert caplog.messages == ["c", "message c", "d", "message d"]
    with pytest.raises(ValueError, match="'caller', 'message' or both"):
        log_first_n(logging.INFO, "x", key="place")


def test_every_n_and_every_second(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        for i in range(7):
            log_every_n(logging.INFO, f"n {i}", 3, name=name)
            log_every_n_seconds(logging.INFO, f"s {i}", 1000, name=name)
    assert caplog.messages == ["n 0", "s 0", "n 3", "n 6"]


def test_tables() -> None:
    assert create_small_table({"AP": 12.34567, "n": 3}).splitlines()[2].split() == [
        "|",
        "12.346",
        "|",
        "3",
        "|",
    ]


@pytest.mark.parametrize("terminal", [True, False])
def test_long_texts_stay_off_a_terminal_that_has_a_log_file(
    name: str, terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = io.StringIO()
    screen.isatty = lambda: terminal  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdout", screen)
    logger = setup_logger(name=name)
    logger.info("no file yet", extra=FILE_ONLY)
    setup_logger(tmp_path, name=name)
    logger.info("wall of text", extra=FILE_ONLY)
    logger.info("short")
    assert "no file yet" in screen.getvalue()
    assert ("wall of text" in screen.getvalue()) != terminal
    assert "short" in screen.getvalue()
    assert "wall of text" in (tmp_path / "log.txt").read_text()
