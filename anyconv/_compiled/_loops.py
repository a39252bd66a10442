"""Loops over windows that Numba compiles: what NumPy would do in many passes, in one.

All arrays are flat. How they are walked through is said by `axes`, an array of whole numbers with a
row for the images and three for the axes of windows, the last one innermost, and the columns below.
Window o of an axis has tap k on cell `stride * o + dilation * k + start`; a tap on no cell of the
input is left out, so padding need not be made. The channels of a cell are neighbours in memory.

Along the innermost axis the outputs from one whose windows lie in the input to the last of them
share their taps: a segment. Each output beside them is a segment of its own.

Numba counts references to an array that enters or leaves a tuple, which short loops cannot afford:
no inner loop does that.

In the loops a is a place in x, p one among the factors and j one in y; i goes along neighbours.

This module is imported where Numba can be; indices are unsigned, which spares Numba a look at
their sign that keeps loops from vectors.
"""

from typing import Any

import numpy as np

from anyconv._compiled._kept_loops import inlined, inner, loop, named
from anyconv._typing import Array

OUTPUTS, TAPS, STRIDE, DILATION, START, CELLS, X_STEP, Y_STEP = range(8)
IMAGES, OUTER, MIDDLE, INNER = range(4)


U = np.uint64
ONE, TWO, THREE, FOUR, FIVE, SEVEN = U(1), U(2), U(3), U(4), U(5), U(7)
MANY = 2**62
# The outputs of a row whose sums stay in a core's first cache.
AT_ONCE = 1024
# Fewer neighbours are taken one after the other, each with all its taps.
SHORT = U(8)


@inner
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


@inner
def _room(axes: Array) -> tuple[Array, ...]:
    """Room for the taps of a segment, `at` and `tap`, for what it is, and for where the next is."""
    taps = axes[OUTER, TAPS] * axes[MIDDLE, TAPS] * axes[INNER, TAPS]
    at, tap = np.empty(taps, np.uint64), np.empty(taps, np.uint64)
    return at, tap, np.empty(5, np.uint64), np.zeros(4, np.int64)


@inner
def _steps(axes: Array) -> tuple[Any, Any]:
    """The elements from a cell to that of the next output of a segment, and to that output."""
    return U(axes[INNER, STRIDE] * axes[INNER, X_STEP]), U(axes[INNER, Y_STEP])


