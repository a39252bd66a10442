"""Reductions over windows, one axis after another, beside their gradients.

Arrays are canonical, `(n, *spatial, c)`; `axes` holds one `AxisWindows` for each spatial axis. The
first axis is reduced first: its cells lie furthest apart, so whole rows are combined at once, and
the later axes have less to do. `out`, where given, receives the result.
"""

from collections.abc import Iterator
from functools import lru_cache
from math import prod

from anyconv._cupy_kernels import (
    Counts,
    averages_adjoint_in_kernel,
    averages_in_kernel,
    maxima_in_kernel,
    sums_adjoint_in_kernel,
    sums_in_kernel,
    ties_gradient_in_kernel,
)
from anyconv._geometry._axis_steps import Step
from anyconv._geometry._axis_windows import AxisWindows
from anyconv._namespace import (
    add_at,
    constant,
    device,
    divide,
    has_out,
    keep_where,
    may_hold_nan,
    set_at,
)
from anyconv._pooling._axis_loops import loops_in_kernels
from anyconv._pooling._axis_reductions import (
    Reduction,
    is_short,
    maximums,
    of_cells,
    reduced,
    room,
    sums,
)
from anyconv._typing import Array, Device, DType, Index, Namespace, Shape
from anyconv._windows import along

Axes = tuple[AxisWindows, ...]

# Of axes with more windows nothing is kept that grows with them.
WORTH_KEEPING = 1024


def window_sum(x: Array, axes: Axes, *, out: Array | None = None, xp: Namespace) -> Array:
    """The sum over each window, padding counted as zero."""
    if loops := loops_in_kernels(axes, x.dtype, xp=xp):
        return put(sums_in_kernel(x, loops, xp=xp), out, xp=xp)
    if _at_once(x, axes, xp=xp):
        return put(_whole(x, axes, sums(xp)), out, xp=xp)
    for axis, windows in enumerate(axes, start=1):
        x = reduced(x, axis, windows, sums(xp), out=_last(axis, axes, out), xp=xp)
    return x


def window_sum_adjoint(dy: Array, axes: Axes, *, out: Array | None = None, xp: Namespace) -> Array:
    """The adjoint of `window_sum`: each output added to every cell of its window."""
    if all(windows.is_whole for windows in axes):
        shape = (dy.shape[0], *(windows.size for windows in axes), dy.shape[-1])
        room = xp.empty(shape, dtype=dy.dtype, device=device(dy)) if out is None else out
        return set_at(room, (...,), dy, xp=xp)
    if loops := loops_in_kernels(axes, dy.dtype, xp=xp):
        return put(sums_adjoint_in_kernel(dy, loops, xp=xp), out, xp=xp)
    for axis in range(len(axes), 0, -1):
        windows = axes[axis - 1]
        dx = gradient_room(dy, axis, windows, out, xp=xp)
        for step in windows.steps:
            to, given = along(axis, step.cells), dy[along(axis, step.outputs)]
            dx = hand_down(dx, to, given, None, alone=step.alone, xp=xp)
        dy = dx
    return dy


def window_average(
    x: Array, axes: Axes, *, counted: bool, out: Array | None = None, xp: Namespace
) -> Array:
    """The average over each window of the cells in the input, divided by those that count."""
    if loops := loops_in_kernels(axes, x.dtype, xp=xp):
        counts = _counts_in_kernels(axes, counted)
        return put(averages_in_kernel(x, loops, counts, xp=xp), out, xp=xp)
    y = window_sum(x, axes, out=out, xp=xp)
    return divide(y, window_counts(axes, y.dtype, device(y), include_padding=counted, xp=xp), xp=xp)


def window_average_adjoint(
    dy: Array, axes: Axes, *, counted: bool, out: Array | None = None, xp: Namespace
) -> Array:
    """The adjoint."""
    if loops := loops_in_kernels(axes, dy.dtype, xp=xp):
        counts = _counts_in_kernels(axes, counted)
        return put(averages_adjoint_in_kernel(dy, loops, counts, xp=xp), out, xp=xp)
    shares = dy / window_counts(axes, dy.dtype, device(dy), include_padding=counted, xp=xp)
    return window_sum_adjoint(shares, axes, out=out, xp=xp)


@lru_cache(maxsize=256)
def _counts_in_kernels(axes: Axes, counted: bool) -> Counts:
    common = [windows.common_count(include_padding=counted) for windows in axes]
    ranges = tuple(windows.counted(counted) for windows in axes)
    return Counts(prod(count or 0 for count in common), ranges)


def window_counts(
    axes: Axes, dtype: DType, where: Device, *, include_padding: bool, xp: Namespace
) -> Array | int:
    """The counted cells of each window, `(1, *output, 1)`; one number where all are equal."""
    total: Array | int = 1
    for axis, windows in enumerate(axes, start=1):
        common = windows.common_count(include_padding=include_padding)
        if common is not None:
            total = total * common
        else:
            sizes, kept = (windows, include_padding), windows.outputs <= WORTH_KEEPING
            vector = constant(_counts, sizes, dtype, where, kept=kept, xp=xp)
            total = total * xp.reshape(vector, only_along(axis, len(axes)))
    return total


def _counts(windows: AxisWindows, include_padding: bool) -> list[int]:
    return list(windows.counts(include_padding=include_padding))


