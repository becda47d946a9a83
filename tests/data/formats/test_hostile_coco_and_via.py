"""COCO and VIA files of any content: read, or refused with a sentence; never a crash, never endless."""

from __future__ import annotations

import contextlib
import copy
import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pycocotools.mask as mask_util
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from cardamage.data.annotations.report import AnnotationReport
from cardamage.data.formats import coco, via
from cardamage.data.formats.dataset import AnnotatedDataset, to_dicts
from cardamage.data.formats.registry import FORMATS, ReadOptions, WriteOptions, write_annotations
from cardamage.data.formats.shared.json_opening import json_opening
from cardamage.errors import CardamageError, DataError
from tests.support.damage import REMOVED, places, replaced

READERS: dict[str, Callable[..., AnnotatedDataset]] = {"coco": coco.read, "via": via.read}
RLE = {"size": [40, 60], "counts": [9, 9, 2382]}
TEXT = {"size": [40, 60], "counts": mask_util.frPyObjects(RLE, 40, 60)["counts"].decode()}
COCO = {
    "info": {"year": 2020},
    "images": [
        {"id": 1, "file_name": "a.jpg", "height": 40, "width": 60, "license": 1},
        {"id": 2, "file_name": "b/c.jpg", "height": 40, "width": 60},
    ],
    "categories": [{"id": 1, "name": "dent", "supercategory": "x"}, {"id": 2, "name": "s"}],
    "annotations": [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 2,
            "segmentation": [[1, 1, 9, 1, 9, 9]],
            "bbox": [1, 1, 8, 8],
        },
        {"id": 2, "image_id": 1, "category_id": 1, "segmentation": RLE, "iscrowd": 1},
        {"id": 3, "image_id": 2, "category_id": 1, "segmentation": TEXT},
    ],
}


def _regions() -> list[dict[str, Any]]:
    shapes: list[dict[str, Any]] = [
        {"name": "polygon", "all_points_x": [1, 9, 9], "all_points_y": [1, 1, 9]},
        {"name": "polyline", "all_points_x": [1, 9, 9], "all_points_y": [1, 1, 9]},
        {"name": "circle", "cx": 9, "cy": 9, "r": 4},
        {"name": "ellipse", "cx": 9, "cy": 9, "rx": 4, "ry": 5, "theta": 0.1},
        {"name": "rect", "x": 9, "y": 9, "width": 4, "height": 5},
    ]
    attributes: list[dict[str, Any]] = [
        {"name": "dent", "group_id": "1"},
        {"name": "dent", "group_id": "1", "score": "0.5"},
        {"name": "s", "iscrowd": "1"},
        {"name": {"dent": True}, "flags": {"a": True}},
        {"name": "s", "note": "x"},
    ]
    return [
        {"shape_attributes": shape, "region_attributes": own}
        for shape, own in zip(shapes, attributes, strict=True)
    ]


