"""Where the first maximum of each window lies, and the gradient that is handed to it.

Arrays and axes are those of `_pooling`. The T cells of a window are numbered in row-major order and
a cell's score is T less its number, so that of equal maxima the first has the largest. Axis by
axis, where K taps are reduced,

    score = max over taps t of wins_t * (K * score_t - t)

from a score of one for every cell of the input; a loser's is zero.
"""

from collections.abc import Sequence
from itertools import product
from math import prod

from anyconv._cupy_kernels import winners_gradient_in_kernel, winners_in_kernel
from anyconv._geometry._axis_steps import Step, count
from anyconv._namespace import (
    add_at_positions,
    combine_at,
    constant,
    device,
    index_dtype,
    may_hold_nan,
    set_at,
)
from anyconv._pooling._axis_loops import loops_in_kernels
from anyconv._pooling._axis_reductions import of_cells
from anyconv._pooling._by_axis import (
    WORTH_KEEPING,
    Axes,
    gradient_room,
    hand_down,
    maxima,
    only_along,
    put,
    window_max,
    wins,
)
from anyconv._typing import Array, Device, DType, Index, Namespace
from anyconv._windows import along

# Windows of no more cells are served cell by cell.
FEW_CELLS = 4


def is_small(axes: Axes) -> bool:
    """Whether windows have so few cells that each is compared with the maximum once more."""
    if not all(windows.is_short for windows in axes):
        return False
    return prod(len(windows.steps) for windows in axes) <= FEW_CELLS


def window_argmax(x: Array, axes: Axes, *, xp: Namespace) -> Array:
    """The flat position in the spatial plane of the first maximum of each window."""
    if loops := loops_in_kernels(axes, x.dtype, xp=xp):
        return xp.astype(winners_in_kernel(x, loops, xp=xp), index_dtype(xp), copy=False)
    return _positions(x, axes, 1, xp=xp)


def scatter_to_first_max(
    dy: Array, x: Array, axes: Axes, *, out: Array | None = None, xp: Namespace
) -> Array:
    """The output gradient added to the first maximum of each window, in `out` if it is given."""
    positions = _positions(x, axes, x.shape[-1], xp=xp)
    if x.shape[0] > 1:
        sizes = (range(x.shape[0]), prod(x.shape[1:]))
        images = _multiples_of(*sizes, positions.dtype, device(x), xp=xp)
        positions += xp.reshape(images, only_along(0, len(axes)))
    if out is None:
        out = xp.zeros(x.shape, dtype=dy.dtype, device=device(x))
    return add_at_positions(out, positions, dy, xp=xp)


def first_max_gradient_by_taps(
    dy: Array, x: Array, axes: Axes, *, out: Array | None = None, xp: Namespace
) -> Array:
    """The same for windows of few cells: tap by tap, to each output that no tap before has served.

    Cells are compared with their window's maximum where they lie; no place is computed.
    """
    best = window_max(x, axes, xp=xp)
    has_nan = may_hold_nan(best, xp=xp)
    served = xp.zeros(best.shape, dtype=xp.bool, device=device(x))
    is_set = all(windows.covers_all for windows in axes)
    if out is None:
        out = (xp.empty if is_set else xp.zeros)(x.shape, dtype=dy.dtype, device=device(x))
    elif not is_set:
        out[...] = 0
    for steps in product(*(windows.steps for windows in axes)):
        at: Index = (slice(None), *(step.outputs for step in steps), ...)
        to: Index = (slice(None), *(step.cells for step in steps), ...)
        won = wins(x[to], best[at], has_nan=has_nan) & ~served[at]
        served = combine_at(served, at, xp.logical_or, served[at], won, xp=xp)
        alone = all(step.alone for step in steps)
        out = hand_down(out, to, dy[at], won, alone=alone, xp=xp)
    return out


def first_max_gradient(
    dy: Array, x: Array, axes: Axes, *, out: Array | None = None, xp: Namespace
) -> Array:
    """The same where a library does not scatter: in two launches, or one axis after another."""
    if loops := loops_in_kernels(axes, x.dtype, xp=xp):
        places = winners_in_kernel(x, loops, xp=xp)
        return put(winners_gradient_in_kernel(dy, places, loops, xp=xp), out, xp=xp)
    stages = _scores(x, axes, xp=xp)
    for axis in range(len(axes), 0, -1):
        windows = axes[axis - 1]
        number = _taps(axes[:axis]) - stages[axis - 1]
        tap = number - number // windows.most_taps * windows.most_taps  # faster than `%` on CPUs
        dx = gradient_room(dy, axis, windows, out, xp=xp)
        for step in windows.steps:
            at = along(axis, step.outputs)
            taps = _taps_of(step, axis, x, tap.dtype, xp=xp) if windows.by_window else step.tap
            won = tap[at] == taps
            to = along(axis, step.cells)
            dx = hand_down(dx, to, dy[at], won, alone=step.alone, xp=xp)
        dy = dx
    return dy


