"""A two-stage detector that looks at every photo several times."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from cardamage.data.detection_utils import check_image_size
from cardamage.data.images.picture_input import image_to_tensor
from cardamage.data.images.reading import read_image
from cardamage.errors import ConfigValueError
from cardamage.structures import Instances
from cardamage.utils.compiling import compiling

from ..custom import call
from ..meta_arch import GeneralizedRCNN
from ..postprocessing import detector_postprocess
from ..roi_heads.mask_suppression import thin_by_masks
from ..roi_heads.suppression import Suppression
from .mapper import DatasetMapperTTA
from .merging import MERGES, Found
from .sides import exchanged_classes
from .views import View, batches_by_size, batches_in_order, views_of

__all__ = ["GeneralizedRCNNWithTTA"]

# Feature maps of the first look are kept for the second up to here; beyond, they are computed again.
_KEPT_BYTES = 2 << 30


class GeneralizedRCNNWithTTA(nn.Module):
    """Finds boxes in all views of a photo, merges them, and takes the mean of all views' masks of these.

    In mirrored views classes that name a side change places, as ``INPUT.FLIP_CLASS_PAIRS`` says: what a
    mirrored view shows as a left door counts as a right one, and the mask of a right door is taken
    from it as a left door's.

    It is called as the model is. Views of one size share a batch, those of several photos too. With
    ``INPUT.RESIZE`` exact, batches are Detectron2's: its results depend a little on the batch size, as
    smaller views are padded.

    Attributes:
        model: the model, as it is.
        tta_mapper: makes the views.
        batch_size: the most views in a batch.
    """

    def __init__(
        self,
        cfg: Any,
        model: nn.Module,
        tta_mapper: Callable[[Mapping[str, Any]], list[dict[str, Any]]] | None = None,
        batch_size: int = 3,
        *,
        class_flip_indices: Sequence[int] | None = None,
    ) -> None:
        """Wrap a model.

        Args:
            cfg: TEST.AUG, TEST.DETECTIONS_PER_IMAGE, MODEL.ROI_HEADS, INPUT and DATASETS are read.
            model: a :class:`GeneralizedRCNN` in evaluation mode, or its DDP wrapper.
            tta_mapper: from a model input to those of the views, each with ``transforms`` from the photo's
                pixels; None for ``DatasetMapperTTA(cfg)``.
            batch_size: the most views in a batch.
            class_flip_indices: what each class is in a mirrored view; empty where none changes. None finds it
                as :func:`.sides.exchanged_classes` says.

        Raises:
            ConfigValueError: the model makes no detections by itself, or the classes that change are unclear.
        """
        super().__init__()
        if isinstance(model, nn.parallel.DistributedDataParallel):
            model = model.module
        if not isinstance(model, GeneralizedRCNN):
            raise ConfigValueError(
                "Test-time augmentation needs a GeneralizedRCNN, whose boxes it merges, not a "
                f"{type(model).__name__}: set TEST.AUG.ENABLED to False."
            )
        if cfg.MODEL.LOAD_PROPOSALS or model.proposal_generator is None:
            raise ConfigValueError(
                "Test-time augmentation needs a model that makes its own proposals, as those of a file fit "
                "one view only: set TEST.AUG.ENABLED or MODEL.LOAD_PROPOSALS to False."
            )
        self.cfg = cfg.clone()
        self.model = model
        self.training = model.training
        self.tta_mapper = DatasetMapperTTA(cfg) if tta_mapper is None else tta_mapper
        self.batch_size = batch_size
        self._merge_found = _merge_by_name(cfg.TEST.AUG.MERGE)
        count = getattr(model.roi_heads, "num_classes", cfg.MODEL.ROI_HEADS.NUM_CLASSES)
        self._exchange = exchanged_classes(cfg, count, class_flip_indices)
        self._batches = batches_in_order if cfg.INPUT.RESIZE == "exact" else batches_by_size

    @property
    def mask_output(self) -> str:
        """How masks are returned, see :class:`GeneralizedRCNN`; the model's own."""
        return self.model.mask_output

    @mask_output.setter
    def mask_output(self, value: str) -> None:
        self.model.mask_output = value

    @torch.no_grad()
    def forward(self, batched_inputs: Sequence[Mapping[str, Any]]) -> list[dict[str, Instances]]:
        """Detect objects.

        Args:
            batched_inputs: as the model's; where there is no ``image``, ``file_name`` is read.

        Returns:
            ``[{"instances": ...}]`` as the model's, in the photos' pixels.

        Raises:
            DataError: a photo can't be read, or masks can't be merged.
            RuntimeError: the model is in training mode.
        """
        if self.model.training:
            raise RuntimeError("test-time augmentation needs the model in evaluation mode: call model.eval()")
        photos = [self._read(one) for one in batched_inputs]
        if not photos:
            return []
        views = views_of(photos, self.tta_mapper)
        sizes = [(int(photo["height"]), int(photo["width"])) for photo in photos]
        with compiling(self.model.test_compiler):
            merged = self._detect(views, sizes)
        results = []
        for found, size in zip(merged, sizes, strict=True):
            found = detector_postprocess(found.to(self.model.device), *size, mask_output=self.mask_output)
            results.append({"instances": found})
        return results

    def _read(self, one_input: Mapping[str, Any]) -> dict[str, Any]:
        """Return an input with its picture and the photo's size."""
        photo = dict(one_input)
        if "image" not in photo:
            pixels = read_image(photo["file_name"], self.model.input_format or self.cfg.INPUT.FORMAT)
            check_image_size(photo, pixels)
            photo["image"] = image_to_tensor(pixels)
        height, width = photo["image"].shape[-2:]
        photo.setdefault("height", height)
        photo.setdefault("width", width)
        return photo

    def _detect(self, views: Sequence[View], sizes: Sequence[tuple[int, int]]) -> list[Instances]:
        """Return every photo's detections on the processor, with masks where the model has them."""
        batches = list(self._batches(views, self.batch_size))
        masks_on = bool(self.cfg.MODEL.MASK_ON)
        look = _Look(self.model, _KEPT_BYTES if masks_on else 0)
        found: dict[int, Instances] = {}
        with _without_masks(self.model.roi_heads):
            for number, batch in enumerate(batches):
                records = [views[position].record for position in batch]
                found.update(zip(batch, look.boxes(number, records), strict=True))
        merged = self._merge(views, [found[position] for position in range(len(views))], sizes)
        if masks_on:
            self._add_masks(views, batches, merged, look)
            rule = Suppression.from_config(self.cfg)
            if rule.by_masks:
                return list(thin_by_masks(rule, merged, self.cfg.TEST.DETECTIONS_PER_IMAGE))
        return merged

    def _merge(
        self, views: Sequence[View], found: Sequence[Instances], sizes: Sequence[tuple[int, int]]
    ) -> list[Instances]:
        """Merge the detections of all views in their photos."""
        counts = [len(one) for one in found]
        # The host waits three times for the device, however many views there are.
        boxes = torch.cat([one.pred_boxes.tensor for one in found]).float().cpu()
        scores = torch.cat([one.scores for one in found]).float().cpu()
        classes = torch.cat([one.pred_classes for one in found]).cpu()
        pairs = zip(views, boxes.split(counts), strict=True)
        boxes = torch.cat([view.to_photo(part) for view, part in pairs])
        repeats = torch.tensor(counts)
        mirrored = torch.tensor([view.mirrored for view in views]).repeat_interleave(repeats)
        classes = torch.where(mirrored, self._exchange[classes], classes)
        photo = torch.tensor([view.photo for view in views]).repeat_interleave(repeats)
        all_found = Found(
            boxes, scores, classes, photo, sizes, _view_counts(views, len(sizes)), len(self._exchange)
        )
        return self._merge_found(self.cfg, all_found)

    def _add_masks(
        self,
        views: Sequence[View],
        batches: Sequence[Sequence[int]],
        merged: Sequence[Instances],
        look: _Look,
    ) -> None:
        """Give the photos' detections the mean of the masks that their views have of them."""
        masks: dict[int, torch.Tensor] = {}
        for number, batch in enumerate(batches):
            part = [views[position] for position in batch]
            known = [view.seen(merged[view.photo], self._exchange) for view in part]
            if not any(map(len, known)):
                continue
            added = look.masks(number, [view.record for view in part], known)
            pairs = zip(part, added, strict=True)
            masks.update(zip(batch, (view.masks_to_photo(x.pred_masks) for view, x in pairs), strict=True))
        for photo, positions in itertools.groupby(range(len(views)), lambda p: views[p].photo):
            seen = [masks[position] for position in positions if position in masks]
            merged[photo].pred_masks = torch.stack(seen).mean(dim=0) if seen else torch.zeros(0, 1, 1, 1)