VIA = {
    "_via_settings": {"core": {"default_filepath": "./"}, "ui": {}},
    "_via_img_metadata": {
        "a.jpg1": {"filename": "a.jpg", "size": 1, "regions": _regions(), "file_attributes": {"a": "b"}},
        "b/c.jpg1": {"filename": "b/c.jpg", "size": 1, "regions": {"0": _regions()[0]}},
    },
    "_via_attributes": {"region": {"name": {"type": "dropdown", "options": {"dent": "d"}}}, "file": {}},
}
CONTENTS = {"coco": COCO, "via": VIA}
NASTY = st.one_of(
    st.sampled_from(
        [
            *(
                float("nan"),
                float("inf"),
                -float("inf"),
                1e308,
                -1e308,
                1e9,
                -1e9,
                5e-324,
                10**30,
                10**400,
                2**31,
            ),
            *(0, -1, 1, 2, 0.5, True, None, 65535, 46341, 1 << 20),
            *(
                "",
                "../a.jpg",
                "/etc/passwd",
                "a\x00b",
                "\ud800",
                "--5",
                "9" * 5000,
                "C:\\a.jpg",
                "a" * 5000,
                ".",
            ),
            *("dent", "[1, 2", "[[1,2,3,4,5,6]]", "undefined", "nan", "1e308", "1"),
            *([], {}, [[]], [None], {"": ""}, [[1, 2]], [[1, 2, 3, 4]], [1] * 3000, {"counts": "o"}),
        ]
    ),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=8,
    ),
)
OFTEN = settings(max_examples=100, deadline=20_000, suppress_health_check=list(HealthCheck), derandomize=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    for name in ("set/a.jpg", "set/b/c.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (60, 40)).save(folder / name)
    return folder


def use(form: str, path: Path) -> str:
    """Read a file, check it and write it in both formats; return the sentence that refuses it, if any."""
    try:
        recognized = coco.recognize(path), via.recognize(path)
        assert not all(recognized)
        dataset = READERS[form](path, ReadOptions(), AnnotationReport("x"))
        names = [image.name for image in dataset.images]
        assert len(set(names)) == len(names)
        assert not any(Path(name).is_absolute() or ".." in Path(name).parts for name in names)
        for module in (coco, via):
            losses = AnnotationReport("x")
            module.write(dataset, path.parent.parent / f"{form} as {module.__name__}", WriteOptions(), losses)
        to_dicts(dataset, report=AnnotationReport("x"))
    except CardamageError as error:
        return str(error)
    return ""


def refused(form: str, path: Path) -> str:
    with pytest.raises(DataError) as caught:
        READERS[form](path, ReadOptions(), AnnotationReport("x"))
    return str(caught.value)


@pytest.mark.parametrize("form", ["coco", "via"])
def test_the_valid_file_is_read(form: str, folder: Path) -> None:
    path = folder / "set/a.json"
    path.write_text(json.dumps(CONTENTS[form]))
    assert use(form, path) == ""


@pytest.mark.parametrize("form", ["coco", "via"])
@OFTEN
@given(data=st.data())
def test_any_value_anywhere(form: str, folder: Path, data: st.DataObject) -> None:
    content: Any = CONTENTS[form]
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(list(places(content))))
        removed = place and data.draw(st.sampled_from([False, False, True]))
        content = replaced(content, place, REMOVED if removed else data.draw(NASTY))
    path = folder / "set/a.json"
    path.write_text(json.dumps(content))
    sentence = use(form, path)
    assert not sentence or sentence.endswith((".", "?"))


@pytest.mark.parametrize("form", ["coco", "via"])
@pytest.mark.parametrize("suffix", [".json", ".csv"])
@OFTEN
@given(
    content=st.binary(max_size=200) | st.text(max_size=200).map(lambda t: t.encode("utf-8", "surrogatepass"))
)
def test_any_bytes(form: str, suffix: str, folder: Path, content: bytes) -> None:
    path = folder / f"set/a{suffix}"
    path.write_bytes(content)
    assert use(form, path).endswith((".", "?"))


@pytest.mark.parametrize("form", ["coco", "via"])
@OFTEN
@given(at=st.integers(0, 3000), length=st.integers(0, 20), put=st.binary(max_size=8), cut=st.booleans())
def test_any_damage_to_the_bytes(
    form: str, folder: Path, at: int, length: int, put: bytes, cut: bool
) -> None:
    good = json.dumps(CONTENTS[form]).encode()
    path = folder / "set/a.json"
    path.write_bytes(good[:at] + put + (b"" if cut else good[at + length :]))
    sentence = use(form, path)
    assert not sentence or sentence.endswith((".", "?"))


FIELDS = st.sampled_from(
    [
        *(
            "group_id",
            "flags",
            "description",
            "score",
            "shape_type",
            "parts",
            "attributes",
            "iscrowd",
            "via_shape",
        ),
        *("points", "label", "mask", "imageData", "version", "file_attributes", "area", "name"),
    ]
)


@settings(max_examples=40, parent=OFTEN)
@given(data=st.data())
def test_any_field_goes_to_any_format(folder: Path, data: st.DataObject) -> None:
    content: Any = copy.deepcopy(COCO)
    for _ in range(data.draw(st.integers(1, 4))):
        record = data.draw(st.sampled_from([content, *content["images"], *content["annotations"]]))
        record[data.draw(FIELDS)] = data.draw(NASTY)
    path = folder / "set/a.json"
    path.write_text(json.dumps(content))
    dataset = coco.read(path, ReadOptions(), AnnotationReport("x"))
    for form in FORMATS:
        losses = AnnotationReport("x")
        with contextlib.suppress(CardamageError):
            write_annotations(dataset, folder / f"any as {form}", form, WriteOptions("copy"), losses)


HEADER = (
    "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes\n"
)
CELLS = st.sampled_from(
    ["a.jpg", "b/c.jpg", "../x", "1", "0", "{}", '"{""name"":""dent"",""type"":undefined}"']
)
SHAPE = st.just('"{""name"":""polygon"",""all_points_x"":[1,9,9],""all_points_y"":[1,1,9]}"')


@OFTEN
@given(rows=st.lists(st.lists(CELLS | SHAPE | st.text(max_size=8), min_size=5, max_size=8), max_size=4))
def test_any_csv(folder: Path, rows: list[list[str]]) -> None:
    path = folder / "set/a.csv"
    text = HEADER + "\n".join(",".join(row) for row in rows)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    sentence = use("via", path)
    assert not sentence or sentence.endswith((".", "?"))


@pytest.mark.parametrize("form", ["coco", "via"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "latin-1"])
def test_encodings(form: str, encoding: str, folder: Path) -> None:
    path = folder / "set/a.json"
    text = json.dumps(CONTENTS[form], ensure_ascii=False).replace("dent", "bosselée")
    path.write_bytes(text.encode(encoding))
    if encoding.startswith("utf-8"):
        dataset = READERS[form](path, ReadOptions(), AnnotationReport("x"))
        assert "bosselée" in dataset.classes
    else:
        assert refused(form, path) == f"The {form.upper()} file {path} is not UTF-8 text; save it as UTF-8."


@pytest.mark.parametrize("form", ["coco", "via"])
def test_files_that_are_none(form: str, tmp_path: Path) -> None:
    what = f"{form.upper()} file"
    assert refused(form, tmp_path / "no.json") == f"The {what} {tmp_path}/no.json does not exist."
    assert f"{tmp_path} holds no {what};" in refused(form, tmp_path)
    (tmp_path / "folder.json").mkdir()
    assert "holds no" in refused(form, tmp_path / "folder.json")
    assert "holds no" in refused(form, tmp_path)
    (tmp_path / "loop.json").symlink_to("loop.json")
    assert "can't be read" in refused(form, tmp_path / "loop.json")
    assert "can't be a file's" in refused(form, Path("a\x00.json"))
    large = tmp_path / "large.json"
    with large.open("wb") as file:
        file.truncate((2 << 30) + 1)
    assert refused(form, large) == (
        f"The {what} {large} is larger than 2 GiB, too large to be read at once; "
        "divide it into several files."
    )


@pytest.mark.parametrize("form", ["coco", "via"])
@pytest.mark.parametrize(
    "text", ["[" * 10**6, '{"a":' * 10**6, '{"images": ' + "[" * 10**6, '"' + "x" * 10**7]
)
def test_deep_and_long(form: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    assert use(form, path).endswith((".", "?"))
    assert len(json_opening(path)) <= 1


def nasty_coco() -> dict[str, Any]:
    content: Any = copy.deepcopy(COCO)
    shapes: list[Any] = [
        [[-1e9, -1e9, 1e9, -1e9, 1e9, 1e9]],
        [[0, 0, 1e308, 0, 1e308, 1e308]],
        [[5, 5, 5e8, 6, 5, 7]],
        [[float("nan")] * 6],
        [[1, 1, 9, 1, 9, 10**400]],
        [[1, 1, 2]],
        [list(range(60)) * 1000],
        [[[1, 1], [9, 1], [9, 9]]],
    ]
    content["annotations"] += [
        {"id": 9, "image_id": 1, "category_id": 1, "segmentation": shape, "bbox": [0, 0, 1e308, 1e308]}
        for shape in shapes
    ]
    content["images"].append({"id": 3, "file_name": "big.jpg", "height": 8000, "width": 8000})
    for counts in ([0, 64 * 10**6], [32 * 10**6, 100, 32 * 10**6 - 100]):
        rle = {"size": [8000, 8000], "counts": counts}
        content["annotations"].append({"id": 9, "image_id": 3, "category_id": 1, "segmentation": rle})
    return content


def nasty_via() -> dict[str, Any]:
    content: Any = copy.deepcopy(VIA)
    line = {"name": "polyline", "all_points_x": [-1e9, 1e9, 0], "all_points_y": [5, 5, 1e9]}
    shapes = [
        {"name": "circle", "cx": 1e9, "cy": 9, "r": 1e9},
        {"name": "circle", "cx": float("nan"), "cy": 9, "r": 9},
        {"name": "ellipse", "cx": 9, "cy": 9, "rx": 1e9, "ry": 1e-9, "theta": 1e308},
        {"name": "rect", "x": -1e9, "y": -1e308, "width": 1e308, "height": 1e9},
        line,
    ]
    content["_via_img_metadata"]["a.jpg1"]["regions"] += [
        {"shape_attributes": shape, "region_attributes": {"name": "dent"}} for shape in shapes
    ]
    return content


@pytest.mark.parametrize("form", ["coco", "via"])
def test_memory_stays_bounded(form: str, folder: Path) -> None:
    path = folder / "set/a.json"
    path.write_text(json.dumps(nasty_coco() if form == "coco" else nasty_via()))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert use(form, path) == ""
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    # In KiB; a mask of 8000x8000 takes 64 MB, and tracing it several times as much.
    assert grown < (1 << 20 if form == "coco" else 200 << 10)
