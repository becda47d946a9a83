"""Labelme folders of many files: by several processes, from a cache, and hostile ones."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from cardamage.data.annotations.report import AnnotationReport
from cardamage.data.formats.dataset import AnnotatedDataset, to_dicts
from cardamage.data.formats.labelme import load_labelme, read
from cardamage.data.formats.labelme import pool as labelme_pool
from cardamage.data.formats.labelme import reading as labelme_reading
from cardamage.data.formats.labelme.content import LabelmeJson, parse_labelme
from cardamage.data.formats.labelme.folder import json_files
from cardamage.data.formats.registry import ReadOptions
from cardamage.errors import CardamageError, DataError

SQUARE = [[10, 10], [20, 10], [20, 20], [10, 20]]


def shape(label: str = "dent", points: Any = SQUARE, **more: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "group_id": None, "shape_type": "polygon", "flags": {}, **more}


def put(path: Path, *shapes: dict[str, Any], **changes: Any) -> Path:
    content = {"version": "5.5.0", "shapes": list(shapes), "imagePath": f"{path.stem}.jpg", "imageData": None}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**content, "imageHeight": 40, "imageWidth": 60, **changes}))
    return path


def told(folder: Path, **options: Any) -> tuple[list[Any], list[str], list[str]]:
    """All that is read, as texts that can be compared."""
    report = AnnotationReport("x")
    dataset = read(folder, ReadOptions(**{"workers": 1, **options}), report)
    assert len(list(dataset.images)) == len(dataset.images)
    return [repr(image) for image in dataset.images], dataset.classes, [f.sentence for f in report.findings]


@pytest.fixture
def many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that counts as large."""
    monkeypatch.setattr(labelme_reading, "FEW", 8)
    monkeypatch.setattr(labelme_pool, "FEW", 8)
    for module in (labelme_reading, labelme_pool):
        monkeypatch.setattr(module, "FILES_IN_BLOCK", 4)
    folder = tmp_path / "photos"
    for number in range(50):
        extra = [shape("point", [[1, 1]], shape_type="point")] if number % 7 == 0 else []
        put(folder / f"sub{number % 3}/{number}.json", shape(f"c{number % 5}"), *extra)
    (folder / "other.json").write_text("{}")
    return folder


