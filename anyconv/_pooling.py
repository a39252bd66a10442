"""Reductions over windows, one axis after another, beside their gradients.

Arrays are canonical, `(n, *spatial, c)`; `axes` holds one `AxisWindows` for each spatial axis. The
first axis is reduced first: its cells lie furthest apart, so whole rows are combined at once, and
the later axes have less to do. `out`, where given, receives the result.
"""

from collections.abc import Iterator
from math import prod
from typing import Any

from anyconv._axis_windows import AxisWindows, Step
from anyconv._namespace import (
    add_at,
    combine_at,
    constant,
    device,
    has_out,
    index_dtype,
    keep_where,
    may_hold_nan,
    set_at,
)
from anyconv._typing import Array, Device, DType, Index, Namespace, Shape
from anyconv._windows import along

Axes = tuple[AxisWindows, ...]


def window_sum(x: Array, axes: Axes, *, out: Array | None = None, xp: Namespace) -> Array:
    """The sum over each window, padding counted as zero."""
    for axis, windows in enumerate(axes, start=1):
        x = _reduced(x, axis, windows, xp.add, _last(axis, axes, out), xp=xp)
    return x


def window_sum_adjoint(dy: Array, axes: Axes, *, out: Array | None = None, xp: Namespace) -> Array:
    """The adjoint of `window_sum`: each output added to every cell of its window."""
    for axis in range(len(axes), 0, -1):
        windows = axes[axis - 1]
        dx = _gradient_room(dy, axis, windows, out, xp=xp)
        for step in windows.steps:
            dx = _hand_down(dx, axis, step, dy[along(axis, step.outputs)], None, xp=xp)
        dy = dx
    return dy


def window_counts(
    axes: Axes, dtype: DType, where: Device, *, include_padding: bool, xp: Namespace
) -> Array | int:
    """The counted cells of each window, `(1, *output, 1)`; one number where all are equal."""
    total: Array | int = 1
    for axis, windows in enumerate(axes, start=1):
        counts = windows.counts(include_padding=include_padding)
        if len(set(counts)) == 1:
            total = total * counts[0]
        else:
            vector = constant(_counts, (windows, include_padding), dtype, where, xp=xp)
            total = total * xp.reshape(vector, _along_only(axis, len(axes)))
    return total


def _counts(windows: AxisWindows, include_padding: bool) -> list[int]:
    return list(windows.counts(include_padding=include_padding))


def _along_only(axis: int, rank: int) -> Shape:
    return tuple(-1 if a == axis else 1 for a in range(rank + 2))


def window_max(x: Array, axes: Axes, *, out: Array | None = None, xp: Namespace) -> Array:
    """The maximum over each window; NaN wins, padding never does."""
    for axis, windows in enumerate(axes, start=1):
        x = _reduced(x, axis, windows, xp.maximum, _last(axis, axes, out), xp=xp)
    return x


def window_argmax(x: Array, axes: Axes, *, xp: Namespace) -> Array:
    """The flat position in the spatial plane of the first maximum of each window."""
    dtype, where = index_dtype(xp), device(x)
    number = xp.astype(_first_maxima(x, axes, xp=xp)[-1], dtype)
    position, plane, inside = 0, 1, 1
    for axis in range(len(axes), 0, -1):
        windows = axes[axis - 1]
        tap = number // inside % windows.most_taps
        start = constant(_starts, (windows,), dtype, where, xp=xp)
        start = xp.reshape(start, _along_only(axis, len(axes)))
        position = position + (start + tap * windows.dilation) * plane
        plane, inside = plane * windows.size, inside * windows.most_taps
    return position


def _starts(windows: AxisWindows) -> list[int]:
    return list(windows.starts)


def first_max_gradient(
    dy: Array, x: Array, axes: Axes, *, out: Array | None = None, xp: Namespace
) -> Array:
    """The output gradient handed to the first maximum of each window, in row-major order."""
    stages = _first_maxima(x, axes, xp=xp)
    for axis in range(len(axes), 0, -1):
        windows, number = axes[axis - 1], stages[axis - 1]
        tap = number - number // windows.most_taps * windows.most_taps  # faster than `%` on NumPy
        dx = _gradient_room(dy, axis, windows, out, xp=xp)
        for step in windows.steps:
            at = along(axis, step.outputs)
            dx = _hand_down(dx, axis, step, dy[at], tap[at] == step.tap, xp=xp)
        dy = dx
    return dy


