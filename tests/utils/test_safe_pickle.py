"""Pickles of arrays come back as Python's own reader gives them; anything else is refused and not run."""

from __future__ import annotations

import copyreg
import io
import os
import pickle
import struct
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cardamage.utils import safe_pickle
from cardamage.utils.safe_numpy import PickledArray, plain_array


def load(data: bytes) -> Any:
    return safe_pickle.load(io.BytesIO(data))


def same(ours: Any, other: Any) -> bool:
    if isinstance(other, dict):
        return ours.keys() == other.keys() and all(same(ours[key], other[key]) for key in other)
    if isinstance(other, torch.Tensor):
        return type(ours) is torch.Tensor and ours.dtype == other.dtype and torch.equal(ours, other)
    if isinstance(other, np.ndarray):
        return (
            type(ours) is np.ndarray
            and (ours.dtype, ours.shape, ours.flags.f_contiguous, ours.flags.writeable)
            == (other.dtype, other.shape, other.flags.f_contiguous, other.flags.writeable)
            and np.array_equal(ours, other)
        )
    return type(ours) is type(other) and bool(ours == other)


@pytest.mark.parametrize("protocol", range(6))
def test_values_are_those_of_pythons_reader(protocol: int) -> None:
    rng = np.random.default_rng()
    array = rng.standard_normal((3, 4, 2)).astype("f4")
    kinds = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1", ">f4", ">i8"]
    module = torch.nn.Linear(3, 2)
    values = {
        **{kind: (array * 9).astype(kind) for kind in kinds},
        "fortran": np.asfortranarray(array),
        "view": array[:, ::2],
        "transposed": array.transpose(1, 2, 0),
        "none": np.zeros((0, 4)),
        "zero-d": np.array(3.0),
        "scalars": [np.float32(1.5), np.int64(-2), np.bool_(True)],
        "plain": [None, True, 10**30, -1, 1.5, float("inf"), b"", b"\x00\xff", "ü", (), (1,), (1, 2, 3, 4)],
        "ordered": OrderedDict(a=1, b=2),
        "state": module.state_dict(),
        "parameter": module.weight.t(),
        "bfloat16": torch.ones(3, dtype=torch.bfloat16),
        "float": 0.5,
        "long": [[] for _ in range(2000)],
        5: "a number as key",
    }
    data = pickle.dumps(values, protocol=protocol)
    ours, other = load(data), pickle.loads(data)
    other["parameter"] = other["parameter"].detach()
    for key in other:
        assert same(ours[key], other[key]), key


def test_an_object_that_is_there_twice_is_one() -> None:
    array = np.arange(3)
    ours = load(pickle.dumps([array, {"again": array}]))
    assert ours[0] is ours[1]["again"]


def python2(value: Any) -> bytes:
    """Write text, arrays, dicts and lists as Python 2 did with protocol 2: its text is bytes."""
    if isinstance(value, str):
        data = value.encode("latin1")
        return (b"U" + bytes([len(data)]) if len(data) < 256 else b"T" + struct.pack("<i", len(data))) + data
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    if isinstance(value, list):
        return b"](" + b"".join(map(python2, value)) + b"e"
    if isinstance(value, dict):
        return b"}(" + b"".join(python2(part) for item in value.items() for part in item) + b"u"
    numbers = b"(" + b"".join(map(python2, value.shape)) + b"t"
    code, order = value.dtype.str[1:], value.dtype.str[0]
    dtype = (
        b"cnumpy\ndtype\n"
        + python2(code)
        + b"K\x00K\x01\x87R(K\x03"
        + python2(order)
        + b"NNNJ\xff\xff\xff\xff"
    )
    dtype += b"J\xff\xff\xff\xffK\x00tb"
    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    return empty + b"(K\x01" + numbers + dtype + b"\x89" + python2(value.tobytes().decode("latin1")) + b"tb"


def test_python_2s_pickles() -> None:
    rng = np.random.default_rng()
    blobs = {
        "conv1_w": rng.standard_normal((4, 3, 7, 7)).astype("f4"),
        "b": np.arange(256, dtype="u1"),
        "big": np.arange(5, dtype=">f8"),
    }
    data = b"\x80\x02" + python2({"blobs": blobs, "cfg": "NUM_GPUS: 8\n" * 40, "n": [1, -5]}) + b"."
    other = pickle.loads(data, encoding="latin1")
    assert np.array_equal(other["blobs"]["conv1_w"], blobs["conv1_w"])
    assert same(load(data), other)


def test_arrays_in_the_other_byte_order_become_native() -> None:
    big = plain_array(np.frombuffer(b"\x00\x00\x00\x05", ">i4"))
    assert big.dtype.isnative
    assert big.tolist() == [5]


def call(name: str, *arguments: Any) -> bytes:
    """Return a pickle that calls a function."""
    module, _, function = name.rpartition(".")
    return f"c{module}\n{function}\n".encode() + pickle.dumps(arguments, 2)[2:-1] + b"R."


