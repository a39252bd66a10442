"""Loops that Numba compiles for the maxima of windows: where they are, and whose gradient is whose.

A cell has the gradients of the windows that it has won. Where few windows see it, these are looked
up for each cell: then it is written once, and in vectors. Otherwise each window adds its gradient
to the cell that has won it.

How arrays are walked through is told at the top of `_walk_loops`.
"""

from typing import Any

import numpy as np

from anyconv._compiled._kept_loops import inlined, inner, loop, named
from anyconv._compiled._pool_loops import _combine
from anyconv._compiled._walk_loops import (
    CELLS,
    DILATION,
    IMAGES,
    INNER,
    MIDDLE,
    ONE,
    OUTPUTS,
    SHORT,
    START,
    STRIDE,
    TAPS,
    THREE,
    TWO,
    X_STEP,
    Y_STEP,
    U,
    _advance,
    _room,
    _runs,
    _span,
    _steps,
    _taps_of_row,
)
from anyconv._typing import Array


@inner
def _beats(x: Any, best: Any) -> Any:
    """Whether a cell wins over the best of those before it; the first NaN does."""
    return (not (x <= best)) & (best == best)


@inner
def _better(x: Any, place: Any, best: Any, where: Any) -> tuple[Any, Any]:
    """The larger of two cells, of equals the one whose place comes first, and its place."""
    are_equal = (x == best) | ((x != x) & (best != best))
    wins = _beats(x, best) | (are_equal & (place < where))
    return x if wins else best, place if wins else where