def _first_maxima(x: Array, axes: Axes, *, xp: Namespace) -> list[Array]:
    """The numbers of the first maxima, as each axis is reduced in turn.

    A cell's number is its place within its window, in row-major order over the axes reduced so far:
    of equals the smallest number is the first. A NaN is larger than any number and equals another.
    """
    has_nan = may_hold_nan(x, xp=xp)
    taps = prod(windows.most_taps for windows in axes)
    dtype = xp.uint8 if taps <= 128 else xp.int32
    stages: list[Array] = []
    for axis, windows in enumerate(axes, start=1):
        best = _reduced(x, axis, windows, xp.maximum, None, xp=xp)
        first = xp.empty(best.shape, dtype=dtype, device=device(x))
        before = stages[-1] * windows.most_taps if stages else None
        for step in windows.steps:
            at, to = along(axis, step.outputs), along(axis, step.cells)
            cells = x[to]
            loses = cells != best[at]
            if has_nan:
                loses = loses & (cells == cells)
            # Losers are numbered past all others, so that the smallest number is a winner's.
            number = xp.astype(loses, dtype) * taps + step.tap
            if before is not None:
                number = number + before[to]
            if step.opens:
                first = set_at(first, at, number, xp=xp)
            else:
                first = combine_at(first, at, xp.minimum, first[at], number, xp=xp)
        stages.append(first)
        x = best
    return stages


def max_gradient(
    dy: Array, x: Array, axes: Axes, *, split: bool, out: Array | None = None, xp: Namespace
) -> Array:
    """The output gradient handed to every maximum of each window, whole or split evenly."""
    has_nan = may_hold_nan(x, xp=xp)
    stages = [x]
    for axis, windows in enumerate(axes, start=1):
        stages.append(_reduced(stages[-1], axis, windows, xp.maximum, None, xp=xp))
    if split:
        dy = dy / _ties(stages, axes, dy.dtype, has_nan=has_nan, xp=xp)
    for axis in range(len(axes), 0, -1):
        windows = axes[axis - 1]
        dx = _gradient_room(dy, axis, windows, out, xp=xp)
        for step, at, hits in _hits(stages, axis, windows, has_nan=has_nan):
            dx = _hand_down(dx, axis, step, dy[at], hits, xp=xp)
        dy = dx
    return dy


def _ties(stages: list[Array], axes: Axes, dtype: DType, *, has_nan: bool, xp: Namespace) -> Array:
    """How many cells of each window equal its maximum."""
    counts = xp.ones(stages[0].shape, dtype=dtype, device=device(stages[0]))
    for axis, windows in enumerate(axes, start=1):
        total = _room(counts, axis, windows.outputs, dtype, None, zero=True, xp=xp)
        for step, at, hits in _hits(stages, axis, windows, has_nan=has_nan):
            share = keep_where(counts[along(axis, step.cells)], hits, xp=xp)
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
        hits = cells == best[at]
        # A NaN in a window made its maximum NaN.
        yield step, at, hits | (cells != cells) if has_nan else hits


def _reduced(
    x: Array,
    axis: int,
    windows: AxisWindows,
    operation: Any,
    out: Array | None,
    *,
    xp: Namespace,
) -> Array:
    """The cells of each window of one axis combined; zero where a window sees none."""
    y = _room(x, axis, windows.outputs, x.dtype, out, zero=not windows.reaches_all, xp=xp)
    for read in windows.reads:
        at = along(axis, read.outputs)
        cells = [x[along(axis, cells)] for cells in read.cells]
        if not read.opens:
            cells.insert(0, y[at])
        if len(cells) == 1:
            y = set_at(y, at, cells[0], xp=xp)
        else:
            y = combine_at(y, at, operation, *cells, xp=xp)
    return y


def _hand_down(
    dx: Array, axis: int, step: Step, dy: Array, mask: Array | None, *, xp: Namespace
) -> Array:
    """The gradient of some outputs, where the mask is true, added to the cells of a step."""
    to = along(axis, step.cells)
    if not step.alone:
        return add_at(dx, to, dy if mask is None else keep_where(dy, mask, xp=xp), xp=xp)
    if mask is None:
        return set_at(dx, to, dy, xp=xp)
    if has_out(xp):
        keep_where(dy, mask, out=dx[to], xp=xp)
        return dx
    return set_at(dx, to, keep_where(dy, mask, xp=xp), xp=xp)


def _gradient_room(
    dy: Array, axis: int, windows: AxisWindows, out: Array | None, *, xp: Namespace
) -> Array:
    """Room for the gradient of one axis' cells, zeroed unless every cell is set."""
    out = out if axis == 1 else None
    return _room(dy, axis, windows.size, dy.dtype, out, zero=not windows.covers_all, xp=xp)


def _last(axis: int, axes: Axes, out: Array | None) -> Array | None:
    return out if axis == len(axes) else None


def _room(
    x: Array,
    axis: int,
    size: int,
    dtype: DType,
    out: Array | None,
    *,
    zero: bool = False,
    xp: Namespace,
) -> Array:
    """Room for an array like x with another size of one axis: `out`, or a new one."""
    if out is None:
        make = xp.zeros if zero else xp.empty
        shape = (*x.shape[:axis], size, *x.shape[axis + 1 :])
        return make(shape, dtype=dtype, device=device(x))
    if zero:
        out[...] = 0
    return out