def text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


TOUCH = "open('ran', 'w').close()"


class Evil:
    """Pickled, it is a call."""

    def __reduce__(self) -> Any:
        return os.system, ("touch ran",)


# Pickles that make the file "ran" when a careless reader meets them.
RUNNING: dict[str, bytes] = {
    "REDUCE os.system": call("os.system", "touch ran"),
    "REDUCE posix.system": call(f"{os.name}.system", "touch ran"),
    "REDUCE subprocess": call("subprocess.check_call", ["touch", "ran"]),
    "builtins.exec": call("builtins.exec", TOUCH),
    "builtins.eval": call("builtins.eval", TOUCH),
    "Python 2's eval": call("__builtin__.eval", TOUCH),
    "getattr": b"cbuiltins\ngetattr\n(cbuiltins\n__import__\n(S'os'\ntRS'system'\ntR(S'touch ran'\ntR.",
    "numpy's runstring": call("numpy.testing.runstring", TOUCH, {}),
    "STACK_GLOBAL": b"\x80\x04" + text("os") + text("system") + b"\x93" + text("touch ran") + b"\x85R.",
    "STACK_GLOBAL with dots": b"\x80\x04"
    + text("numpy")
    + text("testing.runstring")
    + b"\x93"
    + text(TOUCH)
    + b"}\x86R.",
    "INST": f"(S'touch ran'\ni{os.name}\nsystem\n.".encode(),
    "OBJ": b"(cbuiltins\nexec\nS\"" + TOUCH.encode() + b'"\no.',
    "NEWOBJ_EX": b"\x80\x04cfunctools\npartial\n(cbuiltins\nexec\nS\"" + TOUCH.encode() + b'"\nt}\x92)R.',
    "BUILD": b"\x80\x02ctypes\nSimpleNamespace\n)R}(S'__setstate__'\ncbuiltins\nexec\nubS\""
    + TOUCH.encode()
    + b'"\nb.',
    "in a list": b"](" + call(f"{os.name}.system", "touch ran")[:-1] + b"e.",
    "in an object array": pickle.dumps(np.array([Evil()], object), 2),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", RUNNING)
def test_code_is_refused_and_not_run(name: str, folder: Path) -> None:
    # It is an attack: Python's own reader falls for it, and may raise after that.
    with suppress(Exception):
        pickle.loads(RUNNING[name])
    assert (folder / "ran").exists()
    (folder / "ran").unlink()
    with pytest.raises(pickle.UnpicklingError) as caught:
        load(RUNNING[name])
    assert not (folder / "ran").exists()
    if name == "in an object array":
        assert str(caught.value) == "an array of 'O8' is not one of numbers"
    else:
        assert isinstance(caught.value, safe_pickle.ForbiddenPickleError)
        assert "." in caught.value.name


def test_a_tensors_data_is_read_safely(folder: Path) -> None:
    inner = io.BytesIO()
    torch.save(Evil(), inner)
    data = call("torch.storage._load_from_bytes", inner.getvalue())
    pickle.loads(data)
    assert (folder / "ran").exists()
    (folder / "ran").unlink()
    with pytest.raises(pickle.UnpicklingError):
        load(data)
    assert not (folder / "ran").exists()


def test_registered_extensions_are_refused(folder: Path) -> None:
    copyreg.add_extension(os.name, "system", 0xF0)
    try:
        data = b"(\x82\xf0S'touch ran'\ntR."
        with pytest.raises(pickle.UnpicklingError, match="EXT1"):
            load(data)
        # Python's reader keeps what it has found for a code, and then asks nobody.
        pickle.loads(b"\x82\xf0.")
        for opcode in (b"\x82\xf0", b"\x83\xf0\x00", b"\x84\xf0\x00\x00\x00"):
            with pytest.raises(pickle.UnpicklingError):
                load(b"](" + opcode + b"S'touch ran'\n\x85Re.")
    finally:
        copyreg.remove_extension(os.name, "system", 0xF0)
        copyreg.clear_extension_cache()
    assert not (folder / "ran").exists()


def numpy_array(shape: Any, code: Any, data: Any) -> bytes:
    """Return a pickle of an array with the parts that are given."""
    plain = {"shape": shape, "code": code, "data": data}
    parts = {name: pickle.dumps(value, 2)[2:-1] for name, value in plain.items()}
    return (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01"
        + parts["shape"]
        + b"cnumpy\ndtype\n"
        + parts["code"]
        + b"\x89\x88\x87R(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        + parts["data"]
        + b"tb."
    )  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "code", "data"),
    [
        ((2,), "O", [1, 2]),
        ((2,), "U4", "x" * 32),
        ((2,), "V8", "x" * 16),
        ((2,), "c8", "x" * 16),
        ((2,), "M8", "x" * 16),
        ((2,), "f4,f4", "x" * 16),
        ((2,), ["f4"], "x" * 8),
        ((2,), "f4", "x" * 7),
        ((3,), "f4", "x" * 8),
        ((10**9, 10**9, 10**9), "f8", ""),
        ((-1,), "f4", ""),
        ((-1, -2), "f4", "x" * 8),
        ((2.0,), "f4", "x" * 8),
        ((True, 2), "f4", "x" * 8),
        ([2], "f4", "x" * 8),
        ((1,) * 40, "f4", "x" * 4),
        ((2,), "f4", 8),
        ((2,), "f4", "ы" * 8),
    ],
)
def test_arrays_are_of_numbers_and_as_large_as_they_say(shape: Any, code: Any, data: Any) -> None:
    with pytest.raises(pickle.UnpicklingError):
        load(numpy_array(shape, code, data))
    assert load(numpy_array((2,), "f4", "\0" * 8)).tolist() == [0, 0]


