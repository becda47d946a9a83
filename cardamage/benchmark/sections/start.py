"""How long one waits: for the package, for ``--help``, for the first training step."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from cardamage.benchmark.commands import first_record, run_python, train_net
from cardamage.benchmark.machine import is_importable
from cardamage.benchmark.measuring import say
from cardamage.benchmark.report import Row, Section
from cardamage.benchmark.rounds import take_turns
from cardamage.benchmark.settings import Settings
from cardamage.errors import TrainingError

__all__ = ["run"]

Commands = dict[str, tuple[str, Callable[[], float]]]


def run(settings: Settings) -> list[Section]:
    """Measure processes from their start."""
    imports: Commands = {}
    for name, role in (("cardamage", "own"), ("Detectron2", "peer"), ("torchvision", "peer")):
        if is_importable(name.lower()):
            imports[name] = (role, partial(run_python, ("-c", f"import {name.lower()}")))
    floor: Commands = {"python alone": ("floor", partial(run_python, ("-c", "pass")))}
    command = str(train_net())
    helps: Commands = {"cardamage": ("own", partial(run_python, (command, "--help")))}
    return [
        _section("start-import", "Start, the package's import", {**imports, **floor}, settings),
        _section("start-help", "Start, train_net.py --help", {**helps, **floor}, settings),
        _section(
            "start-step",
            "Start, from the command to the metrics of its first training step",
            _steps(settings),
            settings,
        ),
    ]


def _section(key: str, title: str, commands: Commands, settings: Settings) -> Section:
    works: Commands = {}
    failed: list[Row] = []
    for name, (role, run_once) in commands.items():
        try:
            run_once()
        except TrainingError as error:
            if role == "own":
                raise
            failed.append(Row(name, role, None, note=str(error)[-200:]))
        else:
            works[name] = (role, run_once)
    told = partial(_tell, settings.rounds)
    times = take_turns({name: once for name, (_, once) in works.items()}, settings.rounds, told)
    rows = [Row(name, role, times[name]) for name, (role, _) in works.items()]
    return Section(key, title, "", [*rows, *failed])


def _tell(rounds: int, number: int, name: str) -> None:
    say(f"start: round {number + 1}/{rounds}, {name}")


def _steps(settings: Settings) -> Commands:
    """Return trainings of the config, each from the command to what it writes of its first step."""
    backends = {"cardamage": "own", "detectron2": "peer"}
    commands: Commands = {}
    for backend, role in backends.items():
        if backend != "cardamage" and not is_importable(backend):
            continue
        output = settings.scratch / f"start_{backend}"
        keys = settings.pairs(("WRITER_PERIOD", 1, "OUTPUT_DIR", str(output)))
        words = (str(train_net()), "--backend", backend, "--config-file", settings.config_file, *keys)
        name = "cardamage" if role == "own" else "Detectron2"
        commands[name] = (role, partial(first_record, words, output))
    return commands
