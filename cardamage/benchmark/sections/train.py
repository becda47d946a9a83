"""A training step: forward, backward, optimizer."""

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
    """Measure every side's step on the same batch, and where its time goes with photos from files."""
    with quiet():
        samples = make_samples(settings, settings.batch)
        cfg = shared_config(settings, samples)
        lineup = {
            **own_of(own.training_side, settings, samples, cfg, train=True),
            **peers_of("training_side", settings, samples, cfg),
            **floors_of(settings, samples, cfg, train=True),
        }
        sides, failed = build_sides(lineup, settings)
        rows = measure(sides, settings, "training")
        parts = measure_parts(sides, settings, "training")
    title = f"Training step, {settings.batch} x 3 x {settings.size[0]} x {settings.size[1]}"
    return [Section("train", title, "img", [*rows, *failed], parts)]
