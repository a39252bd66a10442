"""Reductions over windows, one axis after another, beside their gradients.

Arrays are canonical, `(n, *spatial, c)`; `axes` holds one `AxisWindows` for each spatial axis. The
first axis is reduced first: its cells lie furthest apart, so whole rows are combined at once, and
the later axes have less to do. `out`, where given, receives the result.
"""

from collections.abc import Iterator
from typing import Any

from anyconv._axis_windows import AxisWindows, Step
from anyconv._namespace import (
    add_at,
    combine_at,
    constant,
    device,
    has_out,
    keep_where,
    may_hold_nan,
    set_at,
)
from anyconv._typing import Array, Device, DType, Index, Namespace, Shape
from anyconv._windows import along

Axes = tuple[AxisWindows, ...]


def window_sum(x: Array, axes: Axes, *, out: Array | None = None, xp: Namespace) -> Array:
    """The sum over each window, padding counted as zero."""
    if all(windows.is_whole for windows in axes):
        return _whole(x, axes, xp.sum, out, xp=xp)
    for axis, windows in enumerate(axes, start=1):
        x = _reduced(x, axis, windows, xp.add, _last(axis, axes, out), xp=xp)
    return x


def window_sum_adjoint(dy: Array, axes: Axes, *, out: Array | None = None, xp: Namespace) -> Array:
    """The adjoint of `window_sum`: each output added to every cell of its window."""
    if all(windows.is_whole for windows in axes):
        shape = (dy.shape[0], *(windows.size for windows in axes), dy.shape[-1])
        room = xp.empty(shape, dtype=dy.dtype, device=device(dy)) if out is None else out
        return set_at(room, (...,), dy, xp=xp)
    for axis in range(len(axes), 0, -1):
        windows = axes[axis - 1]
        dx = gradient_room(dy, axis, windows, out, xp=xp)
        for step in windows.steps:
            to, given = along(axis, step.cells), dy[along(axis, step.outputs)]
            dx = hand_down(dx, to, given, None, alone=step.alone, xp=xp)
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
            total = total * xp.reshape(vector, only_along(axis, len(axes)))
    return total


def _counts(windows: AxisWindows, include_padding: bool) -> list[int]:
    return list(windows.counts(include_padding=include_padding))


def only_along(axis: int, rank: int) -> Shape:
    """The shape that lays a vector along one axis of a canonical array."""
    return tuple(-1 if a == axis else 1 for a in range(rank + 2))


def window_max(x: Array, axes: Axes, *, out: Array | None = None, xp: Namespace) -> Array:
    """The maximum over each window; NaN wins, padding never does."""
    if all(windows.is_whole for windows in axes):
        return _whole(x, axes, xp.max, out, xp=xp)
    for axis, windows in enumerate(axes, start=1):
        x = _reduced(x, axis, windows, xp.maximum, _last(axis, axes, out), xp=xp)
    return x


def maxima(x: Array, axes: Axes, *, xp: Namespace) -> list[Array]:
    """X, and its maxima as each axis is reduced in turn."""
    stages = [x]
    for axis, windows in enumerate(axes, start=1):
        stages.append(_reduced(stages[-1], axis, windows, xp.maximum, None, xp=xp))
    return stages


def max_gradient(
    dy: Array, x: Array, axes: Axes, *, split: bool, out: Array | None = None, xp: Namespace
) -> Array:
    """The output gradient handed to every maximum of each window, whole or split evenly."""
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
        yield step, at, wins(cells, best[at], has_nan=has_nan)


def wins(cells: Array, best: Array, *, has_nan: bool) -> Array:
    """Where a cell is its window's maximum. A NaN in a window made its maximum NaN."""
    equal = cells == best
    return equal | (cells != cells) if has_nan else equal


def _whole(x: Array, axes: Axes, operation: Any, out: Array | None, *, xp: Namespace) -> Array:
    """The one window that is all of the spatial axes reduced at once."""
    y = operation(x, axis=tuple(range(1, len(axes) + 1)), keepdims=True)
    return y if out is None else set_at(out, (...,), y, xp=xp)


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
