"""Ranking the photos of a folder, from files to files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cardamage.data.formats.labelme.marks import State, state_of
from cardamage.engine.arguments import check_prediction_limits
from cardamage.errors import DataError

from .observing import observe
from .ordering import Ranked, RankingSettings, order_photos
from .photos import labelme_file_of, left_out
from .ranking_files import write_ranking, write_sheet

__all__ = ["RankingReport", "rank_photos"]


@dataclass
class RankingReport:
    """What a run of :func:`rank_photos` did.

    Attributes:
        output: the folder written to.
        ranked: all photos, best first.
        labelled: number of photos that count as labelled.
        drawn: number of photos on the page.
        failed: photos that couldn't be read, with the sentence that says why.
    """

    output: Path
    ranked: list[Ranked]
    labelled: int
    drawn: int
    failed: dict[str, str] = field(default_factory=dict)

    def summary(self) -> str:
        """Return the report as lines of text."""
        chosen = sum(photo.chosen for photo in self.ranked)
        lines = [
            f"Chose {chosen} of {len(self.ranked)} unlabelled photos, beside {self.labelled} labelled ones.",
            f"To label: {self.output / 'to_label.txt'}; the first {self.drawn} are on "
            f"{self.output / 'contact_sheet.png'}.",
            f"All photos with their figures: {self.output / 'ranking.csv'}, ranking.json.",
        ]
        return "\n".join([*lines, *left_out(self.failed)])


def rank_photos(
    predictor: Any,
    photos: Sequence[Path],
    labelled: Sequence[Path],
    output: Path,
    settings: RankingSettings,
    threshold: float = 0.5,
) -> RankingReport:
    """Order photos by what labelling them would teach, and write that down.

    Args:
        predictor: a ``DefaultPredictor``.
        photos: candidates; those with a Labelme file beside them that a person has touched count as labelled.
        labelled: further photos that are labelled.
        output: folder for ``ranking.csv``, ``ranking.json``, ``to_label.txt`` and ``contact_sheet.png``.
        settings: see :class:`~.ordering.RankingSettings`.
        threshold: lowest score drawn on the page, 0 to 1.

    Raises:
        ConfigValueError: the threshold is out of its range.
        DataError: all photos are labelled, or none can be read.
    """
    check_prediction_limits(threshold)
    known = {photo.resolve(): photo for photo in labelled}
    candidates = []
    for photo in photos:
        if state_of(labelme_file_of(photo)) is State.TOUCHED:
            known.setdefault(photo.resolve(), photo)
        elif photo.resolve() not in known:
            candidates.append(photo)
    if not candidates:
        raise DataError(f"All {len(photos)} photos are labelled already; give a folder with others.")
    failed: dict[str, str] = {}
    seen = observe(predictor, candidates, failed)
    if not seen:
        raise DataError("None of the photos could be read: " + " ".join(failed.values()))
    centers = observe(predictor, list(known.values()), failed) if settings.by != "uncertainty" else []
    ranked = order_photos(seen, settings, centers)
    write_ranking(output, ranked, settings, failed)
    drawn = write_sheet(output / "contact_sheet.png", predictor, ranked, predictor.metadata, threshold)
    return RankingReport(output, ranked, len(known), drawn, failed)