@pytest.mark.parametrize(
    "data",
    [
        call("numpy.core.multiarray.scalar", 1, b""),
        call("numpy.dtype", "O"),
        call("numpy.ndarray", (10**6,)),
        call("numpy.core.multiarray._reconstruct", None, (0,), b"b"),
        call("collections.OrderedDict", 5),
        call("collections.OrderedDict", [(1,)]),
        call("_codecs.encode", "00", "hex"),
        call("torch._utils._rebuild_tensor_v2", 1, 0, (2,), (1,), False, {}),
        call("torch._utils._rebuild_parameter", [1]),
    ],
)
def test_arguments_are_checked(data: bytes) -> None:
    with pytest.raises(pickle.UnpicklingError):
        load(data)


def test_a_tensor_stays_within_its_storage() -> None:
    data = pickle.dumps(torch.arange(4.0), 2)
    size = b"K\x04\x85"
    assert data.count(size) == 1
    with pytest.raises(pickle.UnpicklingError, match=r"shape \(5,\) has 4 values"):
        load(data.replace(size, b"K\x05\x85"))
    assert load(data.replace(size, b"K\x02\x85")).tolist() == [0, 1]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80",
        b"\x80\x09.",
        b"hello, this is a text\n",
        b"import os\nprint(1)\n",
        b"from os import path\n",
        b"<html>Not found</html>",
        b"\x89PNG\r\n\x1a\n",
        b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.",
        b"\x80\x05\x96" + struct.pack("<Q", 2**62) + b"x.",
        b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"x.",
        b"B" + struct.pack("<I", 2**32 - 1) + b"x.",
        b"\x8b" + struct.pack("<i", 2**31 - 1) + b"x.",
        b"X" + struct.pack("<I", 2**32 - 1) + b"x.",
        b"(((" * 1000 + b".",
        b"]}K\x01a.",
        b"]K\x01}s.",
        b"}(K\x01u.",
        b"}(]K\x01u.",
        b"g5\n.",
        b"}" + b"N" + b"\x85" * 300_000 + b"K\x01s.",
        b"I1\n\x80\x04Q.",
        b"\x80\x05\x97.",
        b"I\xff\n.",
        b"c\xff\n\xff\n.",
        b"F1e\n.",
    ],
    ids=lambda data: repr(data[:14]),
)
def test_damaged_files_are_refused(data: bytes) -> None:
    with pytest.raises(pickle.UnpicklingError):
        load(data)


def test_a_file_cut_anywhere_is_refused() -> None:
    data = pickle.dumps({"model": {"w": np.arange(5.0)}, "text": "abc"}, 4)
    for end in range(len(data)):
        with pytest.raises(pickle.UnpicklingError):
            load(data[:end])


def test_noise_never_runs_or_crashes(folder: Path) -> None:
    rng = np.random.default_rng()
    whole = bytearray(pickle.dumps({"w": np.arange(4.0), "s": torch.ones(2), "l": [1, "a", None]}, 2))
    before = sorted(folder.iterdir())
    for _ in range(2000):
        data = bytearray(whole)
        for place in rng.integers(len(data), size=rng.integers(1, 6)):
            data[place] = rng.integers(256)
        try:
            load(bytes(data))
        except pickle.UnpicklingError:
            continue
    assert sorted(folder.iterdir()) == before


def test_a_large_memo_index_takes_no_memory() -> None:
    # Python's fast reader makes a table of this many entries.
    assert load(b"K\x05r" + struct.pack("<I", 2**32 - 1) + b".") == 5


def test_nesting_is_no_trouble() -> None:
    value = load(b"]" * 200_000 + b"a" * 199_999 + b".")
    assert isinstance(value, list)
    while value:
        value = value[0]


def test_the_array_for_other_readers_checks_too() -> None:
    array = PickledArray()
    with pytest.raises(ValueError, match="shape"):
        array.__setstate__((1, (5,), np.dtype("f4"), False, b""))
    with pytest.raises(ValueError, match="data type"):
        array.__setstate__((1, (1,), np.dtype("O"), False, [1]))
    array.__setstate__((1, (1,), np.dtype("f4"), False, bytes(4)))
    assert array.tolist() == [0]
