"""A whole run: settings from flags, the sections, the report."""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cardamage.benchmark.arguments import CONFIG, QUALITY_CONFIG
from cardamage.benchmark.device import check_device
from cardamage.benchmark.machine import describe_machine, versions
from cardamage.benchmark.measuring import quiet, say
from cardamage.benchmark.photo_files import write_photos
from cardamage.benchmark.photos import CHECKOUT, find_photos
from cardamage.benchmark.report import Report, Section
from cardamage.benchmark.sections import run_section
from cardamage.benchmark.sections.quality import check_datasets
from cardamage.benchmark.settings import Quality, Settings
from cardamage.benchmark.summary import format_summary
from cardamage.benchmark.table import format_head, format_section
from cardamage.checkpoint import DetectionCheckpointer
from cardamage.config import validate_cfg
from cardamage.errors import ConfigValueError
from cardamage.utils.files import ensure_writable_dir

__all__ = ["make_settings", "run_benchmark"]

_PHOTO_SCALE = 1.5


def run_benchmark(args: argparse.Namespace, show: Any = print) -> Report:
    """Measure what the flags name, telling each section's table as soon as it is there.

    Args:
        args: of :func:`cardamage.benchmark.arguments.parse_args`.
        show: told the head, then every table.

    Returns:
        The report.

    Raises:
        CardamageError: if the photos, the config or the device can't be used.
    """
    if args.threads:
        torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory(prefix="cardamage-benchmark-") as scratch:
        settings = make_settings(args, Path(scratch))
        report = Report(
            datetime.now(timezone.utc).isoformat(timespec="seconds"),
            list(args.command),
            describe_machine(settings.device),
            versions(),
            _described(args, settings),
        )
        say("")
        show(format_head(report))
        for name in args.sections:
            sections: Sequence[Section] = run_section(name, settings)
            report.sections += sections
            say("")
            for section in sections:
                show("\n" + format_section(section))
    summary = format_summary(report.sections)
    if summary:
        show("\n" + summary)
    return report


def make_settings(args: argparse.Namespace, scratch: Path) -> Settings:
    """Read photos and flags.

    Args:
        args: of :func:`cardamage.benchmark.arguments.parse_args`.
        scratch: a folder for files that go away afterwards.

    Raises:
        CardamageError: if the photos, the config, the weights or the device can't be used, or what is asked
            for can't be written.
    """
    device = check_device(args.device)
    _check_outputs(args)
    size = (args.size[0], args.size[1])
    photo_size = args.photo_size or [round(side * _PHOTO_SCALE) for side in size]
    say("reading the photos")
    # What is wrong with annotations is for a training to say.
    with quiet(logging.WARNING):
        photos = find_photos(args.images, args.photos, scratch)
        files = write_photos(photos, (photo_size[0], photo_size[1]), scratch / "photos")
    on_gpu = device.type == "cuda"
    settings = Settings(
        config_file=_config_file(args.config_file, CONFIG),
        opts=list(args.opts),
        device=device,
        size=size,
        batch=args.batch_size or (16 if on_gpu else 2),
        inference_batches=list(args.inference_batches),
        rounds=args.rounds,
        repeat=args.repeat or (10 if on_gpu else 1),
        warmup=args.warmup or (10 if on_gpu else 1),
        files=files,
        scratch=scratch,
        weights=args.weights,
        profile=args.profile,
        quality=_quality(args),
    )
    _check_config(args.sections, settings)
    return settings


def _check_config(sections: Sequence[str], settings: Settings) -> None:
    """Refuse what would stop a section after others have run for long."""
    cfg = settings.config()
    validate_cfg(cfg)
    if settings.weights:
        DetectionCheckpointer(nn.Module()).locate(settings.weights)
    measured = [name for name in ("train", "inference") if name in sections]
    kind, proposals = cfg.MODEL.META_ARCHITECTURE, cfg.MODEL.PROPOSAL_GENERATOR.NAME
    if measured and (kind != "GeneralizedRCNN" or proposals == "PrecomputedProposals"):
        raise ConfigValueError(
            f"{' and '.join(measured)} can't be measured with {settings.config_file}, a {kind} with "
            f"{proposals}: name the config of a Mask R-CNN or Faster R-CNN with --config-file."
        )
    if "quality" in sections:
        check_datasets(settings.quality)


def _check_outputs(args: argparse.Namespace) -> None:
    """Refuse files that can't be written while nothing has been measured for them."""
    if args.json is not None:
        if args.json.is_dir():
            raise ConfigValueError(f"--json is the folder {args.json}: name a file in it.")
        ensure_writable_dir(args.json.parent, "--json")
    if args.profile is not None:
        ensure_writable_dir(args.profile, "--profile")


def _config_file(named: str, default: str) -> str:
    path = CHECKOUT / default if named == default else Path(named)
    if not path.is_file():
        raise ConfigValueError(f"The config file {named} does not exist: name one with --config-file.")
    return str(path)


def _quality(args: argparse.Namespace) -> Quality:
    beside = [
        CHECKOUT / f"../shared/data/carparts/{part}/annotations.json" for part in ("trainingset", "testset")
    ]
    found = [f"coco:{path}" for path in beside] if all(path.is_file() for path in beside) else ["", ""]
    train, test = args.quality_data or found
    config = args.quality_config
    if "quality" in args.sections:
        config = _config_file(config, QUALITY_CONFIG)
    return Quality(config, train, test, args.iterations, args.quality_batch)


def _described(args: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    files = settings.files
    height, width = files.size
    photos = (
        f"{len(files.records)} of {files.source}, {files.objects:.1f} objects each, {height} x {width} JPEG"
    )
    named = settings.config_file
    config = str(Path(named).relative_to(CHECKOUT)) if Path(named).is_relative_to(CHECKOUT) else named
    model = f"{config}, {len(files.classes)} classes, {settings.weights or 'made-up weights'}"
    turns = f"{settings.rounds}, sides in turn; medians"
    if settings.repeat > 1:
        turns += f" of {settings.repeat} runs each"
    described = {"photos": photos, "model": model}
    if "quality" in args.sections:
        quality = settings.quality
        described["quality"] = f"{args.quality_config} on {quality.train}, scored on {quality.test}"
    if settings.opts:
        described["keys"] = " ".join(settings.opts)
    return {
        **described,
        "rounds": f"{turns}; +- is half the distance between the quartiles",
        "memory": "the most that a run takes, on a GPU with the weights and what the optimizer keeps",
    }