def _scores(x: Array, axes: Axes, *, xp: Namespace) -> list[Array]:
    """The score of each window's winner, as each axis is reduced in turn."""
    best = maxima(x, axes, xp=xp)
    has_nan = may_hold_nan(best[-1], xp=xp)
    dtype = xp.uint8 if _taps(axes) < 256 else xp.int32
    stages: list[Array] = []
    for axis, windows in enumerate(axes, start=1):
        cells, maximum = best[axis - 1], best[axis]
        score = xp.empty(maximum.shape, dtype=dtype, device=device(x))
        before = stages[-1] * windows.most_taps if stages else None
        for step in windows.combining:
            at, to = along(axis, step.outputs), along(axis, step.cells)
            if before is None and step.tap == windows.most_taps - 1 and not step.opens:
                continue  # the last tap has won where no other has
            taps = _taps_of(step, axis, x, dtype, xp=xp) if windows.by_window else step.tap
            won = xp.astype(wins(cells[to], maximum[at], has_nan=has_nan), dtype)
            won *= (windows.most_taps - 1 if before is None else before[to]) - taps
            if windows.by_window:
                won = of_cells(won, axis, xp.max, xp=xp)
            if step.opens:
                score = set_at(score, at, won, xp=xp)
            else:
                score = combine_at(score, at, xp.maximum, score[at], won, xp=xp)
        if before is None:
            score += 1
        stages.append(score)
    return stages


def _taps_of(step: Step, axis: int, x: Array, dtype: DType, *, xp: Namespace) -> Array:
    """The taps of a step that is a window, along its axis."""
    taps = xp.arange(step.tap, step.tap + count(step.cells), dtype=dtype, device=device(x))
    return xp.reshape(taps, only_along(axis, x.ndim - 2))


def _taps(axes: Axes) -> int:
    """The cells of the largest window."""
    return prod(windows.most_taps for windows in axes)


def _positions(x: Array, axes: Axes, channels: int, *, xp: Namespace) -> Array:
    """The place of each first maximum among the cells of an image with so many channels.

    A cell's number divided by the taps of one axis after another, the last first, leaves the taps
    as remainders. None is formed: a quotient's own multiple is less to go along the axis before.
    """
    quotient, where = _taps(axes) - _scores(x, axes, xp=xp)[-1], device(x)
    longest = _taps(axes) * max(windows.dilation for windows in axes)
    fits = 2 * x.ndim * longest * prod(x.shape[1:]) < 2**31  # whatever is formed on the way
    dtype = xp.int32 if fits else index_dtype(xp)  # the first is twice as fast
    corners = _multiples_of(range(channels), 1, dtype, where, xp=xp)
    place, plane, formed = None, channels, 0
    for axis in range(len(axes), 0, -1):
        windows = axes[axis - 1]
        starts = _multiples_of(windows.starts, plane, dtype, where, xp=xp)
        corners = xp.reshape(starts, only_along(axis, len(axes))) + corners
        step = xp.astype(quotient, dtype)
        step *= windows.dilation * plane - formed
        place = step if place is None else place + step
        formed = windows.most_taps * windows.dilation * plane
        quotient, plane = quotient // windows.most_taps, plane * windows.size
    place += corners
    return xp.astype(place, index_dtype(xp))


def _multiples_of(
    numbers: Sequence[int], factor: int, dtype: DType, where: Device, *, xp: Namespace
) -> Array:
    kept = len(numbers) <= WORTH_KEEPING
    if isinstance(numbers, range) and not kept:
        each = numbers.start, numbers.stop, numbers.step
        return xp.arange(*each, dtype=dtype, device=where) * factor
    return constant(_multiples, (numbers, factor), dtype, where, kept=kept, xp=xp)


def _multiples(numbers: Sequence[int], factor: int) -> list[int]:
    return [number * factor for number in numbers]
