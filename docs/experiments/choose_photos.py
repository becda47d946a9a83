"""Does choosing photos by rank beat choosing them at random? Measured on car parts.

For each seed: a first model is trained from random weights on 100 of the 400 photos, drawn at random. It
ranks the other 300. Two trainings then go on from it, with the same steps, on 200 photos each: the first 100
with the 100 ranked highest, and with 100 drawn at random. All are evaluated on the 100 test photos.

Example: ``DETECTRON2_DATASETS=/data python docs/experiments/choose_photos.py --output output/choosing``

A run that was stopped goes on where it was: a model that is there is not trained again.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiment_runs import data_root, last_figures, run

CONFIG = "configs/parts/mask_rcnn_R_18_FPN.yaml"


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of models, choices and figures")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=800, help="of the first training (default: 800)")
    parser.add_argument("--further", type=int, default=400, help="steps of the other two (default: 400)")
    parser.add_argument("--first", type=int, default=100, help="photos of the first model (default: 100)")
    parser.add_argument("--count", type=int, default=100, help="photos to choose (default: 100)")
    parser.add_argument("--by", default="both", help="how to rank (default: both)")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], help="config keys and values")
    args = parser.parse_args(argv)
    args.output = args.output.resolve()
    return args


def main() -> None:
    """Run what is missing and print the table."""
    args = parse_args()
    data = data_root()
    rows = []
    for seed in args.seeds:
        rows.append(one_seed(args, data / "carparts/trainingset", seed))
        print(json.dumps(rows[-1]), flush=True)
        (args.output / "results.json").write_text(json.dumps(rows, indent=1))
    gains = [row["ranked"] - row["random"] for row in rows]
    spread = f" (standard deviation {statistics.stdev(gains):.2f})" if len(gains) > 1 else ""
    print(f"segm AP, ranked less random: {statistics.mean(gains):+.2f}{spread} over {len(gains)} seeds.")


def one_seed(args: argparse.Namespace, source: Path, seed: int) -> dict[str, Any]:
    """Train the three models of a seed; returns their mask AP."""
    folder = args.output / f"seed{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    content = json.loads((source / "annotations.json").read_text())
    images = sorted(content["images"], key=lambda image: image["id"])
    random.Random(seed).shuffle(images)
    first, pool = images[: args.first], images[args.first :]
    options = [*args.opts, "SEED", str(seed)]
    found = {"seed": seed, "steps": args.steps, "further": args.further, "by": args.by}
    file = subset(folder / "first.json", content, first)
    found["first"] = train(folder / "first", file, source, args.steps, options)
    ranked = choose(args, folder, source, first, pool, seed)
    drawn = random.Random(1000 + seed).sample(pool, args.count)
    found["shared"] = len({image["id"] for image in ranked} & {image["id"] for image in drawn})
    for name, chosen in (("ranked", ranked), ("random", drawn)):
        file = subset(folder / f"{name}.json", content, [*first, *chosen])
        goes_on = ["MODEL.WEIGHTS", str(folder / "first/model_final.pth")]
        found[name] = train(folder / name, file, source, args.further, [*options, *goes_on])
        ids = {image["id"] for image in chosen}
        found[f"{name}_objects"] = sum(a["image_id"] in ids for a in content["annotations"])
    return found


def subset(path: Path, content: dict[str, Any], images: list[dict[str, Any]]) -> Path:
    """Write a COCO file of some of the images."""
    ids = {image["id"] for image in images}
    kept = [annotation for annotation in content["annotations"] if annotation["image_id"] in ids]
    path.write_text(json.dumps({**content, "images": images, "annotations": kept}))
    return path


def choose(
    args: argparse.Namespace,
    folder: Path,
    source: Path,
    first: list[dict[str, Any]],
    pool: list[dict[str, Any]],
    seed: int,
) -> list[dict[str, Any]]:
    """Let the first model rank the pool; the ranking tool sees nothing but pictures."""
    by_name = {Path(image["path"]).name: image for image in pool}
    ranking = folder / f"ranking-{args.by}"
    if not (ranking / "to_label.txt").exists():
        for name, images in (("known", first), ("pool", pool)):
            (folder / name).mkdir(exist_ok=True)
            for image in images:
                link = folder / name / Path(image["path"]).name
                if not link.is_symlink():
                    link.symlink_to(source / image["path"])
        model = ["--config-file", folder / "first/config.yaml", "--weights", folder / "first/model_final.pth"]
        photos = ["--images", folder / "pool", "--labelled", folder / "known", "-o", ranking]
        how = ["--count", args.count, "--by", args.by, "--seed", seed]
        run("tools/rank_unlabelled.py", *model, *photos, *how)
    return [by_name[Path(line).name] for line in (ranking / "to_label.txt").read_text().splitlines()]


def train(output: Path, annotations: Path, source: Path, steps: int, options: list[str]) -> float:
    """Train unless that was done; returns the mask AP of the last evaluation."""
    if not (output / "model_final.pth").exists():
        data = ["DATASETS.TRAIN", f"('coco:{annotations}@{source}',)", "TEST.EVAL_PERIOD", "0"]
        schedule = ["SOLVER.MAX_ITER", str(steps), "SOLVER.WARMUP_ITERS", str(min(100, steps // 5))]
        resume = ["--resume"] if (output / "last_checkpoint").exists() else []
        run(
            "train_net.py", "--config-file", CONFIG, *resume, *data, *schedule, *options, "OUTPUT_DIR", output
        )
    return last_figures(output)["segm/AP"]


if __name__ == "__main__":
    main()