def only_along(axis: int, rank: int) -> Shape:
    """The shape that lays a vector along one axis of a canonical array."""
    return tuple(-1 if a == axis else 1 for a in range(rank + 2))


def window_max(x: Array, axes: Axes, *, out: Array | None = None, xp: Namespace) -> Array:
    """The maximum over each window; NaN wins, padding never does."""
    if loops := loops_in_kernels(axes, x.dtype, xp=xp):
        return put(maxima_in_kernel(x, loops, xp=xp), out, xp=xp)
    if _at_once(x, axes, xp=xp):
        return put(_whole(x, axes, maximums(xp)), out, xp=xp)
    for axis, windows in enumerate(axes, start=1):
        x = reduced(x, axis, windows, maximums(xp), out=_last(axis, axes, out), xp=xp)
    return x


def maxima(x: Array, axes: Axes, *, xp: Namespace) -> list[Array]:
    """The array, and its maxima as each axis is reduced in turn."""
    stages = [x]
    for axis, windows in enumerate(axes, start=1):
        stages.append(reduced(stages[-1], axis, windows, maximums(xp), xp=xp))
    return stages


def max_gradient(
    dy: Array, x: Array, axes: Axes, *, split: bool, out: Array | None = None, xp: Namespace
) -> Array:
    """The output gradient handed to every maximum of each window, whole or split evenly."""
    loops = None if split else loops_in_kernels(axes, x.dtype, xp=xp)
    if loops:
        best = maxima_in_kernel(x, loops, xp=xp)
        return put(ties_gradient_in_kernel(dy, x, best, loops, xp=xp), out, xp=xp)
    stages = maxima(x, axes, xp=xp)
    has_nan = may_hold_nan(stages[-1], xp=xp)
    if split:
        dy = dy / _ties(stages, axes, dy.dtype, has_nan=has_nan, xp=xp)
    for axis in range(len(axes), 0, -1):
        windows = axes[axis - 1]
        dx = gradient_room(dy, axis, windows, out, xp=xp)
        for step, at, hits in _hits(stages, axis, windows, has_nan=has_nan):
            to = along(axis, step.cells)
            dx = hand_down(dx, to, dy[at], hits, alone=step.alone, xp=xp)
        dy = dx
    return dy


def _ties(stages: list[Array], axes: Axes, dtype: DType, *, has_nan: bool, xp: Namespace) -> Array:
    """How many cells of each window equal its maximum."""
    counts = xp.ones(stages[0].shape, dtype=dtype, device=device(stages[0]))
    for axis, windows in enumerate(axes, start=1):
        total = room(counts, axis, windows.outputs, dtype, None, zero=True, xp=xp)
        for step, at, hits in _hits(stages, axis, windows, has_nan=has_nan):
            share = keep_where(counts[along(axis, step.cells)], hits, xp=xp)
            if windows.by_window:
                share = of_cells(share, axis, xp.sum, xp=xp)
            total = add_at(total, at, share, xp=xp)
        counts = total
    return counts


def _hits(
    stages: list[Array], axis: int, windows: AxisWindows, *, has_nan: bool
) -> Iterator[tuple[Step, Index, Array]]:
    """Each step, the index of its outputs, and where the cell is its window's maximum."""
    x, best = stages[axis - 1], stages[axis]
    for step in windows.steps:
        at, cells = along(axis, step.outputs), x[along(axis, step.cells)]
        yield step, at, wins(cells, best[at], has_nan=has_nan)


def wins(cells: Array, best: Array, *, has_nan: bool) -> Array:
    """Where a cell is its window's maximum. A NaN in a window made its maximum NaN."""
    equal = cells == best
    return equal | (cells != cells) if has_nan else equal


def _at_once(x: Array, axes: Axes, *, xp: Namespace) -> bool:
    """Whether the one window that is all of the spatial axes is best reduced over all of them."""
    if not all(windows.is_whole for windows in axes):
        return False
    return is_short(prod(x.shape[1:-1]), x.shape[-1], xp=xp)


def _whole(x: Array, axes: Axes, reduction: Reduction) -> Array:
    return reduction.of_many(x, axis=tuple(range(1, len(axes) + 1)), keepdims=True)


def put(y: Array, out: Array | None, *, xp: Namespace) -> Array:
    """What a kernel has made, where it is wanted."""
    return y if out is None else set_at(out, (...,), y, xp=xp)


def hand_down(
    dx: Array, to: Index, dy: Array, mask: Array | None, *, alone: bool, xp: Namespace
) -> Array:
    """The gradient of some outputs, where the mask is true, added to their cells.

    Where no step before had any of these cells, it is `alone` and set.
    """
    if not alone:
        return add_at(dx, to, dy if mask is None else keep_where(dy, mask, xp=xp), xp=xp)
    if mask is None:
        return set_at(dx, to, dy, xp=xp)
    if has_out(xp):
        keep_where(dy, mask, out=dx[to], xp=xp)
        return dx
    return set_at(dx, to, keep_where(dy, mask, xp=xp), xp=xp)


def gradient_room(
    dy: Array, axis: int, windows: AxisWindows, out: Array | None, *, xp: Namespace
) -> Array:
    """Room for the gradient of one axis' cells, zeroed unless every cell is set."""
    out = out if axis == 1 else None
    return room(dy, axis, windows.size, dy.dtype, out, zero=not windows.covers_all, xp=xp)


def _last(axis: int, axes: Axes, out: Array | None) -> Array | None:
    return out if axis == len(axes) else None
