"""Compiled loops over windows of NumPy's arrays, for what is elementwise: there NumPy reads and
writes memory once for every tap. They are there where Numba can be imported, which is done when
they are first asked for.

Arrays are canonical, `x (n, *spatial, c)` and `y (n, *output, c)`; each axis of windows is an
`AxisLoop`, one to three of them. Taps on no cell of x are left out.
"""

import sys
from collections.abc import Sequence
from functools import cache, lru_cache
from math import gcd, prod
from types import ModuleType
from typing import NamedTuple

from anyconv._namespace._jobs import Job
from anyconv._typing import Array, Namespace, Shape

MOST_AXES = 3
# Neighbours in memory that a loop had better take at once; fewer where four times as many are
# added together.
LONG_RUN, LONG_RUN_OF_FOUR = 256, 64
ALIGNMENT = 64
# The lines of a core's first cache that may have one place in common, and the bytes in which lines
# have places of their own.
CACHE_WAYS, CACHE_WAY = 12, 4096
# So many channels are worth taking by themselves, for four outputs by several taps at once.
FEWEST_BY_FOUR = 16
# In pooling the columns of so many elements are combined at once, unless windows share none and
# there are so many channels.
IN_CACHE, MANY_CHANNELS = 4096, 32
# Cells of fewer channels are not worth looking up the windows of.
FEWEST_GATHERED = 64


class AxisLoop(NamedTuple):
    """Windows along one axis: tap k of window o is on cell `stride * o + dilation * k + start`."""

    outputs: int
    taps: int
    stride: int
    dilation: int
    start: int
    cells: int

    @property
    def window(self) -> int:
        """The cells from a window's first tap to its last."""
        return (self.taps - 1) * self.dilation + 1


@cache
def why_no_compiled_loops() -> str | None:
    """What Numba says where it cannot be imported, or None where it can."""
    try:
        _loops()
    except Exception as error:  # it refuses versions of NumPy in several ways
        return str(error)
    return None


@cache
def _loops() -> ModuleType:
    from numba import config

    from anyconv._namespace import _loops

    if config.DISABLE_JIT:
        raise ImportError("NUMBA_DISABLE_JIT is set")
    return _loops


# So often a thread looks whether others are done, in about a fifth of a millisecond; and one that
# is done leaves the interpreter's lock to it for a hundredth.
LOOKS, LINGERS = 500_000, 20_000


def wait_awake(flags: Array) -> bool:
    """Whether all flags were set within a moment, for which the lock is left to others.

    Where nothing has been compiled yet it is not waited at all.
    """
    if "anyconv._namespace._loops" not in sys.modules:
        return False
    from anyconv._namespace import _waiting_loops

    done: bool = _waiting_loops.wait(flags, LOOKS)
    return done


def tell_awake(flags: Array, index: int) -> None:
    """Set one flag for threads that wait for it."""
    if "anyconv._namespace._loops" not in sys.modules:
        flags[index] = 1
        return
    from anyconv._namespace import _waiting_loops

    _waiting_loops.tell(flags, index, LINGERS)


def zeros_of_whole_numbers(count: int) -> Array:
    """Flags for `wait_awake`, an array of NumPy's."""
    import numpy

    return numpy.zeros(count, dtype=numpy.int64)


