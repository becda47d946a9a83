"""Label photos ahead with a model: Labelme files to correct, beside the photos.

Example:
    python tools/prelabel.py --config-file output/mine/config.yaml --weights output/mine/model_best.pth \
        --images photos/
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from cardamage.engine.arguments import add_overrides, trained_model_parser
from cardamage.utils import cli
from cardamage.utils.files import ensure_writable_dir
from cardamage.utils.logger import setup_logger


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = trained_model_parser(
        __doc__.split("\n")[0],
        "Files that were changed since they were written, in Labelme or elsewhere, are left alone.",
    )
    add = parser.add_argument
    add("--images", required=True, type=Path, metavar="DIR", help="folder of the photos")
    add(
        "--output", type=Path, metavar="DIR", help="folder for the Labelme files (default: beside each photo)"
    )
    add("--threshold", type=float, default=0.5, help="lowest score labelled, 0 to 1 (default: 0.5)")
    add("--tolerance", type=float, default=1.0, metavar="PX", help="of outlines, in pixels (default: 1)")
    add(
        "--speck", type=int, default=16, metavar="PX", help="parts and holes so small go (default: 16 pixels)"
    )
    add("--batch-size", type=int, default=4, metavar="N", help="photos at a time (default: 4)")
    add("--device", metavar="NAME", help="cuda or cpu (default: as the config says)")
    add_overrides(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the files and print what was done.

    Raises:
        ConfigValueError: a value is out of its range.
        DataError: there is no photo in the folder.
    """
    args = parse_args(argv)
    # After the arguments are known to be good: the model takes seconds to import.
    from cardamage.annotation.photos import find_photos
    from cardamage.annotation.prelabel import PrelabelSettings, prelabel_files
    from cardamage.engine.trained_model import load_predictor

    settings = PrelabelSettings(
        threshold=args.threshold,
        tolerance=args.tolerance,
        speck=args.speck,
        batch_size=args.batch_size,
        model=Path(args.weights).name,
        output=args.output,
    )
    photos = find_photos(args.images)
    ensure_writable_dir(args.output or args.images, "--output")
    setup_logger()
    predictor = load_predictor(
        args.config_file,
        args.weights,
        args.opts,
        device=args.device,
        threshold=args.threshold,
        masks=True,
    )
    report = prelabel_files(predictor, photos, args.images, settings, predictor.metadata)
    print(report.summary())
    return 0


if __name__ == "__main__":
    cli.run(main)
