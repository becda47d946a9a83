"""Loaders for training and inference, from a config or from explicit arguments."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.data import Dataset, IterableDataset, Sampler

from cardamage.config import CfgNode, configurable
from cardamage.data.annotations.sides import log_sides
from cardamage.data.common import DatasetFromList, MapDataset, ToIterableDataset
from cardamage.data.dataset_mapper import DatasetMapper, check_segmentations
from cardamage.data.loading.loaders import InferenceLoader, StreamLoader, TrainLoader, trivial_batch_collator
from cardamage.data.loading.seeding import worker_init_reset_seed
from cardamage.data.preparation.background import with_background
from cardamage.data.preparation.proposals import load_proposals_into_dataset
from cardamage.data.preparation.selection import (
    filter_images_with_few_keypoints,
    filter_images_with_only_crowd_annotations,
    get_detection_dataset_dicts,
    print_instances_class_histogram,
)
from cardamage.data.samplers import (
    InferenceSampler,
    PositionedBatchSampler,
    RepeatFactorTrainingSampler,  # noqa: F401 (scripts for Detectron2 import it from here)
    TrainingSampler,
)
from cardamage.data.samplers.choosing import choose_sampler
from cardamage.errors import ConfigValueError
from cardamage.utils import comm

__all__ = [
    "build_batch_data_loader",
    "build_detection_test_loader",
    "build_detection_train_loader",
    "filter_images_with_few_keypoints",
    "filter_images_with_only_crowd_annotations",
    "get_detection_dataset_dicts",
    "load_proposals_into_dataset",
    "print_instances_class_histogram",
    "trivial_batch_collator",
    "worker_init_reset_seed",
]

logger = logging.getLogger(__name__)

Mapper = Callable[[dict[str, Any]], Any]
Collate = Callable[[list[Any]], Any]


def build_batch_data_loader(
    dataset: Dataset[Any],
    sampler: Sampler[int] | None,
    total_batch_size: int | None,
    *,
    aspect_ratio_grouping: bool = False,
    size_grouping: str = "orientation",
    num_workers: int = 0,
    collate_fn: Collate | None = None,
    drop_last: bool = True,
    single_gpu_batch_size: int | None = None,
    prefetch_factor: int = 2,
    seed: int | None = None,
    start_batch: int = 0,
    **kwargs: Any,
) -> TrainLoader | StreamLoader:
    """Put a mapped dataset and a sampler together to batches.

    Args:
        dataset: mapped dataset, by index or iterable.
        sampler: gives this rank's indices; None for iterable datasets.
        total_batch_size: images in a batch over all processes.
        aspect_ratio_grouping: batches of wide and of high images apart; on indices where image sizes are
            known beforehand (dataset dicts with "width" and "height"), else on mapped samples.
        size_grouping: see ``DATALOADER.SIZE_GROUPING``: "orientation"; "ratio" for near height-to-width
            ratios; "size" for these with one draw of the resized length a batch. The latter two need image
            sizes that are known beforehand.
        num_workers: worker processes of this process.
        collate_fn: makes a batch of a list of samples; the list itself when None.
        drop_last: drop an incomplete batch at the end of a finite sampler; must be True with grouping.
        single_gpu_batch_size: images in a batch of this process, in place of ``total_batch_size``.
        prefetch_factor: batches each worker makes ahead.
        seed: of the augmentation; the sampler's, or one that the ranks share, when None.
        start_batch: how many batches of the stream to leave out at the start, to resume.
        kwargs: further arguments of :class:`torch.utils.data.DataLoader` (``pin_memory``,
            ``persistent_workers``).

    Returns:
        A loader that gives lists of samples, with ``state_dict``, ``load_state_dict`` and ``skip``.

    Raises:
        ConfigValueError: If the batch doesn't divide over the processes, or arguments contradict each other.
        TypeError: If the sampler doesn't fit the kind of dataset.
    """
    batch_size = _batch_size(total_batch_size, single_gpu_batch_size)
    groups = _aspect_groups(dataset, drop_last) if aspect_ratio_grouping else None
    stream = _as_stream(dataset, sampler, batch_size, needed=aspect_ratio_grouping and groups is None)
    seed = _augmentation_seed(sampler) if seed is None else seed
    options = {"seed": seed, "num_workers": num_workers, "prefetch_factor": prefetch_factor, **kwargs}
    options["collate_fn"] = collate_fn or trivial_batch_collator
    order: dict[str, Any] = {}
    if aspect_ratio_grouping and size_grouping != "orientation":
        order = _near_sizes(dataset, size_grouping, seed)
    elif stream is None:
        order = {"group_ids": groups}
    order.update(drop_last=drop_last, start_batch=start_batch)
    if stream is not None:
        return StreamLoader(stream, batch_size, grouping=aspect_ratio_grouping, **order, **options)
    assert sampler is not None  # _as_stream has seen to it
    return TrainLoader(dataset, PositionedBatchSampler(sampler, batch_size, **order), **options)


def _aspect_groups(dataset: Any, drop_last: bool) -> Sequence[int] | None:
    """Wide or high for each image, where the sizes are known beforehand."""
    if not drop_last:
        raise ConfigValueError("drop_last must be True where batches are grouped by aspect ratio.")
    return getattr(dataset, "aspect_groups", None)


def _near_sizes(dataset: Any, size_grouping: str, seed: int) -> dict[str, Any]:
    """Arguments of the batch sampler for batches of near sizes."""
    ratios = getattr(dataset, "aspect_ratios", None)
    if ratios is None:
        raise ConfigValueError(
            f"DATALOADER.SIZE_GROUPING {size_grouping!r} needs dataset dicts that tell width and height: "
            "leave it at 'orientation' for other datasets."
        )
    return {"ratios": ratios, "share_draws": size_grouping == "size", "seed": seed}


def _as_stream(
    dataset: Dataset[Any], sampler: Sampler[int] | None, batch_size: int, needed: bool
) -> IterableDataset[Any] | None:
    """The dataset as a stream of samples where it is one or has to be, else None."""
    if isinstance(dataset, IterableDataset):
        if sampler is not None:
            raise TypeError("An iterable dataset decides on its order itself; its sampler must be None.")
        return dataset
    if not isinstance(sampler, Sampler):
        raise TypeError(f"A dataset by index needs a torch Sampler; got {type(sampler).__name__}.")
    return ToIterableDataset(dataset, sampler, shard_chunk_size=batch_size) if needed else None


def _batch_size(total: int | None, single: int | None) -> int:
    if single and total:
        raise ConfigValueError("Give total_batch_size or single_gpu_batch_size, not both.")
    if single:
        return single
    world_size = comm.get_world_size()
    if not total or total < 0 or total % world_size:
        raise ConfigValueError(
            "The batch size (SOLVER.IMS_PER_BATCH) must be a positive multiple of the "
            f"{world_size} process(es); "
            f"got {total}."
        )
    return total // world_size


def _augmentation_seed(sampler: Any) -> int:
    seed = getattr(sampler, "seed", None)
    return seed if isinstance(seed, int) else comm.shared_random_seed()


def _train_loader_from_config(
    cfg: CfgNode, mapper: Mapper | None = None, *, dataset: Any = None, sampler: Sampler[int] | None = None
) -> dict[str, Any]:
    # Who brings a sampler decides what comes how often.
    mixed = cfg.DATALOADER.BACKGROUND_RATIO > 0 and sampler is None
    if dataset is None:
        dataset = get_detection_dataset_dicts(
            cfg.DATASETS.TRAIN,
            filter_empty=cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS and not mixed,
            proposal_files=cfg.DATASETS.PROPOSAL_FILES_TRAIN if cfg.MODEL.LOAD_PROPOSALS else None,
            look_at_images=cfg.INPUT.CHECK_IMAGES,
            flip_class_pairs=cfg.INPUT.FLIP_CLASS_PAIRS,
        )
    dataset, background = with_background(cfg, dataset) if mixed else (dataset, 0)
    if mapper is not None or cfg.INPUT.RANDOM_FLIP != "none":
        log_sides(cfg)
    if mapper is None:
        mapper = _train_mapper(cfg, dataset)
    # A negative seed means another order and other augmentations in every run.
    seed = cfg.SEED if cfg.SEED >= 0 else comm.shared_random_seed()
    if sampler is None and not isinstance(dataset, IterableDataset):
        sampler = choose_sampler(cfg, dataset, seed, background)
    return {
        "dataset": dataset,
        "sampler": sampler,
        "mapper": mapper,
        "total_batch_size": cfg.SOLVER.IMS_PER_BATCH,
        "aspect_ratio_grouping": cfg.DATALOADER.ASPECT_RATIO_GROUPING,
        "size_grouping": cfg.DATALOADER.SIZE_GROUPING,
        "num_workers": cfg.DATALOADER.NUM_WORKERS,
        "pin_memory": _pinned(cfg),
        "seed": seed,
    }


def _pinned(cfg: CfgNode) -> bool:
    """Whether batches are pinned: where the model runs on a GPU, for which alone it pays."""
    on_gpu = str(cfg.MODEL.DEVICE).startswith("cuda") and torch.cuda.is_available()
    return cfg.DATALOADER.PIN_MEMORY and on_gpu


def _train_mapper(cfg: CfgNode, dataset: Any) -> DatasetMapper:
    """The default mapper. Masks that can't be used are refused now, not when their image happens to come."""
    if not cfg.MODEL.MASK_ON or not isinstance(dataset, list):
        return DatasetMapper(cfg, True)
    bitmaps = False
    for record in dataset:
        objects = [a for a in record.get("annotations", ()) if not a.get("iscrowd", 0)]
        check_segmentations(record, objects)
        bitmaps |= any(isinstance(a["segmentation"], dict) for a in objects)
    if bitmaps and cfg.INPUT.MASK_FORMAT == "polygon":
        # A batch must not hold both kinds, and polygons can't be had from every bitmap.
        logger.info("Some masks are run-lengths, so all are made bitmaps, as by INPUT.MASK_FORMAT 'bitmask'.")
        return DatasetMapper(cfg, True, instance_mask_format="bitmask")
    return DatasetMapper(cfg, True)


