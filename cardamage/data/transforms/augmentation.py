"""What turns an image into a (random) transform, and the input that transforms are applied to.

An :class:`Augmentation` looks at its input, draws from numpy's global random state and returns a
deterministic fvcore ``Transform``, which then fits everything that belongs to the image: boxes, polygons,
masks.
"""

from __future__ import annotations

import inspect
import pprint
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from fvcore.transforms.transform import Transform, TransformList

__all__ = [
    "AugInput",
    "Augmentation",
    "AugmentationList",
    "StandardAugInput",
    "TransformGen",
    "apply_augmentations",
    "apply_transform_gens",
    "decides_by_size",
]

_Method = TypeVar("_Method", bound=Callable[..., Transform])


def decides_by_size(get_transform: _Method) -> _Method:
    """Mark a :meth:`Augmentation.get_transform` that looks at its image's shape, never at its pixels.

    It may then be given an array without the pixels, of a picture that isn't decoded yet.
    """
    get_transform.decides_by_size = True  # type: ignore[attr-defined]
    return get_transform


class Augmentation:
    """A policy that makes a transform from an image (and boxes, if it asks for them).

    Subclasses write :meth:`get_transform`; its parameter names say which attributes of the input it needs.
    """

    input_args: tuple[str, ...] | None = None
    """Names of the input's attributes handed to :meth:`get_transform`; read off its signature when None."""

    if TYPE_CHECKING:  # attributes come from constructor arguments, see _init

        def __getattr__(self, name: str) -> Any: ...

    def _init(self, params: dict[str, Any] | None = None) -> None:
        """Keep constructor arguments as attributes: ``self._init(locals())``."""
        for name, value in (params or {}).items():
            if name != "self" and not name.startswith("_"):
                setattr(self, name, value)

    def get_transform(self, *args: Any) -> Transform:
        """Decide on a transform.

        Args:
            args: the attributes named by :attr:`input_args`: ``image`` (H, W[, C]) uint8 or floating,
                ``boxes`` (N, 4) XYXY in pixels, ``sem_seg`` (H, W) uint8.

        Returns:
            A deterministic transform.
        """
        raise NotImplementedError

    def __call__(self, aug_input: Any) -> Transform:
        """Transform the input in place.

        Args:
            aug_input: an :class:`AugInput` or anything with the needed attributes and ``transform(tfm)``.

        Returns:
            The transform that was applied.

        Raises:
            TypeError: If :meth:`get_transform` returned something else.
        """
        tfm = self.get_transform(*self._arguments(aug_input))
        if not isinstance(tfm, Transform):
            raise TypeError(
                f"{type(self).__name__}.get_transform returned {type(tfm).__name__}, not a Transform."
            )
        aug_input.transform(tfm)
        return tfm

    def _arguments(self, aug_input: Any) -> list[Any]:
        if self.input_args is None:
            self.input_args = self._wanted()
        names = self.input_args
        # A subclass's own method isn't marked, whatever its parent's is.
        if getattr(self.get_transform, "decides_by_size", False) and hasattr(aug_input, "canvas"):
            names = tuple("canvas" if name == "image" else name for name in names)
        for name in names:
            if not hasattr(aug_input, name):
                raise AttributeError(
                    f"{type(self).__name__} needs the input's '{name}', which "
                    f"{type(aug_input).__name__} lacks."
                )
        return [getattr(aug_input, name) for name in names]

    def _wanted(self) -> tuple[str, ...]:
        parameters = inspect.signature(self.get_transform).parameters.values()
        if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters) and len(parameters) > 1:
            raise TypeError(
                f"{type(self).__name__}.get_transform takes * arguments, so its inputs are unknown; "
                "name them, or write __call__ instead."
            )
        # A single parameter, whatever its name, has always meant the image.
        return ("image",) if len(parameters) == 1 else tuple(p.name for p in parameters)

    def _rand_range(self, low: float = 1.0, high: float | None = None, size: Any = None) -> Any:
        """Uniform number in [low, high), or [0, low) when only one bound is given."""
        low, high = (0, low) if high is None else (low, high)
        return np.random.uniform(low, high, [] if size is None else size)

    def __repr__(self) -> str:
        parameters = inspect.signature(type(self).__init__).parameters
        shown = []
        for name, parameter in list(parameters.items())[1:]:
            variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
            if variadic or not hasattr(self, name):
                return super().__repr__()
            value = getattr(self, name)
            if value is not parameter.default:
                text = pprint.pformat(value)
                shown.append(f"{name}={'...' if chr(10) in text else text}")
        return f"{type(self).__name__}({', '.join(shown)})"

    __str__ = __repr__


