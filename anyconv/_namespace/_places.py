"""Views of windows, and values put in their place or added there, in place where a library can."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import array_api_extra

from anyconv._namespace._kinds import device, is_cupy, is_numpy, is_torch, is_traced
from anyconv._typing import Array, DType, Index, Namespace, Shape


@lru_cache
def has_strided_views(xp: Namespace) -> bool:
    """Whether `strided_view` can show overlapping windows without a copy."""
    return is_numpy(xp) or is_cupy(xp) or is_torch(xp)


def strided_view(
    x: Array, shape: Shape, axes: Sequence[tuple[int, int]], *, xp: Namespace
) -> Array:
    """A view of `shape` whose axis j walks x's axis `axes[j][0]` in steps of `axes[j][1]` cells."""
    if is_torch(xp):
        strides = x.stride()
        steps = [strides[axis] * step for axis, step in axes]
        return x.as_strided(shape, steps, x.storage_offset())
    strides = x.strides
    steps = [strides[axis] * step for axis, step in axes]
    if is_numpy(xp) and x.flags.c_contiguous:  # in a fifth of the time
        import numpy

        return numpy.ndarray(shape, x.dtype, x, strides=steps)
    return _as_strided(xp)(x, shape, steps)


@lru_cache
def _as_strided(xp: Namespace) -> Callable[..., Array]:
    if is_cupy(xp):
        from cupy.lib.stride_tricks import as_strided
    else:
        from numpy.lib.stride_tricks import as_strided
    return as_strided  # type: ignore[no-any-return]


@lru_cache
def has_out(xp: Namespace) -> bool:
    """Whether `xp.matmul` and the like write into `out=`."""
    return is_numpy(xp) or is_cupy(xp)


def add_at(x: Array, index: Index, value: Array, *, xp: Namespace) -> Array:
    """The array with a value added to one of its slices, written in place where the library can.

    XLA on a CPU may write into x before it has read a value that was itself a slice of x (its issue
    49176). So what is traced is padded and added, for which XLA has one loop, unless cells are
    skipped: these XLA does not write in place.
    """
    if is_traced(xp):
        around = _around(x.shape, index)
        if around is None:
            return array_api_extra.at(x)[index].add(value)
        if any(map(any, around)):
            shape = tuple(n - sum(beside) for n, beside in zip(x.shape, around, strict=True))
            value = pad_constant(xp.broadcast_to(value, shape), around, 0, xp=xp)
        return x + value
    x[index] += value
    return x


def _around(shape: Shape, index: Index) -> list[tuple[int, int]] | None:
    """The cells before and after slices of an array, or None where some are skipped."""
    missing = [slice(None)] * (len(shape) - len(index) + 1)
    parts = [missing if part is ... else [part] for part in index]
    slices = chain.from_iterable(parts)
    ranges = [range(*part.indices(n)) for part, n in zip(slices, shape, strict=True)]
    if any(cells.step != 1 for cells in ranges):
        return None
    return [(cells.start, n - cells.stop) for cells, n in zip(ranges, shape, strict=True)]


def set_at(x: Array, index: Index, value: Array, *, xp: Namespace) -> Array:
    """The array with one of its slices replaced, written in place where the library can."""
    if is_traced(xp):
        return array_api_extra.at(x)[index].set(value)
    x[index] = value
    return x


def new_array(shape: Shape, dtype: DType, *, xp: Namespace) -> Array:
    """CuPy's `empty` on the current device, in two thirds of its time."""
    return _array_type(xp)(shape, dtype)


@lru_cache
def _array_type(xp: Namespace) -> Callable[..., Array]:
    if is_cupy(xp):
        from cupy import ndarray
    else:
        from numpy import ndarray
    return ndarray  # type: ignore[no-any-return]


def memory_of(x: Array) -> Any:
    """Where a CuPy array begins, `ptr`, and on which device, `device_id`."""
    return x.data


def in_order(x: Array, *, xp: Namespace) -> Array:
    """A copy that lies in row-major order, which `asarray` does not promise: it keeps a view's."""
    if is_traced(xp):
        return x
    y = xp.empty(x.shape, dtype=x.dtype, device=device(x))
    return set_at(y, (...,), x, xp=xp)


def combine_at(
    x: Array, index: Index, operation: Callable[..., Array], *values: Array, xp: Namespace
) -> Array:
    """The array with a slice replaced by `operation(*values)`, without a temporary if possible.

    One of the values may be that slice itself.
    """
    if has_out(xp):
        operation(*values, out=x[index])
        return x
    return set_at(x, index, operation(*values), xp=xp)


@lru_cache
def scatters_in_order(xp: Namespace) -> bool:
    """Whether `add_at_positions` is fast, and adds in the order given what names the same cell."""
    return is_numpy(xp)


def add_at_positions(x: Array, positions: Array, values: Array, *, xp: Namespace) -> Array:
    """A contiguous array with values added at flat positions, in place."""
    flat = xp.reshape(x, (-1,), copy=False)
    xp.add.at(flat, xp.reshape(positions, (-1,)), xp.reshape(values, (-1,)))
    return x


@lru_cache
def has_minimum_at(xp: Namespace) -> bool:
    """Whether `minimum_at` is there."""
    return is_numpy(xp) or is_traced(xp) or is_torch(xp)


def minimum_at(x: Array, positions: Array, values: Array, *, xp: Namespace) -> Array:
    """The least of an array `(cells,)` and all values at each position, perhaps in place."""
    if is_traced(xp):
        return array_api_extra.at(x)[positions].min(values)
    if is_torch(xp):
        return x.scatter_reduce_(0, positions, values, "amin")
    xp.minimum.at(x, positions, values)
    return x


def pad_constant(
    x: Array, widths: Sequence[tuple[int, int]], value: Any, *, xp: Namespace
) -> Array:
    """The array with constant cells before and after each axis."""
    if is_traced(xp):
        return array_api_extra.pad(x, widths, constant_values=value, xp=xp)
    shape = tuple(n + sum(width) for n, width in zip(x.shape, widths, strict=True))
    padded = xp.full(shape, value, dtype=x.dtype, device=device(x))
    inner = tuple(slice(before, before + n) for n, (before, _) in zip(x.shape, widths, strict=True))
    padded[(*inner, ...)] = x
    return padded
