"""Show what a training run reached: masks over the val photos, a contact sheet and the AP table."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from cardamage.errors import DataError
from cardamage.utils import cli
from cardamage.utils.logger import setup_logger

COLUMNS = ("AP", "AP50", "AP75", "APs", "APm", "APl")
SHEET_PHOTOS = 12
NEXT = """
Pictures: {output}/contact_sheet.png (ground truth beside prediction)
          {output}/predictions/ (every val photo)
          {output}/curves.png (losses and AP)
Model:    {output}/model_final.pth, all metrics in {output}/metrics.json

Your own photos, annotated with Labelme:
    {python} train_net.py --config-file configs/damage/mask_rcnn_R_50_FPN.yaml \\
        DATASETS.TRAIN "('labelme:/path/to/train',)" DATASETS.TEST "('labelme:/path/to/val',)"
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Write the pictures and print the table.

    Raises:
        DataError: the folder holds no finished run.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("output/demo"), help="output folder of the run")
    parser.add_argument("--threshold", type=float, default=0.5, help="lowest score shown (0.5)")
    args = parser.parse_args(argv)
    table = ap_table(args.output)
    photos = draw(args.output, args.threshold)
    print(table)
    print(f"\n{photos} val photos drawn, scores of {args.threshold:g} and more.")
    print(NEXT.format(output=args.output, python=".venv/bin/python"))
    return 0


def ap_table(output: Path) -> str:
    """Return the last evaluation in ``metrics.json`` as a table, one row for each task and class."""
    from cardamage.visualization import read_metrics

    path = output / "metrics.json"
    if not path.is_file():
        raise DataError(f"{path} does not exist; train first, with OUTPUT_DIR {output}.")
    evaluated = [record for record in read_metrics(path) if "segm/AP" in record]
    if not evaluated:
        raise DataError(f"{path} holds no evaluation of masks; let the training finish.")
    last = evaluated[-1]
    rows: list[list[Any]] = []
    for task in ("bbox", "segm"):
        rows.append([task, *(known(last.get(f"{task}/{column}")) for column in COLUMNS)])
    for key in sorted(last):
        if key.startswith("segm/AP-"):
            rows.append([f"segm {key.removeprefix('segm/AP-')}", known(last[key])])
    return tabulate(rows, headers=["", *COLUMNS], floatfmt=".1f", missingval="-")


def known(value: float | None) -> float | None:
    """Return a number, None for one that isn't: AP of a size that no object has."""
    return None if value is None or math.isnan(value) else value


def draw(output: Path, threshold: float) -> int:
    """Draw predictions over the val photos, and the first of them beside their ground truth."""
    from cardamage.config import get_cfg
    from cardamage.data import DatasetCatalog
    from cardamage.engine import DefaultPredictor
    from cardamage.engine.prediction import predict_files

    setup_logger()
    cfg = get_cfg()
    cfg.merge_from_file(str(output / "config.yaml"))
    cfg.MODEL.WEIGHTS = str(output / "model_final.pth")
    cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = threshold
    predictor = DefaultPredictor(cfg)
    metadata = predictor.metadata
    dicts = DatasetCatalog.get(cfg.DATASETS.TEST[0])
    files = [Path(d["file_name"]) for d in dicts]
    report = predict_files(predictor, files, output / "predictions", metadata, threshold=threshold)
    chosen = [d for d in dicts if d["annotations"]][:SHEET_PHOTOS]
    write_sheet(predictor, chosen, metadata, threshold, output / "contact_sheet.png")
    return report.images


def write_sheet(
    predictor: Any, dicts: list[dict[str, Any]], metadata: Any, threshold: float, path: Path
) -> None:
    """Write ground truth beside predictions."""
    from cardamage.data.images.reading import read_image
    from cardamage.engine.prediction_records import keep_above
    from cardamage.visualization import compare, contact_sheet, save_image

    rows, captions = [], []
    for item in dicts:
        image = read_image(item["file_name"], "BGR")
        # Soft-NMS lowers scores after SCORE_THRESH_TEST was applied.
        found = keep_above(predictor(image)["instances"].to("cpu"), threshold)
        rows.append(compare(image[:, :, ::-1], item, found, metadata))
        captions.append(Path(item["file_name"]).name)
    save_image(path, contact_sheet(rows, captions=captions, columns=2, title="Validation photos"))


if __name__ == "__main__":
    cli.run(main)
