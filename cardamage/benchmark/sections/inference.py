"""Predicting: from pictures in memory to masks of their size."""

from __future__ import annotations

from cardamage.benchmark.measuring import build_sides, measure, measure_parts, quiet
from cardamage.benchmark.report import Section
from cardamage.benchmark.samples import make_samples
from cardamage.benchmark.settings import Settings
from cardamage.benchmark.shared_weights import shared_config
from cardamage.benchmark.sides import own
from cardamage.benchmark.sides.floor import floors_of
from cardamage.benchmark.sides.lineup import own_of, peers_of

__all__ = ["run"]


def run(settings: Settings) -> list[Section]:
    """Measure every batch; made-up weights find as many objects in each picture as one may have."""
    return [_batch(settings, batch) for batch in settings.inference_batches]


def _batch(settings: Settings, batch: int) -> Section:
    with quiet():
        samples = make_samples(settings, batch)
        cfg = shared_config(settings, samples)
        lineup = {
            **own_of(own.inference_side, settings, samples, cfg, train=False),
            **peers_of("inference_side", settings, samples, cfg),
            **floors_of(settings, samples, cfg, train=False),
        }
        sides, failed = build_sides(lineup, settings)
        rows = measure(sides, settings, f"inference of {batch}")
        parts = measure_parts(sides, settings, f"inference of {batch}")
        for side, row in zip(sides, rows, strict=True):
            if side.detections is not None:
                found = side.detections(side())
                row.values["objects an image"] = sum(found) / len(found)
    for seconds in parts.values():
        # Inside the model nothing is left but that behind its heads.
        seconds["paste masks"] = seconds.pop("rest", 0.0)
    height, width = settings.size
    title = f"Inference, {batch} x 3 x {height} x {width}, masks pasted at {height} x {width}"
    return Section(f"inference-{batch}", title, "img", [*rows, *failed], parts)