class _Fixed(Augmentation):
    """A given transform as an augmentation."""

    def __init__(self, tfm: Transform) -> None:
        self.tfm = tfm

    @decides_by_size
    def get_transform(self, *args: Any) -> Transform:
        return self.tfm

    def __repr__(self) -> str:
        return repr(self.tfm)

    __str__ = __repr__


def as_augmentation(item: Augmentation | Transform) -> Augmentation:
    """Wrap a transform as an augmentation; augmentations pass.

    Args:
        item: a transform or an augmentation.

    Returns:
        An augmentation.

    Raises:
        TypeError: If it is neither.
    """
    if isinstance(item, Augmentation):
        return item
    if isinstance(item, Transform):
        return _Fixed(item)
    raise TypeError(f"An augmentation or a Transform is needed here; got {type(item).__name__}.")


class AugmentationList(Augmentation):
    """Augmentations applied one after the other, each seeing what the ones before it made."""

    def __init__(self, augs: Sequence[Augmentation | Transform]) -> None:
        """Keep the augmentations.

        Args:
            augs: augmentations or fixed transforms, in order.
        """
        self.augs = [as_augmentation(aug) for aug in augs]

    def __call__(self, aug_input: Any) -> TransformList:
        """Transform the input in place.

        Args:
            aug_input: see :meth:`Augmentation.__call__`.

        Returns:
            All the transforms that were applied.
        """
        return TransformList([aug(aug_input) for aug in self.augs])

    def __repr__(self) -> str:
        return f"AugmentationList[{', '.join(map(str, self.augs))}]"

    __str__ = __repr__


class AugInput:
    """An image with what augmentations may need to see beside it."""

    def __init__(
        self, image: np.ndarray, *, boxes: np.ndarray | None = None, sem_seg: np.ndarray | None = None
    ) -> None:
        """Keep the arrays.

        Args:
            image: (H, W) or (H, W, C), uint8 in [0, 255] or floating.
            boxes: (N, 4) XYXY in pixels, or None.
            sem_seg: (H, W) uint8 labels, or None.

        Raises:
            TypeError: If the image isn't such an array.
        """
        if not isinstance(image, np.ndarray):
            raise TypeError(f"An image must be a numpy array; got {type(image).__name__}.")
        if (
            image.dtype != np.uint8
            and not np.issubdtype(image.dtype, np.floating)
            or image.ndim not in (2, 3)
        ):
            raise TypeError(
                f"An image must be (H, W) or (H, W, C), uint8 or floating; got {image.shape} of "
                f"{image.dtype}."
            )
        self.image = image
        self.boxes = boxes
        self.sem_seg = sem_seg

    def transform(self, tfm: Transform) -> None:
        """Replace every attribute by its transformed self.

        Args:
            tfm: the transform.
        """
        self.image = tfm.apply_image(self.image)
        if self.boxes is not None:
            self.boxes = tfm.apply_box(self.boxes)
        if self.sem_seg is not None:
            self.sem_seg = tfm.apply_segmentation(self.sem_seg)

    def apply_augmentations(self, augmentations: Sequence[Augmentation | Transform]) -> TransformList:
        """Apply several augmentations in place.

        Args:
            augmentations: in order.

        Returns:
            The transforms that were applied.
        """
        return AugmentationList(augmentations)(self)


def apply_augmentations(
    augmentations: Sequence[Augmentation | Transform], inputs: np.ndarray | AugInput
) -> tuple[Any, TransformList]:
    """Apply augmentations to an image or an input.

    Args:
        augmentations: in order.
        inputs: an image array, or an :class:`AugInput`, which is changed in place.

    Returns:
        The transformed image (or the input), and the transforms.
    """
    if isinstance(inputs, np.ndarray):
        wrapped = AugInput(inputs)
        tfms = wrapped.apply_augmentations(augmentations)
        return wrapped.image, tfms
    return inputs, inputs.apply_augmentations(augmentations)


apply_transform_gens = apply_augmentations
TransformGen = Augmentation
StandardAugInput = AugInput
