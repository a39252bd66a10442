"""Loops of pooling: sums and maxima over windows, and the gradient of sums.

How arrays are walked through is told at the top of `_walk_loops`.
"""

from typing import Any

import numpy as np

from anyconv._compiled._kept_loops import inner, loop
from anyconv._compiled._walk_loops import (
    FOUR,
    MANY,
    ONE,
    SHORT,
    THREE,
    TWO,
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
def _larger(a: Any, b: Any) -> Any:
    """The larger of two numbers; NaN wins."""
    return b if (b > a or b != b) else a


@inner
def _both(a: Any, b: Any, largest: bool) -> Any:
    """The larger of two numbers, or their sum."""
    return _larger(a, b) if largest else a + b


@inner
def _combine(
    y: Array,
    outputs: int,
    y_next: int,
    x: Array,
    cells: int,
    x_next: int,
    runs: int,
    n: int,
    at: Array,
    count: int,
    largest: bool,
) -> None:
    """The largest over t of `x[at[t]]`, or their sum, for some runs of n neighbours."""
    for o in range(runs):
        y0, x0 = outputs + o * y_next, cells + o * x_next
        if n < SHORT:
            for i in range(n):
                total = x[x0 + at[0] + i]
                for later in range(ONE, count):
                    total = _both(total, x[x0 + at[later] + i], largest)
                y[y0 + i] = total
            continue
        t, a = THREE, x0 + at[0]
        if count == ONE:
            for i in range(n):
                y[y0 + i] = x[a + i]
        elif count == TWO:
            a1 = x0 + at[1]
            for i in range(n):
                y[y0 + i] = _both(x[a + i], x[a1 + i], largest)
        else:
            a1, a2 = x0 + at[1], x0 + at[2]
            for i in range(n):
                y[y0 + i] = _both(_both(x[a + i], x[a1 + i], largest), x[a2 + i], largest)
        while t + FOUR <= count:
            a, a1, a2, a3 = x0 + at[t], x0 + at[t + ONE], x0 + at[t + TWO], x0 + at[t + THREE]
            for i in range(n):
                two = _both(x[a + i], x[a1 + i], largest)
                two = _both(two, _both(x[a2 + i], x[a3 + i], largest), largest)
                y[y0 + i] = _both(y[y0 + i], two, largest)
            t += FOUR
        while t < count:
            a = x0 + at[t]
            for i in range(n):
                y[y0 + i] = _both(y[y0 + i], x[a + i], largest)
            t += ONE


@inner
def _pool(y: Array, x: Array, axes: Array, channels: int, most: int, largest: bool) -> None:
    """The largest or the sum of each window, zero where it sees no cell.

    So many outputs at `most` are pooled by the columns of their cells first, then along the row;
    or if it is zero, each by itself.
    """
    at, tap, segment, place = _room(axes)
    c, in_row, (x_next, y_next) = U(channels), _taps_of_row(axes), _steps(axes)
    by_columns = most > 0
    columns = np.empty(_span(axes, U(most), U(in_row.size)) * c if by_columns else ONE, x.dtype)
    while _advance(axes, at, tap, segment, place, by_columns, most if by_columns else MANY):
        cells, outputs, length, count, taps = segment
        if count * taps == U(0):
            for o in range(length):
                for i in range(c):
                    y[outputs + o * y_next + i] = 0
        elif by_columns:
            span, zero = _span(axes, length, taps) * c, U(0)
            _combine(columns, zero, zero, x, cells, zero, ONE, span, at, count, largest)
            runs, run = _runs(axes, length, channels)
            to = outputs, y_next
            _combine(y, *to, columns, zero, x_next, runs, run, in_row, taps, largest)
        else:
            _combine(y, outputs, y_next, x, cells, x_next, length, c, at, count, largest)


@loop
def sums(y: Array, x: Array, axes: Array, channels: int, most: int) -> None:
    """The sum over each window, zero where it sees no cell."""
    _pool(y, x, axes, channels, most, False)


@loop
def maxima(y: Array, x: Array, axes: Array, channels: int, most: int) -> None:
    """The maximum of each window, which sees a cell at least."""
    _pool(y, x, axes, channels, most, True)


@loop
def sums_adjoint(x: Array, y: Array, axes: Array, channels: int, most: int, sets: bool) -> None:
    """The adjoint of `sums`: y added to the cells of each window, or set where no two share one."""
    at, tap, segment, place = _room(axes)
    c, in_row, (x_next, y_next) = U(channels), _taps_of_row(axes), _steps(axes)
    by_columns = most > 0
    columns = np.empty(_span(axes, U(most), U(in_row.size)) * c if by_columns else ONE, x.dtype)
    while _advance(axes, at, tap, segment, place, by_columns, most if by_columns else MANY):
        cells, outputs, length, count, taps = segment
        if count * taps == U(0):
            continue
        if by_columns:
            span = _span(axes, length, taps) * c
            for i in range(span):
                columns[i] = 0
            runs, run = _runs(axes, length, channels)
            for o in range(runs):
                j = outputs + o * y_next
                for t in range(taps):
                    a = o * x_next + in_row[t]
                    for i in range(run):
                        columns[a + i] += y[j + i]
            _hand_out(x, cells, columns, U(0), at, count, span, sets)
        else:
            for o in range(length):
                a, j = cells + o * x_next, outputs + o * y_next
                _hand_out(x, a, y, j, at, count, c, sets)


@inner
def _hand_out(
    x: Array, cells: int, y: Array, j: int, at: Array, count: int, n: int, sets: bool
) -> None:
    """The n neighbours from j on, added to those of each tap, or set."""
    for t in range(count):
        a = cells + at[t]
        if sets:
            for i in range(n):
                x[a + i] = y[j + i]
        else:
            for i in range(n):
                x[a + i] += y[j + i]