@pytest.mark.parametrize("workers", [1, 2])
def test_many_files_are_read_as_few_are(many: Path, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    found = told(many, workers=workers)
    monkeypatch.setattr(labelme_reading, "FEW", 1000)
    assert found == told(many)
    assert len(found[0]) == 50
    assert len(found[2]) == 8


@pytest.mark.parametrize("workers", [1, 2])
def test_the_first_file_that_cannot_be_used_is_named(many: Path, workers: int) -> None:
    for number in (47, 20, 44):
        (many / f"sub{number % 3}/{number}.json").write_text("{")
    with pytest.raises(DataError, match=r"sub2/20\.json is not valid JSON at line 1; export it again\.$"):
        read(many, ReadOptions(workers=workers), AnnotationReport("x"))


def test_what_a_cache_remembers_is_what_would_be_read(many: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    before = told(many)
    assert told(many, cache=cache) == before
    # Files as old as the note of them are not trusted by their times.
    for age in (0, 100):
        for path in many.rglob("*.json"):
            past = time.time() - age
            os.utime(path, (past, past))
        assert told(many, cache=cache) == before


def changed_same_length(folder: Path) -> None:
    path = folder / "sub1/1.json"
    path.write_text(path.read_text().replace("c1", "cx"))


def removed(folder: Path) -> None:
    (folder / "sub1/1.json").unlink()


def added(folder: Path) -> None:
    put(folder / "sub0/0b.json", shape("new"))


def renamed(folder: Path) -> None:
    (folder / "sub1/1.json").rename(folder / "sub2/1.json")


def picture_appears(folder: Path) -> None:
    Image.new("RGB", (60, 40)).save(folder / "sub1/1.JPEG")


def becomes_another_kind(folder: Path) -> None:
    (folder / "sub1/1.json").write_text("[]")


@pytest.mark.parametrize(
    "change", [changed_same_length, removed, added, renamed, picture_appears, becomes_another_kind]
)
def test_a_cache_sees_changes(many: Path, tmp_path: Path, change: Any) -> None:
    cache = tmp_path / "cache"
    told(many, cache=cache)
    told(many, cache=cache)
    before = told(many)
    change(many)
    after = told(many)
    assert after != before
    assert told(many, cache=cache) == after
    assert told(many, cache=cache) == after


def test_a_cache_sees_that_the_picture_beside_becomes_another(tmp_path: Path) -> None:
    drawn = (np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8) for seed in (0, 1))
    one, other = (Image.fromarray(small).resize((60, 40)) for small in drawn)
    file = io.BytesIO()
    one.save(file, "PNG")
    put(tmp_path / "in/a.json", shape(), imageData=base64.b64encode(file.getvalue()).decode())
    one.save(tmp_path / "in/a.jpg")
    cache = tmp_path / "cache"
    assert "embedded=False" in told(tmp_path / "in", cache=cache)[0][0]
    other.save(tmp_path / "in/a.jpg")
    assert "embedded=True" in told(tmp_path / "in", cache=cache)[0][0]


@pytest.mark.parametrize(("seed", "same"), [(0, True), (1, False)])
@pytest.mark.parametrize("size", [(60, 40), (1200, 900)])
def test_a_photo_saved_again_is_the_same_photo(
    tmp_path: Path, size: tuple[int, int], seed: int, same: bool
) -> None:
    def photo(number: int, **options: Any) -> bytes:
        small = np.random.default_rng(number).integers(0, 255, (6, 8, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(small).resize(size).save(file, **options)
        return file.getvalue()

    embedded = base64.b64encode(photo(0, format="JPEG", quality=50)).decode()
    for number, options in enumerate(({"format": "PNG"}, {"format": "JPEG", "quality": 95})):
        put(tmp_path / f"{number}.json", shape(), imageData=embedded)
        (tmp_path / f"{number}.jpg").write_bytes(photo(seed, **options))
    dataset = read(tmp_path, ReadOptions(), AnnotationReport("x"))
    assert [image.embedded for image in dataset.images] == [not same] * 2


def test_only_changed_files_are_read_again(
    many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    told(many, cache=cache)
    put(many / "sub1/1.json", shape("again"))
    opened: list[str] = []
    parse = labelme_pool.LabelmeReader.read

    def noted(self: labelme_pool.LabelmeReader, path: str) -> Any:
        opened.append(path)
        return parse(self, path)

    monkeypatch.setattr(labelme_pool.LabelmeReader, "read", noted)
    assert "again" in told(many, cache=cache, workers=1)[1]
    assert [Path(path).name for path in opened] == ["1.json"]


@pytest.mark.parametrize("damage", ["index", "packs", "gone", "code"])
def test_a_damaged_cache_is_made_anew(many: Path, tmp_path: Path, damage: str) -> None:
    cache = tmp_path / "cache"
    before = told(many, cache=cache)
    (index,), (packs,) = cache.glob("*.index"), cache.glob("*.packs")
    if damage == "index":
        index.write_bytes(index.read_bytes()[:-9])
    elif damage == "packs":
        packs.write_bytes(packs.read_bytes()[:-9])
    elif damage == "gone":
        packs.unlink()
    else:
        index.write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    assert told(many, cache=cache) == before


def test_the_run_after_one_that_met_damage_is_well(many: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    before = told(many, cache=cache)
    (packs,) = cache.glob("*.packs")
    data = bytearray(packs.read_bytes())
    data[len(data) // 2] ^= 1
    packs.write_bytes(data)
    with pytest.raises(CardamageError, match="is damaged and was removed; run this again"):
        told(many, cache=cache)
    assert told(many, cache=cache) == before


@pytest.mark.parametrize("names", [["1", "01", "2"], ["2", "01", "1"]])
def test_equal_numbers_come_in_one_order(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        put(tmp_path / f"{name}.json", shape("dent"))
    assert json_files(tmp_path) == [str(tmp_path / f"{name}.json") for name in ("01", "1", "2")]


def test_old_packs_are_removed(many: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for number in range(20):
        put(many / "sub1/1.json", shape(f"n{number}"))
        assert f"n{number}" in told(many, cache=cache)[1]
        assert len(list(cache.glob("*.packs"))) <= 14


def test_a_cache_that_cannot_be_written(many: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.raises(CardamageError, match=r"cache' is, or lies under, a file"):
        told(many, cache=tmp_path / "cache")


def test_one_picture_of_two_files(tmp_path: Path) -> None:
    for stem in ("a", "b", "c"):
        put(tmp_path / f"{stem}.json", shape(), imagePath="photo.jpg")
    Image.new("RGB", (60, 40)).save(tmp_path / "photo.jpg")
    dataset = read(tmp_path, ReadOptions(), AnnotationReport("x"))
    assert [image.name for image in dataset.images] == ["photo.jpg", "b.jpg", "c.jpg"]
    assert {image.source for image in dataset.images} == {str(tmp_path / "photo.jpg")}


def test_pictures_of_another_folder(tmp_path: Path) -> None:
    put(tmp_path / "labels/x/a.json", shape(), imagePath="..\\..\\far\\a.jpg")
    pictures = tmp_path / "elsewhere/deep"
    pictures.mkdir(parents=True)
    Image.new("RGB", (60, 40)).save(pictures / "a.jpg")
    (image,) = read(tmp_path / "labels", ReadOptions(image_root=pictures), AnnotationReport("x")).images
    assert image.source == str(pictures / "a.jpg")
    with pytest.raises(DataError, match=r"^The image folder .*no of .* does not exist\.$"):
        read(tmp_path / "labels", ReadOptions(image_root=tmp_path / "no"), AnnotationReport("x"))


def test_fields_have_neutral_names(tmp_path: Path) -> None:
    fields = {"description": "d", "group_id": 3, "flags": {"f": True}, "bbox": [1], "line_color": [0, 0, 0]}
    crowd = shape(flags={"iscrowd": True, "g": False})
    put(tmp_path / "a.json", shape(**fields), crowd, flags={"done": True}, id=7, weather="rain")
    (image,) = read(tmp_path, ReadOptions(), AnnotationReport("x")).images
    assert image.extra == {"flags": {"done": True}, "labelme_id": 7, "weather": "rain"}
    first, second = image.annotations
    assert first.extra.pop("labelme_bbox") == [1]
    assert first.extra == {key: value for key, value in fields.items() if key != "bbox"}
    assert (second.extra, second.iscrowd) == ({"flags": {"g": False}}, 1)


def test_a_bad_part_of_a_group_is_told(tmp_path: Path) -> None:
    path = put(tmp_path / "a.json", shape(group_id=1), shape(points=[[1, 1], [2, 2]], group_id=1))
    report = AnnotationReport("x")
    dicts, _ = load_labelme(tmp_path, report=report)
    assert len(dicts[0]["annotations"][0]["segmentation"]) == 1
    assert [f.sentence for f in report.findings] == [
        f"{path}, shape 0 ('dent'): changed, a part of its outline is left out: "
        "its polygon has 2 points and needs 3."
    ]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_other_encodings(tmp_path: Path, encoding: str) -> None:
    path = put(tmp_path / "a.json", shape("rayé"))
    text = path.read_text().replace("\\u00e9", "é")
    path.write_text(text, encoding=encoding)
    assert load_labelme(tmp_path)[1] == ["rayé"]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda p: p.write_bytes('{"shapes": [], "x": "é"}'.encode("latin-1")), "is not UTF-8 text; save it"),
        (lambda p: p.write_bytes(b"[" * 200_000), "is nested too deeply to be read."),
        (lambda p: p.write_bytes(b"\xff" * 100), "is not UTF-8 text; save it as UTF-8."),
        (lambda p: p.write_bytes(b""), "is not valid JSON at line 1; export it again."),
        (lambda p: p.symlink_to("gone"), "does not exist."),
        (os.mkfifo, "is no file but a device or pipe; remove it."),
        (lambda p: p.symlink_to("/dev/zero"), "is no file but a device or pipe; remove it."),
        (lambda p: p.write_bytes(b"version https://git-lfs.github.com/spec/v1"), "is a Git LFS pointer"),
    ],
)
def test_hostile_files(tmp_path: Path, make: Any, sentence: str) -> None:
    make(tmp_path / "a.json")
    with pytest.raises(DataError) as caught:
        load_labelme(tmp_path)
    assert str(caught.value).startswith(f"The Labelme file {tmp_path}/a.json {sentence}")


def test_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "a.json", "wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(DataError, match="has 1024 MB, and no more than 256 MB can be read; make it smaller"):
        load_labelme(tmp_path)
    with open(tmp_path / "a.json", "wb") as file:
        file.write(b" " * (40 << 20))
    with pytest.raises(DataError, match="has 40 MB without its picture, and no more than 16 MB can be read"):
        load_labelme(tmp_path)


def test_a_folder_by_the_name_of_a_file_is_looked_into(tmp_path: Path) -> None:
    put(tmp_path / "a.json/b.json", shape())
    assert len(load_labelme(tmp_path)[0]) == 1


def test_huge_patches_and_images_take_no_memory(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(file, "PNG")
    bomb = base64.b64encode(file.getvalue()).decode()
    file = io.BytesIO()
    Image.new("L", (3, 2), 1).save(file, "PNG")
    small = base64.b64encode(file.getvalue()).decode()
    mask = {"shape_type": "mask", "points": [[7, 8], [9, 9]]}
    put(tmp_path / "a.json", shape(mask=bomb, **mask), imageHeight=40_000, imageWidth=40_000)
    put(tmp_path / "b.json", shape(mask=small, **mask), imageHeight=60_000, imageWidth=60_000)
    put(tmp_path / "c.json", shape(mask=small, **mask), imageHeight=1e12, imageWidth=1e12)
    report = AnnotationReport("x")
    dataset = read(tmp_path, ReadOptions(), report)
    assert [len(image.annotations) for image in dataset.images] == [0, 1, 0]
    assert [finding.reason for finding in report.findings] == ["its mask can't be decoded"] * 2
    dicts, _ = to_dicts(dataset, report=report)
    assert dicts[1]["annotations"][0]["bbox"] == [7, 8, 10, 10]


def parsed(text: str) -> LabelmeJson | None:
    return parse_labelme(text.encode(), "a.json")


@pytest.mark.parametrize("picture", ["", "QUJD", "QUJD" * 200, "QU\\/D" * 200])
@pytest.mark.parametrize("before", [True, False])
def test_the_picture_stays_text(picture: str, before: bool) -> None:
    shapes, data = '"shapes": [{"label": "x"}]', f'"imageData" : "{picture}"'
    found = parsed("{" + (f"{data}, {shapes}" if before else f"{shapes}, {data}") + "}")
    assert found is not None
    assert found.content == {"shapes": [{"label": "x"}]}
    assert found.embedded == bool(picture)
    if picture == "QUJD" * 200:
        assert found.decoded("a.json") == b"ABC" * 200


def test_a_shapes_own_image_data_is_no_picture() -> None:
    text = "A" * 500
    found = parsed(json.dumps({"shapes": [{"imageData": text}], "imageData": None}))
    assert found is not None
    assert found.content["shapes"] == [{"imageData": text}]
    assert not found.embedded
    found = parsed(json.dumps({"shapes": [], "note": f'"imageData": "{text}"', "imageData": "QUJD"}))
    assert found is not None
    assert found.decoded("a.json") == b"ABC"
    assert found.content["note"].endswith(f'{text}"')


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(SQUARE),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
points = st.lists(st.lists(st.floats(-1e308, 1e308) | st.floats(-9, 90), min_size=2, max_size=2), max_size=8)
kinds = st.sampled_from(
    ["polygon", "rectangle", "oriented_rectangle", "circle", "line", "linestrip", "mask", "point"]
)
shapes = st.fixed_dictionaries(
    {"label": st.sampled_from(["dent", "scratch"]), "points": points | json_values, "shape_type": kinds},
    optional={name: json_values for name in ("group_id", "flags", "description", "mask", "line_width")},
)
files = st.fixed_dictionaries(
    {"shapes": st.lists(shapes | json_values, max_size=4)},
    optional={
        "imagePath": json_values | st.sampled_from(["a.jpg", "../a.jpg", "C:\\a.jpg", "/etc/passwd"]),
        "imageData": json_values,
        "imageHeight": st.just(40) | json_values,
        "imageWidth": st.just(60) | json_values,
    },
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=files.map(lambda content: json.dumps(content).encode()) | st.binary(max_size=60))
def test_any_file_is_read_or_refused(data: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    Image.new("RGB", (60, 40)).save(folder / "a.jpg")
    (folder / "a.json").write_bytes(data)
    sentence = "."
    try:
        dataset: AnnotatedDataset = read(folder, ReadOptions(), AnnotationReport("x"))
        assert len(to_dicts(dataset, report=AnnotationReport("x"))[0]) == 1
    except CardamageError as error:
        sentence = str(error)
    assert sentence.endswith((".", "?"))
