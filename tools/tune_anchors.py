"""Fit a config's anchors to its training boxes, and tell how many boxes anchors can find at best.

Examples:
    python tools/tune_anchors.py --config-file configs/damage/mask_rcnn_R_50_FPN.yaml -o output/anchors.yaml
    python tools/tune_anchors.py --dataset labelme:/photos/train -o output/anchors.yaml
    python tools/tune_anchors.py --config-file output/anchors.yaml --dataset carparts_test --report-only
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cardamage.errors import ConfigValueError
from cardamage.utils import cli

if TYPE_CHECKING:
    from cardamage.config import CfgNode

_DEFAULT = Path(__file__).resolve().parents[1] / "configs" / "Base-RCNN-FPN.yaml"


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Any config key can be set at the end: KEY VALUE ... or --opts KEY VALUE ...",
    )
    add = parser.add_argument
    add("--config-file", metavar="YAML", help="its anchors, sizes and data count (default: an FPN's)")
    add("--dataset", metavar="NAME", help="a registered or ad-hoc name (default: DATASETS.TRAIN)")
    add(
        "-o",
        "--output",
        type=Path,
        default=Path("output/anchors.yaml"),
        metavar="YAML",
        help="config to write",
    )
    add("--report-only", action="store_true", help="tell of the config's anchors; tune and write nothing")
    add("--share", default="ratios", metavar="WHAT", help="by feature maps: ratios (default), nothing or all")
    add("--sizes", type=int, default=0, metavar="N", help="of a feature map (default: as the config)")
    add("--ratios", type=int, default=0, metavar="N", help="aspect ratios of a size (default: as the config)")
    add("--starts", type=int, default=8, metavar="N", help="of the clustering (default: 8)")
    add("--generations", type=int, default=600, metavar="N", help="of the evolution (default: 600)")
    add("--seed", type=int, default=0, help="the same seed gives the same anchors (default: 0)")
    add("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config overrides")
    add("overrides", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="the same")
    return parser.parse_args(argv)


def setup(args: argparse.Namespace) -> tuple[CfgNode, list[str]]:
    """Return the config, and the keys that were set beside its file.

    Raises:
        ConfigError: a key or value is wrong, or no dataset is named.
    """
    from cardamage.config import get_cfg, validate_cfg
    from cardamage.engine.scope import check_scope

    cfg = get_cfg()
    cfg.merge_from_file(args.config_file or _DEFAULT)
    if not args.config_file:
        cfg.DATASETS.TRAIN = ()
    given = [*args.opts, *args.overrides]
    cfg.merge_from_list(given)
    keys = given[::2]
    if args.dataset:
        cfg.DATASETS.TRAIN = (args.dataset,)
        keys.append("DATASETS.TRAIN")
    if not cfg.DATASETS.TRAIN:
        raise ConfigValueError("No dataset is named; give --dataset NAME, or set DATASETS.TRAIN.")
    validate_cfg(cfg)
    check_scope(cfg)
    cfg.freeze()
    return cfg, keys


def main(argv: Sequence[str] | None = None) -> int:
    """Tune, write the config and the plot, and print the table.

    Raises:
        CardamageError: for input that can't be used.
    """
    args = parse_args(argv)
    if args.output.suffix not in (".yaml", ".yml"):
        raise ConfigValueError(f"--output is {str(args.output)!r}; it must be a .yaml file.")
    # After the arguments are known to be good: these take seconds to import.
    from cardamage.anchors import TuningSettings, coverage_table, legend, read_task, tune_anchors
    from cardamage.anchors.files import anchor_config, write_config
    from cardamage.anchors.plot import plot_tuning
    from cardamage.utils.logger import setup_logger

    settings = TuningSettings(args.share, args.sizes, args.ratios, args.starts, args.generations, args.seed)
    setup_logger()
    cfg, keys = setup(args)
    task = read_task(cfg)
    grids, found = {"today": task.grid}, {"today": task.coverage(task.grid)}
    if not args.report_only:
        tuned = tune_anchors(cfg, task, settings)
        grids["tuned"], found["tuned"] = tuned.grid, task.coverage(tuned.grid)
        tree = anchor_config(cfg, keys, tuned)
        write_config(args.output, args.config_file or str(_DEFAULT), tree, task, *found.values())
        plot_tuning(args.output.with_suffix(".png"), task, grids, found)
    print(f"{coverage_table(found)}\n\n{legend(task.background)}")
    if not args.report_only:
        print(f"\nConfig: {args.output}\nPlot: {args.output.with_suffix('.png')}")
    return 0


if __name__ == "__main__":
    cli.run(main)
