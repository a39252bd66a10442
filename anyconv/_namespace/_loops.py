"""Loops over windows that Numba compiles: what NumPy would do in many passes, in one.

All arrays are flat. How they are walked through is said by `axes`, an array of whole numbers with a
row for the images and three for the axes of windows, the last one innermost, and the columns below.
Window o of an axis has tap k on cell `stride * o + dilation * k + start`; a tap on no cell of the
input is left out, so padding need not be made. The channels of a cell are neighbours in memory.

Along the innermost axis the outputs from one whose windows lie in the input to the last of them
share their taps: a segment. Each output beside them is a segment of its own.

In the loops a is a place in x, p one among the factors and j one in y; i goes along neighbours.

This module is imported where Numba can be; indices are unsigned, which spares Numba a look at
their sign that keeps loops from vectors. All of it is one file, because what Numba keeps on disk is
made anew when a loop's own file has changed, not when another has.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from anyconv._typing import Array

OUTPUTS, TAPS, STRIDE, DILATION, START, CELLS, X_STEP, Y_STEP = range(8)
IMAGES, OUTER, MIDDLE, INNER = range(4)

# Sums may be contracted to fused multiply-adds, nothing else is left to the compiler's taste.
_OPTIONS = {"nogil": True, "fastmath": {"contract"}, "error_model": "numpy"}

_inner = njit(**_OPTIONS)
U = np.uint64
ONE, TWO, THREE, FOUR, FIVE = U(1), U(2), U(3), U(4), U(5)
# The outputs of a row whose sums stay in a core's first cache.
AT_ONCE = U(1024)


def _loop(function: Callable[..., None]) -> Any:
    """Compiled when it is first called, and kept on disk where Numba finds a place for it."""
    try:
        return njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # no folder that may be written
        return njit(**_OPTIONS)(function)


@_inner
def _taps_under(
    axes: Array, a: int, b: int, o: int, at: Array, tap: Array, rows: bool
) -> tuple[Any, Any]:
    """The cells under the taps of one window, and their numbers; of `rows` of them the first alone.

    How many are written, and how many taps a row has.
    """
    place, dilation = o * axes[INNER, STRIDE] + axes[INNER, START], axes[INNER, DILATION]
    low = max(-(place // dilation), 0)
    high = min((axes[INNER, CELLS] - 1 - place) // dilation + 1, axes[INNER, TAPS])
    count, taps = 0, max(high - low, 0)
    written = min(taps, 1) if rows else taps
    for i in range(axes[OUTER, TAPS]):
        x = a * axes[OUTER, STRIDE] + i * axes[OUTER, DILATION] + axes[OUTER, START]
        if x < 0 or x >= axes[OUTER, CELLS]:
            continue
        for j in range(axes[MIDDLE, TAPS]):
            y = b * axes[MIDDLE, STRIDE] + j * axes[MIDDLE, DILATION] + axes[MIDDLE, START]
            if y < 0 or y >= axes[MIDDLE, CELLS]:
                continue
            row = x * axes[OUTER, X_STEP] + y * axes[MIDDLE, X_STEP]
            first = (i * axes[MIDDLE, TAPS] + j) * axes[INNER, TAPS]
            for k in range(low, low + written):
                at[count] = row + (place + dilation * k) * axes[INNER, X_STEP]
                tap[count] = first + k
                count += 1
    return count, taps


@_inner
def _room(axes: Array) -> tuple[Array, ...]:
    """Room for the taps of a segment, `at` and `tap`, for what it is, and for where the next is."""
    taps = axes[OUTER, TAPS] * axes[MIDDLE, TAPS] * axes[INNER, TAPS]
    at, tap = np.empty(taps, np.uint64), np.empty(taps, np.uint64)
    return at, tap, np.empty(5, np.uint64), np.zeros(4, np.int64)


@_inner
def _steps(axes: Array) -> tuple[Any, Any]:
    """The elements from a cell to that of the next output of a segment, and to that output."""
    return U(axes[INNER, STRIDE] * axes[INNER, X_STEP]), U(axes[INNER, Y_STEP])


@_inner
def _advance(axes: Array, at: Array, tap: Array, segment: Array, place: Array, rows: bool) -> bool:
    """Whether there is another segment, whose taps (or `rows` of them) and sizes are written then.

    `segment` tells where the cells of its image begin, and its outputs, how many these are, how
    many taps or rows each has, and how many taps a row. (A generator would be plainer; Numba never
    frees what one has been given.)
    """
    image, a, b, o = place
    if image == axes[IMAGES, OUTPUTS]:
        return False
    outputs, taps, stride, dilation, start, cells, _, step = axes[INNER]
    low = min(max(-(start // stride), 0), outputs)
    high = max(min((cells - 1 - start - (taps - 1) * dilation) // stride + 1, outputs), low)
    stop = high if o == low and low < high else o + 1
    row = image * axes[IMAGES, Y_STEP] + a * axes[OUTER, Y_STEP] + b * axes[MIDDLE, Y_STEP]
    segment[0], segment[1] = image * axes[IMAGES, X_STEP], row + o * step
    segment[2] = stop - o
    segment[3], segment[4] = _taps_under(axes, a, b, o, at, tap, rows)
    place[3] = stop
    for axis in (INNER, MIDDLE, OUTER):
        if place[axis] == axes[axis, OUTPUTS]:
            place[axis] = 0
            place[axis - 1] += 1
    return True


@_loop
def products(
    y: Array, x: Array, w: Array, axes: Array, channels: int, width: int, together: int
) -> None:
    """`y = sum_t x_t * w_t`, channel by channel; the factors of a tap are `width` apart.

    So many outputs are taken `together`, for each of which the factors are repeated.
    """
    at, tap, segment, place = _room(axes)
    c, apart, most, (x_next, y_next) = U(channels), U(width), U(together), _steps(axes)
    while _advance(axes, at, tap, segment, place, False):
        cells, outputs, length, count, _ = segment
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
            if count < FIVE:
                for i in range(n):
                    y[y0 + i] = x[a + i] * w[p + i]
                t = ONE
            else:  # each pass over y costs as much as another tap
                a1, a2, a3, a4 = x0 + at[1], x0 + at[2], x0 + at[3], x0 + at[4]
                p1, p2, p3, p4 = tap[1] * apart, tap[2] * apart, tap[3] * apart, tap[4] * apart
                for i in range(n):
                    two = x[a1 + i] * w[p1 + i] + x[a2 + i] * w[p2 + i]
                    two += x[a3 + i] * w[p3 + i] + x[a4 + i] * w[p4 + i]
                    y[y0 + i] = x[a + i] * w[p + i] + two
                t = FIVE
            while t + FOUR <= count:
                a1, a2 = x0 + at[t], x0 + at[t + ONE]
                a3, a4 = x0 + at[t + TWO], x0 + at[t + THREE]
                p1, p2 = tap[t] * apart, tap[t + ONE] * apart
                p3, p4 = tap[t + TWO] * apart, tap[t + THREE] * apart
                for i in range(n):
                    two = x[a1 + i] * w[p1 + i] + x[a2 + i] * w[p2 + i]
                    y[y0 + i] += two + (x[a3 + i] * w[p3 + i] + x[a4 + i] * w[p4 + i])
                t += FOUR
            while t < count:
                a, p = x0 + at[t], tap[t] * apart
                for i in range(n):
                    y[y0 + i] += x[a + i] * w[p + i]
                t += ONE


@_loop
def products_data(
    x: Array, y: Array, w: Array, axes: Array, channels: int, width: int, together: int
) -> None:
    """The adjoint of `products` in x, added to it: `x_t += y * w_t`."""
    at, tap, segment, place = _room(axes)
    c, apart, most, (x_next, y_next) = U(channels), U(width), U(together), _steps(axes)
    while _advance(axes, at, tap, segment, place, False):
        cells, outputs, length, count, _ = segment
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
def products_weight(
    w: Array, x: Array, y: Array, axes: Array, channels: int, width: int, together: int
) -> None:
    """The adjoint of `products` in w, added to it: `w_t += sum x_t * y` over all outputs."""
    at, tap, segment, place = _room(axes)
    c, apart, most, (x_next, y_next) = U(channels), U(width), U(together), _steps(axes)
    x_ahead, y_ahead = most * x_next, most * y_next
    while _advance(axes, at, tap, segment, place, False):
        cells, outputs, length, count, _ = segment
        first = U(0)
        while first + FOUR * most <= length:
            j = outputs + first * y_next
            j1, j2, j3 = j + y_ahead, j + TWO * y_ahead, j + THREE * y_ahead
            for t in range(count):
                p, a = tap[t] * apart, cells + at[t] + first * x_next
                a1, a2, a3 = a + x_ahead, a + TWO * x_ahead, a + THREE * x_ahead
                for i in range(most * c):
                    two = x[a + i] * y[j + i] + x[a1 + i] * y[j1 + i]
                    w[p + i] += two + (x[a2 + i] * y[j2 + i] + x[a3 + i] * y[j3 + i])
            first += FOUR * most
        while first < length:
            n, j = min(most, length - first) * c, outputs + first * y_next
            for t in range(count):
                p, a = tap[t] * apart, cells + at[t] + first * x_next
                for i in range(n):
                    w[p + i] += x[a + i] * y[j + i]
            first += most


@_loop
def plane_products(y: Array, x: Array, w: Array, axes: Array) -> None:
    """`y = sum_t x_t * w_t` of a single channel, whose rows lie without gaps; w has the taps."""
    at, tap, segment, place = _room(axes)
    while _advance(axes, at, tap, segment, place, False):
        cells, outputs, length, count, _ = segment
        for first in range(U(0), length, AT_ONCE):
            n = min(AT_ONCE, length - first)
            x0, y0 = cells + first, outputs + first
            for i in range(n):
                y[y0 + i] = 0
            t = U(0)
            while t + FOUR <= count:
                a1, a2 = x0 + at[t], x0 + at[t + ONE]
                a3, a4 = x0 + at[t + TWO], x0 + at[t + THREE]
                w1, w2 = w[tap[t]], w[tap[t + ONE]]
                w3, w4 = w[tap[t + TWO]], w[tap[t + THREE]]
                for i in range(n):
                    two = x[a1 + i] * w1 + x[a2 + i] * w2
                    y[y0 + i] += two + (x[a3 + i] * w3 + x[a4 + i] * w4)
                t += FOUR
            while t < count:
                a, factor = x0 + at[t], w[tap[t]]
                for i in range(n):
                    y[y0 + i] += x[a + i] * factor
                t += ONE


@_loop
def plane_products_complex(y: Array, x: Array, w: Array, axes: Array) -> None:
    """The same of complex numbers, as pairs of real ones: by both parts of a factor in one pass.

    `x * w = x * re(w) + i x * im(w)`; the two sums go apart to the end of a row.
    """
    at, tap, segment, place = _room(axes)
    by_real, by_imaginary = np.empty(TWO * AT_ONCE, y.dtype), np.empty(TWO * AT_ONCE, y.dtype)
    while _advance(axes, at, tap, segment, place, False):
        cells, outputs, length, count, _ = segment
        for first in range(U(0), length, AT_ONCE):
            n = min(AT_ONCE, length - first)
            x0, y0 = TWO * (cells + first), TWO * (outputs + first)
            for i in range(TWO * n):
                by_real[i] = 0
                by_imaginary[i] = 0
            t = U(0)
            while t + FOUR <= count:
                a1, a2 = x0 + TWO * at[t], x0 + TWO * at[t + ONE]
                a3, a4 = x0 + TWO * at[t + TWO], x0 + TWO * at[t + THREE]
                p1, p2 = TWO * tap[t], TWO * tap[t + ONE]
                p3, p4 = TWO * tap[t + TWO], TWO * tap[t + THREE]
                r1, r2, r3, r4 = w[p1], w[p2], w[p3], w[p4]
                i1, i2, i3, i4 = w[p1 + ONE], w[p2 + ONE], w[p3 + ONE], w[p4 + ONE]
                for i in range(TWO * n):
                    x1, x2, x3, x4 = x[a1 + i], x[a2 + i], x[a3 + i], x[a4 + i]
                    by_real[i] += (x1 * r1 + x2 * r2) + (x3 * r3 + x4 * r4)
                    by_imaginary[i] += (x1 * i1 + x2 * i2) + (x3 * i3 + x4 * i4)
                t += FOUR
            while t < count:
                a, p = x0 + TWO * at[t], TWO * tap[t]
                real, imaginary = w[p], w[p + ONE]
                for i in range(TWO * n):
                    by_real[i] += x[a + i] * real
                    by_imaginary[i] += x[a + i] * imaginary
                t += ONE
            for i in range(n):
                even, odd = TWO * i, TWO * i + ONE
                y[y0 + even] = by_real[even] - by_imaginary[odd]
                y[y0 + odd] = by_real[odd] + by_imaginary[even]


@_loop
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


@_loop
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


@_loop
def sums(y: Array, x: Array, axes: Array, channels: int) -> None:
    """The sum over each window, zero where it sees no cell."""
    at, tap, segment, place = _room(axes)
    c, (x_next, y_next) = U(channels), _steps(axes)
    while _advance(axes, at, tap, segment, place, False):
        cells, outputs, length, count, _ = segment
        for o in range(length):
            x0, y0 = cells + o * x_next, outputs + o * y_next
            for i in range(c):
                y[y0 + i] = 0
            t = U(0)
            while t + FOUR <= count:
                a1, a2 = x0 + at[t], x0 + at[t + ONE]
                a3, a4 = x0 + at[t + TWO], x0 + at[t + THREE]
                for i in range(c):
                    y[y0 + i] += (x[a1 + i] + x[a2 + i]) + (x[a3 + i] + x[a4 + i])
                t += FOUR
            while t < count:
                a = x0 + at[t]
                for i in range(c):
                    y[y0 + i] += x[a + i]
                t += ONE


@_loop
def sums_adjoint(x: Array, y: Array, axes: Array, channels: int, sets: bool) -> None:
    """The adjoint of `sums`: y added to the cells of each window, or set where no two share one."""
    at, tap, segment, place = _room(axes)
    c, (x_next, y_next) = U(channels), _steps(axes)
    while _advance(axes, at, tap, segment, place, False):
        cells, outputs, length, count, _ = segment
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
def maxima(y: Array, x: Array, axes: Array, channels: int) -> None:
    """The maximum of each window, which sees a cell at least."""
    at, tap, segment, place = _room(axes)
    c, (x_next, y_next) = U(channels), _steps(axes)
    while _advance(axes, at, tap, segment, place, False):
        cells, outputs, length, count, _ = segment
        for o in range(length):
            _largest(x, cells + o * x_next, at, count, y, outputs + o * y_next, c)


@_inner
def _wins(x: Any, best: Any) -> Any:
    """Whether a cell is its window's maximum; NaN, which made it NaN, equals nothing."""
    return (x == best) | (x != x)


