"""A ranking written down: tables, a list of files, and a page to look at."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from cardamage.data.images.reading import read_image
from cardamage.engine.prediction_records import keep_above
from cardamage.utils.files import atomic_write
from cardamage.visualization import Visualizer, contact_sheet, save_image

from .ordering import Ranked, RankingSettings

__all__ = ["write_ranking", "write_sheet"]

_COLUMNS = ("rank", "file", "chosen", "uncertainty", "doubt", "disagreement", "novelty", "objects")
_SHEET_PHOTOS = 24
_WIDTH = 420


def write_ranking(
    folder: Path, ranked: Sequence[Ranked], settings: RankingSettings, failed: Mapping[str, str]
) -> None:
    """Write ``ranking.csv``, ``ranking.json`` and ``to_label.txt``, the files chosen, one a line.

    Args:
        folder: must be there.
        ranked: the photos, best first.
        settings: noted in the JSON.
        failed: photos that couldn't be read, with the sentence that says why.
    """
    rows = [_row(rank, photo) for rank, photo in enumerate(ranked, start=1)]
    table = io.StringIO()
    writer = csv.DictWriter(table, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    _write(folder / "ranking.csv", table.getvalue())
    left_out = [{"file": file, "reason": reason} for file, reason in failed.items()]
    content = {"settings": asdict(settings), "photos": rows, "failed": left_out}
    _write(folder / "ranking.json", json.dumps(content, indent=1))
    _write(folder / "to_label.txt", "".join(f"{row['file']}\n" for row in rows if row["chosen"]))


def _write(path: Path, text: str) -> None:
    # Names of files need not be text: their bytes are written as the system gave them.
    with atomic_write(path, "wb") as stream:
        stream.write(text.encode("utf-8", "surrogateescape"))


def _row(rank: int, photo: Ranked) -> dict[str, Any]:
    seen = photo.observation
    return {
        "rank": rank,
        "file": str(seen.photo),
        "chosen": photo.chosen,
        "uncertainty": round(seen.uncertainty, 6),
        "doubt": round(seen.doubt, 6),
        "disagreement": round(seen.disagreement, 6),
        "novelty": None if photo.novelty is None else round(photo.novelty, 6),
        "objects": seen.objects,
    }


def write_sheet(path: Path, predictor: Any, ranked: Sequence[Ranked], metadata: Any, threshold: float) -> int:
    """Write a page of the first photos chosen, with what the model finds in them.

    Args:
        path: of the PNG.
        predictor: a ``DefaultPredictor``.
        ranked: the photos, best first.
        metadata: class names and colors.
        threshold: lowest score drawn.

    Returns:
        How many photos are on it.
    """
    shown = [photo for photo in ranked if photo.chosen][:_SHEET_PHOTOS]
    pictures: list[list[np.ndarray]] = []
    captions = []
    for rank, photo in enumerate(shown, start=1):
        seen = photo.observation
        image = read_image(seen.photo, "BGR")
        found = keep_above(predictor(image)["instances"], threshold)
        # Drawn at the page's size, so that letters are as large on each.
        visualizer = Visualizer(image[..., ::-1], metadata, scale=_WIDTH / image.shape[1])
        pictures.append([visualizer.draw_instance_predictions(found).get_image()])
        new = "first" if photo.novelty is None else f"novelty {photo.novelty:.1f}"
        captions.append(f"{rank}. {seen.photo.name}: uncertainty {seen.uncertainty:.2f}, {new}")
    if pictures:
        title = f"To label next, with what the model finds (scores of {threshold:g} and more)"
        page = contact_sheet(pictures, [""], captions, width=_WIDTH, columns=4, title=title)
        save_image(path, page)
    return len(shown)
