"""Loops over windows that Numba compiles: what NumPy would do in many passes, in one.

All arrays are flat. An axis of windows is a row of `axes`, an array of whole numbers with the
columns below; there are always three, the last one innermost. Window o of an axis has tap k on cell
`stride * o + dilation * k + start`; a tap on no cell of the input is left out, so padding is never
made. The channels of a cell are neighbours in memory.

Along the innermost axis the outputs from one whose windows lie in the input to the last of them
share their taps: a segment. Each output beside them is a segment of its own.

This module is imported where Numba can be; indices are unsigned, which spares Numba a look at
their sign that keeps loops from vectors.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from anyconv._typing import Array

OUTPUTS, TAPS, STRIDE, DILATION, START, CELLS, STEP = range(7)

# Sums may be contracted to fused multiply-adds, nothing else is left to the compiler's taste.
_OPTIONS = {"nogil": True, "fastmath": {"contract"}, "error_model": "numpy"}

_inner = njit(**_OPTIONS)
U = np.uint64
ONE, TWO, THREE, FOUR = U(1), U(2), U(3), U(4)


class Walk(NamedTuple):
    """How a loop goes through its arrays: x from image to image, y from image to image and from
    output to output of each axis.
    """

    x_step: int
    axes: Array
    y_steps: Array
    images: int
    channels: int


def _loop(function: Callable[..., None]) -> Any:
    """Compiled when it is first called, and kept on disk where Numba finds a place for it."""
    try:
        return njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # no folder that may be written
        return njit(**_OPTIONS)(function)


@_inner
def _taps_under(axes: Array, a: int, b: int, o: int, at: Array, tap: Array) -> int:
    """The cells under the taps of one window and the numbers of these taps; how many there are."""
    count = 0
    for i in range(axes[0, TAPS]):
        x = a * axes[0, STRIDE] + i * axes[0, DILATION] + axes[0, START]
        if x < 0 or x >= axes[0, CELLS]:
            continue
        for j in range(axes[1, TAPS]):
            y = b * axes[1, STRIDE] + j * axes[1, DILATION] + axes[1, START]
            if y < 0 or y >= axes[1, CELLS]:
                continue
            for k in range(axes[2, TAPS]):
                z = o * axes[2, STRIDE] + k * axes[2, DILATION] + axes[2, START]
                if z < 0 or z >= axes[2, CELLS]:
                    continue
                at[count] = x * axes[0, STEP] + y * axes[1, STEP] + z * axes[2, STEP]
                tap[count] = (i * axes[1, TAPS] + j) * axes[2, TAPS] + k
                count += 1
    return count


@_inner
def _segments(walk: Walk, at: Array, tap: Array) -> Iterator[tuple[Any, ...]]:
    """For each segment of all images, with its taps in `at` and `tap`: where the cells of the image
    begin and the outputs of the segment, how many these are, and how many taps each has.
    """
    axes, y_steps = walk.axes, walk.y_steps
    outputs, taps, stride, dilation, start, cells, _ = axes[2]
    low = min(max(-(start // stride), 0), outputs)
    high = max(min((cells - 1 - start - (taps - 1) * dilation) // stride + 1, outputs), low)
    for image in range(walk.images):
        for a in range(axes[0, OUTPUTS]):
            for b in range(axes[1, OUTPUTS]):
                row = image * y_steps[0] + a * y_steps[1] + b * y_steps[2]
                o = 0
                while o < outputs:
                    stop = high if o == low and low < high else o + 1
                    count = _taps_under(axes, a, b, o, at, tap)
                    yield U(image * walk.x_step), U(row + o * y_steps[3]), U(stop - o), U(count)
                    o = stop


@_inner
def _room(axes: Array) -> tuple[Array, Array, Any]:
    """Room for the taps of a window, and the elements from a tap to that of the next output."""
    taps = axes[0, TAPS] * axes[1, TAPS] * axes[2, TAPS]
    return np.empty(taps, np.uint64), np.empty(taps, np.uint64), U(axes[2, STRIDE] * axes[2, STEP])


@_loop
def products(y: Array, x: Array, w: Array, walk: Walk, width: int, together: int) -> None:
    """`y = sum_t x_t * w_t`, channel by channel; the factors of a tap are `width` apart.

    So many outputs are taken `together`, for each of which the factors are repeated.
    """
    at, tap, x_next = _room(walk.axes)
    c, apart, most, y_next = U(walk.channels), U(width), U(together), U(walk.y_steps[3])
    for cells, outputs, length, count in _segments(walk, at, tap):
        first = U(0)
        while first < length:
            n = min(most, length - first) * c
            x0, y0 = cells + first * x_next, outputs + first * y_next
            first += most
            if count == U(0):
                for i in range(n):
                    y[y0 + i] = 0
                continue
            a, p = x0 + at[0], tap[0] * apart
            for i in range(n):
                y[y0 + i] = x[a + i] * w[p + i]
            t = ONE
            while t + FOUR <= count:
                a, p = x0 + at[t], tap[t] * apart
                b, q = x0 + at[t + ONE], tap[t + ONE] * apart
                d, r = x0 + at[t + TWO], tap[t + TWO] * apart
                e, s = x0 + at[t + THREE], tap[t + THREE] * apart
                for i in range(n):
                    two = x[a + i] * w[p + i] + x[b + i] * w[q + i]
                    y[y0 + i] += two + (x[d + i] * w[r + i] + x[e + i] * w[s + i])
                t += FOUR
            while t < count:
                a, p = x0 + at[t], tap[t] * apart
                for i in range(n):
                    y[y0 + i] += x[a + i] * w[p + i]
                t += ONE


@_loop
def products_data(x: Array, y: Array, w: Array, walk: Walk, width: int, together: int) -> None:
    """The adjoint of `products` in x, added to it: `x_t += y * w_t`."""
    at, tap, x_next = _room(walk.axes)
    c, apart, most, y_next = U(walk.channels), U(width), U(together), U(walk.y_steps[3])
    for cells, outputs, length, count in _segments(walk, at, tap):
        first = U(0)
        while first < length:
            n = min(most, length - first) * c
            x0, y0 = cells + first * x_next, outputs + first * y_next
            first += most
            for t in range(count):
                a, p = x0 + at[t], tap[t] * apart
                for i in range(n):
                    x[a + i] += y[y0 + i] * w[p + i]


@_loop
def products_weight(w: Array, x: Array, y: Array, walk: Walk, width: int, together: int) -> None:
    """The adjoint of `products` in w, added to it: `w_t += sum x_t * y` over all outputs."""
    at, tap, x_next = _room(walk.axes)
    c, apart, most, y_next = U(walk.channels), U(width), U(together), U(walk.y_steps[3])
    x_ahead, y_ahead = most * x_next, most * y_next
    for cells, outputs, length, count in _segments(walk, at, tap):
        first = U(0)
        while first + FOUR * most <= length:
            j = outputs + first * y_next
            k, m, q = j + y_ahead, j + TWO * y_ahead, j + THREE * y_ahead
            for t in range(count):
                p, a = tap[t] * apart, cells + at[t] + first * x_next
                b, d, e = a + x_ahead, a + TWO * x_ahead, a + THREE * x_ahead
                for i in range(most * c):
                    two = x[a + i] * y[j + i] + x[b + i] * y[k + i]
                    w[p + i] += two + (x[d + i] * y[m + i] + x[e + i] * y[q + i])
            first += FOUR * most
        while first < length:
            n, j = min(most, length - first) * c, outputs + first * y_next
            for t in range(count):
                p, a = tap[t] * apart, cells + at[t] + first * x_next
                for i in range(n):
                    w[p + i] += x[a + i] * y[j + i]
            first += most


@_loop
def sums(y: Array, x: Array, walk: Walk) -> None:
    """The sum over each window, zero where it sees no cell."""
    at, tap, x_next = _room(walk.axes)
    c, y_next = U(walk.channels), U(walk.y_steps[3])
    for cells, outputs, length, count in _segments(walk, at, tap):
        for o in range(length):
            x0, y0 = cells + o * x_next, outputs + o * y_next
            for i in range(c):
                y[y0 + i] = 0
            t = U(0)
            while t + FOUR <= count:
                a, b, d, e = x0 + at[t], x0 + at[t + ONE], x0 + at[t + TWO], x0 + at[t + THREE]
                for i in range(c):
                    y[y0 + i] += (x[a + i] + x[b + i]) + (x[d + i] + x[e + i])
                t += FOUR
            while t < count:
                a = x0 + at[t]
                for i in range(c):
                    y[y0 + i] += x[a + i]
                t += ONE


@_loop
def sums_adjoint(x: Array, y: Array, walk: Walk, sets: bool) -> None:
    """The adjoint of `sums`: y added to the cells of each window, or set where no two share one."""
    at, tap, x_next = _room(walk.axes)
    c, y_next = U(walk.channels), U(walk.y_steps[3])
    for cells, outputs, length, count in _segments(walk, at, tap):
        for o in range(length):
            x0, y0 = cells + o * x_next, outputs + o * y_next
            for t in range(count):
                a = x0 + at[t]
                if sets:
                    for i in range(c):
                        x[a + i] = y[y0 + i]
                else:
                    for i in range(c):
                        x[a + i] += y[y0 + i]


@_inner
def _larger(a: Any, b: Any) -> Any:
    """The larger of two numbers; NaN wins."""
    return b if (b > a or b != b) else a


@_inner
def _largest(x: Array, x0: int, at: Array, count: int, best: Array, y0: int, c: int) -> None:
    """The maximum of one window's cells, in the c places of `best` from y0 on."""
    a, b = x0 + at[0], x0 + at[count - ONE]
    for i in range(c):
        best[y0 + i] = _larger(x[a + i], x[b + i])
    t = ONE
    while t + ONE < count:
        a, b = x0 + at[t], x0 + at[t + ONE]
        for i in range(c):
            best[y0 + i] = _larger(best[y0 + i], _larger(x[a + i], x[b + i]))
        t += TWO


