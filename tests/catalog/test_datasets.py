from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cardamage.catalog import (
    AdHocDataset,
    DatasetCatalog,
    MetadataCatalog,
    register_scheme,
    scheme_of,
    schemes,
)
from cardamage.errors import DataError


def load() -> list[dict[str, Any]]:
    return [{"file_name": "a.jpg"}]


@pytest.fixture
def registered() -> Iterator[str]:
    DatasetCatalog.register("scratched_cars", load)
    yield "scratched_cars"
    DatasetCatalog.pop("scratched_cars", None)


def test_register_get_list_remove(registered: str) -> None:
    assert DatasetCatalog.get(registered) == load()
    assert registered in DatasetCatalog
    assert registered in DatasetCatalog.list()
    DatasetCatalog.remove(registered)
    assert registered not in DatasetCatalog


def test_unknown_name_gets_the_closest(registered: str) -> None:
    with pytest.raises(DataError) as caught:
        DatasetCatalog.get("scratched_car")
    assert str(caught.value) == ("Dataset 'scratched_car' is not registered; did you mean scratched_cars?")


@pytest.mark.parametrize(
    ("place", "names"),
    [
        ("train", "labelme:{0}"),
        ("a.json", "coco:{0} or via:{0}"),
        ("data.yaml", "yolo:{0}"),
    ],
)
def test_a_path_alone_gets_the_ways_to_read_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str, names: str
) -> None:
    monkeypatch.setattr(schemes, "_resolvers", dict.fromkeys(("labelme", "coco", "via", "yolo")))
    (tmp_path / "train").mkdir()
    for file in ("a.json", "data.yaml"):
        (tmp_path / file).touch()
    path = str(tmp_path / place)
    with pytest.raises(DataError) as caught:
        DatasetCatalog.get(path)
    assert str(caught.value) == (
        f"Dataset '{path}' is not registered, but there is such a path: say how to read it, "
        f"as {names.format(path)}."
    )


def test_unknown_name_far_from_all(registered: str) -> None:
    with pytest.raises(DataError, match="^Dataset 'q' is not registered; registered are .*scratched_cars"):
        DatasetCatalog.get("q")
    with pytest.raises(DataError, match="^Dataset 'q' is not registered"):
        DatasetCatalog.remove("q")


def test_name_taken(registered: str) -> None:
    with pytest.raises(DataError) as caught:
        DatasetCatalog.register(registered, load)
    assert str(caught.value) == (
        "Dataset 'scratched_cars' is already registered; remove it first or take another name."
    )


def test_loader_must_be_a_function() -> None:
    with pytest.raises(DataError, match="^Dataset 'x' needs a function that loads it, not list.$"):
        DatasetCatalog.register("x", [])  # type: ignore[arg-type]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A scheme for the test alone, and what its resolver was asked for."""
    asked: list[str] = []

    def resolve(rest: str) -> AdHocDataset:
        asked.append(rest)
        return AdHocDataset([{"file_name": rest, "annotations": []}], {"thing_classes": ["dent"]})

    monkeypatch.setattr(schemes, "_resolvers", dict(schemes._resolvers))
    monkeypatch.setattr(schemes, "_resolved", {})
    register_scheme("memo", resolve)
    return asked


def test_ad_hoc_name_is_read_once_for_contents_and_metadata(reads: list[str]) -> None:
    name = "memo:/photos/a:b@c"
    assert MetadataCatalog.get(name).thing_classes == ["dent"]
    first = DatasetCatalog.get(name)
    first[0]["annotations"].append("changed")
    assert DatasetCatalog.get(name) == [{"file_name": "/photos/a:b@c", "annotations": []}]
    assert reads == ["/photos/a:b@c"]
    MetadataCatalog.remove(name)


def test_removed_ad_hoc_name_is_read_again(reads: list[str]) -> None:
    for _ in range(2):
        DatasetCatalog.get("memo:x")
        DatasetCatalog.remove("memo:x")
    assert reads == ["x", "x"]


@pytest.mark.parametrize(
    ("name", "scheme"), [("memo:x", "memo"), ("memo:", None), ("memo", None), ("other:x", None)]
)
def test_scheme_of(reads: list[str], name: str, scheme: str | None) -> None:
    assert scheme_of(name) == scheme


def test_errors_are_of_the_kinds_that_ported_code_catches() -> None:
    with pytest.raises(KeyError) as caught:
        DatasetCatalog.get("nowhere_to_be_found")
    assert str(caught.value).startswith("Dataset 'nowhere_to_be_found' is not registered")
    with pytest.raises(KeyError):
        MetadataCatalog.remove("nowhere_to_be_found")
    with pytest.raises(AssertionError, match="needs a function that loads it"):
        DatasetCatalog.register("nowhere_to_be_found", [])  # type: ignore[arg-type]
