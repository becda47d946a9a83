"""Whole conversions: what comes out, what is told, and what is never touched."""

from __future__ import annotations

import base64
import io
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pycocotools.coco import COCO

from cardamage.data.formats.coco import read_coco
from cardamage.data.formats.conversion.convert import LOG_NAME, ConvertOptions, convert, read_class_list
from cardamage.data.formats.conversion.summary import described
from cardamage.data.formats.labelme import load_labelme
from cardamage.data.formats.registry import ReadOptions, WriteOptions
from cardamage.errors import DataError, TrainingError
from tests.support.labelme_files import SQUARE, shape, write_labelled_photo, write_labelme

KEEP = WriteOptions(pictures="keep")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for i in range(10):
        shapes = [shape(label=label) for label in ("scratch", "dent")[: 1 + i % 2]]
        write_labelled_photo(folder / (f"sub/{i}.json" if i % 2 else f"{i}.json"), *shapes, red=i * 20)
    return folder


def stamps(folder: Path) -> dict[Path, tuple[int, bytes]]:
    return {p: (p.stat().st_mtime_ns, p.read_bytes() if p.is_file() else b"") for p in folder.rglob("*")}


def coco_files(folder: Path) -> dict[str, dict[str, Any]]:
    return {p.stem: json.loads(p.read_text()) for p in sorted((folder / "annotations").iterdir())}


def labels(coco: dict[str, Any]) -> Counter[str]:
    names = {category["id"]: category["name"] for category in coco["categories"]}
    return Counter(names[annotation["category_id"]] for annotation in coco["annotations"])


def test_one_file_without_split(photos: Path, tmp_path: Path) -> None:
    done = convert([photos], tmp_path / "out", "coco", ConvertOptions(write=KEEP))
    assert done.read == {str(photos): ("labelme", 10)}
    assert (done.classes, done.images) == (["dent", "scratch"], {"all": 10})
    assert done.objects == {"all": Counter(dent=5, scratch=10)}
    (coco,) = coco_files(tmp_path / "out").values()
    assert coco["categories"] == [{"id": 1, "name": "dent"}, {"id": 2, "name": "scratch"}]
    assert [a["id"] for a in coco["annotations"]] == list(range(1, 16))
    assert {i["file_name"] for i in coco["images"]} == {
        f"sub/{i}.jpg" if i % 2 else f"{i}.jpg" for i in range(10)
    }
    assert done.written.dataset["all"] == f"coco:{tmp_path / 'out/annotations/all.json'}@{photos}"


def test_parts_read_back_as_what_was_annotated(photos: Path, tmp_path: Path) -> None:
    before = {d["file_name"]: d for d in load_labelme(photos)[0]}
    done = convert([photos], tmp_path / "out", "coco", ConvertOptions(split=(0.8, 0.2), seed=3, write=KEEP))
    assert done.images == {"train": 8, "val": 2}
    after = [d for path in done.written.files for d in read_coco(path, photos).dicts]
    assert len(after) == 10
    for record in after:
        assert record["annotations"] == before[record["file_name"]]["annotations"]
    assert sum(count.total() for count in done.objects.values()) == 15
    COCO(str(tmp_path / "out/annotations/val.json"))


def test_same_seed_same_bytes_and_the_source_is_left_alone(photos: Path, tmp_path: Path) -> None:
    before = stamps(photos)
    for name in ("one", "two"):
        convert([photos], tmp_path / name, "coco", ConvertOptions(split=(0.8, 0.2), seed=3))
    one, two = stamps(tmp_path / "one"), stamps(tmp_path / "two")
    assert {p.relative_to(tmp_path / "one"): data for p, (_, data) in one.items() if p.name != LOG_NAME} == {
        p.relative_to(tmp_path / "two"): data for p, (_, data) in two.items() if p.name != LOG_NAME
    }
    assert stamps(photos) == before


