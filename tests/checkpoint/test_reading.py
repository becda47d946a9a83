"""Weights files of every project that users bring, and files made to do harm."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from cardamage.checkpoint import read_checkpoint
from cardamage.errors import CheckpointError

TOUCH = "open('ran', 'w').close()"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sentence_of(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    return str(caught.value)


# ------------------------------------------------------------------ whose file it is
def test_detectron2s_model_zoo(tmp_path: Path) -> None:
    weights = {"backbone.res2.0.conv1.weight": np.random.default_rng().random((4, 3, 1, 1), np.float32)}
    content = {"model": weights, "__author__": "Detectron2 Model Zoo"}
    (tmp_path / "zoo.pkl").write_bytes(pickle.dumps(content))
    read = read_checkpoint(tmp_path / "zoo.pkl")
    assert read.keys() == content.keys()
    assert read["__author__"] == "Detectron2 Model Zoo"
    assert np.array_equal(read["model"]["backbone.res2.0.conv1.weight"], *weights.values())
    content["matching_heuristics"] = True
    (tmp_path / "imagenet.pkl").write_bytes(pickle.dumps(content, protocol=2))
    assert read_checkpoint(tmp_path / "imagenet.pkl")["matching_heuristics"] is True


@pytest.mark.parametrize("nested", [True, False])
def test_caffe2(tmp_path: Path, nested: bool) -> None:
    blobs = {"conv1_w": np.ones((2, 3), np.float32), "conv1_b": np.zeros(2), "conv1_w_momentum": np.ones(6)}
    content = {"blobs": blobs, "cfg": "NUM_GPUS: 8\n"} if nested else blobs
    (tmp_path / "R-50.pkl").write_bytes(pickle.dumps(content, protocol=2))
    read = read_checkpoint(tmp_path / "R-50.pkl")
    assert sorted(read.pop("model")) == ["conv1_b", "conv1_w"]
    assert read == {"__author__": "Caffe2", "matching_heuristics": True}


def test_pickled_state_dicts_keep_their_names(tmp_path: Path) -> None:
    state = nn.Sequential(nn.Linear(2, 2)).state_dict()
    for content in (state, {"model": state}):
        (tmp_path / "w.pkl").write_bytes(pickle.dumps(content))
        read = read_checkpoint(tmp_path / "w.pkl")
        assert read.keys() == {"model"}
        assert torch.equal(read["model"]["0.weight"], state["0.weight"])


def test_pycls_and_timm(tmp_path: Path) -> None:
    norm = nn.Sequential(nn.BatchNorm2d(3)).state_dict()
    torch.save({"epoch": 3, "model_state": norm}, tmp_path / "RegNetX-4.0GF.pyth")
    read = read_checkpoint(tmp_path / "RegNetX-4.0GF.pyth")
    assert sorted(read["model"]) == ["0.bias", "0.running_mean", "0.running_var", "0.weight"]
    assert (read["__author__"], read["matching_heuristics"]) == ("pycls", True)
    torch.save({"epoch": 3, "arch": "resnet50", "state_dict": norm}, tmp_path / "timm.pth.tar")
    assert sorted(read_checkpoint(tmp_path / "timm.pth.tar")["model"]) == sorted(norm)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("suffix", [".pth", ".pkl", ".pt", ""])
def test_torchs_formats_under_any_name(tmp_path: Path, zipped: bool, suffix: str) -> None:
    state = nn.Linear(3, 2).state_dict()
    entries = {"model": state, "step": np.int64(7), "rng": np.arange(3), "a": np.float32(0.5)}
    path = tmp_path / f"w{suffix}"
    torch.save(entries, path, _use_new_zipfile_serialization=zipped)
    read = read_checkpoint(path)
    assert torch.equal(read["model"]["weight"], state["weight"])
    assert (read["step"], read["a"], read["rng"].tolist()) == (7, 0.5, [0, 1, 2])


def test_a_pickle_named_pth(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(pickle.dumps({"model": {"w.w": np.ones(2)}, "__author__": "x"}))
    assert read_checkpoint(tmp_path / "w.pth")["model"]["w.w"].tolist() == [1, 1]


def test_arrays_written_by_the_other_numpy(tmp_path: Path) -> None:
    torch.save({"model": {"w": np.arange(3.0)}}, tmp_path / "own.pth")
    own, other = b"numpy._core", b"numpy.core"
    if np.__version__.startswith("1."):
        own, other = other, own
    with zipfile.ZipFile(tmp_path / "own.pth") as old, zipfile.ZipFile(tmp_path / "other.pth", "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(own, other))
    assert read_checkpoint(tmp_path / "other.pth")["model"]["w"].tolist() == [0, 1, 2]


def test_numbers_of_the_other_byte_order(tmp_path: Path) -> None:
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({"model": {"w": np.arange(3, dtype=">f4")}}, protocol=5))
    weight = read_checkpoint(tmp_path / "w.pkl")["model"]["w"]
    assert torch.from_numpy(weight).tolist() == [0, 1, 2]


def test_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    header = b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    path.write_bytes(struct.pack("<Q", len(header)) + header + struct.pack("<2f", 1, 2))
    try:
        import safetensors  # noqa: F401
    except ImportError:
        assert "pip install safetensors" in sentence_of(path)
        return
    assert read_checkpoint(path)["model"]["w"].tolist() == [1, 2]
    path.write_bytes(path.read_bytes()[:-1])
    assert "is damaged, cut short" in sentence_of(path)


# ------------------------------------------------------------------ what is no weights file
@pytest.mark.parametrize("suffix", [".pkl", ".pth"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is damaged, cut short"),
        (b"just a text\n", "is damaged, cut short"),
        (b"import os\n", "is damaged, cut short"),
        (b"<!DOCTYPE html><html>Access denied</html>", "is damaged, cut short"),
        (b"PK\x03\x04 and no more", "is damaged, cut short"),
        (b"\xff\xd8\xff\xe0 a photo", "is damaged, cut short"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a Git LFS pointer"),
        (pickle.dumps([1, 2]), "holds no model weights"),
        (pickle.dumps({"epoch": 3}), "holds no model weights"),
        (pickle.dumps({"model": {}}), "holds no model weights"),
        (pickle.dumps({1: np.ones(2)}), "holds no model weights"),
        (pickle.dumps({"blobs": {"a": np.ones(2), "b": np.ones(2), "c": "d"}}), "'c' in the weights file"),
    ],
)
def test_other_files_are_named(tmp_path: Path, content: bytes, words: str, suffix: str) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    assert words in sentence_of(path)
    assert f"'{path}'" in sentence_of(path)


def test_an_archive_of_photos_and_a_program(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.pth", "w") as archive:
        archive.writestr("a.jpg", b"\xff\xd8")
    assert "is damaged, cut short" in sentence_of(tmp_path / "photos.pth")
    with zipfile.ZipFile(tmp_path / "program.pth", "w") as archive:
        archive.writestr("m/constants.pkl", b"")
    assert "is a TorchScript program" in sentence_of(tmp_path / "program.pth")


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(b"x")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    assert "(Permission denied): check its permissions" in sentence_of(path)


@pytest.mark.parametrize("kind", ["zip", "old", "pickle"])
def test_a_file_cut_short(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "w.pkl"
    if kind == "pickle":
        path.write_bytes(pickle.dumps({"blobs": {"w": np.ones(2000)}}))
    else:
        torch.save({"w": torch.ones(2000)}, path, _use_new_zipfile_serialization=kind == "zip")
    whole = path.read_bytes()
    for part in (1, 10, 30, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:part])
        assert "is damaged, cut short" in sentence_of(path)


# ------------------------------------------------------------------ attacks
class Call:
    """Pickled, it is a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


