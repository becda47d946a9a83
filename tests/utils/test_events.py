"""Event storage and writers."""

from __future__ import annotations

import json
import logging
import random
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cardamage.errors import TrainingError
from cardamage.utils.events import (
    CommonMetricPrinter,
    EventStorage,
    JSONWriter,
    TensorboardXWriter,
    get_event_storage,
    has_event_storage,
)
from cardamage.utils.writers import rollback_metrics


def read(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_storage_is_found_only_inside_its_block() -> None:
    assert not has_event_storage()
    with pytest.raises(TrainingError, match="outside training"):
        get_event_storage()
    with EventStorage() as outer, EventStorage() as inner:
        assert get_event_storage() is inner
        assert outer is not inner
    assert not has_event_storage()


@pytest.mark.parametrize("as_tensor", [False, True])
def test_smoothing_is_the_median_of_the_last_iterations(as_tensor: bool) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    values = [random.Random(seed).gauss(0, 1) for _ in range(50)]
    with EventStorage(start_iter=7) as storage:
        for value in values:
            storage.put_scalar("loss", torch.tensor(value, dtype=torch.float64) if as_tensor else value)
            storage.put_scalar("lr", value, smoothing_hint=False)
            storage.step()
        shown = storage.latest_with_smoothing_hint(20)
    assert shown["loss"] == (pytest.approx(statistics.median(values[-20:]), abs=0), 56)
    assert shown["lr"] == (values[-1], 56)
    assert storage.count_samples("loss", 20) == 20


def test_sparse_scalars_are_smoothed_over_iterations_not_samples() -> None:
    storage = EventStorage()
    for iteration, value in [(0, 1.0), (10, 2.0), (25, 5.0), (26, 6.0)]:
        storage.put_scalar("x", value, cur_iter=iteration)
    assert storage.count_samples("x", 20) == 3
    assert storage.latest_with_smoothing_hint(20)["x"] == (5.0, 26)


def test_tensors_stay_unread_and_are_fixed_when_put() -> None:
    storage = EventStorage()
    value = torch.tensor(1.0, requires_grad=True)
    storage.put_scalar("a", value)
    with torch.no_grad():
        value.fill_(5.0)
    storage.put_scalar("a", value * 2)
    assert [v for v, _ in storage.history("a").values()] == [1.0, 10.0]


def test_values_not_read_do_not_pile_up() -> None:
    storage = EventStorage()
    for _ in range(5000):
        storage.put_scalar("a", 1.0)
    assert len(storage._pending) < 4096
    assert len(storage.history("a").values()) == 5000


def test_name_scope_is_restored_after_an_error() -> None:
    storage = EventStorage()
    with storage.name_scope("rpn/"):
        storage.put_scalar("n", 1)
    with pytest.raises(TypeError), storage.name_scope("box"):
        storage.put_scalar("n", 1, nothing=2)  # type: ignore[call-arg]
    storage.put_scalar("n", 2)
    assert set(storage.latest()) == {"rpn/n", "n"}


def test_a_changed_smoothing_hint_is_refused() -> None:
    storage = EventStorage()
    storage.put_scalar("n", 1)
    with pytest.raises(ValueError, match="smoothing_hint=True before"):
        storage.put_scalar("n", 1, smoothing_hint=False)


def test_state_continues_as_if_never_stopped(tmp_path: Path) -> None:
    whole, first = EventStorage(), EventStorage()
    values = torch.rand(3000).tolist()
    for storage, until in ((whole, 3000), (first, 1500)):
        for iteration in range(until):
            storage.iter = iteration
            storage.put_scalar("x", values[iteration])
    torch.save(first.state_dict(), tmp_path / "state.pth")
    second = EventStorage()
    second.load_state_dict(torch.load(tmp_path / "state.pth", weights_only=True))
    assert len(second.history("x").values()) == 1000
    for iteration in range(1500, 3000):
        second.iter = iteration
        second.put_scalar("x", values[iteration])
    assert second.latest_with_smoothing_hint() == whole.latest_with_smoothing_hint()
    assert second.history("x").global_avg() == whole.history("x").global_avg()
    assert second.iter == whole.iter


def test_json_lines_hold_iteration_and_scalars(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    writer = JSONWriter(path)
    with EventStorage() as storage:
        for iteration in range(4):
            storage.iter = iteration
            storage.put_scalars(loss=float(iteration), lr=0.1)
            if iteration == 2:
                storage.put_scalar("segm/AP", 3.5, smoothing_hint=False)
            if iteration % 2:
                writer.write()
                writer.write()
    writer.close()
    assert read(path) == [
        {"iteration": 1, "loss": 0.5, "lr": 0.1},
        {"iteration": 2, "segm/AP": 3.5},
        {"iteration": 3, "loss": 1.5, "lr": 0.1},
    ]


def test_json_never_writes_an_iteration_twice_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    for start in (0, 2):
        writer = JSONWriter(path)
        with EventStorage() as storage:
            for iteration in range(start, 4):
                storage.iter = iteration
                storage.put_scalar("x", iteration, smoothing_hint=False)
                writer.write()
        writer.close()
    assert [line["iteration"] for line in read(path)] == [0, 1, 2, 3]


def test_rollback_keeps_only_what_the_checkpoint_knows(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    rollback_metrics(path, 3)
    assert not path.exists()
    path.write_text('{"iteration": 1}\n{"iteration": 2}\n{"iteration": 3}\n{"iterat')
    rollback_metrics(path, 3)
    assert path.read_text() == '{"iteration": 1}\n{"iteration": 2}\n'


def test_tensorboard_gets_scalars_and_pictures(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    writer = TensorboardXWriter(str(tmp_path))
    with EventStorage() as storage:
        storage.iter = 5
        storage.put_scalar("loss", torch.tensor(2.5))
        storage.put_image("photo", torch.zeros(3, 4, 4, dtype=torch.uint8))
        storage.put_histogram("h", torch.rand(3, 7))
        writer.write()
        assert storage._vis_data == []
        assert storage._histograms == []
    writer.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(5, 2.5)]
    assert events.Tags()["images"] == ["photo"]
    assert events.Tags()["histograms"] == ["h"]


def test_log_line_names_everything(caplog: pytest.LogCaptureFixture) -> None:
    printer = CommonMetricPrinter(max_iter=100)
    with caplog.at_level(logging.INFO, "cardamage.utils.events"), EventStorage() as storage:
        storage.iter = 9
        storage.put_scalars(total_loss=1.25, loss_mask=0.5, data_time=0.25, time=2.0)
        storage.put_scalar("lr", 0.02, smoothing_hint=False)
        printer.write()
        assert storage.latest()["eta_seconds"] == (180.0, 9)
        storage.iter = 100
        printer.write()
    (line,) = caplog.messages
    expected = (
        " eta: 0:03:00  iter: 9  total_loss: 1.25  loss_mask: 0.5  time: 2.0000  last_time: 2.0000  "
        "data_time: 0.2500  last_data_time: 0.2500  lr: 0.02  max_mem: "
    )
    assert line.startswith(expected)
    assert line.endswith("M")


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files")
def test_tensorboard_says_once_that_the_disk_is_full(tmp_path: Path) -> None:
    code = "import resource, sys\n"
    code += "from cardamage.utils.events import EventStorage, TensorboardXWriter\n"
    code += "writer = TensorboardXWriter(sys.argv[1])\n"
    code += "resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))\n"
    code += "with EventStorage() as storage:\n"
    code += "    try:\n"
    code += "        for storage.iter in range(50):\n"
    code += "            storage.put_scalar('a', 1.0)\n"
    code += "            writer.write()\n"
    code += "    except Exception as error:\n"
    code += "        print(type(error).__name__, error)\n"
    code += "    writer.close()\n"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert done.stdout == (
        f"TrainingError The output folder '{tmp_path}' can't be written (File too large): "
        "set OUTPUT_DIR to another folder.\n"
    )
