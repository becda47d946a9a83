"""Images that went to the disk come back as they were, as often as asked for."""

from __future__ import annotations

import pickle
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest

from cardamage.data.annotations.checks import RawAnnotation
from cardamage.data.formats.dataset import AnnotatedImage
from cardamage.data.formats.shared.packing import KeptAnnotations, Packed, pack, unpack
from cardamage.data.formats.shared.spool import Spool, SpooledImages
from cardamage.errors import DataError, TrainingError


def image(number: int) -> AnnotatedImage:
    rng = np.random.default_rng(number)
    outline = [rng.random((int(n), 2)) for n in rng.integers(0, 5, 3)]
    annotations = [
        RawAnnotation("a", outline, None, None, 0, {"flags": {"x": True}}, "dent"),
        RawAnnotation("b", [[1, 2, 3, 4]], None, [1.0, 2.0, 3.0, 4.0], 1, {}, "é"),
        RawAnnotation("c", None, {"size": [1, 2], "counts": b"02"}, None, 0, {"id": 10**30}, ""),
        RawAnnotation("d", [], None, None),
    ]
    return AnnotatedImage(
        f"{number}.jpg", "s", 3, 4, annotations[number % 2 :], True, "train", {"k": [1, None]}
    )


def same(one: AnnotatedImage, other: AnnotatedImage) -> bool:
    # Arrays compare by their elements, so texts are compared.
    return repr(one) == repr(other)


def packed_and_back(images: list[AnnotatedImage]) -> list[AnnotatedImage]:
    light, outlines = pack(images)
    return unpack(light, lambda: outlines)


def test_a_pack_holds_all() -> None:
    images = [image(number) for number in range(5)]
    found = packed_and_back(images)
    assert all(map(same, found, images))
    assert all(map(same, packed_and_back(found), images))
    assert packed_and_back([]) == []


def test_outlines_are_read_when_they_are_asked_for() -> None:
    light, outlines = pack([image(number) for number in range(3)])
    asked: list[int] = []

    def read() -> bytes:
        asked.append(1)
        return outlines

    found = unpack(light, read)
    assert [len(one.annotations) for one in found] == [4, 3, 4]
    assert asked == []
    assert [[raw.place for raw in one.annotations] for one in found[:2]] == [list("abcd"), list("bcd")]
    assert asked == [1]


def test_labels_are_changed_without_outlines() -> None:
    kept = KeptAnnotations.of([RawAnnotation("a", label="x"), RawAnnotation("b", label="y")], ["1", "2"])
    other = kept.renamed({"x": "y", "y": "x"})
    assert (list(kept.labels), list(other.labels), other.texts) == (["x", "y"], ["y", "x"], ["1", "2"])
    assert [raw.label for raw in other] == ["y", "x"]
    assert [raw.label for raw in kept] == ["x", "y"]


def test_points_may_be_changed() -> None:
    (found,) = packed_and_back([image(0)])
    polygons = found.annotations[0].polygons
    assert polygons is not None
    for polygon in polygons:
        polygon += 1


def test_in_any_order_any_number_of_times(tmp_path: Path) -> None:
    images = [image(number) for number in range(40)]
    spools = [Spool(), Spool(str(tmp_path / "packs"))]
    packs = [(spools[i % 2], spools[i % 2].append(pack(images[i * 4 : i * 4 + 4]))) for i in range(10)]
    for spool in spools:
        spool.finish()
    order = np.random.default_rng(0).permutation(40)
    found = SpooledImages(packs, np.stack([order // 4, order % 4], axis=1), {3: "other"})
    assert len(found) == 40
    for _ in range(2):
        expected = [images[i] for i in order]
        again = list(found)
        assert again[3].name == "other"
        again[3].name = expected[3].name
        assert all(map(same, again, expected))


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path / "packs"))
    place = spool.append(pack([image(0)]))
    spool.finish()
    whole = (tmp_path / "packs").read_bytes()
    for at in (5, len(whole) - 5):
        data = bytearray(whole)
        data[at] ^= 1
        (tmp_path / "packs").write_bytes(data)
        with pytest.raises(DataError, match="is damaged and was removed; run this again"):
            list(spool.read(place)[0].annotations)


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_no_code_is_run(tmp_path: Path) -> None:
    data = pickle.dumps(([Touch(tmp_path / "made")], b""))
    with pytest.raises(pickle.UnpicklingError, match="has no place among annotations"):
        unpack(data, lambda: b"")
    (found,) = unpack(pack([image(0)]).light, lambda: data)
    with pytest.raises(pickle.UnpicklingError, match="has no place among annotations"):
        found.annotations[0]
    assert not (tmp_path / "made").exists()


def write_much(spool: Spool) -> None:
    for _ in range(3):
        spool.append(Packed(b"a" * 100_000, b""))
    spool.finish()


@pytest.mark.parametrize("kept", [True, False])
def test_a_full_disk_is_told(tmp_path: Path, kept: bool) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    place = tmp_path if kept else Path(tempfile.gettempdir())
    spool = Spool(str(tmp_path / "a.packs") if kept else None)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(TrainingError, match=re.escape(f"'{place}' can't be written (File too large)")):
            write_much(spool)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (tmp_path / "a.packs").exists()


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="XDG_CACHE_HOME"):
        Spool(str(tmp_path / "gone/a.packs"))
