"""Order unlabelled photos by what labelling them would teach a model.

Example:
    python tools/rank_unlabelled.py --config-file output/mine/config.yaml \
        --weights output/mine/model_best.pth --images photos/ -o output/ranking --count 100
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
        "Photos with a Labelme file that a person has made or changed count as labelled.",
    )
    add = parser.add_argument
    add("--images", required=True, type=Path, metavar="DIR", help="folder of the photos")
    add("--labelled", type=Path, metavar="DIR", help="a folder of photos labelled already, such as train's")
    add("-o", "--output", required=True, type=Path, metavar="DIR", help="folder for the ranking")
    add("--count", type=int, default=100, metavar="N", help="photos to choose (default: 100)")
    add("--by", default="both", metavar="WAY", help="uncertainty, diversity or both (default)")
    add("--seed", type=int, default=0, help="decides between equal photos (default: 0)")
    add("--threshold", type=float, default=0.5, help="lowest score drawn on the page (default: 0.5)")
    add("--device", metavar="NAME", help="cuda or cpu (default: as the config says)")
    add_overrides(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the ranking and print where it is.

    Raises:
        ConfigValueError: a value is out of its range.
        DataError: there is no photo in a folder, none to label, or none that can be read.
    """
    args = parse_args(argv)
    # After the arguments are known to be good: the model takes seconds to import.
    from cardamage.annotation.ordering import RankingSettings
    from cardamage.annotation.photos import find_photos
    from cardamage.annotation.rank import rank_photos
    from cardamage.engine.trained_model import load_predictor

    settings = RankingSettings(args.by, args.count, args.seed)
    photos = find_photos(args.images)
    others = find_photos(args.labelled) if args.labelled is not None else []
    ensure_writable_dir(args.output, "--output")
    setup_logger()
    # The ranking compares two views of its own: merged ones would always agree.
    options = [*args.opts, "TEST.AUG.ENABLED", "False"]
    predictor = load_predictor(args.config_file, args.weights, options, device=args.device)
    report = rank_photos(predictor, photos, others, args.output, settings, args.threshold)
    print(report.summary())
    return 0


if __name__ == "__main__":
    cli.run(main)