@configurable(from_config=_train_loader_from_config)
def build_detection_train_loader(
    dataset: list[dict[str, Any]] | Dataset[Any],
    *,
    mapper: Mapper | None,
    sampler: Sampler[int] | None = None,
    total_batch_size: int | None,
    aspect_ratio_grouping: bool = True,
    size_grouping: str = "orientation",
    num_workers: int = 0,
    collate_fn: Collate | None = None,
    **kwargs: Any,
) -> TrainLoader | StreamLoader:
    """Make the training loader: ``build_detection_train_loader(cfg)``, or with explicit arguments.

    Called with a config, ``mapper``, ``dataset`` and ``sampler`` may be given to replace the config's, and
    any other argument overrules it. Batches depend on the seed (``cfg.SEED``) and the datasets only: not on
    the number of workers, and not on whether the run was interrupted.

    Args:
        dataset: dataset dicts, or a torch dataset.
        mapper: maps a dataset dict to a sample, or to None to skip it; None for mapped datasets.
        sampler: gives this rank's indices; a :class:`TrainingSampler` when None. Must be None for iterable
            datasets.
        total_batch_size: images in a batch over all processes.
        aspect_ratio_grouping: batches of wide and of high images apart.
        size_grouping: as for :func:`build_batch_data_loader`.
        num_workers: worker processes of this process.
        collate_fn: makes a batch of a list of samples; the list itself when None.
        kwargs: of :func:`build_batch_data_loader`, such as ``seed`` and ``start_batch``.

    Returns:
        A loader of lists of samples.
    """
    if isinstance(dataset, list):
        dataset = DatasetFromList(dataset, copy=False)
    if mapper is not None:
        dataset = MapDataset(dataset, mapper)
    if sampler is None and not isinstance(dataset, IterableDataset):
        sampler = TrainingSampler(len(dataset), seed=kwargs.get("seed"))  # type: ignore[arg-type]
    return build_batch_data_loader(
        dataset,
        sampler,
        total_batch_size,
        aspect_ratio_grouping=aspect_ratio_grouping,
        size_grouping=size_grouping,
        num_workers=num_workers,
        collate_fn=collate_fn,
        **kwargs,
    )


