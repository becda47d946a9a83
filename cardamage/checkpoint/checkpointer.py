"""Saving and loading checkpoints so that a kill at any moment leaves a readable one."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from fvcore.common.checkpoint import Checkpointer as _FvcoreCheckpointer
from fvcore.common.checkpoint import _filter_reused_missing_keys, _IncompatibleKeys
from torch import nn

from cardamage.checkpoint.name_table import fold_names, mismatch_table
from cardamage.checkpoint.reading import check_file, read_checkpoint, split_query
from cardamage.errors import CheckpointError, DownloadError
from cardamage.utils.file_io import PathManager
from cardamage.utils.files import atomic_write

__all__ = ["Checkpointer"]

logger = logging.getLogger(__name__)

TAG_FILE = "last_checkpoint"


class Checkpointer(_FvcoreCheckpointer):
    """Saves a model and other objects with state, and brings them back.

    Files are written under a temporary name and renamed, ``last_checkpoint`` too. Loading never runs code
    from a file. A file saved holds ``model``, an entry for each checkpointable, :attr:`extra_data` and what
    is given to :meth:`save`.
    """

    def __init__(
        self, model: nn.Module, save_dir: str = "", *, save_to_disk: bool = True, **checkpointables: Any
    ) -> None:
        """Tell what to save and where.

        Args:
            model: the model; of a DDP wrapper the model inside is taken.
            save_dir: the folder of the checkpoints.
            save_to_disk: whether this process saves at all.
            checkpointables: objects with ``state_dict`` and ``load_state_dict``, by the name of their entry.
        """
        super().__init__(model, save_dir, save_to_disk=save_to_disk, **checkpointables)
        self.path_manager = PathManager
        self.logger = logger
        self.extra_data: dict[str, Any] = {}
        """Entries that every file gets."""

    # ------------------------------------------------------------------ saving
    def save(self, name: str, *, tag: bool = True, **kwargs: Any) -> None:
        """Write a checkpoint.

        Args:
            name: the file's name without ``.pth``.
            tag: whether this becomes the checkpoint that a resumed training starts from.
            kwargs: further entries.

        Raises:
            CheckpointError: if it can't be written; earlier checkpoints are as they were.
        """
        if not self.save_dir or not self.save_to_disk:
            return
        data: dict[str, Any] = {"model": self._model_to_save()}
        data.update((key, item.state_dict()) for key, item in self.checkpointables.items())
        data.update(self.extra_data)
        data.update(kwargs)
        path = Path(self.save_dir) / f"{name}.pth"
        self.logger.info("Saving checkpoint to %s", path)
        try:
            with atomic_write(path, "wb") as file:
                torch.save(data, file)
            if tag:
                self.tag_last_checkpoint(path.name)
        except (OSError, RuntimeError) as error:
            raise CheckpointError(
                f"The checkpoint '{path}' can't be written ({_reason(error)}); earlier ones are intact. "
                "Free some space or set OUTPUT_DIR elsewhere, then go on with --resume."
            ) from error

    def _model_to_save(self) -> dict[str, torch.Tensor]:
        """Return the weights that evaluation uses: the averaged ones where there is an average."""
        average = self.checkpointables.get("ema")
        return average.averaged_state_dict() if average is not None else self.model.state_dict()

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        """Note which checkpoint a resumed training starts from.

        Args:
            last_filename_basename: its file name.
        """
        with atomic_write(Path(self.save_dir) / TAG_FILE) as file:
            file.write(last_filename_basename)

    def untag(self) -> None:
        """Forget the checkpoint to resume from, as a fresh training in a used folder does first."""
        if self.save_dir and self.save_to_disk:
            (Path(self.save_dir) / TAG_FILE).unlink(missing_ok=True)

    # ------------------------------------------------------------------ loading
    def load(
        self, path: str, checkpointables: list[str] | None = None, *, strict: bool | None = None
    ) -> dict[str, Any]:
        """Load a checkpoint.

        Args:
            path: a file or URL; empty loads nothing.
            checkpointables: names of the objects to restore besides the model; None restores all.
            strict: whether weights that don't fit the model are an error rather than a warning; None makes
                them one when the file has the state of other objects to restore.

        Returns:
            The entries of the file that nobody took.

        Raises:
            CheckpointError: if the file can't be read or doesn't fit, or shares no parameter with the model.
        """
        if not path:
            self.logger.info("No weights file given: the model starts from random weights.")
            return {}
        wanted = list(self.checkpointables) if checkpointables is None else checkpointables
        checkpoint = self.read(path)
        if strict is None:
            strict = any(key in checkpoint for key in wanted)
        return self._restore(checkpoint, path, wanted, strict)

    def read(self, path: str) -> dict[str, Any]:
        """Return the entries of a file or URL, among them ``model``, and load nothing.

        Raises:
            CheckpointError: if it can't be read.
        """
        path, heuristics = split_query(path)
        checkpoint = self._load_file(self._local(path))
        if heuristics:
            checkpoint["matching_heuristics"] = True
        return checkpoint

    def locate(self, path: str) -> str:
        """Return the local file of a path or address, downloaded unless it is there, and read nothing.

        Raises:
            CheckpointError: if there is none.
        """
        local = self._local(split_query(path)[0])
        check_file(Path(local))
        return local

    def resume_or_load(self, path: str, *, resume: bool = True, strict: bool | None = None) -> dict[str, Any]:
        """Go on from the last checkpoint of the folder, or load the weights of a file.

        If the last checkpoint can't be read, the newest one that can is used, with a warning.

        Args:
            path: the file to take weights from if there is nothing to resume.
            resume: whether to look for a checkpoint at all; all objects are restored from it.
            strict: as for :meth:`load`, where a file is loaded.

        Returns:
            As :meth:`load`.

        Raises:
            CheckpointError: if the folder has a last checkpoint but none that can be read, or it doesn't fit.
        """
        if not (resume and self.has_checkpoint()):
            return self.load(path, checkpointables=[], strict=strict)
        file, checkpoint = self.read_last()
        self.logger.info("Resuming from %s", file)
        return self._restore(checkpoint, file, list(self.checkpointables), True)

    def read_last(self) -> tuple[str, dict[str, Any]]:
        """Return the folder's last checkpoint that can be read: its path and its entries.

        Raises:
            CheckpointError: if there is none.
        """
        for candidate in self._resumable():
            try:
                checkpoint = self._load_file(str(candidate))
                if "iteration" not in checkpoint:
                    raise CheckpointError(
                        f"The weights file '{candidate}' holds weights but no training state."
                    )
            except CheckpointError as error:
                self.logger.warning("%s Trying the next newest checkpoint.", error)
                continue
            return str(candidate), checkpoint
        raise CheckpointError(
            f"No checkpoint in '{self.save_dir}' can be read: start again without --resume, "
            "from MODEL.WEIGHTS if you have other weights."
        )

    def get_checkpoint_file(self) -> str:
        """Return the path of the folder's last checkpoint; empty where none is noted, or not legibly."""
        try:
            name = (Path(self.save_dir) / TAG_FILE).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return ""
        return os.path.join(self.save_dir, name) if name else ""

    def _resumable(self) -> Iterator[Path]:
        """Yield the tagged checkpoint, then the others of the folder from the newest."""
        tagged = Path(self.get_checkpoint_file())
        if tagged.name:
            yield tagged
        else:
            note = Path(self.save_dir) / TAG_FILE
            self.logger.warning("'%s' can't be read. Trying the newest checkpoint.", note)
        others = [file for file in Path(self.save_dir).glob("*.pth") if file != tagged]
        yield from sorted(others, key=lambda file: file.stat().st_mtime, reverse=True)

    def _local(self, path: str) -> str:
        """Return a path on this machine, downloading a URL."""
        if os.path.exists(path) or "://" not in path:
            return path
        try:
            local = str(self.path_manager.get_local_path(path))
        except CheckpointError:
            raise
        except DownloadError as error:
            raise CheckpointError(f"The weights {error}") from error
        except Exception as error:  # whatever the download raises, the user needs the one sentence
            raise CheckpointError(
                f"The weights '{path}' can't be downloaded ({_reason(error)}): check the address and the "
                "network, or download the file elsewhere, copy it to this machine and give its path instead."
            ) from error
        if local == path:
            raise CheckpointError(
                f"The weights '{path}' can't be fetched: give a path, or an address that begins with "
                "https://, http://, detectron2://, catalog:// or torchvision://."
            )
        return local

    def _load_file(self, f: str) -> dict[str, Any]:
        self.logger.info("Loading weights from %s", f)
        return read_checkpoint(f)

    def _restore(
        self, checkpoint: dict[str, Any], path: str, wanted: list[str], strict: bool
    ) -> dict[str, Any]:
        first = _shapes(checkpoint["model"].items())
        incompatible = self._load_model(checkpoint)
        self._report(incompatible, path, strict)
        self._check_shared(incompatible, path, first)
        for key in wanted:
            if key not in checkpoint:
                if strict and not _lies_in_trainer(key, checkpoint):
                    self.logger.warning("The checkpoint '%s' has no state of '%s'.", path, key)
                continue
            try:
                self.checkpointables[key].load_state_dict(checkpoint.pop(key))
            except (ValueError, KeyError, TypeError, RuntimeError) as error:
                raise CheckpointError(
                    f"The state of '{key}' in the checkpoint '{path}' doesn't fit this training ({error}): "
                    "resume with the config it was made with."
                ) from error
        return checkpoint

    def _check_shared(self, incompatible: _IncompatibleKeys, path: str, first: str) -> None:
        """Refuse a file of another architecture, which would leave the model with its random weights."""
        own = [name for name, _ in self.model.named_parameters()]
        absent = {*incompatible.missing_keys, *(name for name, *_ in incompatible.incorrect_shapes)}
        if own and absent.issuperset(own):
            raise CheckpointError(
                f"The weights file '{path}' shares no parameter with the model (it has {first}, the model "
                f"{_shapes(self.model.named_parameters())}): use weights of the config's architecture, "
                "or leave MODEL.WEIGHTS empty to start from random weights."
            )

    def _report(self, incompatible: _IncompatibleKeys, path: str, strict: bool) -> None:
        """Log, or refuse, what of the file and the model didn't match."""
        misfits = incompatible.incorrect_shapes
        rows: dict[str, tuple[Any, Any]] = {name: (tuple(saved), tuple(own)) for name, saved, own in misfits}
        own_state = self.model.state_dict()
        for name in _filter_reused_missing_keys(self.model, incompatible.missing_keys):
            rows.setdefault(name, ("-", tuple(own_state[name].shape)))
        if strict and rows:
            names = fold_names(name for name, *_ in misfits) + fold_names(
                rows.keys() - {m[0] for m in misfits}
            )
            listed = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
            raise CheckpointError(
                f"The weights file '{path}' doesn't fit the model: {len(rows)} parameters differ ({listed}). "
                "Use the config it was trained with."
            )
        rows.update((name, ("unused", "-")) for name in incompatible.unexpected_keys)
        if rows:
            self.logger.warning(
                "Weights of '%s' that the model doesn't share:\n%s", path, mismatch_table(rows)
            )


def _lies_in_trainer(key: str, checkpoint: Mapping[str, Any]) -> bool:
    """Tell whether a state is part of the trainer's, as Detectron2 saves it."""
    trainer = checkpoint.get("trainer")
    return key in ("optimizer", "scheduler") and isinstance(trainer, Mapping) and "_trainer" in trainer


def _shapes(named: Iterable[tuple[str, Any]]) -> str:
    """Return name and shape of the first tensor."""
    name, value = next(iter(named))
    return f"{name} {tuple(value.shape)}"


def _reason(error: BaseException) -> str:
    """Return the operating system's words for an error, however deep they are wrapped."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return str(error).splitlines()[0] if str(error) else type(error).__name__