def test_embedded_pictures_are_written_out(photos: Path, tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("RGB", (60, 40), (9, 9, 9)).save(file, "PNG")
    text = base64.b64encode(file.getvalue()).decode()
    write_labelme(photos / "only.json", shape(), imageData=text)
    done = convert([photos], tmp_path / "out", "coco", ConvertOptions(write=KEEP))
    assert (tmp_path / "out/images/only.png").read_bytes() == file.getvalue()
    assert (tmp_path / "out/images/sub/3.jpg").read_bytes() == (photos / "sub/3.jpg").read_bytes()
    json_file, _, root = done.written.dataset["all"].removeprefix("coco:").partition("@")
    assert all(Path(d["file_name"]).is_file() for d in read_coco(json_file, root).dicts)


def test_every_case_is_in_the_log_and_the_first_ones_on_screen(photos: Path, tmp_path: Path) -> None:
    shapes = [shape(SQUARE[:2])] * 30 + [shape([[50, 5], [99, 5], [50, 30]])]
    write_labelme(photos / "0.json", *shapes)
    done = convert([photos], tmp_path / "out", "coco")
    log = (tmp_path / "out" / LOG_NAME).read_text()
    text = described(done, tmp_path / "out" / LOG_NAME)
    for index in range(30):
        sentence = f"{photos}/0.json, shape {index} ('dent'): dropped, its polygon has 2 points and needs 3."
        assert sentence in log
        assert (sentence in text) == (index < 20)
    assert (
        f"{photos}/0.json, shape 30 ('dent'): clipped, it reaches past the edge of the image by 39 px." in log
    )
    assert "30 dropped: its polygon has fewer than 3 points" in text
    assert "1 clipped: it reaches past the edge of the image" in text
    assert "... and 11 more." in text
    assert done.objects["all"]["dent"] == 6


def test_the_table_tells_counts_and_shares(photos: Path, tmp_path: Path) -> None:
    done = convert([photos], tmp_path / "out", "coco", ConvertOptions(split=(0.8, 0.2), seed=3))
    lines = [line.split() for line in described(done, Path("log")).splitlines()]
    assert ["class", "train", "val", "total"] in lines
    dents = done.objects["train"]["dent"]
    assert ["dent", str(dents), f"({dents / 5:.1%})", str(5 - dents), f"({1 - dents / 5:.1%})", "5"] in lines
    assert ["images", "8", "(80.0%)", "2", "(20.0%)", "10"] in lines


def test_crowds_are_not_counted_as_objects(photos: Path, tmp_path: Path) -> None:
    convert([photos], tmp_path / "coco", "coco", ConvertOptions(write=WriteOptions(pictures="copy")))
    (file,) = (tmp_path / "coco/annotations").iterdir()
    content = json.loads(file.read_text())
    dent = next(c["id"] for c in content["categories"] if c["name"] == "dent")
    for annotation in content["annotations"]:
        annotation["iscrowd"] = int(annotation["category_id"] == dent)
    file.write_text(json.dumps(content))
    for format, lost in (("yolo", True), ("coco", False), ("via", False)):
        done = convert([tmp_path / "coco"], tmp_path / "out" / format, format)
        assert done.objects["all" if "all" in done.objects else ""] == Counter(scratch=10)
        told = described(done, Path("log"))
        assert ("a region of uncounted objects (crowd), which YOLO has no place for" in told) is lost
        assert "a class without objects" not in told


def test_classes_that_differ_only_in_spelling_are_named(photos: Path, tmp_path: Path) -> None:
    shapes = [shape(label=label) for label in ("Dent", "front_door", "front door", "car")]
    write_labelme(photos / "0.json", *shapes)
    text = described(convert([photos], tmp_path / "out", "coco"), Path("log"))
    assert "'Dent' and 'dent' differ only in how they are written; --rename dent=Dent makes them one." in text
    assert "--rename 'front_door=front door' makes them one." in text
    assert text.count("differ only") == 2


def test_classes_are_renamed_united_and_swapped(photos: Path, tmp_path: Path) -> None:
    write_labelme(photos / "0.json", shape(label="a=b"))
    for number, (rules, expected) in enumerate(
        [
            (["dent=damage", "scratch=damage"], {"damage": 14, "a=b": 1}),
            (["dent=scratch", "scratch=dent"], {"scratch": 5, "dent": 9, "a=b": 1}),
            (["a=b=dent"], {"dent": 6, "scratch": 9}),
        ]
    ):
        done = convert([photos], tmp_path / str(number), "coco", ConvertOptions(rename=rules))
        (coco,) = coco_files(tmp_path / str(number)).values()
        assert labels(coco) == done.objects["all"] == expected
        assert [c["name"] for c in coco["categories"]] == done.classes


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (["dents=damage"], "--rename dents=damage: there is no class 'dents'; did you mean dent?"),
        (["wheel=damage"], "--rename wheel=damage: there is no class 'wheel'; there are dent, scratch."),
        (["dent"], "--rename takes OLD=NEW, such as dents=dent, not 'dent'."),
        (["dent="], "--rename takes OLD=NEW, such as dents=dent, not 'dent='."),
        (["dent=a", "dent=b"], "--rename gives 'dent' two new names, 'a' and 'b'; keep one."),
    ],
)
def test_renames_that_can_not_be(photos: Path, tmp_path: Path, rules: list[str], said: str) -> None:
    with pytest.raises(DataError) as caught:
        convert([photos], tmp_path / "out", "coco", ConvertOptions(rename=rules))
    assert str(caught.value) == said
    assert not (tmp_path / "out").exists()


