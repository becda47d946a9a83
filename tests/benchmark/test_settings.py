"""The configs of the sides."""

from __future__ import annotations

from cardamage.benchmark.settings import AMP, PLAIN, Settings


def test_the_config_is_that_of_the_photos_and_sizes(settings: Settings) -> None:
    cfg = settings.config()
    assert cfg.DATASETS.TRAIN == (settings.files.dataset,)
    assert cfg.DATASETS.TEST == ()
    assert (cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MAX_SIZE_TRAIN) == ((64,), 96)
    assert (cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST) == (64, 96)
    assert cfg.SOLVER.IMS_PER_BATCH == 2
    assert cfg.OUTPUT_DIR.startswith(str(settings.scratch))


def test_the_users_keys_go_over_the_benchmarks_and_a_sides_over_all(settings: Settings) -> None:
    settings.opts = ["SOLVER.IMS_PER_BATCH", "6", "SOLVER.AMP.ENABLED", "False"]
    assert settings.config().SOLVER.IMS_PER_BATCH == 6
    assert settings.config(AMP).SOLVER.AMP.ENABLED


def test_plain_is_without_every_fast_path(settings: Settings) -> None:
    cfg = settings.config(PLAIN)
    switches = (cfg.SOLVER.AMP.ENABLED, cfg.SOLVER.FUSED, cfg.MODEL.COMPILE, cfg.MODEL.CHANNELS_LAST)
    assert not any((*switches, cfg.MODEL.RPN.SAMPLED_GRADIENT, cfg.TEST.FUSE, cfg.INPUT.SCALED_DECODE))
    assert (cfg.TEST.PRECISION, cfg.INPUT.RESIZE) == ("float32", "exact")
