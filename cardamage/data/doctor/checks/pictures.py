"""Picture files that are not what they should be."""

from __future__ import annotations

from collections.abc import Iterator

from ..looks import Look
from ..model import Hit, Subject
from ..registry import check, noted

# Share of a picture's height; less may be a border.
_BLANK = 0.05


def looked(subject: Subject) -> Iterator[tuple[str, Look, str]]:
    """Each picture file once, with what it is and the annotation file that names it."""
    named = {picture.source: picture.file for picture in subject.pictures if picture.source}
    for source in [*named, *(path for path in subject.loose if path not in named)]:
        yield source, subject.look(source), named.get(source, "")


def troubled(subject: Subject, trouble: str) -> Iterator[Hit]:
    """Pictures with a trouble."""
    for source, look, named in looked(subject):
        if look.trouble == trouble:
            yield Hit(source, None, look.text, (named,) if named and named != source else ())


@check("D101", "error", "picture that is missing", "Put it there, or correct its path.", "left out")
def missing(subject: Subject) -> Iterator[Hit]:
    """Pictures that annotations or lists name and that do not exist."""
    yield from troubled(subject, "missing")
    for part in subject.parts:
        yield from part.notes.get("D101", ())


@check("D102", "error", "picture that is empty or cut short", "Copy it again.", "left out")
def cut(subject: Subject) -> Iterator[Hit]:
    """Pictures whose end is missing."""
    return troubled(subject, "cut")


@check(
    "D103",
    "error",
    "Git LFS pointer in place of a picture",
    "Run 'git lfs pull' where it was cloned.",
    "left out",
)
def pointer(subject: Subject) -> Iterator[Hit]:
    """Texts that say where Git LFS keeps a picture."""
    return troubled(subject, "pointer")


@check("D104", "error", "file that is no picture", "Put the picture in its place.", "left out")
def other(subject: Subject) -> Iterator[Hit]:
    """Texts, web pages and folders with the name of a picture."""
    return troubled(subject, "other")


@check(
    "D105",
    "error",
    "picture that can't be decoded",
    "Save it again as JPEG or PNG from where it can be opened.",
    "left out",
)
def undecodable(subject: Subject) -> Iterator[Hit]:
    """Damaged pictures, and formats that can't be read."""
    return troubled(subject, "undecodable")


@check(
    "D106",
    "warning",
    "picture of another type than its name says",
    "Rename it, or save it as what its name says.",
    "renamed",
)
def wrong_suffix(subject: Subject) -> Iterator[Hit]:
    """WebP or PNG files called .jpg."""
    for source, look, _ in looked(subject):
        if look.suffix and not look.trouble:
            yield Hit(source, None, f"is a {look.kind} file")


@check(
    "D111",
    "warning",
    "picture with an EXIF rotation",
    "Save it upright: tools that ignore the tag show it turned.",
    "saved upright without the tag",
)
def rotated(subject: Subject) -> Iterator[Hit]:
    """Pictures whose pixels are stored turned or mirrored."""
    for source, look, _ in looked(subject):
        if look.orientation != 1 and not look.trouble:
            yield Hit(source, None, f"EXIF orientation {look.orientation}")


@check(
    "D112",
    "error",
    "picture of another size than its annotation says",
    "Annotate this very picture, or put the annotated one in its place.",
    "size set where only the sides are swapped, tag taken out where only EXIF turned it",
)
def other_size(subject: Subject) -> Iterator[Hit]:
    """Pictures that were scaled, cropped or turned after they were annotated."""
    told: set[tuple[str, tuple[int, int] | None]] = set()
    for picture in subject.pictures:
        look = subject.look(picture.source)
        if (picture.source, picture.size) in told:
            continue
        told.add((picture.source, picture.size))
        if picture.size is None or look.upright is None or picture.size == look.upright:
            continue
        height, width = look.upright
        text = f"is {width}x{height}, its annotation says {picture.size[1]}x{picture.size[0]}"
        if picture.size == (width, height):
            turned = "annotated before EXIF turned it" if look.orientation >= 5 else "sides swapped"
            turned += ", which its outlines fit" if picture.swapped and picture.shapes else ""
            turned = (
                "turned by 90 degrees since it was annotated, as its outlines show"
                if picture.turned
                else turned
            )
            text = f"{text} ({turned})"
        yield Hit(picture.source, None, text, (picture.file,) if picture.file != picture.source else ())


noted(
    "D114",
    "error",
    "picture whose annotation states no size",
    "Add height and width; readers need them.",
    "set from the picture",
)
noted(
    "D115",
    "error",
    "picture that is named nowhere or outside its folder",
    "Correct its name.",
)
noted(
    "D116",
    "note",
    "picture that 'file_name' doesn't lead to",
    "Tools that know 'file_name' only won't find it; the readers here do.",
)
noted(
    "D120",
    "error",
    "picture that is elsewhere than its annotation says",
    "Correct the name or path in the annotation: readers look there only.",
    "path corrected",
)
noted(
    "D121",
    "warning",
    "imagePath that names another picture than the one of the file's name",
    "Look which one was annotated, and rename the other or correct the path.",
)
noted(
    "D117",
    "note",
    "imagePath that leads to no file",
    "Harmless where the picture is embedded or beside the file; Labelme needs one of them.",
    "set to the picture where there is one",
)


@check(
    "D122",
    "warning",
    "picture whose lower part is of one grey, as if its end were lost",
    "Look at it, and copy it again.",
)
def blank_end(subject: Subject) -> Iterator[Hit]:
    """JPEGs that were saved again after their end was lost: decoders fill what is missing with grey."""
    for source, look, _ in looked(subject):
        if look.blank_end >= _BLANK and not look.damage:
            yield Hit(source, None, f"the lower {look.blank_end:.0%}")


@check(
    "D123",
    "warning",
    "JPEG whose data is damaged",
    "Copy it again: what is behind the damage is shifted, of wrong colors or grey.",
)
def damaged(subject: Subject) -> Iterator[Hit]:
    """JPEGs with a beginning and an end that the decoder warns of, and shows all the same."""
    for source, look, named in looked(subject):
        if look.damage:
            grey = f"; the lower {look.blank_end:.0%} is of one grey" if look.blank_end >= _BLANK else ""
            yield Hit(source, None, look.damage + grey, (named,) if named and named != source else ())


@check(
    "D118",
    "note",
    "picture that is not plain RGB",
    "Nothing needs to be done: it is read as RGB.",
)
def not_rgb(subject: Subject) -> Iterator[Hit]:
    """Grey, palette, transparent and CMYK pictures."""
    for source, look, _ in looked(subject):
        if look.mode not in ("RGB", "") and not look.trouble:
            yield Hit(source, None, look.mode)


@check(
    "D124",
    "warning",
    "picture of one color",
    "Look at it: nothing can be seen there.",
)
def empty_picture(subject: Subject) -> Iterator[Hit]:
    """Black frames, and pictures of one pixel that web pages have."""
    for source, look, _ in looked(subject):
        if look.flat:
            size = f"{look.upright[1]}x{look.upright[0]}" if look.upright else ""
            yield Hit(source, None, size)