@inner
def _advance(
    axes: Array, at: Array, tap: Array, segment: Array, place: Array, rows: bool, most: int = MANY
) -> bool:
    """Whether there is another segment, whose taps (or `rows` of them) and sizes are written then.

    No more than `most` outputs are one segment. `segment` tells where the cells of its image begin,
    and its outputs, how many these are, how many taps or rows each has, and how many taps a row.
    (A generator would be plainer; Numba never frees what one has been given.)
    """
    image, a, b, o = place
    if image == axes[IMAGES, OUTPUTS]:
        return False
    outputs, taps, stride, dilation, start, cells, _, step = axes[INNER]
    low = min(max(-(start // stride), 0), outputs)
    high = max(min((cells - 1 - start - (taps - 1) * dilation) // stride + 1, outputs), low)
    stop = min(high, o + most) if low <= o < high else o + 1
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


def _four_by(rows: int, taps: int, stride: int) -> Any:
    """The products of four outputs beside each other and so many taps of so many rows, in one pass.

    A factor is read once for all four, and a cell once for all taps that share it, as the compiler
    sees which do; `step` is from one cell to the next.
    """

    @inlined
    @named(rows, taps, stride)
    def products_of_four(
        y: Array,
        y0: int,
        y_next: int,
        x: Array,
        a: int,
        below: int,
        further: int,
        step: int,
        w: Array,
        p: int,
        apart: int,
        c: int,
        adds: bool,
    ) -> None:
        y1, y2, y3 = y0 + y_next, y0 + TWO * y_next, y0 + THREE * y_next
        for i in range(c):
            s = s1 = s2 = s3 = y.dtype.type(0)
            if adds:
                s, s1, s2, s3 = y[y0 + i], y[y1 + i], y[y2 + i], y[y3 + i]
            for r in range(rows):
                row = (a if r == 0 else below if r == 1 else further) + i
                for k in range(taps):
                    factor = w[p + U(taps * r + k) * apart + i]
                    s += x[row + U(k) * step] * factor
                    s1 += x[row + U(k + stride) * step] * factor
                    s2 += x[row + U(k + 2 * stride) * step] * factor
                    s3 += x[row + U(k + 3 * stride) * step] * factor
            y[y0 + i], y[y1 + i], y[y2 + i], y[y3 + i] = s, s1, s2, s3

    return products_of_four


def _weight_by(rows: int, taps: int, stride: int) -> Any:
    """The share of four outputs in the gradients of the factors, likewise."""

    @inlined
    @named(rows, taps, stride)
    def weight_of_four(
        w: Array,
        p: int,
        apart: int,
        x: Array,
        a: int,
        below: int,
        further: int,
        step: int,
        y: Array,
        y0: int,
        y_next: int,
        c: int,
    ) -> None:
        y1, y2, y3 = y0 + y_next, y0 + TWO * y_next, y0 + THREE * y_next
        for i in range(c):
            d, d1, d2, d3 = y[y0 + i], y[y1 + i], y[y2 + i], y[y3 + i]
            for r in range(rows):
                q = (a if r == 0 else below if r == 1 else further) + i
                for k in range(taps):
                    two = x[q + U(k) * step] * d + x[q + U(k + stride) * step] * d1
                    two += (
                        x[q + U(k + 2 * stride) * step] * d2 + x[q + U(k + 3 * stride) * step] * d3
                    )
                    w[p + U(taps * r + k) * apart + i] += two

    return weight_of_four


def _data_by(taps: int, stride: int) -> Any:
    """What four outputs add to the cells under so many taps of a row, each cell written once."""

    @inlined
    @named(taps, stride)
    def data_of_four(
        x: Array,
        a: int,
        step: int,
        y: Array,
        y0: int,
        y_next: int,
        w: Array,
        p: int,
        apart: int,
        c: int,
    ) -> None:
        for i in range(c):
            for cell in range(taps + 3 * stride):
                total = x[a + U(cell) * step + i]
                for o in range(4):
                    k = cell - stride * o
                    if 0 <= k < taps:
                        total += y[y0 + U(o) * y_next + i] * w[p + U(k) * apart + i]
                x[a + U(cell) * step + i] = total

    return data_of_four


_by_nine, _by_nine_in_twos = _four_by(3, 3, 1), _four_by(3, 3, 2)
_by_seven, _by_five, _by_three = _four_by(1, 7, 1), _four_by(1, 5, 1), _four_by(1, 3, 1)
_by_two, _by_one = _four_by(1, 2, 1), _four_by(1, 1, 1)
_weight_by_nine, _weight_by_nine_in_twos = _weight_by(3, 3, 1), _weight_by(3, 3, 2)
_weight_by_three, _weight_by_one = _weight_by(1, 3, 1), _weight_by(1, 1, 1)
_data_by_three, _data_by_one = _data_by(3, 1), _data_by(1, 1)
_data_by_three_in_twos, _data_by_one_in_twos = _data_by(3, 2), _data_by(1, 2)


@inner
def _is_nine(tap: Array, count: int, in_row: int) -> bool:
    """Whether the taps are the first nine, three rows of three."""
    return in_row == THREE and count == U(9) and tap[8] == U(8)


@loop
def products(
    y: Array,
    x: Array,
    w: Array,
    axes: Array,
    channels: int,
    width: int,
    together: int,
    by_four: bool,
) -> None:
    """`y = sum_t x_t * w_t`, channel by channel; the factors of a tap are `width` apart.

    Outputs are taken `by_four` where there is a pass for their stride and taps; or so many
    `together`, for each of which the factors are repeated.
    """
    at, tap, segment, place = _room(axes)
    c, apart, most, (x_next, y_next) = U(channels), U(width), U(together), _steps(axes)
    stride, step = axes[INNER, STRIDE], U(axes[INNER, X_STEP])
    while _advance(axes, at, tap, segment, place, False):
        cells, outputs, length, count, in_row = segment
        is_nine, first = _is_nine(tap, count, in_row), U(0)
        has_passes = by_four and count > U(0) and (stride == 1 or is_nine)
        while has_passes and first + FOUR <= length:
            x0, y0 = cells + first * x_next, outputs + first * y_next
            to = y0, y_next
            first += FOUR
            if is_nine:
                given = x0 + at[0], x0 + at[3], x0 + at[6], step
                if stride == 1:
                    _by_nine(y, *to, x, *given, w, U(0), apart, c, False)
                else:
                    _by_nine_in_twos(y, *to, x, *given, w, U(0), apart, c, False)
                continue
            for o in range(FOUR):
                for i in range(c):
                    y[y0 + o * y_next + i] = 0
            t = U(0)
            while t < count:
                rest, a = in_row - t % in_row, x0 + at[t]
                given, p = (a, a, a, step), tap[t] * apart
                if rest >= SEVEN:
                    _by_seven(y, *to, x, *given, w, p, apart, c, True)
                    t += SEVEN
                elif rest >= FIVE:
                    _by_five(y, *to, x, *given, w, p, apart, c, True)
                    t += FIVE
                elif rest >= THREE:
                    _by_three(y, *to, x, *given, w, p, apart, c, True)
                    t += THREE
                elif rest == TWO:
                    _by_two(y, *to, x, *given, w, p, apart, c, True)
                    t += TWO
                else:
                    _by_one(y, *to, x, *given, w, p, apart, c, True)
                    t += ONE
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


@loop
def products_data(
    x: Array,
    y: Array,
    w: Array,
    axes: Array,
    channels: int,
    width: int,
    together: int,
    by_four: bool,
) -> None:
    """The adjoint of `products` in x, added to it: `x_t += y * w_t`."""
    at, tap, segment, place = _room(axes)
    c, apart, most, (x_next, y_next) = U(channels), U(width), U(together), _steps(axes)
    stride, step = axes[INNER, STRIDE], U(axes[INNER, X_STEP])
    while _advance(axes, at, tap, segment, place, False):
        cells, outputs, length, count, in_row = segment
        first = U(0)
        while by_four and first + FOUR <= length:
            given, t = (outputs + first * y_next, y_next), U(0)
            while t < count:
                a, p = cells + first * x_next + at[t], tap[t] * apart
                if in_row - t % in_row >= THREE:
                    if stride == 1:
                        _data_by_three(x, a, step, y, *given, w, p, apart, c)
                    else:
                        _data_by_three_in_twos(x, a, step, y, *given, w, p, apart, c)
                    t += THREE
                else:
                    if stride == 1:
                        _data_by_one(x, a, step, y, *given, w, p, apart, c)
                    else:
                        _data_by_one_in_twos(x, a, step, y, *given, w, p, apart, c)
                    t += ONE
            first += FOUR
        while first < length:
            n = min(most, length - first) * c
            x0, y0 = cells + first * x_next, outputs + first * y_next
            first += most
            for k in range(count):
                a, p = x0 + at[k], tap[k] * apart
                for i in range(n):
                    x[a + i] += y[y0 + i] * w[p + i]


@loop
def products_weight(
    w: Array,
    x: Array,
    y: Array,
    axes: Array,
    channels: int,
    width: int,
    together: int,
    by_four: bool,
) -> None:
    """The adjoint of `products` in w, added to it: `w_t += sum x_t * y` over all outputs."""
    at, tap, segment, place = _room(axes)
    c, apart, most, (x_next, y_next) = U(channels), U(width), U(together), _steps(axes)
    x_ahead, y_ahead = most * x_next, most * y_next
    stride, step = axes[INNER, STRIDE], U(axes[INNER, X_STEP])
    while _advance(axes, at, tap, segment, place, False):
        cells, outputs, length, count, in_row = segment
        is_nine, first = _is_nine(tap, count, in_row), U(0)
        while by_four and first + FOUR <= length and (stride == 1 or (stride == 2 and is_nine)):
            x0, given = cells + first * x_next, (outputs + first * y_next, y_next)
            first += FOUR
            if is_nine:
                rows = x0 + at[0], x0 + at[3], x0 + at[6], step
                if stride == 1:
                    _weight_by_nine(w, U(0), apart, x, *rows, y, *given, c)
                else:
                    _weight_by_nine_in_twos(w, U(0), apart, x, *rows, y, *given, c)
                continue
            t = U(0)
            while t < count:
                p, rows = tap[t] * apart, (x0 + at[t], x0 + at[t], x0 + at[t], step)
                if in_row - t % in_row >= THREE:
                    _weight_by_three(w, p, apart, x, *rows, y, *given, c)
                    t += THREE
                else:
                    _weight_by_one(w, p, apart, x, *rows, y, *given, c)
                    t += ONE
        while first + FOUR * most <= length:
            j = outputs + first * y_next
            j1, j2, j3 = j + y_ahead, j + TWO * y_ahead, j + THREE * y_ahead
            for k in range(count):
                p, a = tap[k] * apart, cells + at[k] + first * x_next
                a1, a2, a3 = a + x_ahead, a + TWO * x_ahead, a + THREE * x_ahead
                for i in range(most * c):
                    two = x[a + i] * y[j + i] + x[a1 + i] * y[j1 + i]
                    w[p + i] += two + (x[a2 + i] * y[j2 + i] + x[a3 + i] * y[j3 + i])
            first += FOUR * most
        while first < length:
            n, j = min(most, length - first) * c, outputs + first * y_next
            for k in range(count):
                p, a = tap[k] * apart, cells + at[k] + first * x_next
                for i in range(n):
                    w[p + i] += x[a + i] * y[j + i]
            first += most


@loop
def plane_products(y: Array, x: Array, w: Array, axes: Array) -> None:
    """`y = sum_t x_t * w_t` of a single channel, whose rows lie without gaps; w has the taps."""
    at, tap, segment, place = _room(axes)
    while _advance(axes, at, tap, segment, place, False, AT_ONCE):
        x0, y0, n, count, _ = segment
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


@loop
def plane_products_complex(y: Array, x: Array, w: Array, axes: Array) -> None:
    """The same of complex numbers, as pairs of real ones: by both parts of a factor in one pass.

    `x * w = x * re(w) + i x * im(w)`; the two sums go apart to the end of a segment.
    """
    at, tap, segment, place = _room(axes)
    by_real, by_imaginary = np.empty(2 * AT_ONCE, y.dtype), np.empty(2 * AT_ONCE, y.dtype)
    while _advance(axes, at, tap, segment, place, False, AT_ONCE):
        cells, outputs, n, count, _ = segment
        x0, y0 = TWO * cells, TWO * outputs
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


@inner
def _span(axes: Array, outputs: int, taps: int) -> Any:
    """The cells of a row from the first of some outputs' windows to the last, of so many taps."""
    apart = (outputs - ONE) * U(axes[INNER, STRIDE])
    return apart + (taps - ONE) * U(axes[INNER, DILATION]) + ONE


@inner
def _runs(axes: Array, outputs: int, channels: int) -> tuple[Any, Any]:
    """Some outputs as runs of neighbours, whose cells are neighbours too, and their length."""
    c = U(channels)
    if axes[INNER, STRIDE] == 1 and axes[INNER, Y_STEP] == channels:
        return ONE, outputs * c
    return outputs, c


@inner
def _taps_of_row(axes: Array) -> Array:
    """The elements from the first tap of a row to each."""
    step = U(axes[INNER, DILATION] * axes[INNER, X_STEP])
    at = np.empty(axes[INNER, TAPS], np.uint64)
    for t in range(at.size):
        at[t] = t * step
    return at


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
