"""Saving and loading, whole and damaged."""

from __future__ import annotations

import logging
import os
import pickle
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from iopath.common.file_io import PathHandler, PathManager
from torch import nn

from cardamage.checkpoint import Checkpointer, DetectionCheckpointer, PeriodicCheckpointer, read_checkpoint
from cardamage.errors import CheckpointError
from cardamage.solver import ModelEMA


class Detector(nn.Module):
    """The parameters of a Mask R-CNN that depend on the number of classes, and one that doesn't."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.backbone = nn.Linear(2, 2)
        self.roi_heads = nn.Module()
        self.roi_heads.box_predictor = nn.Module()
        self.roi_heads.box_predictor.cls_score = nn.Linear(2, classes + 1)
        self.roi_heads.box_predictor.bbox_pred = nn.Linear(2, 4 * classes)


@pytest.fixture(autouse=True)
def _propagate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("cardamage"), "propagate", True)


def test_everything_comes_back(tmp_path: Path) -> None:
    model, other = nn.Linear(3, 2), nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.rand(4, 3)).sum().backward()
    optimizer.step()
    saver = DetectionCheckpointer(model, str(tmp_path), optimizer=optimizer, thing_classes=["dent"])
    assert not saver.has_checkpoint()
    saver.save("model_0000001", iteration=1)
    assert saver.has_checkpoint()
    assert saver.get_checkpoint_file() == str(tmp_path / "model_0000001.pth")
    content = torch.load(tmp_path / "model_0000001.pth", weights_only=True)
    assert set(content) == {"model", "optimizer", "cardamage", "iteration"}
    again = torch.optim.SGD(other.parameters(), lr=0.5, momentum=0.9)
    rest = DetectionCheckpointer(other, str(tmp_path), optimizer=again).resume_or_load("")
    assert rest["iteration"] == 1
    assert torch.equal(model.weight, other.weight)
    assert again.state_dict()["param_groups"] == optimizer.state_dict()["param_groups"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last_checkpoint", "model_0000001.pth"]


def test_without_resume_only_weights_are_loaded(tmp_path: Path) -> None:
    model = nn.Linear(3, 2)
    torch.save(model.state_dict(), tmp_path / "plain.pth")
    other = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(other.parameters(), lr=0.5)
    saver = Checkpointer(other, str(tmp_path), optimizer=optimizer)
    assert saver.resume_or_load(str(tmp_path / "plain.pth"), resume=False) == {}
    assert torch.equal(model.weight, other.weight)
    assert saver.load("") == {}


def test_detectron2_files_with_arrays_and_anchors(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = {name: value.numpy() for name, value in nn.Linear(3, 2).state_dict().items()}
    state["proposal_generator.anchor_generator.cell_anchors.0"] = np.zeros((3, 4), np.float32)
    state["pixel_mean"] = np.zeros(3)
    torch.save({"model": state, "iteration": np.int64(7), "__author__": "someone"}, tmp_path / "d2.pth")
    model = nn.Linear(3, 2)
    with caplog.at_level(logging.WARNING):
        rest = DetectionCheckpointer(model).load(str(tmp_path / "d2.pth"))
    assert np.array_equal(model.weight.detach().numpy(), state["weight"])
    assert rest["iteration"] == 7
    assert not caplog.records


@pytest.mark.parametrize("trainer", [{"_trainer": {"optimizer": {}}}, {"iteration": 5}])
def test_an_optimizer_within_detectron2s_trainer_is_not_missed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, trainer: dict[str, Any]
) -> None:
    model = nn.Linear(2, 3)
    torch.save({"model": model.state_dict(), "iteration": 5, "trainer": trainer}, tmp_path / "theirs.pth")
    (tmp_path / "last_checkpoint").write_text("theirs.pth")
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with caplog.at_level(logging.WARNING):
        Checkpointer(model, str(tmp_path), optimizer=optimizer).resume_or_load("")
    missed = [record.getMessage() for record in caplog.records]
    assert len(missed) == (0 if "_trainer" in trainer else 1), missed


def test_mismatches_are_listed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = {"weight": torch.zeros(5, 3), "extra": torch.zeros(1), "shared": torch.zeros(1)}
    torch.save(content, tmp_path / "other.pth")
    model = nn.Linear(3, 2)
    model.register_parameter("shared", nn.Parameter(torch.ones(1)))
    with caplog.at_level(logging.WARNING):
        Checkpointer(model).load(str(tmp_path / "other.pth"))
    rows = {
        tuple(cell.strip() for cell in line.strip("|").split("|"))
        for line in caplog.text.splitlines()
        if "|" in line
    }
    assert {("weight", "(5, 3)", "(2, 3)"), ("bias", "-", "(2,)"), ("extra", "unused", "-")} <= rows
    with pytest.raises(CheckpointError, match=r"doesn't fit the model: 2 parameters differ \(weight, bias\)"):
        Checkpointer(model).load(str(tmp_path / "other.pth"), strict=True)


def load(weights: str) -> dict[str, Any]:
    return DetectionCheckpointer(nn.Linear(3, 2)).load(weights)


def test_weights_of_the_network(loopback: Any, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARDAMAGE_WEIGHTS_MIRROR", loopback.url)
    model = nn.Linear(3, 2)
    content = pickle.dumps(
        {"model": {k: v.numpy() for k, v in model.state_dict().items()}, "__author__": "zoo"}
    )
    loopback.files["/detectron2/12/model_final.pkl"] = loopback.files["/w.pth"] = content
    loopback.cut_after, loopback.cuts = len(content) // 2, 1
    for weights in ("detectron2://12/model_final.pkl", f"{loopback.url}/w.pth"):
        other = nn.Linear(3, 2)
        DetectionCheckpointer(other).load(weights)
        assert torch.equal(other.weight, model.weight)
    assert (cache / "detectron2/12/model_final.pkl").read_bytes() == content
    assert DetectionCheckpointer(model).locate(
        "detectron2://12/model_final.pkl?matching_heuristics=True"
    ) == str(cache / "detectron2/12/model_final.pkl")


def test_a_download_that_fails_says_what_to_do(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("CARDAMAGE_WEIGHTS_MIRROR", "http://127.0.0.1:9/mirror")
    for read in (load, DetectionCheckpointer(nn.Linear(1, 1)).locate):
        with pytest.raises(CheckpointError) as caught:
            read("detectron2://ImageNetPretrained/MSRA/R-50.pkl")
        assert str(caught.value) == (
            "The weights 'detectron2://ImageNetPretrained/MSRA/R-50.pkl' can't be downloaded from "
            "'http://127.0.0.1:9/mirror/detectron2/ImageNetPretrained/MSRA/R-50.pkl' (Connection refused): "
            "check the address and the network, or download the file elsewhere and put it at "
            f"'{cache}/detectron2/ImageNetPretrained/MSRA/R-50.pkl'."
        )


@pytest.mark.parametrize("weights", ["s3://bucket/w.pth", "file:///w.pth", "ftp://host/w.pth"])
def test_other_addresses_are_refused(weights: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        load(weights)
    assert str(caught.value) == (
        f"The weights '{weights}' can't be fetched: give a path, or an address that begins with https://, "
        "http://, detectron2://, catalog:// or torchvision://."
    )


def test_a_handler_of_ones_own(tmp_path: Path) -> None:
    class Handler(PathHandler):
        def _get_supported_prefixes(self) -> list[str]:
            return ["store://"]

        def _get_local_path(self, path: str, force: bool = False, **kwargs: Any) -> str:
            if path.endswith("gone"):
                raise OSError("the store is closed")
            return str(tmp_path / path.removeprefix("store://"))

    model = nn.Linear(3, 2)
    torch.save(model.state_dict(), tmp_path / "w.pth")
    checkpointer = DetectionCheckpointer(nn.Linear(3, 2))
    checkpointer.path_manager = PathManager()
    checkpointer.path_manager.register_handler(Handler())
    checkpointer.load("store://w.pth")
    assert torch.equal(checkpointer.model.weight, model.weight)
    with pytest.raises(CheckpointError, match=r"'store://gone' can't be downloaded \(the store is closed\)"):
        checkpointer.load("store://gone")


@pytest.mark.parametrize("rows", [2, 5])
def test_a_file_of_another_architecture_is_refused(tmp_path: Path, rows: int) -> None:
    # Where the name is shared, the shape isn't.
    name = "conv1.weight" if rows == 2 else "weight"
    path = tmp_path / "other.pth"
    torch.save({name: torch.zeros(rows, 3)}, path)
    with pytest.raises(CheckpointError) as caught:
        DetectionCheckpointer(nn.Linear(3, 2, bias=False)).resume_or_load(str(path), resume=False)
    assert str(caught.value) == (
        f"The weights file '{path}' shares no parameter with the model (it has {name} ({rows}, 3), "
        "the model weight (2, 3)): use weights of the config's architecture, "
        "or leave MODEL.WEIGHTS empty to start from random weights."
    )


@pytest.mark.parametrize("cut", [0, 1, 100, 0.3, 0.9, -1])
def test_a_file_cut_short_is_refused(tmp_path: Path, cut: float) -> None:
    torch.save({"model": nn.Linear(30, 20).state_dict()}, tmp_path / "whole.pth")
    whole = (tmp_path / "whole.pth").read_bytes()
    path = tmp_path / "cut.pth"
    path.write_bytes(whole[: int(cut * len(whole)) if 0 < cut < 1 else int(cut)])
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert str(caught.value) == (
        f"The weights file '{path}' can't be read: it is damaged, cut short or no PyTorch checkpoint. "
        "Use another file, or download it again."
    )


class Evil:
    """Runs code when it is unpickled by a careless reader."""

    def __reduce__(self) -> Any:
        return (os.system, ("touch evil",))


def test_code_in_a_file_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": {"weight": torch.zeros(1)}, "x": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match=f"names '{os.name}.system', and loading that could run code"):
        read_checkpoint(tmp_path / "evil.pth")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "doesn't exist: check the path"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a Git LFS pointer"),
        (b"<html>Not found</html>", "can't be read"),
        ({"epoch": 3}, "holds no model weights"),
        ([1, 2], "holds no model weights"),
    ],
)
def test_foreign_files_are_named(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "foreign.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(path)
    with pytest.raises(CheckpointError, match="is a folder"):
        read_checkpoint(tmp_path)


def test_class_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.save({"model": Detector(5).state_dict()}, tmp_path / "five.pth")
    model = Detector(2)
    before = model.roi_heads.box_predictor.cls_score.weight.clone()
    with caplog.at_level(logging.WARNING):
        DetectionCheckpointer(model).load(str(tmp_path / "five.pth"))
    assert [record.getMessage() for record in caplog.records] == [
        f"The weights file '{tmp_path}/five.pth' knows 5 classes, the model 2: "
        "the class predictors start from fresh weights."
    ]
    assert torch.equal(model.roi_heads.box_predictor.cls_score.weight, before)
    with pytest.raises(CheckpointError, match="knows 5 classes, the model 2"):
        DetectionCheckpointer(model).load(str(tmp_path / "five.pth"), strict=True)


def test_class_names_in_another_order_are_refused(tmp_path: Path) -> None:
    DetectionCheckpointer(Detector(2), str(tmp_path), thing_classes=["a", "b"]).save("m", iteration=0)
    swapped = DetectionCheckpointer(Detector(2), thing_classes=["b", "a"])
    with pytest.raises(CheckpointError, match="classes a, b; the data has b, a: bring"):
        swapped.load(str(tmp_path / "m.pth"), strict=True)
    DetectionCheckpointer(Detector(2), thing_classes=["x", "y"]).load(str(tmp_path / "m.pth"), strict=True)


def test_resume_falls_back_to_the_newest_readable(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = nn.Linear(2, 2)
    saver = DetectionCheckpointer(model, str(tmp_path), thing_classes=[])
    for iteration in (1, 2, 3):
        saver.save(f"model_{iteration}", iteration=iteration)
        os.utime(tmp_path / f"model_{iteration}.pth", (iteration, iteration))
    (tmp_path / "model_3.pth").write_bytes(b"")
    torch.save(model.state_dict(), tmp_path / "weights_only.pth")
    with caplog.at_level(logging.WARNING):
        assert saver.resume_or_load("")["iteration"] == 2
    assert "model_3.pth' can't be read" in caplog.text
    for path in tmp_path.glob("*.pth"):
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="No checkpoint in .* can be read"):
        saver.resume_or_load("")


@pytest.mark.parametrize("note", [b"\xff\xfe\x00m", b"", b"\n", b"gone.pth", b"\x00"])
def test_resume_does_without_a_legible_note(tmp_path: Path, note: bytes) -> None:
    saver = DetectionCheckpointer(nn.Linear(2, 2), str(tmp_path))
    saver.save("model_1", iteration=1)
    (tmp_path / "last_checkpoint").write_bytes(note)
    assert saver.resume_or_load("")["iteration"] == 1


def test_an_illegible_note_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    saver = DetectionCheckpointer(nn.Linear(2, 2), str(tmp_path))
    saver.save("model_1", iteration=1)
    (tmp_path / "last_checkpoint").write_bytes(b"\xff")
    with caplog.at_level(logging.WARNING):
        saver.resume_or_load("")
    assert [record.getMessage() for record in caplog.records] == [
        f"'{tmp_path}/last_checkpoint' can't be read. Trying the newest checkpoint."
    ]


def test_old_numbered_files_are_removed_across_runs(tmp_path: Path) -> None:
    saver = DetectionCheckpointer(nn.Linear(1, 1), str(tmp_path))
    for start in (0, 6):
        periodic = PeriodicCheckpointer(saver, 2, max_iter=12, max_to_keep=2)
        for iteration in range(start, start + 6):
            periodic.step(iteration)
    names = sorted(path.name for path in tmp_path.glob("*.pth"))
    assert names == ["model_0000009.pth", "model_0000011.pth", "model_final.pth"]


def test_average_is_what_a_file_calls_model(tmp_path: Path) -> None:
    model = nn.Linear(2, 2)
    ema = ModelEMA(model, 0.5)
    with torch.no_grad():
        model.weight.add_(1.0)
    ema.update()
    DetectionCheckpointer(model, str(tmp_path), ema=ema).save("m", iteration=0)
    loaded, resumed = nn.Linear(2, 2), nn.Linear(2, 2)
    DetectionCheckpointer(loaded).load(str(tmp_path / "m.pth"))
    assert torch.equal(loaded.weight, ema.averaged_state_dict()["weight"])
    again = ModelEMA(resumed, 0.5)
    DetectionCheckpointer(resumed, str(tmp_path), ema=again).resume_or_load("")
    assert torch.equal(resumed.weight, model.weight)
    assert torch.equal(again.averaged_state_dict()["weight"], loaded.weight)


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files")
def test_a_full_disk_leaves_the_older_checkpoint(tmp_path: Path) -> None:
    script = """
        import resource, signal, sys, torch
        from cardamage.checkpoint import DetectionCheckpointer
        from cardamage.errors import CheckpointError
        model = torch.nn.Linear(300, 300)
        saver = DetectionCheckpointer(model, sys.argv[1])
        saver.save("model_0000001", iteration=1)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        try:
            saver.save("model_0000002", iteration=2)
        except CheckpointError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout == (
        f"The checkpoint '{tmp_path}/model_0000002.pth' can't be written (File too large); "
        "earlier ones are intact. Free some space or set OUTPUT_DIR elsewhere, then go on with --resume.\n"
    ), done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last_checkpoint", "model_0000001.pth"]
    assert (tmp_path / "last_checkpoint").read_text() == "model_0000001.pth"
    assert read_checkpoint(tmp_path / "model_0000001.pth")["iteration"] == 1


def _save_forever(folder: str) -> None:
    saver = DetectionCheckpointer(nn.Linear(700, 700), folder)
    for iteration in range(10**6):
        saver.save(f"model_{iteration % 2}", iteration=iteration)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_kill_while_saving_leaves_readable_files(tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    rng = random.Random(seed)
    for _ in range(12):
        child = os.fork()
        if child == 0:
            try:
                _save_forever(str(tmp_path))
            finally:
                os._exit(1)
        # Rarely before the first save, mostly in the middle of one.
        time.sleep(0.05 + 0.2 * rng.random())
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for path in tmp_path.glob("*.pth"):
            assert read_checkpoint(path)["model"]["weight"].shape == (700, 700)
        if (tmp_path / "last_checkpoint").exists():
            assert (tmp_path / (tmp_path / "last_checkpoint").read_text()).is_file()
    assert list(tmp_path.glob("*.pth"))
