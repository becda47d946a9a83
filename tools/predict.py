"""Find damage in photos or videos: overlays to look at, and predictions.json.

Example:
    python tools/predict.py --config-file output/demo/config.yaml \
        --weights output/demo/model_final.pth --input photos/ --output predictions/
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from cardamage.engine.arguments import add_overrides, check_prediction_limits, trained_model_parser
from cardamage.engine.prediction_inputs import find_inputs
from cardamage.utils import cli
from cardamage.utils.files import ensure_writable_dir
from cardamage.utils.logger import setup_logger


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = trained_model_parser(__doc__.split("\n")[0])
    add = parser.add_argument
    add("--input", required=True, nargs="+", metavar="PATH", help="photos, videos, folders or globs")
    add("--output", required=True, metavar="DIR", help="folder for overlays and predictions.json")
    add("--threshold", type=float, default=0.5, help="lowest score shown, 0 to 1 (default: 0.5)")
    add("--batch-size", type=int, default=4, metavar="N", help="photos at a time (default: 4)")
    add("--exact", action="store_true", help="compute as Detectron2 does, with every faster way off")
    add_overrides(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Predict and print what was written.

    Raises:
        ConfigValueError: the threshold or batch size is out of range.
    """
    args = parse_args(argv)
    check_prediction_limits(args.threshold, args.batch_size)
    files = find_inputs(args.input, skip=Path(args.output))
    ensure_writable_dir(args.output, "--output")
    # After the arguments are known to be good: these take seconds to import.
    from cardamage.engine.prediction import predict_files
    from cardamage.engine.trained_model import load_predictor

    setup_logger()
    predictor = load_predictor(
        args.config_file, args.weights, args.opts, threshold=args.threshold, exact=args.exact
    )
    limits = {"threshold": args.threshold, "batch_size": args.batch_size}
    report = predict_files(predictor, files, args.output, predictor.metadata, **limits)
    print(
        f"Found {report.objects} objects in {report.images} photos and {report.frames} video frames; "
        f"see {report.output} and predictions.json in it."
    )
    if report.failed:
        print(f"{len(report.failed)} of {len(files)} files couldn't be read:")
        print("\n".join(f"  {sentence}" for sentence in report.failed.values()))
    return 0


if __name__ == "__main__":
    cli.run(main)
