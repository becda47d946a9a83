from __future__ import annotations

import pytest

from cardamage.catalog import Metadata, MetadataCatalog
from cardamage.errors import DataError


def test_same_object_for_the_same_name() -> None:
    one = MetadataCatalog.get("test_metadata_a")
    one.thing_classes = ["dent"]
    assert MetadataCatalog.get("test_metadata_a") is one
    assert "test_metadata_a" in MetadataCatalog.list()
    MetadataCatalog.remove("test_metadata_a")
    assert MetadataCatalog.get("test_metadata_a").get("thing_classes") is None
    MetadataCatalog.remove("test_metadata_a")


def test_set_get_as_dict() -> None:
    metadata = Metadata(name="cars").set(thing_classes=["dent"], json_file="a.json")
    assert metadata.get("json_file") == "a.json"
    assert metadata.get("nothing", 3) == 3
    copied = metadata.as_dict()
    copied["json_file"] = "b.json"
    assert metadata.json_file == "a.json"
    metadata.set(thing_classes=["dent"])


def test_missing_attribute_says_what_there_is() -> None:
    with pytest.raises(AttributeError) as caught:
        Metadata(name="cars", thing_classes=[], json_file="").colors  # noqa: B018
    assert str(caught.value) == (
        "The metadata of dataset 'cars' has no 'colors': it has thing_classes, json_file."
    )
    with pytest.raises(
        AttributeError, match="^The metadata of dataset 'cars' has no 'colors': it is empty.$"
    ):
        Metadata(name="cars").colors  # noqa: B018
    assert not hasattr(Metadata(name="cars"), "thing_classes")


def test_conflicting_value_is_refused() -> None:
    metadata = Metadata(name="cars", thing_classes=["dent"])
    with pytest.raises(DataError) as caught:
        metadata.thing_classes = ["scratch"]
    assert str(caught.value) == (
        "'thing_classes' in the metadata of 'cars' is already ['dent'] and can't become ['scratch']."
    )


def test_replace() -> None:
    metadata = Metadata(name="cars", thing_classes=["dent"], json_file="a").replace(
        thing_classes=["scratch"], json_file=None
    )
    assert metadata.as_dict() == {"name": "cars", "thing_classes": ["scratch"]}


def test_empty_name() -> None:
    with pytest.raises(DataError, match="^A dataset needs a name, but the one asked for is empty.$"):
        MetadataCatalog.get("")
    with pytest.raises(DataError, match="^There is no metadata for dataset 'no such' to remove.$"):
        MetadataCatalog.remove("no such")
