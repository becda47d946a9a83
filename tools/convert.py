"""Convert annotations from one format into another: Labelme, COCO, VIA, YOLO, mask pictures.

Example: ``python tools/convert.py photos --to coco -o coco --split 0.8 0.1 0.1 --rename dents=dent``
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from cardamage.data.formats.conversion.arguments import add_conversion_flags
from cardamage.data.formats.conversion.convert import LOG_NAME, ConvertOptions, convert, read_class_list
from cardamage.data.formats.conversion.options import cache_folder
from cardamage.data.formats.conversion.summary import described
from cardamage.data.formats.pictures.placing import WAYS
from cardamage.data.formats.registry import FORMATS, ReadOptions, WriteOptions
from cardamage.utils.cli import run


def main(argv: Sequence[str] | None = None) -> None:
    """Run the conversion and print what was read, what was not as it should be, and what was written.

    Args:
        argv: arguments; those of the command line by default.

    Raises:
        CardamageError: for input that can't be used.
    """
    args = _parser().parse_args(argv)
    options = ConvertOptions(
        source_format=args.source_format,
        split=args.split,
        seed=args.seed,
        rename=args.rename,
        merge=args.merge,
        classes=read_class_list(args.classes) if args.classes else None,
        read=ReadOptions(
            image_root=args.images,
            line_width=args.line_width,
            workers=args.workers,
            cache=None if args.no_cache else cache_folder(),
            skip_unreviewed=args.skip_unreviewed,
        ),
        write=WriteOptions(pictures=args.pictures, tolerance=args.tolerance, masks=args.masks),
    )
    done = convert(args.source, args.output, args.to, options)
    print(described(done, args.output / LOG_NAME))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    known = ", ".join(FORMATS)
    add("source", nargs="+", help="files or folders of annotations; never written to")
    add("--from", dest="source_format", metavar="FORMAT", help=f"{known} (default: recognized)")
    add("--to", required=True, metavar="FORMAT", help=known)
    add("-o", "--output", type=Path, required=True, help="folder of the result, new or empty")
    add("--images", metavar="DIR", help="folder of the source's pictures (default: the usual places)")
    add_conversion_flags(parser)
    add("--rename", nargs="+", default=(), metavar="OLD=NEW", help="classes; several may get one name")
    add("--merge", action="store_true", help="make one dataset of several sources")
    add("--classes", type=Path, metavar="FILE", help="text file with one class a line, in their order")
    add("--pictures", choices=WAYS, default="copy", help="copy, link to, or keep them where they are")
    add("--tolerance", type=float, default=0.0, metavar="PX", help="up to which mask outlines are simplified")
    add(
        "--masks",
        choices=["instance", "index"],
        default="instance",
        help="mask pictures: one for each object, or one for each photo (default: instance)",
    )
    return parser


if __name__ == "__main__":
    run(main)
