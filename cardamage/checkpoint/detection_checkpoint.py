"""Checkpoints of detection models."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fvcore.common.checkpoint import _IncompatibleKeys
from torch import nn

from cardamage import __version__
from cardamage.checkpoint.checkpointer import Checkpointer
from cardamage.checkpoint.classes import (
    check_class_names,
    checkpoint_thing_classes,
    is_class_predictor,
    num_classes_of,
)
from cardamage.checkpoint.fitting import HEURISTICS, fit_weights
from cardamage.checkpoint.trunk import heads_without_weights, is_classifier, parts_of
from cardamage.errors import CheckpointError
from cardamage.utils import comm

__all__ = ["DetectionCheckpointer"]

# Detectron2's files may hold these; the model makes them itself.
_OPTIONAL = ("pixel_mean", "pixel_std")
_DERIVED = ("anchor_generator.cell_anchors", "class_loss.class_weights", "num_batches_tracked")

_QUERY = re.compile(rf"[?&]{HEURISTICS}=(True|False)$")


class DetectionCheckpointer(Checkpointer):
    """A :class:`Checkpointer` that knows about names, classes and ranks.

    Weights of Caffe2 (Detectron 1, MSRA), torchvision and timm are renamed. So are those of a file that says
    ``matching_heuristics``, that is loaded as ``FILE?matching_heuristics=True``, or that shares no name with
    the model: a parameter then takes the longest name that its own ends with. The log shows what went where.

    Where the file and the model count different classes, the class predictors start fresh when only weights
    are loaded, and it is an error when a training is resumed or a model evaluated. A file with a trunk alone
    leaves the heads fresh. Process 0 saves; all load.
    """

    def __init__(
        self,
        model: nn.Module,
        save_dir: str = "",
        *,
        save_to_disk: bool | None = None,
        thing_classes: Sequence[str] | None = None,
        **checkpointables: Any,
    ) -> None:
        """Tell what to save and where.

        Args:
            model: the model.
            save_dir: the folder of the checkpoints.
            save_to_disk: whether this process saves; None lets process 0 alone do it.
            thing_classes: class names, which go into every file.
            checkpointables: objects with ``state_dict`` and ``load_state_dict``, by the name of their entry.
        """
        save_to_disk = comm.is_main_process() if save_to_disk is None else save_to_disk
        super().__init__(model, save_dir, save_to_disk=save_to_disk, **checkpointables)
        self.thing_classes = list(thing_classes or [])
        self.extra_data["cardamage"] = {"version": __version__, "thing_classes": self.thing_classes}

    def read(self, path: str) -> dict[str, Any]:
        """Return the entries of a file or URL, among them ``model``, and load nothing.

        Args:
            path: the file or URL; ``?matching_heuristics=True`` at its end becomes an entry.

        Raises:
            CheckpointError: if it can't be read.
        """
        query = _QUERY.search(path)
        checkpoint = super().read(path[: query.start()] if query else path)
        if query:
            checkpoint[HEURISTICS] = query[1] == "True"
        return checkpoint

    def _local(self, path: str) -> str:
        """Download in one process of each machine; the others find the file then."""
        local, problem = path, ""
        first = comm.get_local_rank() == 0
        for turn in (first, not first):
            if turn:
                try:
                    local = super()._local(path)
                except CheckpointError as error:
                    problem = str(error)
            problem = next(filter(None, comm.all_gather(problem)), "")
            if problem:
                raise CheckpointError(problem)
        return local

    def _load_file(self, f: str) -> dict[str, Any]:
        """Read the file that process 0 reads; a rank that can't see it says so on all ranks."""
        f = comm.all_gather(f)[0]
        checkpoint, error = None, ""
        try:
            checkpoint = super()._load_file(f)
        except CheckpointError as problem:
            error = str(problem)
        errors = comm.all_gather(error)
        for rank, message in enumerate(errors):
            if message:
                where = f" (on rank {rank}: all ranks must see the same folder)" if not errors[0] else ""
                raise CheckpointError(message + where)
        assert checkpoint is not None
        return checkpoint

    def _restore(
        self, checkpoint: dict[str, Any], path: str, wanted: list[str], strict: bool
    ) -> dict[str, Any]:
        checkpoint["model"] = fit_weights(checkpoint, self.model, path)
        saved, own = num_classes_of(checkpoint["model"]), num_classes_of(self.model.state_dict())
        if saved is not None and own is not None and saved != own:
            if strict:
                raise CheckpointError(
                    f"The weights file '{path}' knows {saved} classes, the model {own}: use the data or "
                    "MODEL.ROI_HEADS.NUM_CLASSES that it was trained with."
                )
            self.logger.warning(
                "The weights file '%s' knows %d classes, the model %d: "
                "the class predictors start from fresh weights.",
                path,
                saved,
                own,
            )
        for key, state in _states_within_trainer(checkpoint).items():
            if key in wanted:
                checkpoint.setdefault(key, state)
        check_class_names(checkpoint_thing_classes(checkpoint), self.thing_classes, path, strict=strict)
        return super()._restore(checkpoint, path, wanted, strict)

    def _report(self, incompatible: _IncompatibleKeys, path: str, strict: bool) -> None:
        names = self.model.state_dict().keys()
        fresh = [] if strict else heads_without_weights(names, incompatible.missing_keys)
        if fresh:
            loaded = set(names).difference(incompatible.missing_keys)
            parts = ", ".join(parts_of(fresh, loaded))
            self.logger.info("The weights file '%s' holds a trunk: the heads start fresh (%s).", path, parts)
        missing = [name for name in incompatible.missing_keys if name not in set(fresh)]
        super()._report(incompatible._replace(missing_keys=missing), path, strict)

    def _load_model(self, checkpoint: Any) -> _IncompatibleKeys:
        classes_differ = num_classes_of(checkpoint["model"]) != num_classes_of(self.model.state_dict())
        result = super()._load_model(checkpoint)
        return _IncompatibleKeys(
            missing_keys=[
                name
                for name in result.missing_keys
                if name not in _OPTIONAL
                and not any(part in name for part in _DERIVED)
                and not (classes_differ and is_class_predictor(name) and _is_listed(name, result))
            ],
            unexpected_keys=[
                name
                for name in result.unexpected_keys
                if name not in _OPTIONAL
                and not any(part in name for part in _DERIVED)
                and not is_classifier(name)
            ],
            incorrect_shapes=[
                item
                for item in result.incorrect_shapes
                if not (classes_differ and is_class_predictor(item[0]))
            ],
        )


def _states_within_trainer(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return the states of optimizer and schedule, which Detectron2's trainer keeps among its own."""
    trainer = checkpoint.get("trainer")
    if not isinstance(trainer, Mapping):
        return {}
    places = {"optimizer": ("_trainer", "optimizer"), "scheduler": ("hooks", "LRScheduler")}
    return {key: trainer[a][b] for key, (a, b) in places.items() if b in trainer.get(a, {})}


def _is_listed(name: str, result: _IncompatibleKeys) -> bool:
    return any(name == item[0] for item in result.incorrect_shapes)
