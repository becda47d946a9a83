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

__all__ = ["objects_found", "run"]


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
        found = {side.name: side.detections(side()) for side in sides if side.detections is not None}
    for seconds in parts.values():
        # What comes before the model is resizing, and in it nothing is left but that behind its heads.
        seconds["prep"] = seconds.pop("waiting", 0.0) + seconds["prep"]
        seconds["paste masks"] = seconds.pop("rest", 0.0)
    height, width = settings.size
    title = f"Inference, {batch} x 3 x {height} x {width}, masks pasted at {height} x {width}"
    return Section(f"inference-{batch}", title, "img", [*rows, *failed], parts, [objects_found(found)])


def objects_found(found: dict[str, list[int]]) -> str:
    """Return a sentence about how many objects each side found in a photo.

    Args:
        found: by side, the objects of each photo.
    """
    numbers = {number for counts in found.values() for number in counts}
    if len(numbers) == 1:
        return f"Every side found {numbers.pop()} objects in each photo."
    said = (f"{side} {sum(counts) / len(counts):.1f}" for side, counts in found.items())
    return f"Objects found in a photo: {', '.join(said)}."