def _test_loader_from_config(
    cfg: CfgNode, dataset_name: str | list[str], mapper: Mapper | None = None
) -> dict[str, Any]:
    names = [dataset_name] if isinstance(dataset_name, str) else list(dataset_name)
    dataset = get_detection_dataset_dicts(
        names,
        filter_empty=False,
        proposal_files=_test_proposals(cfg, names) if cfg.MODEL.LOAD_PROPOSALS else None,
        look_at_images=cfg.INPUT.CHECK_IMAGES,
        flip_class_pairs="none",
    )
    return {
        "dataset": dataset,
        "mapper": mapper or DatasetMapper(cfg, False),
        "batch_size": cfg.TEST.IMS_PER_BATCH,
        "num_workers": cfg.DATALOADER.NUM_WORKERS,
        "pin_memory": _pinned(cfg),
    }


def _test_proposals(cfg: CfgNode, names: Sequence[str]) -> list[str]:
    """The proposal file of each dataset, by its place in DATASETS.TEST."""
    files = dict(zip(cfg.DATASETS.TEST, cfg.DATASETS.PROPOSAL_FILES_TEST, strict=False))
    missing = [name for name in names if name not in files]
    if missing:
        raise ConfigValueError(
            f"MODEL.LOAD_PROPOSALS needs a proposal file for {missing[0]!r}: name it in "
            "DATASETS.PROPOSAL_FILES_TEST, at the dataset's place in DATASETS.TEST."
        )
    return [files[name] for name in names]