@_loop
def maxima(y: Array, x: Array, walk: Walk) -> None:
    """The maximum of each window, which sees a cell at least."""
    at, tap, x_next = _room(walk.axes)
    c, y_next = U(walk.channels), U(walk.y_steps[3])
    for cells, outputs, length, count in _segments(walk, at, tap):
        for o in range(length):
            _largest(x, cells + o * x_next, at, count, y, outputs + o * y_next, c)


@_loop
def maxima_gradient(dx: Array, x: Array, dy: Array, walk: Walk, sets: bool, ties: bool) -> None:
    """The gradient handed to the first maximum of each window, or with `ties` to every one.

    It is added to dx, or set where no two windows share a cell. A NaN made its window's maximum
    NaN, which equals nothing.
    """
    at, tap, x_next = _room(walk.axes)
    c, y_next, zero = U(walk.channels), U(walk.y_steps[3]), dy.dtype.type(0)
    best, left = np.empty(walk.channels, x.dtype), np.empty(walk.channels, dy.dtype)
    for cells, outputs, length, count in _segments(walk, at, tap):
        for o in range(length):
            x0, y0 = cells + o * x_next, outputs + o * y_next
            _largest(x, x0, at, count, best, U(0), c)
            for i in range(c):
                left[i] = dy[y0 + i]
            for t in range(count):
                a = x0 + at[t]
                if sets:
                    for i in range(c):
                        wins = (x[a + i] == best[i]) | (x[a + i] != x[a + i])
                        gradient = left[i]
                        dx[a + i] = gradient if wins else zero
                        left[i] = zero if wins and not ties else gradient
                else:
                    for i in range(c):
                        wins = (x[a + i] == best[i]) | (x[a + i] != x[a + i])
                        gradient = left[i]
                        dx[a + i] += gradient if wins else zero
                        left[i] = zero if wins and not ties else gradient