def test_order_of_classes(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("__ignore__\nscratch\n\nwheel\n dent \n")
    classes = read_class_list(tmp_path / "classes.txt")
    assert classes == ["scratch", "wheel", "dent"]
    convert([photos], tmp_path / "out", "coco", ConvertOptions(classes=classes))
    (coco,) = coco_files(tmp_path / "out").values()
    assert [c["name"] for c in coco["categories"]] == classes
    assert labels(coco) == {"dent": 5, "scratch": 10}
    with pytest.raises(
        DataError, match=r"sub/1.json, shape 1 \('dent'\): the label is not among the classes"
    ):
        convert([photos], tmp_path / "other", "coco", ConvertOptions(classes=["scratch"]))
    with pytest.raises(DataError, match="The class 'dent' is named twice"):
        convert([photos], tmp_path / "other", "coco", ConvertOptions(classes=["dent", "scratch", "dent"]))


def test_classes_name_the_numbers_of_a_set_without_names(photos: Path, tmp_path: Path) -> None:
    convert([photos], tmp_path / "yolo", "yolo")
    (tmp_path / "yolo/data.yaml").unlink()
    with pytest.raises(DataError, match="has no names of classes"):
        convert([tmp_path / "yolo"], tmp_path / "out", "coco", ConvertOptions(source_format="yolo"))
    options = ConvertOptions(source_format="yolo", classes=["bump", "line"])
    done = convert([tmp_path / "yolo"], tmp_path / "out", "coco", options)
    assert done.objects == {"train": Counter(bump=5, line=10)}


def test_names_that_are_no_unicode(photos: Path, tmp_path: Path) -> None:
    strange = os.fsdecode(b"\xff")
    (photos / f"{strange}.jpg").write_bytes((photos / "0.jpg").read_bytes())
    write_labelme(photos / f"{strange}.json", shape(SQUARE[:2]))
    done = convert([photos], tmp_path / "out", "coco")
    assert "\\udcff.json, shape 0" in described(done, tmp_path / "log")
    assert "\\udcff.json, shape 0" in (tmp_path / "out" / LOG_NAME).read_text()
    assert done.images == {"all": 11}


def test_sets_are_merged_by_the_names_of_their_classes(photos: Path, tmp_path: Path) -> None:
    second = tmp_path / "second"
    second.mkdir()
    for i in (0, 2, 20):
        Image.new("RGB", (60, 40), (0, 200, i)).save(second / f"{i}.jpg")
    write_labelme(second / "0.json", shape(label="wheel"))
    write_labelme(second / "2.json", shape())
    write_labelme(second / "20.json")
    convert([second], tmp_path / "coco", "coco")
    sources = [photos, tmp_path / "coco"]
    with pytest.raises(DataError, match="^2 sources were named; add --merge to make one dataset of them"):
        convert(sources, tmp_path / "out", "coco")
    done = convert(sources, tmp_path / "out", "coco", ConvertOptions(merge=True))
    assert [kind for kind, _ in done.read.values()] == ["labelme", "coco"]
    assert done.classes == ["dent", "scratch", "wheel"]
    assert done.objects == {"all": Counter(dent=6, scratch=10, wheel=1)}
    (coco,) = coco_files(tmp_path / "out").values()
    assert labels(coco) == done.objects["all"]
    names = {image["id"]: image["file_name"] for image in coco["images"]}
    assert len(names) == len(set(names.values())) == 13
    originals = {"0_2.jpg": second / "0.jpg", "2_2.jpg": second / "2.jpg", "20.jpg": second / "20.jpg"}
    for name, original in originals.items():
        assert (tmp_path / "out/images" / name).read_bytes() == original.read_bytes()
    told = (tmp_path / "out" / LOG_NAME).read_text()
    assert "0.jpg: changed, it is 0_2.jpg now." in told
    wheel = next(a for a in coco["annotations"] if a["category_id"] == 3)
    assert names[wheel["image_id"]] == "0_2.jpg"


def test_parts_of_the_source_are_kept_unless_a_split_is_asked_for(photos: Path, tmp_path: Path) -> None:
    first = convert([photos], tmp_path / "one", "coco", ConvertOptions(split=(0.5, 0.3, 0.2)))
    kept = convert([tmp_path / "one"], tmp_path / "two", "coco")
    assert kept.images == first.images == {"train": 5, "val": 3, "test": 2}
    assert kept.objects == first.objects
    again = convert([tmp_path / "one"], tmp_path / "three", "coco", ConvertOptions(split=(0.9, 0.1)))
    assert again.images == {"train": 9, "val": 1}


def test_what_has_no_part_is_not_read_with_the_parts_of_others(photos: Path, tmp_path: Path) -> None:
    convert([photos], tmp_path / "parts", "coco", ConvertOptions(split=(0.6, 0.4)))
    sources = [tmp_path / "parts/annotations", photos]
    done = convert(sources, tmp_path / "out", "labelme", ConvertOptions(merge=True))
    assert done.images == {"train": 6, "val": 4, "all": 10}
    for part, count in done.images.items():
        dicts, _ = load_labelme(done.written.dataset[part].removeprefix("labelme:"))
        assert len(dicts) == count
    again = convert([tmp_path / "out"], tmp_path / "again", "coco")
    assert again.images == done.images


@pytest.mark.parametrize("format", ["yolo", "masks", "via", "labelme"])
def test_names_lose_the_folders_of_the_source_as_long_as_they_differ(
    format: str, photos: Path, tmp_path: Path
) -> None:
    split = ConvertOptions(split=(0.6, 0.4))
    convert([photos], tmp_path / "first", format, split)
    names = {f"sub/{i}.jpg" if i % 2 else f"{i}.jpg" for i in range(10)}
    convert([tmp_path / "first"], tmp_path / "coco", "coco")
    files = coco_files(tmp_path / "coco")
    assert {image["file_name"] for coco in files.values() for image in coco["images"]} == names
    convert([tmp_path / "first"], tmp_path / "labelme", "labelme")
    assert {str(p.relative_to(tmp_path / "labelme")) for p in (tmp_path / "labelme").rglob("*.jpg")} == {
        f"{part}/{image['file_name']}" for part, coco in files.items() for image in coco["images"]
    }


def test_two_pictures_of_one_name_in_two_splits_keep_the_splits_folder(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "valid")):
        for folder in ("images", "labels"):
            (tmp_path / "set" / split / folder).mkdir(parents=True)
        Image.new("RGB", (60, 40), (number * 99, 0, 0)).save(tmp_path / f"set/{split}/images/a.jpg")
        (tmp_path / f"set/{split}/labels/a.txt").write_text("0 0.1 0.1 0.5 0.1 0.5 0.5\n")
    text = "train: train/images\nval: valid/images\nnames: [dent]\n"
    (tmp_path / "set/data.yaml").write_text(text)
    done = convert([tmp_path / "set"], tmp_path / "out", "coco")
    files = coco_files(tmp_path / "out")
    assert {part: coco["images"][0]["file_name"] for part, coco in files.items()} == {
        "train": "train/a.jpg",
        "val": "valid/a.jpg",
    }
    assert not done.losses.findings