@configurable(from_config=_test_loader_from_config)
def build_detection_test_loader(
    dataset: list[dict[str, Any]] | Dataset[Any],
    *,
    mapper: Mapper | None,
    sampler: Sampler[int] | None = None,
    batch_size: int = 1,
    num_workers: int = 0,
    collate_fn: Collate | None = None,
    **kwargs: Any,
) -> InferenceLoader:
    """Make the inference loader: ``build_detection_test_loader(cfg, name)``, or with explicit arguments.

    Args:
        dataset: dataset dicts, or a torch dataset.
        mapper: maps a dataset dict to a sample.
        sampler: gives indices; an :class:`InferenceSampler` when None. Must be None for iterable datasets.
        batch_size: images in a batch of this process.
        num_workers: worker processes of this process.
        collate_fn: makes a batch of a list of samples; the list itself when None.
        kwargs: further arguments of :class:`torch.utils.data.DataLoader`.

    Returns:
        A loader of lists of samples; every image comes once, in order, over all ranks.

    Raises:
        TypeError: If a sampler is given for an iterable dataset.
    """
    if isinstance(dataset, list):
        dataset = DatasetFromList(dataset, copy=False)
    if mapper is not None:
        dataset = MapDataset(dataset, mapper)
    if isinstance(dataset, IterableDataset):
        if sampler is not None:
            raise TypeError("An iterable dataset decides on its order itself; its sampler must be None.")
    elif sampler is None:
        sampler = InferenceSampler(len(dataset))  # type: ignore[arg-type]
    return InferenceLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        drop_last=False,
        num_workers=num_workers,
        collate_fn=collate_fn,
        **kwargs,
    )