@_loop
def winners(places: Array, x: Array, axes: Array, channels: int) -> None:
    """The flat position in its plane of the first maximum of each window."""
    at, tap, segment, place = _room(axes)
    c, (x_next, y_next), step = U(channels), _steps(axes), U(axes[INNER, X_STEP])
    best = np.empty(channels, x.dtype)
    while _advance(axes, at, tap, segment, place, False):
        cells, outputs, length, count, _ = segment
        for o in range(length):
            x0, y0 = cells + o * x_next, outputs + o * y_next
            _largest(x, x0, at, count, best, U(0), c)
            for t in range(count):  # the last first, so that the first is left
                a = at[count - ONE - t] + o * x_next
                position, a = np.int64(a // step), a + cells
                for i in range(c):
                    places[y0 + i] = position if _wins(x[a + i], best[i]) else places[y0 + i]


@_loop
def maxima_gradient(
    dx: Array, x: Array, dy: Array, axes: Array, channels: int, sets: bool, ties: bool
) -> None:
    """The gradient handed to the first maximum of each window, or with `ties` to every one.

    It is added to dx, or set where no two windows share a cell.
    """
    at, tap, segment, place = _room(axes)
    c, (x_next, y_next), zero = U(channels), _steps(axes), dy.dtype.type(0)
    best, left = np.empty(channels, x.dtype), np.empty(channels, dy.dtype)
    while _advance(axes, at, tap, segment, place, False):
        cells, outputs, length, count, _ = segment
        for o in range(length):
            x0, y0 = cells + o * x_next, outputs + o * y_next
            _largest(x, x0, at, count, best, U(0), c)
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