class State:
    """Pickled, it sets the state of a module."""

    def __reduce__(self) -> Any:
        return nn.Module, (), {"__class__": Call(eval, TOUCH)}


def _object_array(value: Any) -> np.ndarray:
    array = np.empty(1, object)
    array[0] = value
    return array


ATTACKS: dict[str, Any] = {
    "posix.system": Call(os.system, "touch ran"),
    "eval": Call(eval, TOUCH),
    "exec": Call(exec, TOUCH),
    "getattr": Call(getattr, Call(__import__, "os"), "system"),
    "runstring": Call(np.testing.runstring, TOUCH, {}),
    "numpy.load": Call(np.load, "inner.npy", None, True),
    "object array": _object_array(Call(os.system, "touch ran")),
    "object dtype": np.dtype("O"),
    "state": State(),
    "model": nn.Linear(1, 1),
    "a function": os.system,
}

# What of these runs code where nobody takes care; the others only name what might.
RUNNING = {"posix.system", "eval", "exec", "runstring", "numpy.load", "object array", "state"}


def save(content: Any, path: Path, form: str) -> None:
    if form.startswith("pickle"):
        path.write_bytes(pickle.dumps(content, protocol=int(form[-1])))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")


@pytest.mark.parametrize("form", ["pickle0", "pickle2", "pickle4", "zip", "old"])
@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_are_refused_and_not_run(name: str, form: str, folder: Path) -> None:
    np.save("inner.npy", _object_array(Call(os.system, "touch ran")), allow_pickle=True)
    path = folder / ("w.pkl" if form.startswith("pickle") else "w.pth")
    weights = {"a.weight": np.ones(2, np.float32)}
    for content in (
        {"model": weights, "__author__": "x", "extra": ATTACKS[name]},
        {"model": {**weights, "b.weight": ATTACKS[name]}, "__author__": "x"},
    ):
        save(content, path, form)
        if name in RUNNING:
            with suppress(Exception):
                torch.load(path, weights_only=False) if path.suffix == ".pth" else pickle.loads(
                    path.read_bytes()
                )
            assert (folder / "ran").exists()
            (folder / "ran").unlink()
        sentence = sentence_of(path)
        assert not (folder / "ran").exists()
        assert f"The weights file '{path}' " in sentence
        if "object" not in name:
            assert "and loading that could run code: nothing of it was run." in sentence
    assert sorted(item.name for item in folder.iterdir()) == ["inner.npy", path.name]