@inner
def _first_of_columns(
    best: Array, where: Array, x: Array, x0: int, at: Array, count: int, n: int, c: int
) -> None:
    """The maxima of n columns, and how many cells below the top the first of each lies."""
    last = count - ONE
    t1, t2 = min(ONE, last), min(TWO, last)  # to see a cell again changes nothing
    a, a1, a2 = x0 + at[0], x0 + at[t1], x0 + at[t2]
    p1, p2 = np.int32((at[t1] - at[0]) // c), np.int32((at[t2] - at[0]) // c)
    for i in range(n):
        x1, x2 = x[a1 + i], x[a2 + i]
        wins = _beats(x1, x[a + i])
        value, place = x1 if wins else x[a + i], p1 if wins else np.int32(0)
        wins = _beats(x2, value)
        best[i], where[i] = x2 if wins else value, p2 if wins else place
    t = THREE
    while t < count:
        t1, t2 = t, min(t + ONE, last)
        a1, a2 = x0 + at[t1], x0 + at[t2]
        p1, p2 = np.int32((at[t1] - at[0]) // c), np.int32((at[t2] - at[0]) // c)
        for i in range(n):
            x1, x2 = x[a1 + i], x[a2 + i]
            wins = _beats(x1, best[i])
            value, place = x1 if wins else best[i], p1 if wins else where[i]
            wins = _beats(x2, value)
            best[i], where[i] = x2 if wins else value, p2 if wins else place
        t += TWO


@inner
def _first_of_rows(
    best: Array,
    where: Array,
    x: Array,
    places: Array,
    x_next: int,
    runs: int,
    n: int,
    at: Array,
    count: int,
    dilation: int,
) -> None:
    """The same of runs of n windows, whose columns have the maxima x at `places`."""
    for o in range(runs):
        a, j = o * x_next, o * n
        if n < SHORT:
            for i in range(n):
                value, place = x[a + i], places[a + i]
                for t in range(ONE, count):
                    a1, p1 = a + at[t] + i, np.int32(t * dilation)
                    value, place = _better(x[a1], places[a1] + p1, value, place)
                where[j + i] = place
            continue
        for i in range(n):
            best[j + i], where[j + i] = x[a + i], places[a + i]
        for t in range(ONE, count):  # of more taps at once LLVM makes no vectors
            a1, p1 = a + at[t], np.int32(t * dilation)
            for i in range(n):
                value, place = best[j + i], where[j + i]
                value, place = _better(x[a1 + i], places[a1 + i] + p1, value, place)
                best[j + i], where[j + i] = value, place


@loop
def winners(positions: Array, x: Array, axes: Array, channels: int, most: int, before: int) -> None:
    """The flat position in its plane of the first maximum of each window; so many are `before`."""
    at, tap, segment, place = _room(axes)
    c, in_row, (x_next, y_next) = U(channels), _taps_of_row(axes), _steps(axes)
    dilation = U(axes[INNER, DILATION])
    size = _span(axes, U(most), U(in_row.size)) * c
    columns, places = np.empty(size, x.dtype), np.empty(size, np.int32)
    best, where = np.empty(most * channels, x.dtype), np.empty(most * channels, np.int32)
    while _advance(axes, at, tap, segment, place, True, most):
        cells, outputs, length, rows, taps = segment
        span, (runs, run) = _span(axes, length, taps) * c, _runs(axes, length, channels)
        _first_of_columns(columns, places, x, cells, at, rows, span, c)
        _first_of_rows(best, where, columns, places, x_next, runs, run, in_row, taps, dilation)
        for o in range(length):
            corner = np.int64((at[0] + o * x_next) // c) + before
            j, k = outputs + o * y_next, o * c
            for i in range(c):
                positions[j + i] = corner + where[k + i]


@loop
def maximum_gradient(
    dx: Array, x: Array, dy: Array, axes: Array, channels: int, most: int, sets: bool
) -> None:
    """The gradient handed to the first maximum of each window.

    It is added to dx, or set where every cell is in one window.
    """
    at, tap, segment, place = _room(axes)
    c, in_row, (x_next, y_next) = U(channels), _taps_of_row(axes), _steps(axes)
    dilation = U(axes[INNER, DILATION])
    size = _span(axes, U(most), U(in_row.size)) * c
    columns, places = np.empty(size, x.dtype), np.empty(size, np.int32)
    best, where = np.empty(most * channels, x.dtype), np.empty(most * channels, np.int32)
    while _advance(axes, at, tap, segment, place, True, most):
        cells, outputs, length, rows, taps = segment
        span, (runs, run) = _span(axes, length, taps) * c, _runs(axes, length, channels)
        _first_of_columns(columns, places, x, cells, at, rows, span, c)
        _first_of_rows(best, where, columns, places, x_next, runs, run, in_row, taps, dilation)
        if sets:
            for t in range(rows):
                a = cells + at[t]
                for i in range(span):
                    dx[a + i] = 0
        for o in range(runs):
            a, j, k = cells + at[0] + o * x_next, outputs + o * y_next, o * run
            for i in range(run):
                dx[a + U(where[k + i]) * c + i] += dy[j + i]


@inner
def _wins(x: Any, best: Any) -> Any:
    """Whether a cell is its window's maximum; NaN, which made it NaN, equals nothing."""
    return (x == best) | (x != x)


@loop
def maxima_gradient(
    dx: Array, x: Array, dy: Array, axes: Array, channels: int, sets: bool, ties: bool
) -> None:
    """The same tap by tap, or with `ties` the gradient handed to every maximum of a window."""
    at, tap, segment, place = _room(axes)
    c, (x_next, y_next), zero = U(channels), _steps(axes), dy.dtype.type(0)
    best, left = np.empty(channels, x.dtype), np.empty(channels, dy.dtype)
    while _advance(axes, at, tap, segment, place, False):
        cells, outputs, length, count, _ = segment
        for o in range(length):
            x0, y0 = cells + o * x_next, outputs + o * y_next
            _combine(best, U(0), U(0), x, x0, U(0), ONE, c, at, count, True)
            for i in range(c):
                left[i] = dy[y0 + i]
            for t in range(count):
                a = x0 + at[t]
                if sets:
                    for i in range(c):
                        wins, gradient = _wins(x[a + i], best[i]), left[i]
                        dx[a + i] = gradient if wins else zero
                        left[i] = zero if wins and not ties else gradient
                else:
                    for i in range(c):
                        wins, gradient = _wins(x[a + i], best[i]), left[i]
                        dx[a + i] += gradient if wins else zero
                        left[i] = zero if wins and not ties else gradient


def _first_by(rows: int, taps: int) -> Any:
    """The first maxima of windows of so many full rows of taps, as the codes of their taps.

    Whether they are right: of windows with a NaN they are not.
    """

    @inlined
    @named(rows, taps)
    def first_of(
        where: Array, j: int, x: Array, a: int, row: int, step: int, code: int, apart: int, n: int
    ) -> bool:
        are_numbers = True
        for i in range(n):
            best = x[a + i]
            is_number = best == best
            for t in range(1, rows * taps):
                value = x[a + U(t // taps) * row + U(t % taps) * step + i]
                best = value if value > best else best
                is_number &= value == value
            are_numbers &= is_number
            place = np.int32((rows - 1) * code + (taps - 1) * apart)
            for later in range(1, rows * taps):
                t = rows * taps - 1 - later
                value = x[a + U(t // taps) * row + U(t % taps) * step + i]
                place = np.int32(t // taps * code + t % taps * apart) if value == best else place
            where[j + i] = place
        return are_numbers

    return first_of


_first_by_nine, _first_by_four = _first_by(3, 3), _first_by(2, 2)


@inner
def _row_of_winners(
    axes: Array,
    image: int,
    row: int,
    where: Array,
    to: int,
    x: Array,
    c: int,
    best: Array,
) -> None:
    """The codes of a row of windows' first maxima: their taps' places below the window's corner."""
    code, apart = axes[MIDDLE, DILATION] * axes[INNER, CELLS], axes[INNER, DILATION]
    taps, stride, step = axes[INNER, TAPS], axes[INNER, STRIDE], axes[INNER, X_STEP]
    top = row * axes[MIDDLE, STRIDE] + axes[MIDDLE, START]
    rows, bottom = axes[MIDDLE, TAPS], top + (axes[MIDDLE, TAPS] - 1) * axes[MIDDLE, DILATION]
    below = axes[MIDDLE, DILATION] * axes[MIDDLE, X_STEP]
    is_plain = top >= 0 and bottom < axes[MIDDLE, CELLS] and rows == taps
    corner = image * axes[IMAGES, X_STEP] + top * axes[MIDDLE, X_STEP]
    for o in range(axes[INNER, OUTPUTS]):
        left = o * stride + axes[INNER, START]
        right = left + (taps - 1) * apart
        j, a = to + o * c, corner + left * step
        if is_plain and left >= 0 and right < axes[INNER, CELLS]:
            given = U(a), U(below), U(apart * step), code, apart, U(c)
            if taps == 3 and _first_by_nine(where, U(j), x, *given):
                continue
            if taps == 2 and _first_by_four(where, U(j), x, *given):
                continue
        opens = True
        for r in range(rows):
            if not 0 <= top + r * axes[MIDDLE, DILATION] < axes[MIDDLE, CELLS]:
                continue
            for k in range(taps):
                if not 0 <= left + k * apart < axes[INNER, CELLS]:
                    continue
                place, cell = np.int32(r * code + k * apart), U(a + r * below + k * apart * step)
                if opens:
                    for i in range(U(c)):
                        best[i], where[U(j) + i] = x[cell + i], place
                else:
                    for i in range(U(c)):
                        wins = _beats(x[cell + i], best[i])
                        best[i] = x[cell + i] if wins else best[i]
                        where[U(j) + i] = place if wins else where[U(j) + i]
                opens = False


def _give_to(windows: int) -> Any:
    """The gradients of so many windows, of those that a cell has won, added to it or set."""

    @inlined
    @named(windows)
    def give(
        dx: Array, a: int, y: Array, where: Array, pairs: Array, first: int, n: int, adds: bool
    ) -> None:
        last = windows - 1
        y0, y1 = U(pairs[first, 0]), U(pairs[first + min(1, last), 0])
        y2, y3 = U(pairs[first + min(2, last), 0]), U(pairs[first + last, 0])
        w0, w1 = U(pairs[first, 1]), U(pairs[first + min(1, last), 1])
        w2, w3 = U(pairs[first + min(2, last), 1]), U(pairs[first + last, 1])
        t0, t1 = np.int32(pairs[first, 2]), np.int32(pairs[first + min(1, last), 2])
        t2, t3 = np.int32(pairs[first + min(2, last), 2]), np.int32(pairs[first + last, 2])
        zero = dx.dtype.type(0)
        for i in range(n):
            total = dx[a + i] if adds else zero
            total += y[y0 + i] if where[w0 + i] == t0 else zero
            if windows > 1:
                total += y[y1 + i] if where[w1 + i] == t1 else zero
            if windows > 2:
                total += y[y2 + i] if where[w2 + i] == t2 else zero
                total += y[y3 + i] if where[w3 + i] == t3 else zero
            dx[a + i] = total

    return give


_give_to_four, _give_to_two, _give_to_one = _give_to(4), _give_to(2), _give_to(1)


@inner
def _windows_over(axes: Array, axis: int, cell: int, found: Array) -> Any:
    """The windows along an axis that have a tap on a cell, first to last: each and its tap; how
    many.
    """
    count = 0
    for k in range(axes[axis, TAPS] - 1, -1, -1):
        place = cell - axes[axis, START] - k * axes[axis, DILATION]
        if place >= 0 and place % axes[axis, STRIDE] == 0:
            window = place // axes[axis, STRIDE]
            if window < axes[axis, OUTPUTS]:
                found[count, 0], found[count, 1] = window, k
                count += 1
    return count


@loop
def gathered_gradient(dx: Array, x: Array, y: Array, axes: Array, channels: int, kept: int) -> None:
    """The gradient of each window's first maximum, written to all cells; of two axes at most.

    The winners of so many rows of windows are kept, no fewer than see a cell.
    """
    c, row_size = channels, axes[INNER, OUTPUTS] * channels
    best, where = np.empty(channels, x.dtype), np.empty(kept * row_size, np.int32)
    cells, most = axes[INNER, CELLS], axes[INNER, TAPS]
    along, counts = np.empty((cells, most, 2), np.int64), np.empty(cells, np.int64)
    for o in range(cells):
        counts[o] = _windows_over(axes, INNER, o, along[o])
    across = np.empty((axes[MIDDLE, TAPS], 2), np.int64)
    pairs = np.empty((axes[MIDDLE, TAPS] * most, 3), np.int64)
    code, apart = axes[MIDDLE, DILATION] * cells, axes[INNER, DILATION]
    for image in range(axes[IMAGES, OUTPUTS]):
        known = 0
        for b in range(axes[MIDDLE, CELLS]):
            rows = _windows_over(axes, MIDDLE, b, across)
            while rows and known <= across[rows - 1, 0]:
                to = known % kept * row_size
                _row_of_winners(axes, image, known, where, to, x, c, best)
                known += 1
            start = image * axes[IMAGES, X_STEP] + b * axes[MIDDLE, X_STEP]
            for o in range(cells):
                a, count = U(start + o * axes[INNER, X_STEP]), 0
                for r in range(rows):
                    window = across[r, 0]
                    y_row = image * axes[IMAGES, Y_STEP] + window * axes[MIDDLE, Y_STEP]
                    w_row = window % kept * row_size
                    for k in range(counts[o]):
                        pairs[count, 0] = y_row + along[o, k, 0] * axes[INNER, Y_STEP]
                        pairs[count, 1] = w_row + along[o, k, 0] * c
                        pairs[count, 2] = across[r, 1] * code + along[o, k, 1] * apart
                        count += 1
                if count == 0:
                    for i in range(U(c)):
                        dx[a + i] = 0
                first = 0
                while first < count:
                    rest = count - first
                    if rest >= 4:
                        _give_to_four(dx, a, y, where, pairs, first, U(c), first > 0)
                        first += 4
                    elif rest >= 2:
                        _give_to_two(dx, a, y, where, pairs, first, U(c), first > 0)
                        first += 2
                    else:
                        _give_to_one(dx, a, y, where, pairs, first, U(c), first > 0)
                        first += 1