def outputs_together(channels: int, stride: int, *, are_summed: bool = False) -> int:
    """How many outputs of a row are best taken at once, for which factors must be repeated."""
    if stride > 1 or (are_summed and channels >= FEWEST_BY_FOUR):
        return 1  # their cells are no neighbours, or four outputs are taken by several taps
    return max((LONG_RUN_OF_FOUR if are_summed else LONG_RUN) // channels, 1)


def repeated_factors(w: Array, together: int, *, xp: Namespace) -> Array:
    """Factors `(taps, c)` as `(taps, together * c)`, where a processor likes to read vectors."""
    taps, c = w.shape
    itemsize = w.dtype.itemsize
    room = xp.empty(taps * together * c + ALIGNMENT // itemsize, dtype=w.dtype)
    skipped = -room.ctypes.data % ALIGNMENT // itemsize
    factors = xp.reshape(room[skipped : skipped + taps * together * c], (taps, together, c))
    factors[...] = w[:, None, :]
    return xp.reshape(factors, (taps, together * c))


def products_job(y: Array, x: Array, w: Array, axes: Sequence[AxisLoop]) -> Job:
    """`y = sum_t x_t * w_t`, of factors `(taps, together * c)`; y is written to."""
    x = _walkable(x)
    given = _flat(y), _flat(x), _flat(w), *_walk(x, y, axes), *_widths(w, x, y, axes)
    return Job(_loops().products, given)


def products_data_job(x: Array, y: Array, w: Array, axes: Sequence[AxisLoop]) -> Job:
    """The adjoint in x, added to it: `x_t += y * w_t`."""
    y = _walkable(y)
    given = _flat(x), _flat(y), _flat(w), *_walk(x, y, axes), *_widths(w, x, y, axes)
    return Job(_loops().products_data, given)


def products_weight_job(w: Array, x: Array, y: Array, axes: Sequence[AxisLoop]) -> Job:
    """The adjoint in w `(taps, together * c)`, added to it: `w_t += sum x_t * y`."""
    by_rows = w.shape[-1] > y.shape[-1]  # else one sum would do the work of several
    x, y = _walkable(x, by_rows=by_rows), _walkable(y, by_rows=by_rows)
    given = _flat(w), _flat(x), _flat(y), *_walk(x, y, axes), *_widths(w, x, y, axes)
    return Job(_loops().products_weight, given)


def slides(axes: Sequence[AxisLoop], channels: int, itemsize: int) -> bool:
    """Whether windows slide along rows of cells in registers, a vector of channels at a time.

    The cells that rows of windows share have to be found again in a core's first cache, where those
    at a distance of a power of two are in one another's way.
    """
    from anyconv._namespace._tile_loops import VECTOR_BYTES, has_fused_vectors

    if not has_fused_vectors() or channels * itemsize < VECTOR_BYTES:
        return False
    rows = prod(axis.taps for axis in axes[:-1])
    lines = CACHE_WAYS * CACHE_WAY // gcd(channels * itemsize, CACHE_WAY)
    return rows * axes[-1].cells <= lines


def slide_products_job(y: Array, x: Array, w: Array, axes: Sequence[AxisLoop]) -> Job:
    """`y = sum_t x_t * w_t`, of factors `(taps, c)`, by windows that slide."""
    x = _walkable(x)
    return Job(_slide_loops().products, (_flat(y), _flat(x), _flat(w), *_walk(x, y, axes)))


def slide_products_weight_job(w: Array, x: Array, y: Array, axes: Sequence[AxisLoop]) -> Job:
    """The adjoint in w, added to it."""
    x, y = _walkable(x), _walkable(y)
    return Job(_slide_loops().products_weight, (_flat(w), _flat(x), _flat(y), *_walk(x, y, axes)))


@cache
def _slide_loops() -> ModuleType:
    from anyconv._namespace import _slide_loops

    return _slide_loops


def goes_by_four(channels: int, stride: int, dilation: int) -> bool:
    """Whether four outputs of a row are taken at once, by taps that share cells."""
    return channels >= FEWEST_BY_FOUR and stride <= 2 and dilation == 1


def plane_products_job(y: Array, x: Array, w: Array, axes: Sequence[AxisLoop]) -> Job:
    """`y = sum_t x_t * w_t` of a single channel and stride one along a row, of factors `(taps,)`.

    Real or complex; y, whose rows lie without gaps, is written to.
    """
    x = _walkable(x, by_rows=True)
    table, _ = _walk(x, y, axes)
    if w.dtype.kind == "c":
        real = w.real.dtype
        parts = tuple(_flat(a).view(real) for a in (y, x, w))
        return Job(_loops().plane_products_complex, (*parts, table))
    return Job(_loops().plane_products, (_flat(y), _flat(x), _flat(w), table))


def unfold_windows(u: Array, x: Array, axes: Sequence[AxisLoop]) -> None:
    """Each window as a row, `u (n, *output, taps * c)`; zero where a tap is on no cell."""
    x = _walkable(x)
    _loops().unfold(_flat(u), _flat(x), _walk(x, u, axes)[0], x.shape[-1])


def fold_windows(x: Array, u: Array, axes: Sequence[AxisLoop]) -> None:
    """The adjoint, added to x."""
    _loops().fold(_flat(x), _flat(u), _walk(x, u, axes)[0], x.shape[-1])


def columns_at_once(axis: AxisLoop, channels: int) -> int:
    """How many outputs of a row are best pooled at once, so that few windows reach over their end.

    It is one where most cells lie between windows.
    """
    if axis.stride >= 2 * axis.window:
        return 1
    least = 4 * axis.window // axis.stride if axis.stride < axis.window else 1
    return max(IN_CACHE // (axis.stride * channels), least)


def pooling_room(axis: AxisLoop, channels: int) -> int:
    """The elements that are held then: maxima, and as many whole numbers."""
    most = columns_at_once(axis, channels)
    return 2 * channels * (most + (most - 1) * axis.stride + axis.window)


def _columns_or_none(axis: AxisLoop, channels: int) -> int:
    """The same, or zero where the columns of windows are not worth forming."""
    pays = axis.stride < axis.window or channels < MANY_CHANNELS
    return columns_at_once(axis, channels) if pays else 0


def sums_job(y: Array, x: Array, axes: Sequence[AxisLoop]) -> Job:
    """The sum over each window, written to y."""
    x, y = _in_parts(_walkable(x, by_rows=True)), _in_parts(y)
    most = _columns_or_none(axes[-1], x.shape[-1])
    return Job(_loops().sums, (_flat(y), _flat(x), *_walk(x, y, axes), most))


def sums_adjoint_job(x: Array, y: Array, axes: Sequence[AxisLoop], *, sets: bool) -> Job:
    """The adjoint, added to x; it `sets` x where each cell is in one window."""
    x, y = _in_parts(x), _in_parts(_walkable(y))
    most = _columns_or_none(axes[-1], x.shape[-1])
    return Job(_loops().sums_adjoint, (_flat(x), _flat(y), *_walk(x, y, axes), most, sets))


def maxima_job(y: Array, x: Array, axes: Sequence[AxisLoop]) -> Job:
    """The maximum of each window, written to y; NaN wins."""
    x = _walkable(x, by_rows=True)
    most = _columns_or_none(axes[-1], x.shape[-1])
    return Job(_loops().maxima, (_flat(y), _flat(x), *_walk(x, y, axes), most))


def winners_job(places: Array, x: Array, axes: Sequence[AxisLoop], before: int) -> Job:
    """The flat position in its plane of the first maximum of each window, written to `places`.

    So many cells of the plane are before those of x.
    """
    if not x.flags.c_contiguous:  # so that a cell's place is where it lies
        x = _copy(x)
    most = columns_at_once(axes[-1], x.shape[-1])
    return Job(
        _winner_loops().winners, (_flat(places), _flat(x), *_walk(x, places, axes), most, before)
    )


def maximum_gradient_job(
    dx: Array, dy: Array, x: Array, axes: Sequence[AxisLoop], *, sets: bool
) -> Job:
    """The gradient of the first maximum of each window, added to dx; it `sets` dx as above."""
    most = columns_at_once(axes[-1], x.shape[-1])
    return Job(_winner_loops().maximum_gradient, (*_gradient_walk(dx, x, dy, axes), most, sets))


def gathered_gradient_job(dx: Array, dy: Array, x: Array, axes: Sequence[AxisLoop]) -> Job:
    """The same of one or two axes, written to all cells."""
    walk = _gradient_walk(dx, x, dy, axes)
    return Job(_winner_loops().gathered_gradient, (*walk, _rows_kept(axes)))


def gathering_room(axes: Sequence[AxisLoop], channels: int) -> int | None:
    """The numbers of four bytes that are held then; None where it cannot be or does not pay."""
    if len(axes) > 2 or channels < FEWEST_GATHERED:
        return None
    return (_rows_kept(axes) * axes[-1].outputs + 4) * channels + 8 * axes[-1].cells * axes[-1].taps


def _rows_kept(axes: Sequence[AxisLoop]) -> int:
    """The rows of windows that see one row of cells, and one more."""
    return axes[0].window // axes[0].stride + 2 if len(axes) > 1 else 1


def maxima_gradient_job(
    dx: Array, dy: Array, x: Array, axes: Sequence[AxisLoop], *, sets: bool, ties: bool
) -> Job:
    """The same window by window and tap by tap, or with `ties` the gradient of all maxima."""
    return Job(_winner_loops().maxima_gradient, (*_gradient_walk(dx, x, dy, axes), sets, ties))


def clear_job(x: Array) -> Job:
    """Zeros, written to x."""
    return Job(_row_loops().clear, (_flat(x), *_rows(x)))


def add_to_channels_job(y: Array, b: Array) -> Job:
    """One number for each channel, added to y."""
    return Job(_row_loops().add_to_channels, (_flat(y), _flat(b), *_rows(y, joins=False)))


def divide_job(y: Array, by: Array) -> Job:
    """The numbers `by`, `(1,)` or one for each output of an image, by which y is divided."""
    y = _in_parts(y)
    return Job(_row_loops().divide, (_flat(y), _flat(by), *_rows(y, joins=by.size == 1)))


def quotients_job(z: Array, y: Array, by: Array) -> Job:
    """The same of y, written to z, which lies without gaps."""
    z, y = _in_parts(z), _in_parts(_walkable(y))
    rows = _rows(y, joins=by.size == 1)
    return Job(_row_loops().quotients, (_flat(z), _flat(y), _flat(by), *rows))


@cache
def _winner_loops() -> ModuleType:
    from anyconv._namespace import _winner_loops

    return _winner_loops


@cache
def _row_loops() -> ModuleType:
    from anyconv._namespace import _row_loops

    return _row_loops


def _rows(x: Array, *, joins: bool = True) -> tuple[Array, int]:
    """The sizes and steps of the first axis and of others but the last, and the length of that.

    An array without gaps is a single row, if it may be joined.
    """
    if joins and x.flags.c_contiguous:
        return _table_of_rows((), ()), x.size
    *steps, _ = _steps(x)
    return _table_of_rows(x.shape[:-1], tuple(steps)), x.shape[-1]


@lru_cache(maxsize=256)
def _table_of_rows(sizes: Shape, steps: Shape) -> Array:
    import numpy

    first, missing = list(zip(sizes, steps, strict=True)), [(1, 0)] * (MOST_AXES + 1 - len(sizes))
    return numpy.asarray([*first[:1], *missing, *first[1:]], dtype=numpy.int64)


def _gradient_walk(
    dx: Array, x: Array, dy: Array, axes: Sequence[AxisLoop]
) -> tuple[Array, Array, Array, Array, int]:
    """Flat arrays, x lying as dx does, and how the loops go through them."""
    dy = _walkable(dy)
    if x.strides != dx.strides:
        x = _copy_like(x, dx)
    return _flat(dx), _flat(x), _flat(dy), *_walk(x, dy, axes)


def _walk(x: Array, y: Array, axes: Sequence[AxisLoop]) -> tuple[Array, int]:
    """How the loops go through x and y, and their channels."""
    (*x_steps, _), (*y_steps, _) = _steps(x), _steps(y)
    images = AxisLoop(y.shape[0], 1, 1, 1, 0, x.shape[0])
    return _table((images, *axes), tuple(x_steps), tuple(y_steps)), y.shape[-1]


@lru_cache(maxsize=256)
def _table(axes: tuple[AxisLoop, ...], x_steps: Shape, y_steps: Shape) -> Array:
    """Images and axes with their steps in memory, between them as many axes as are missing."""
    import numpy

    images, *others = ((*axis, *steps) for axis, *steps in zip(axes, x_steps, y_steps, strict=True))
    missing = [(1, 1, 1, 1, 0, 1, 0, 0)] * (MOST_AXES - len(others))
    return numpy.asarray([images, *missing, *others], dtype=numpy.int64)


def _widths(w: Array, x: Array, y: Array, axes: Sequence[AxisLoop]) -> tuple[int, int, bool]:
    """The distance of factors from tap to tap, and how outputs of a row are taken."""
    c, width, inner = y.shape[-1], w.shape[-1], axes[-1]
    are_neighbours = x.strides[-2] == y.strides[-2] == c * y.itemsize
    by_four = goes_by_four(c, inner.stride, inner.dilation)
    return width, width // c if are_neighbours else 1, by_four


def _steps(x: Array) -> list[int]:
    return [stride // x.itemsize for stride in x.strides]


def _flat(x: Array) -> Array:
    """All memory from the first element of an array to its last, a view."""
    import numpy

    if x.flags.c_contiguous:
        return x.reshape(-1)
    span = 1 + sum((n - 1) * step for n, step in zip(x.shape, _steps(x), strict=True))
    return numpy.lib.stride_tricks.as_strided(x, (span if x.size else 0,), (x.itemsize,))


def _walkable(x: Array, *, by_rows: bool = False) -> Array:
    """X itself, or a copy, with a cell's channels side by side and no axis that runs backwards.

    With `by_rows` the cells of a row are side by side as well.
    """
    size, channels = x.itemsize, x.shape[-1]
    is_walkable = x.flags.aligned and all(s >= 0 and s % size == 0 for s in x.strides)
    are_beside = x.strides[-1] == size and (not by_rows or x.strides[-2] == channels * size)
    return x if is_walkable and are_beside else _copy(x)


def _in_parts(x: Array) -> Array:
    """A view with the two parts of a complex number as channels."""
    return x.view(x.real.dtype) if x.dtype.kind == "c" else x


def _copy(x: Array) -> Array:
    import numpy

    return numpy.array(x, order="C")


def _copy_like(x: Array, other: Array) -> Array:
    """A copy of x with the strides of another array of its shape."""
    import numpy

    room = numpy.empty(_flat(other).size, dtype=x.dtype)
    steps = [step * x.itemsize for step in _steps(other)]
    copy = numpy.lib.stride_tricks.as_strided(room, x.shape, steps)
    copy[...] = x
    return copy