def test_copies_of_a_photo_stay_on_one_side(photos: Path, tmp_path: Path) -> None:
    for i in range(10):
        path = photos / (f"sub/{i}.jpg" if i % 2 else f"{i}.jpg")
        Image.effect_noise((60, 40), 40 + i).convert("RGB").save(path)
    for i in (2, 4, 6):
        (photos / f"{i}.jpg").write_bytes((photos / "0.jpg").read_bytes())
    for seed in range(3):
        options = ConvertOptions(split=(0.5, 0.5), seed=seed)
        done = convert([photos], tmp_path / str(seed), "coco", options)
        sides = {
            name: {Path(image["file_name"]).name for image in coco["images"]}
            for name, coco in coco_files(tmp_path / str(seed)).items()
        }
        assert any({"0.jpg", "2.jpg", "4.jpg", "6.jpg"} <= side for side in sides.values())
        assert "4 images show 1 photo more than once (copies, near-duplicates)" in described(
            done, Path("log")
        )


def test_a_split_that_leaves_a_part_empty_is_refused(photos: Path, tmp_path: Path) -> None:
    for path in photos.rglob("*.jpg"):
        path.write_bytes((photos / "0.jpg").read_bytes())
    with pytest.raises(DataError, match="^The split leaves no image for val: there are 10 images, of which"):
        convert([photos], tmp_path / "out", "coco", ConvertOptions(split=(0.8, 0.2)))
    assert not (tmp_path / "out").exists()


