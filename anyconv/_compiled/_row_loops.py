"""Loops over rows of neighbours in memory: what is done to arrays before or after other loops.

Rows are told by the sizes of four axes and their steps; how windows are unfolded, and folded back,
is told at the top of `_walk_loops`.
"""

from anyconv._compiled._kept_loops import loop
from anyconv._compiled._walk_loops import (
    DILATION,
    INNER,
    X_STEP,
    U,
    _advance,
    _room,
    _steps,
)
from anyconv._typing import Array


@loop
def clear(x: Array, rows: Array, length: int) -> None:
    """Zeros, written to all rows."""
    for n in range(rows[0, 0]):
        for a in range(rows[1, 0]):
            for b in range(rows[2, 0]):
                for o in range(rows[3, 0]):
                    start = n * rows[0, 1] + a * rows[1, 1] + b * rows[2, 1] + o * rows[3, 1]
                    for i in range(U(length)):
                        x[U(start) + i] = 0


@loop
def add_to_channels(y: Array, b: Array, rows: Array, length: int) -> None:
    """A number for each place in a row, added to all rows."""
    for n in range(rows[0, 0]):
        for i in range(rows[1, 0]):
            for j in range(rows[2, 0]):
                for o in range(rows[3, 0]):
                    start = n * rows[0, 1] + i * rows[1, 1] + j * rows[2, 1] + o * rows[3, 1]
                    for k in range(U(length)):
                        y[U(start) + k] += b[k]


@loop
def divide(y: Array, by: Array, rows: Array, length: int) -> None:
    """Each row divided by the number at its place among `by`, or by the only one."""
    for n in range(rows[0, 0]):
        p = 0
        for i in range(rows[1, 0]):
            for j in range(rows[2, 0]):
                for o in range(rows[3, 0]):
                    start = n * rows[0, 1] + i * rows[1, 1] + j * rows[2, 1] + o * rows[3, 1]
                    divisor = by[p]
                    for k in range(U(length)):
                        y[U(start) + k] /= divisor
                    p += by.size > 1


@loop
def quotients(z: Array, y: Array, by: Array, rows: Array, length: int) -> None:
    """The same of y, written to rows without gaps."""
    place = 0
    for n in range(rows[0, 0]):
        p = 0
        for i in range(rows[1, 0]):
            for j in range(rows[2, 0]):
                for o in range(rows[3, 0]):
                    start = n * rows[0, 1] + i * rows[1, 1] + j * rows[2, 1] + o * rows[3, 1]
                    divisor = by[p]
                    for k in range(U(length)):
                        z[U(place) + k] = y[U(start) + k] / divisor
                    p += by.size > 1
                    place += length


@loop
def unfold(u: Array, x: Array, axes: Array, channels: int) -> None:
    """Each window as a row of u, its taps one after the other; zero where a tap is on no cell."""
    at, tap, segment, place = _room(axes)
    c, (x_next, y_next) = U(channels), _steps(axes)
    rows = axes[INNER, DILATION] == 1 and axes[INNER, X_STEP] == channels
    while _advance(axes, at, tap, segment, place, rows):
        cells, outputs, length, count, taps = segment
        run = taps * c if rows else c
        if count * run < U(at.size) * c:
            for i in range(length * y_next):
                u[outputs + i] = 0
        for o in range(length):
            x0, y0 = cells + o * x_next, outputs + o * y_next
            for t in range(count):
                a, j = x0 + at[t], y0 + tap[t] * c
                for i in range(run):
                    u[j + i] = x[a + i]


@loop
def fold(x: Array, u: Array, axes: Array, channels: int) -> None:
    """The adjoint of `unfold`, added to x."""
    at, tap, segment, place = _room(axes)
    c, (x_next, y_next) = U(channels), _steps(axes)
    rows = axes[INNER, DILATION] == 1 and axes[INNER, X_STEP] == channels
    while _advance(axes, at, tap, segment, place, rows):
        cells, outputs, length, count, taps = segment
        run = taps * c if rows else c
        for o in range(length):
            x0, y0 = cells + o * x_next, outputs + o * y_next
            for t in range(count):
                a, j = x0 + at[t], y0 + tap[t] * c
                for i in range(run):
                    x[a + i] += u[j + i]
