"""What does each part do to the accuracy? Every row of a list trained, or only tested, the same way.

A row is a name and config keys. The first is the base: it is trained with several seeds, whose spread is the
noise. Every other row has the base's keys and its own. With ``test: true`` it evaluates the base's weights of
the first seed; else it is trained with the base's schedule and first seed. The table is printed and written
to ``table.md``.

Example: ``python docs/experiments/ablate.py --output output/ablations`` on 600 pictures that it draws, or
``DETECTRON2_DATASETS=/data python docs/experiments/ablate.py --on parts --steps 800 --output output/parts``,
on a held-out fifth of the training photos.

A run that was stopped goes on where it was: what has figures is not run again.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import yaml
from experiment_runs import data_root, last_figures, run

CONFIGS = {
    "demo": "configs/demo/mask_rcnn_R_18_FPN.yaml",
    "parts": "configs/parts/mask_rcnn_R_18_FPN.yaml",
}
COLUMNS = ("segm/AP", "segm/AP50", "segm/AP75", "bbox/AP")


class Row(NamedTuple):
    """A line of the table.

    Attributes:
        part: what it is about.
        name: what it is called; also its folder.
        opts: config keys and values.
        test: whether the base's weights are only evaluated.
    """

    part: str
    name: str
    opts: list[str]
    test: bool


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of models and figures")
    parser.add_argument("--list", type=Path, default=Path(__file__).with_name("ablations.yaml"))
    parser.add_argument("--on", choices=CONFIGS, default="demo", help="drawn cars, or car parts' photos")
    parser.add_argument("--config-file", help="another than the small one of the set")
    parser.add_argument("--steps", type=int, default=450, help="of every training (default: 450)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 8, 9], help="of the base")
    parser.add_argument("--rows", nargs="+", help="run these only (default: all); the table has all")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], help="keys and values of every row")
    args = parser.parse_args(argv)
    args.output = args.output.resolve()
    args.config_file = args.config_file or CONFIGS[args.on]
    return args


def main() -> None:
    """Run what is missing and write the table."""
    args = parse_args()
    args.opts = [*datasets_of(args.on, args.output / "data"), *args.opts]
    rows = read_rows(args.list)
    chosen = rows if args.rows is None else [row for row in rows if row.name in args.rows]
    base = rows[0]
    for row in chosen:
        for seed in args.seeds if row is base else args.seeds[:1]:
            figures_of(args, base, row, seed, run_it=True)
    table = as_table(args, rows)
    (args.output / "table.md").write_text(table)
    print(table)


def datasets_of(source: str, folder: Path) -> list[str]:
    """Make the sets to train and to test on, unless they are there; returns the keys for them.

    Of drawn cars they are 480 and 120 pictures. Car parts' 400 training photos are divided, 320 and 80: what
    is chosen by these figures is not chosen on the test photos.
    """
    images, annotations = folder / "images", folder / "annotations"
    split = ["--output", folder, "--split", 0.8, 0.2]
    if source == "parts":
        photos = data_root() / "carparts/trainingset"
        images = photos
        if not annotations.exists():
            run("tools/convert.py", photos, "--to", "coco", "--pictures", "keep", *split)
    elif not annotations.exists():
        run("datasets/make_demo.py", "--output", images, "--num", 600, "--seed", 1)
        run("tools/labelme2coco.py", images, *split)
    sets = {"TRAIN": "train", "TEST": "val"}
    found = [(key, f"('coco:{annotations}/{name}.json@{images}',)") for key, name in sets.items()]
    return [word for key, value in found for word in (f"DATASETS.{key}", value)]


def read_rows(path: Path) -> list[Row]:
    """Read the list: parts, each with rows of a name, keys and values, and whether it is only tested."""
    content = yaml.safe_load(path.read_text())
    return [
        Row(part, row["name"], shlex.split(row.get("opts", "")), row.get("test", False))
        for part, found in content.items()
        for row in found
    ]


def figures_of(
    args: argparse.Namespace, base: Row, row: Row, seed: int, run_it: bool = False
) -> dict[str, float]:
    """Return a row's figures; empty where there are none and it isn't to be run."""
    output = folder_of(args, row, seed)
    kept = output / "figures.json"
    if not kept.exists() and run_it:
        train_or_test(args, base, row, seed, output)
        kept.write_text(json.dumps(last_figures(output), indent=1))
    return dict(json.loads(kept.read_text())) if kept.exists() else {}


def train_or_test(args: argparse.Namespace, base: Row, row: Row, seed: int, output: Path) -> None:
    """Run ``train_net.py`` for a row."""
    schedule = ["SOLVER.MAX_ITER", args.steps, "SOLVER.WARMUP_ITERS", min(100, args.steps // 4)]
    common = ["--config-file", args.config_file]
    own = [] if row is base else row.opts
    keys = [*args.opts, *base.opts, *own, "SEED", seed, "TEST.EVAL_PERIOD", 0, "OUTPUT_DIR", output]
    if row.test:
        weights = folder_of(args, base, seed) / "model_final.pth"
        run("train_net.py", *common, "--eval-only", *keys, "MODEL.WEIGHTS", weights)
        return
    resume = ["--resume"] if (output / "last_checkpoint").exists() else []
    run("train_net.py", *common, *resume, *schedule, *keys)


def folder_of(args: argparse.Namespace, row: Row, seed: int) -> Path:
    """Return where a row's run writes to."""
    name = "".join(letter if letter.isalnum() else "_" for letter in f"{row.part} {row.name}")
    folder: Path = args.output / f"{name}-{seed}"
    return folder


def as_table(args: argparse.Namespace, rows: Sequence[Row]) -> str:
    """Return the table as Markdown, with the difference of each row to the base of its seed."""
    base = rows[0]
    found = [figures_of(args, base, base, seed) for seed in args.seeds]
    scores = [figures["segm/AP"] for figures in found if figures]
    lines = [
        "| part | | segm AP | against the base | AP50 | AP75 | box AP | keys |",
        "|---|---|" + "--:|" * 5 + "---|",
    ]
    for row in rows:
        figures = figures_of(args, base, row, args.seeds[0])
        if figures:
            gain = "" if row is base else f"{figures['segm/AP'] - scores[0]:+.2f}"
            values = [f"{figures[name]:.2f}" for name in COLUMNS]
            cells = [row.part, row.name, values[0], gain, *values[1:], _keys(row)]
            lines.append("| " + " | ".join(cells) + " |")
    if len(scores) > 1:
        lines += [
            "",
            f"The base with {len(scores)} seeds: segm AP {', '.join(f'{s:.2f}' for s in scores)}; mean "
            f"{statistics.mean(scores):.2f}, standard deviation {statistics.stdev(scores):.2f}.",
        ]
    return "\n".join(lines) + "\n"


def _keys(row: Row) -> str:
    text = f"`{shlex.join(row.opts)}`" if row.opts else ""
    return f"{text} (test only)" if row.test else text


if __name__ == "__main__":
    main()