def test_targets_that_can_not_be(photos: Path, tmp_path: Path) -> None:
    before = stamps(photos)
    for inside in (photos, photos / "out", tmp_path / "photos/../photos/sub"):
        with pytest.raises(DataError, match="lies inside the source .* name a folder outside of it with -o"):
            convert([photos], inside, "coco")
    (tmp_path / "alias").symlink_to(photos)
    with pytest.raises(DataError, match="lies inside the source"):
        convert([photos], tmp_path / "alias/out", "coco")
    used = tmp_path / "used"
    used.mkdir()
    (used / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="used is not empty; empty it, or name another one with -o"):
        convert([photos], used, "coco")
    with pytest.raises(TrainingError, match="is, or lies under, a file"):
        convert([photos], used / "mine.txt", "coco")
    with pytest.raises(DataError, match="named twice"):
        convert([photos, tmp_path / "alias"], tmp_path / "out", "coco", ConvertOptions(merge=True))
    assert stamps(photos) == before
    assert (used / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("home", ["photos", "alias"])
def test_the_folder_of_a_file_and_its_pictures_is_no_target(home: str, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(photos)
    convert([photos], tmp_path / "coco", "coco", ConvertOptions(write=KEEP))
    file = photos / "set.json"
    (tmp_path / "coco/annotations/all.json").rename(file)
    before = stamps(photos)
    for inside in (tmp_path / home / "out", photos / "sub/out"):
        with pytest.raises(DataError, match=f"lies in {photos}, the folder of {file} and its pictures"):
            convert([file], inside, "yolo")
    assert stamps(photos) == before
    assert convert([file], tmp_path / "out", "yolo").images == {"all": 10}


def test_a_file_whose_pictures_are_elsewhere_has_no_folder(photos: Path, tmp_path: Path) -> None:
    convert([photos], tmp_path / "coco", "coco", ConvertOptions(write=KEEP))
    options = ConvertOptions(read=ReadOptions(image_root=photos))
    source = tmp_path / "coco/annotations/all.json"
    assert convert([source], tmp_path / "coco/annotations/yolo", "yolo", options).images == {"all": 10}


def test_an_error_while_writing_leaves_nothing(photos: Path, tmp_path: Path) -> None:
    # The name fits a file, and the one that the second picture gets doesn't.
    name = "n" * 251
    for folder in (photos, tmp_path / "second"):
        folder.mkdir(exist_ok=True)
        Image.new("RGB", (60, 40)).save(folder / f"{name}.jpg")
        write_labelme(folder / "n.json", shape(), imagePath=f"{name}.jpg")
    sources = [photos, tmp_path / "second"]
    for target in ("new", "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(TrainingError, match="can't be written"):
            convert(sources, tmp_path / target, "coco", ConvertOptions(merge=True))
    assert not (tmp_path / "new").exists()
    assert list((tmp_path / "empty").iterdir()) == []
    assert (photos / f"{name}.jpg").is_file()


def test_nothing_to_convert(tmp_path: Path) -> None:
    (tmp_path / "set.json").write_text('{"images": [], "categories": [{"id": 1, "name": "dent"}]}')
    with pytest.raises(DataError, match="There is no image in .*set.json, so there is nothing to convert"):
        convert([tmp_path / "set.json"], tmp_path / "out", "yolo")
    assert not (tmp_path / "out").exists()


def test_masks_are_no_name_of_a_dataset(photos: Path, tmp_path: Path) -> None:
    done = convert([photos], tmp_path / "out", "masks")
    assert described(done, Path("log")).endswith("convert them to coco to train on them.")


def test_a_format_that_is_none(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="The format 'cocoo' is unknown; did you mean coco"):
        convert([photos], tmp_path / "out", "cocoo")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("split", [(0.8,), (0.8, 0.0), (0.5, 0.2, 0.2, 0.1), (1.0, -1.0)])
def test_bad_shares(photos: Path, tmp_path: Path, split: tuple[float, ...]) -> None:
    with pytest.raises(DataError) as caught:
        convert([photos], tmp_path / "out", "coco", ConvertOptions(split=split))
    said = " ".join(f"{share:g}" for share in split)
    assert str(caught.value) == (
        f"A split needs two or three shares above 0, such as 0.8 0.2, but {said} was given."
    )
    assert not (tmp_path / "out").exists()


def test_missing_pictures_stop_it_before_anything_is_written(photos: Path, tmp_path: Path) -> None:
    (photos / "2.jpg").unlink()
    with pytest.raises(DataError, match=f"^1 of 10 images does not exist: {photos}/2.jpg; put them there"):
        convert([photos], tmp_path / "out", "coco")
    assert not (tmp_path / "out").exists()
