"""Jobs of pooling: sums, maxima, where these are, and all gradients."""

from collections.abc import Sequence

from anyconv._compiled._jobs import Job
from anyconv._compiled._numba import loops
from anyconv._compiled._walks import copied, copied_like, flat, in_parts, walk, walkable
from anyconv._geometry import AxisLoop
from anyconv._typing import Array

# In pooling the columns of so many elements are combined at once, unless windows share none and
# there are so many channels.
IN_CACHE, MANY_CHANNELS = 4096, 32
# Cells of fewer channels are not worth looking up the windows of.
FEWEST_GATHERED = 64


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
    x, y = in_parts(walkable(x, by_rows=True)), in_parts(y)
    most = _columns_or_none(axes[-1], x.shape[-1])
    return Job(loops("pool").sums, (flat(y), flat(x), *walk(x, y, axes), most))


def sums_adjoint_job(x: Array, y: Array, axes: Sequence[AxisLoop], *, sets: bool) -> Job:
    """The adjoint, added to x; it `sets` x where each cell is in one window."""
    x, y = in_parts(x), in_parts(walkable(y))
    most = _columns_or_none(axes[-1], x.shape[-1])
    return Job(loops("pool").sums_adjoint, (flat(x), flat(y), *walk(x, y, axes), most, sets))


def maxima_job(y: Array, x: Array, axes: Sequence[AxisLoop]) -> Job:
    """The maximum of each window, written to y; NaN wins."""
    x = walkable(x, by_rows=True)
    most = _columns_or_none(axes[-1], x.shape[-1])
    return Job(loops("pool").maxima, (flat(y), flat(x), *walk(x, y, axes), most))


def winners_job(places: Array, x: Array, axes: Sequence[AxisLoop], before: int) -> Job:
    """The flat position in its plane of the first maximum of each window, written to `places`.

    So many cells of the plane are before those of x.
    """
    if not x.flags.c_contiguous:  # so that a cell's place is where it lies
        x = copied(x)
    most = columns_at_once(axes[-1], x.shape[-1])
    return Job(
        loops("winner").winners, (flat(places), flat(x), *walk(x, places, axes), most, before)
    )


def maximum_gradient_job(
    dx: Array, dy: Array, x: Array, axes: Sequence[AxisLoop], *, sets: bool
) -> Job:
    """The gradient of the first maximum of each window, added to dx; it `sets` dx as above."""
    most = columns_at_once(axes[-1], x.shape[-1])
    return Job(loops("winner").maximum_gradient, (*_gradient_walk(dx, x, dy, axes), most, sets))


def gathered_gradient_job(dx: Array, dy: Array, x: Array, axes: Sequence[AxisLoop]) -> Job:
    """The same of one or two axes, written to all cells."""
    given = _gradient_walk(dx, x, dy, axes)
    return Job(loops("winner").gathered_gradient, (*given, _rows_kept(axes)))


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
    return Job(loops("winner").maxima_gradient, (*_gradient_walk(dx, x, dy, axes), sets, ties))


def _gradient_walk(
    dx: Array, x: Array, dy: Array, axes: Sequence[AxisLoop]
) -> tuple[Array, Array, Array, Array, int]:
    """Flat arrays, x lying as dx does, and how the loops go through them."""
    dy = walkable(dy)
    if x.strides != dx.strides:
        x = copied_like(x, dx)
    return flat(dx), flat(x), flat(dy), *walk(x, dy, axes)
