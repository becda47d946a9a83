"""Draw what a model learns from: a dataset's annotations, or what the training loader makes of them.

Examples:
    python tools/visualize_data.py --source annotation --dataset labelme:/photos/train --output-dir drawn
    python tools/visualize_data.py --source dataloader --config-file configs/demo/mask_rcnn_R_18_FPN.yaml
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cardamage.catalog import DatasetCatalog, MetadataCatalog
from cardamage.config import CfgNode, get_cfg
from cardamage.data import build_detection_train_loader, prepare_datasets, read_record_image
from cardamage.data.detection_utils import convert_image_to_rgb
from cardamage.errors import ConfigValueError
from cardamage.structures import BoxMode, Instances
from cardamage.utils import cli
from cardamage.utils.env import seed_all_rng
from cardamage.utils.files import ensure_writable_dir
from cardamage.utils.logger import setup_logger
from cardamage.visualization import Visualizer

XYXY = BoxMode.XYXY_ABS


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0],
        epilog="Any config key can be set at the end: KEY VALUE ... or --opts KEY VALUE ...",
    )
    add = parser.add_argument
    add("--source", choices=["annotation", "dataloader"], required=True, help="what to draw")
    add("--config-file", metavar="YAML", help="its INPUT section decides on the augmentation")
    add("--dataset", metavar="NAME", help="a registered or ad-hoc name (default: DATASETS.TRAIN)")
    add("--output-dir", default="visualized", metavar="DIR", help="folder for the pictures")
    add("--limit", type=int, metavar="N", help="draw N pictures (default: as many as there are images)")
    add("--seed", type=int, help="of order and augmentation (default: the config's SEED)")
    add("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config overrides")
    add("overrides", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="the same")
    return parser.parse_args(argv)


def setup(args: argparse.Namespace) -> CfgNode:
    """Make a frozen config that gives one image at a time, in this process.

    Raises:
        ConfigValueError: no dataset is named, or the limit is negative.
    """
    cfg = get_cfg()
    cfg.MODEL.MASK_ON = True
    if args.config_file:
        cfg.merge_from_file(args.config_file)
    cfg.merge_from_list([*args.opts, *args.overrides])
    if args.dataset:
        cfg.DATASETS.TRAIN = (args.dataset,)
    if not cfg.DATASETS.TRAIN:
        raise ConfigValueError("No dataset is named; give --dataset NAME, or set DATASETS.TRAIN.")
    if args.limit is not None and args.limit < 0:
        raise ConfigValueError(f"--limit must be 0 or more, not {args.limit}.")
    cfg.DATASETS.TEST = ()
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.SOLVER.IMS_PER_BATCH = 1
    cfg.SEED = cfg.SEED if args.seed is None else args.seed
    cfg.freeze()
    return cfg


def draw_annotations(cfg: CfgNode) -> Iterator[tuple[str, Any]]:
    """Yield each image's file name, and the image with its annotations drawn over it."""
    for name in cfg.DATASETS.TRAIN:
        for record in DatasetCatalog.get(name):
            visualizer = Visualizer(read_record_image(record, "RGB"), MetadataCatalog.get(name))
            yield record["file_name"], visualizer.draw_dataset_dict(record)


def draw_samples(cfg: CfgNode) -> Iterator[tuple[str, Any]]:
    """Yield, without end, file names and augmented images with what is left of their annotations."""
    metadata = MetadataCatalog.get(cfg.DATASETS.TRAIN[0])
    for (sample,) in build_detection_train_loader(cfg):
        image = convert_image_to_rgb(sample["image"].permute(1, 2, 0), cfg.INPUT.FORMAT)
        yield sample["file_name"], Visualizer(image, metadata).draw_dataset_dict(_record(sample["instances"]))


def _record(instances: Instances) -> dict[str, Any]:
    """Training targets as a dataset dict, so that both sources are drawn alike."""
    masks = instances.gt_masks if instances.has("gt_masks") else itertools.repeat(None)
    rows = zip(instances.gt_boxes.tensor.tolist(), instances.gt_classes.tolist(), masks, strict=False)
    keys = ("bbox", "category_id", "segmentation")
    return {"annotations": [{**dict(zip(keys, row, strict=True)), "bbox_mode": XYXY} for row in rows]}


def main(argv: Sequence[str] | None = None) -> None:
    """Draw and save."""
    args = parse_args(argv)
    setup_logger()
    cfg = setup(args)
    seed_all_rng(cfg.SEED)
    ensure_writable_dir(args.output_dir, "--output-dir")
    prepare_datasets(cfg)
    total = sum(len(DatasetCatalog.get(name)) for name in cfg.DATASETS.TRAIN)
    pictures = draw_annotations(cfg) if args.source == "annotation" else draw_samples(cfg)
    chosen = itertools.islice(pictures, total if args.limit is None else args.limit)
    number = -1
    for number, (name, picture) in enumerate(tqdm(chosen, desc="draw", unit="image", disable=None)):
        picture.save(str(Path(args.output_dir) / f"{number:05d}_{Path(name).stem}.png"))
    print(f"{number + 1} pictures are in {args.output_dir}.")


if __name__ == "__main__":
    cli.run(main)
