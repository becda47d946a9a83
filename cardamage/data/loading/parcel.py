"""A batch in one piece of memory, for its way from a worker process to the device.

Torch sends every tensor of a batch as a shared memory file of its own, which costs a file descriptor and a
connection each, and pins and copies each for itself. Here the tensors of a batch lie in one buffer: one file,
one pinning, one copy. What is left is a small pickle that says where in the buffer each of them is.
"""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.reduction import ForkingPickler
from typing import Any

import torch

from cardamage.data.loading.slabs import Slab, borrow, take
from cardamage.structures import BitMasks, Instances, PolygonMasks

__all__ = ["Parcel", "pack_masks"]

# Bytes; suits vectorized loads of any type.
_ALIGNMENT = 512
_Place = tuple[str, int, torch.dtype, tuple[int, ...]]


class Parcel:
    """A batch as a pickle and the tensors it speaks of, those for the device before those that stay.

    The device gets what is large and used there: pictures, packed polygons and bitmaps. Boxes and classes
    are padded on the host first.
    """

    def __init__(
        self, pickled: bytes, buffer: torch.Tensor, travelling: int, slab: Slab | None = None
    ) -> None:
        """Take the parts; :meth:`pack` makes them.

        Args:
            pickled: the batch without its tensors' values.
            buffer: uint8 (B,), the values.
            travelling: how many bytes, from the first on, are for the device.
            slab: the shared memory that the values are in, before they are sent.
        """
        self.pickled = pickled
        self.buffer = buffer
        self.travelling = travelling
        self.slab = slab
        self.worker: int | None = None
        self.moved: torch.Tensor | None = None

    @classmethod
    def pack(cls, batch: Any, shared: bool = False) -> Parcel:
        """Put a batch into one piece of memory.

        Args:
            batch: anything that can be pickled.
            shared: whether the memory can be sent to another process without a copy.

        Returns:
            The parcel; it shares nothing with the batch.
        """
        stream = io.BytesIO()
        pickler = _Packer(stream, {id(tensor) for tensor in _travellers(batch)})
        pickler.dump(batch)
        size = pickler.sizes["go"] + pickler.sizes["stay"]
        slab = take(size) if shared else None
        buffer = torch.empty(size, dtype=torch.uint8) if slab is None else slab.values[:size]
        start = {"go": 0, "stay": pickler.sizes["go"]}
        for tensor, (region, offset, dtype, shape) in pickler.tensors.values():
            _view(buffer, start[region] + offset, dtype, shape).copy_(tensor)
        return cls(stream.getvalue(), buffer, pickler.sizes["go"], slab)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        if self.slab is None:
            return Parcel, (self.pickled, self.buffer, self.travelling)
        return _arrived, (self.pickled, self.slab, len(self.buffer), self.travelling)

    def pin_memory(self) -> Parcel:
        """Return the parcel in pinned memory; torch's loaders call this."""
        pinned = Parcel(self.pickled, self.buffer.pin_memory(), self.travelling)
        pinned.worker = self.worker
        return pinned

    def send(self, device: torch.device) -> None:
        """Begin to copy what is for the device; from pinned memory the host doesn't wait for it."""
        self.moved = self.buffer[: self.travelling].to(device, non_blocking=True)

    def unpack(self) -> Any:
        """Return the batch; its large tensors are views of the buffer, or of what was sent to a device."""
        # Whoever keeps the boxes of many batches shouldn't keep their pictures.
        regions = {"stay": self.buffer[self.travelling :].clone()}
        regions["go"] = self.buffer if self.moved is None else self.moved
        return _Unpacker(io.BytesIO(self.pickled), regions).load()


def _arrived(pickled: bytes, slab: Slab, size: int, travelling: int) -> Parcel:
    """Return a parcel in another process than it was packed in."""
    parcel = Parcel(pickled, borrow(slab)[:size], travelling)
    parcel.worker = slab.worker
    return parcel


class _Packer(ForkingPickler):
    """A pickler that leaves the values of plain tensors out and gives each a place."""

    def __init__(self, stream: io.BytesIO, travelling: set[int]) -> None:
        super().__init__(stream, pickle.HIGHEST_PROTOCOL)
        self.travelling = travelling
        self.sizes = {"go": 0, "stay": 0}
        # By id, with the tensors themselves, so that no id is used twice.
        self.tensors: dict[int, tuple[torch.Tensor, _Place]] = {}

    def persistent_id(self, obj: Any) -> _Place | None:
        """Place a plain tensor, the same one always at the same place; None has anything else pickled."""
        if type(obj) is not torch.Tensor or not _is_plain(obj):
            return None
        if id(obj) not in self.tensors:
            region = "go" if id(obj) in self.travelling else "stay"
            place = (region, self.sizes[region], obj.dtype, tuple(obj.shape))
            size = obj.numel() * obj.element_size()
            self.sizes[region] += math.ceil(size / _ALIGNMENT) * _ALIGNMENT
            self.tensors[id(obj)] = (obj, place)
        return self.tensors[id(obj)][1]


class _Unpacker(pickle.Unpickler):
    """Puts views of the regions in the places; a tensor that was there twice is one again."""

    def __init__(self, stream: io.BytesIO, regions: Mapping[str, torch.Tensor]) -> None:
        super().__init__(stream)
        self.regions = regions
        self.views: dict[tuple[str, int, tuple[int, ...]], torch.Tensor] = {}

    def persistent_load(self, pid: _Place) -> torch.Tensor:
        region, offset, dtype, shape = pid
        return self.views.setdefault(
            (region, offset, shape), _view(self.regions[region], offset, dtype, shape)
        )


def _is_plain(tensor: torch.Tensor) -> bool:
    """Tell whether a tensor is nothing but its values; others go as torch sends them."""
    dense = tensor.layout == torch.strided and not tensor.is_quantized
    return tensor.device.type == "cpu" and dense and not tensor.requires_grad


def _view(buffer: torch.Tensor, offset: int, dtype: torch.dtype, shape: Sequence[int]) -> torch.Tensor:
    size = math.prod(shape) * dtype.itemsize
    if size == 0:
        return torch.empty(shape, dtype=dtype, device=buffer.device)
    return buffer[offset : offset + size].view(dtype).view(shape)


def _travellers(batch: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors of a list of samples that are for the device."""
    for sample in batch if isinstance(batch, (list, tuple)) else ():
        if not isinstance(sample, Mapping):
            continue
        if isinstance(sample.get("image"), torch.Tensor):
            yield sample["image"]
        masks = _masks(sample)
        if isinstance(masks, BitMasks):
            yield masks.tensor
        if isinstance(masks, PolygonMasks) and masks.packed is not None:
            table = masks.packed[0]
            yield from (table.edges, table.polygon, table.valid)


def _masks(sample: Any) -> Any:
    instances = sample.get("instances") if isinstance(sample, Mapping) else None
    return instances.get_fields().get("gt_masks") if isinstance(instances, Instances) else None


def pack_masks(batch: Any) -> Any:
    """Lay the polygons of a batch out as one table, so that no training step has to.

    Args:
        batch: a list of samples; anything else is left alone.

    Returns:
        The same batch.
    """
    samples = batch if isinstance(batch, list) else []
    found = [masks for masks in map(_masks, samples) if isinstance(masks, PolygonMasks)]
    if found:
        PolygonMasks.pack_together(found)
    return batch
