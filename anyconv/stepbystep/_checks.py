"""What the functions of the notebook demand of their arguments."""

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

from anyconv._checks import integer
from anyconv._namespace import common_namespace
from anyconv._typing import Array, Namespace, Shape

Hyperparameters: TypeAlias = Mapping[str, int]


def floating_namespace(**arrays: Array) -> Namespace:
    """Return the one namespace of these arrays, which share a floating or complex dtype."""
    for name, array in arrays.items():
        xp = common_namespace(**{name: array})
        if not xp.isdtype(array.dtype, ("real floating", "complex floating")):
            raise TypeError(
                f"`{name}` must be floating or complex, got {array.dtype}; convert it first, "
                f"images for example with xp.astype({name}, xp.float32) / 255"
            )
    return common_namespace(**arrays)


def four_sizes(name: str, array: Array, axes: str, *, least: int = 0) -> Shape:
    """Return the four sizes of an array whose axes are these, the first of at least so much."""
    shape = tuple(array.shape)
    if len(shape) != 4:
        raise ValueError(f"`{name}` must have four axes, {axes}, got shape {shape}")
    if shape[0] < least or min(shape[1:]) < 1:
        raise ValueError(f"`{name}` must not be empty along {axes}, got shape {shape}")
    return shape


def require_one_element(name: str, array: Array, shape: str) -> None:
    """Raise unless an array holds one number."""
    if math.prod(array.shape) != 1:
        raise ValueError(
            f"`{name}` must hold one number, shape {shape}, got shape {tuple(array.shape)}"
        )


def hyperparameter(hparameters: Hyperparameters, key: str, *, minimum: int) -> int:
    """Return one of the hyperparameters."""
    if not isinstance(hparameters, Mapping):
        raise TypeError(f"`hparameters` must be a dict, got {type(hparameters).__name__}")
    if key not in hparameters:
        raise ValueError(f"`hparameters` must have the key {key!r}, got {list(hparameters)}")
    return integer(f'hparameters["{key}"]', hparameters[key], minimum=minimum)


def unpacked(cache: Any, maker: str, parts: tuple[str, ...]) -> tuple[Any, ...]:
    """Return the parts of a cache."""
    if not isinstance(cache, tuple | list) or len(cache) != len(parts):
        found = f"{len(cache)} parts" if isinstance(cache, tuple | list) else type(cache).__name__
        raise ValueError(
            f"`cache` must be the ({', '.join(parts)}) that `{maker}` returned, got {found}"
        )
    return tuple(cache)


def output_size(name: str, size: list[int], kernel: list[int], stride: int, pad: int) -> Shape:
    """Return (n_H, n_W), rounded down."""
    for n, f in zip(size, kernel, strict=True):
        if f > n + 2 * pad:
            raise ValueError(
                f"`{name}` must not be larger than the padded images: {f} cells do not fit into "
                f"{n} + 2 * {pad} = {n + 2 * pad}"
            )
    return tuple((n + 2 * pad - f) // stride + 1 for n, f in zip(size, kernel, strict=True))