class _Look:
    """Runs a model twice on batches of views: for boxes, and for masks of boxes that are known by then."""

    def __init__(self, model: GeneralizedRCNN, keep: int) -> None:
        self.model = model
        self.keep = keep
        # Who overrides it does more, or something else, than what is below.
        self.plain = type(model).inference is GeneralizedRCNN.inference
        self.kept: dict[int, Mapping[str, torch.Tensor]] = {}

    def boxes(self, number: int, records: Sequence[dict[str, Any]]) -> Sequence[Instances]:
        """Detect boxes in the pixels of the views, and keep the feature maps while there is room."""
        if not self.plain:
            return self.model.inference(records, do_postprocess=False)
        images = self.model.preprocess_image(records)
        features = self.model.backbone(images.tensor)
        size = sum(map(_bytes_of, features.values()))
        if size <= self.keep:
            self.keep -= size
            self.kept[number] = features
        proposals, _ = self.model._propose(records, images, features, None)
        return list(call(self.model.roi_heads, images, features, proposals, None)[0])

    def masks(
        self, number: int, records: Sequence[dict[str, Any]], known: Sequence[Instances]
    ) -> Sequence[Instances]:
        """Add masks to boxes of the same views, on the feature maps that were kept or on new ones."""
        if number not in self.kept:
            return self.model.inference(records, known, do_postprocess=False)
        boxes = [one.to(self.model.device) for one in known]
        return self.model.roi_heads.forward_with_given_boxes(self.kept.pop(number), boxes)


def _merge_by_name(name: str) -> Callable[[Any, Found], list[Instances]]:
    if name not in MERGES:
        raise ConfigValueError(f"TEST.AUG.MERGE is {name!r}; it must be one of {', '.join(MERGES)}.")
    return MERGES[name]


def _view_counts(views: Sequence[View], photos: int) -> list[int]:
    return torch.bincount(torch.tensor([view.photo for view in views]), minlength=photos).tolist()


def _bytes_of(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


@contextmanager
def _without_masks(heads: nn.Module) -> Iterator[None]:
    """Have heads find boxes alone."""
    before = {name: getattr(heads, name) for name in ("mask_on", "keypoint_on") if hasattr(heads, name)}
    try:
        for name in before:
            setattr(heads, name, False)
        yield
    finally:
        for name, value in before.items():
            setattr(heads, name, value)
