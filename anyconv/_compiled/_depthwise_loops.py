"""Loops of depthwise convolution, forward and both gradients, and of a single channel.

How arrays are walked through is told at the top of `_walk_loops`.
"""

from typing import Any

import numpy as np

from anyconv._compiled._kept_loops import inlined, inner, loop, named
from anyconv._compiled._loop_sizes import ROW_OUTPUTS
from anyconv._compiled._walk_loops import (
    FIVE,
    FOUR,
    INNER,
    ONE,
    SEVEN,
    STRIDE,
    THREE,
    TWO,
    X_STEP,
    U,
    _advance,
    _room,
    _steps,
)
from anyconv._typing import Array


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
    while _advance(axes, at, tap, segment, place, False, ROW_OUTPUTS):
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
    by_real, by_imaginary = np.empty(2 * ROW_OUTPUTS, y.dtype), np.empty(2 * ROW_OUTPUTS, y.dtype)
    while _advance(axes, at, tap, segment, place, False, ROW_OUTPUTS):
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