INSTRUCTIONS = {
    "INST": f"(S'touch ran'\ni{os.name}\nsystem\n.".encode(),
    "OBJ": f"(c{os.name}\nsystem\nS'touch ran'\no.".encode(),
    "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x09touch ran\x85R.",
    "dotted": b"\x80\x04\x8c\x05numpy\x8c\x12testing.runstring\x93\x8c\x03a=1}\x86R.",
    "NEWOBJ": b"\x80\x02cbuiltins\nobject\n)\x81.",
    "NEWOBJ_EX": b"\x80\x04cfunctools\npartial\n)}\x92.",
    "BUILD": b"\x80\x02ctypes\nSimpleNamespace\n)R}S'__setstate__'\ncbuiltins\nexec\nsbS'a=1'\nb.",
    "EXT": b"(\x82\x01S'touch ran'\ntR.",
    "PERSID": b"](Pos.system\ne.",
    "BINPERSID": b"\x80\x02](X\x02\x00\x00\x00osQe.",
    "set": b"\x80\x04\x8f(K\x01\x90.",
    "huge": b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b".",
    "huge memo": b"\x80\x02Nr\xff\xff\xff\xff.",
    "nested": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    # To find the place of such a key, Python calls itself until its stack is full.
    "nested key": b"\x80\x02}N" + b"\x85" * 500_000 + b"K\x01s.",
    "nested key by the memo": b"\x80\x02}N" + b"q\x00h\x00\x86" * 300_000 + b"K\x01s.",
    "bytearray": b"\x80\x02c__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85R.",
}  # fmt: skip


@pytest.mark.parametrize("form", ["pickle", "zip", "old"])
@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_instructions_that_weights_never_need(name: str, form: str, folder: Path) -> None:
    path = folder / ("w.pkl" if form == "pickle" else "w.pth")
    harm = INSTRUCTIONS[name]
    if form == "pickle":
        path.write_bytes(harm)
    else:
        plain = io.BytesIO()
        torch.save([], plain, _use_new_zipfile_serialization=form == "zip")
        if form == "old":
            path.write_bytes(plain.getvalue().replace(b"\x80\x02]q\x00.", harm, 1))
        else:
            with zipfile.ZipFile(plain) as whole, zipfile.ZipFile(path, "w") as made:
                for entry in whole.namelist():
                    made.writestr(entry, harm if entry.endswith("data.pkl") else whole.read(entry))
    sentence = sentence_of(path)
    assert not (folder / "ran").exists()
    assert f"The weights file '{path}' " in sentence
    assert [item.name for item in folder.iterdir()] == [path.name]


def test_a_storage_smaller_than_its_tensor(tmp_path: Path) -> None:
    class Claims:
        def __init__(self, size: tuple[int, ...], stride: tuple[int, ...]) -> None:
            self.claim = torch.ones(4).untyped_storage(), size, stride

        def __reduce__(self) -> Any:
            data, size, stride = self.claim
            storage = torch.storage.TypedStorage(wrap_storage=data, dtype=torch.float32, _internal=True)
            return torch._utils._rebuild_tensor_v2, (storage, 0, size, stride, False, {})

    for form in ("pickle2", "zip", "old"):
        for size, stride in (((10**6,), (1,)), ((2**40, 2**20), (2**20, 1)), ((2**20, 2**20), (0, 0))):
            save({"w.w": Claims(size, stride)}, tmp_path / "w.pth", form)
            assert "The weights file" in sentence_of(tmp_path / "w.pth") or "'w.w' in" in sentence_of(
                tmp_path / "w.pth"
            )
    save({"w.w": Claims((2, 2), (2, 1))}, tmp_path / "w.pth", "zip")
    assert read_checkpoint(tmp_path / "w.pth")["model"]["w.w"].tolist() == [[1, 1], [1, 1]]


def test_an_archive_that_unpacks_to_far_more(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(10**7)}, tmp_path / "plain.pth")
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as plain,
        zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for name in plain.namelist():
            bomb.writestr(name, plain.read(name))
    assert "would unpack to 0.0 GiB, 100 times its size or more" in sentence_of(tmp_path / "bomb.pth")


@pytest.mark.parametrize("kind", ["sparse", "quantized", "meta", "text", "complex"])
def test_weights_are_plain_numbers(tmp_path: Path, kind: str) -> None:
    odd = {
        "sparse": lambda: torch.eye(3).to_sparse(),
        "quantized": lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
        "meta": lambda: torch.ones(2, device="meta"),
        "text": lambda: "text",
        "complex": lambda: np.ones(2, complex),
    }[kind]()
    torch.save({"a": torch.ones(1), "b": torch.ones(1), "odd": odd}, tmp_path / "w.pth")
    sentence = sentence_of(tmp_path / "w.pth")
    assert (
        sentence.startswith(f"'odd' in the weights file '{tmp_path}/w.pth' is ")
        or "can't be read" in sentence
    )
