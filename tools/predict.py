"""Find damage in photos or videos: overlays to look at, and predictions.json.

Example:
    python tools/predict.py --config-file configs/demo/mask_rcnn_R_18_FPN.yaml \
        --weights output/demo/model_final.pth --input photos/ --output predictions/
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from cardamage.engine.prediction_inputs import find_inputs
from cardamage.errors import ConfigValueError
from cardamage.utils import cli
from cardamage.utils.files import ensure_writable_dir
from cardamage.utils.logger import setup_logger


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0],
        epilog="Any config key can be set at the end: --opts KEY VALUE ...",
    )
    add = parser.add_argument
    add("--config-file", required=True, metavar="YAML", help="the config the model was trained with")
    add("--weights", required=True, metavar="PTH", help="the trained model")
    add("--input", required=True, nargs="+", metavar="PATH", help="photos, videos, folders or globs")
    add("--output", required=True, metavar="DIR", help="folder for overlays and predictions.json")
    add("--threshold", type=float, default=0.5, help="lowest score shown, 0 to 1 (default: 0.5)")
    add("--batch-size", type=int, default=4, metavar="N", help="photos at a time (default: 4)")
    add("--exact", action="store_true", help="compute as Detectron2 does, with every faster way off")
    add("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config overrides")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Predict and print what was written.

    Raises:
        ConfigValueError: the threshold or batch size is out of range.
    """
    args = parse_args(argv)
    if not 0 <= args.threshold <= 1:
        raise ConfigValueError(f"--threshold is a score from 0 to 1, not {args.threshold:g}.")
    if args.batch_size < 1:
        raise ConfigValueError(f"--batch-size must be 1 or more, not {args.batch_size}.")
    files = find_inputs(args.input, skip=Path(args.output))
    ensure_writable_dir(args.output, "--output")
    # After the arguments are known to be good: these take seconds to import.
    from cardamage.config import get_cfg, make_exact, validate_cfg
    from cardamage.engine import DefaultPredictor
    from cardamage.engine.prediction import predict_files

    setup_logger()
    cfg = get_cfg()
    cfg.merge_from_file(args.config_file)
    if args.exact:
        make_exact(cfg)
    cfg.merge_from_list(args.opts)
    cfg.MODEL.WEIGHTS = args.weights
    cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = args.threshold
    validate_cfg(cfg)
    predictor = DefaultPredictor(cfg)
    # Large photos would need gigabytes for full-size masks.
    setattr(predictor.model, "mask_output", "rle")  # noqa: B010 (to the type checker, a submodule)
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
