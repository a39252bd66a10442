"""Fourier transforms along one axis of an array that Numba compiles.

Sixteen lanes are transformed at once, their real and imaginary parts apart, in arrays that a core's
first cache holds: cell c of lane v is element `16 c + v` of `r` and of `i`. All cells are read
where they lie and zeros put between them, and only the cells that are wanted are written, so that
nothing need be padded or cropped.

Stockham's algorithm: a pass of radix q takes apart m q cells of s columns,

    y[q p + j] = w^(p j) sum_k x[p + m k] exp(-2 pi i j k / q),   w = exp(-2 pi i / (m q)), p < m

and leaves q times as many columns of m cells. A real lane of even length n is half as many complex
numbers, x[2c] + i x[2c + 1], whose spectrum Z tells that of x (`_write_half`). No lane has a part
in another's result, whatever their sizes. The inverse is the transform with the parts exchanged.

C. Van Loan, "Computational Frameworks for the Fast Fourier Transform", SIAM 1992, 1.7 and 4.3.
"""

from typing import Any

import numpy as np

from anyconv._compiled._butterfly_loops import (
    ALIGNMENT,
    butterfly,
    copy_lanes,
    join_halves,
    join_lanes,
    multiply_lanes,
    split_halves,
    split_lanes,
)
from anyconv._compiled._kept_loops import inner, loop, named
from anyconv._compiled._transforms import LANES
from anyconv._compiled._walk_loops import FOUR, ONE, THREE, TWO, U
from anyconv._typing import Array

L, EIGHT = U(LANES), U(8)


def _pass_of(radix: int) -> Any:
    """A pass of one radix; its roots begin at `w[t]`, their parts side by side."""
    q, parts = U(radix), U(2 * (radix - 1))

    @inner
    @named(radix)
    def one_pass(
        xr: Array, xi: Array, yr: Array, yi: Array, m: Any, s: Any, w: Array, t: Any
    ) -> None:
        from_next, to_next = m * s * L, s * L
        for p in range(m):
            for column in range(s):
                a, j = (p * s + column) * L, (q * p * s + column) * L
                butterfly(radix, xr, xi, a, from_next, yr, yi, j, to_next, w, t)
            t += parts

    return one_pass


_pass_2, _pass_3, _pass_4, _pass_5, _pass_8 = map(_pass_of, (2, 3, 4, 5, 8))


@inner
def _passes(
    r: Array, i: Array, other_r: Array, other_i: Array, n: int, radices: Array, w: Array
) -> None:
    """All passes, from one pair of arrays to the other and back; an odd number ends in the other.

    (Arrays that change names would be counted in and out of each.)
    """
    m, s, t = U(n), ONE, U(0)
    for number in range(len(radices)):
        radix = U(radices[number])
        m //= radix
        if number % 2:
            xr, xi, yr, yi = other_r, other_i, r, i
        else:
            xr, xi, yr, yi = r, i, other_r, other_i
        if radix == FOUR:
            _pass_4(xr, xi, yr, yi, m, s, w, t)
        elif radix == EIGHT:
            _pass_8(xr, xi, yr, yi, m, s, w, t)
        elif radix == THREE:
            _pass_3(xr, xi, yr, yi, m, s, w, t)
        elif radix == TWO:
            _pass_2(xr, xi, yr, yi, m, s, w, t)
        else:
            _pass_5(xr, xi, yr, yi, m, s, w, t)
        t += TWO * (radix - ONE) * m
        s *= radix


@inner
def _read_complex(
    r: Array, i: Array, x: Array, a: Any, step: Any, cells: Any, gap: Any, width: Any
) -> None:
    """Cells `step` apart in x put `gap` apart; a complex number's parts are neighbours in x."""
    if width == L:
        for c in range(cells):
            split_lanes(r, i, c * gap * L, x, a + c * step)
        return
    for c in range(cells):
        j, b = c * gap * L, a + c * step
        for v in range(width):
            r[j + v], i[j + v] = x[b + v + v], x[b + v + v + ONE]


@inner
def _read_real(
    r: Array, i: Array, x: Array, a: Any, step: Any, cells: Any, gap: Any, width: Any
) -> None:
    """The same of real cells, which by turns are real and imaginary parts."""
    for c in range(cells):
        place, b = c * gap, a + c * step
        j = (place >> ONE) * L
        if width == L:
            copy_lanes(i if place & ONE else r, j, x, b, x.dtype.type(1))
        elif place & ONE:
            for v in range(width):
                i[j + v] = x[b + v]
        else:
            for v in range(width):
                r[j + v] = x[b + v]


@inner
def _read_half(
    r: Array, i: Array, x: Array, a: Any, step: Any, n: Any, w: Array, t: Any, width: Any
) -> None:
    """Z from the spectrum X of a real lane of 2n cells, its first and last frequency being real.

    Z[f] = E + i O,  E = X[f] + conj X[n - f],  O = (X[f] - conj X[n - f]) w^-f; that is twice Z.
    """
    b = a + n * step
    for v in range(width):
        r[v], i[v] = x[a + v + v] + x[b + v + v], x[a + v + v] - x[b + v + v]
    for f in range(ONE, n // TWO + ONE):
        a, b = a + step, b - step
        j, k, cosine, sine = f * L, (n - f) * L, w[t + TWO * f], w[t + TWO * f + ONE]
        if width == L:
            split_halves(r, i, j, k, x, a, b, w, t + TWO * f)
            continue
        for v in range(width):
            xr, xi, yr, yi = x[a + v + v], x[a + v + v + ONE], x[b + v + v], x[b + v + v + ONE]
            even_r, even_i, odd_r, odd_i = xr + yr, xi - yi, xr - yr, xi + yi
            odd_r, odd_i = odd_r * cosine + odd_i * sine, odd_i * cosine - odd_r * sine
            r[j + v], i[j + v] = even_r - odd_i, even_i + odd_r
            r[k + v], i[k + v] = even_r + odd_i, odd_r - even_i


@inner
def _write_complex(
    y: Array,
    j: Any,
    step: Any,
    cells: Any,
    gap: Any,
    width: Any,
    r: Array,
    i: Array,
    scale: Any,
) -> None:
    """The adjoint of `_read_complex`, and likewise below, scaled."""
    if width == L:
        for c in range(cells):
            join_lanes(y, j + c * step, r, i, c * gap * L, scale)
        return
    for c in range(cells):
        a, b = c * gap * L, j + c * step
        for v in range(width):
            y[b + v + v], y[b + v + v + ONE] = scale * r[a + v], scale * i[a + v]


@inner
def _write_real(
    y: Array,
    j: Any,
    step: Any,
    cells: Any,
    gap: Any,
    width: Any,
    r: Array,
    i: Array,
    scale: Any,
) -> None:
    """Real cells, which by turns are real and imaginary parts."""
    for c in range(cells):
        place, b = c * gap, j + c * step
        a = (place >> ONE) * L
        if width == L:
            copy_lanes(y, b, i if place & ONE else r, a, scale)
        elif place & ONE:
            for v in range(width):
                y[b + v] = scale * i[a + v]
        else:
            for v in range(width):
                y[b + v] = scale * r[a + v]


@inner
def _write_half(
    y: Array,
    j: Any,
    step: Any,
    n: Any,
    w: Array,
    t: Any,
    width: Any,
    r: Array,
    i: Array,
    scale: Any,
) -> None:
    """The spectrum X of a real lane of 2n cells from Z, that of n complex numbers.

    X[f] = E + w^f O,  E = (Z[f] + conj Z[n - f]) / 2,  O = (Z[f] - conj Z[n - f]) / 2i
    """
    zero, k = w.dtype.type(0), j + n * step
    for v in range(width):
        y[j + v + v], y[j + v + v + ONE] = scale * (r[v] + i[v]), zero
        y[k + v + v], y[k + v + v + ONE] = scale * (r[v] - i[v]), zero
    scale *= w.dtype.type(0.5)
    for f in range(ONE, n // TWO + ONE):
        j, k = j + step, k - step
        a, b, cosine, sine = f * L, (n - f) * L, w[t + TWO * f], w[t + TWO * f + ONE]
        if width == L:
            join_halves(y, j, k, r, i, a, b, w, t + TWO * f, scale)
            continue
        for v in range(width):
            xr, xi, yr, yi = r[a + v], i[a + v], r[b + v], i[b + v]
            even_r, even_i, odd_r, odd_i = xr + yr, xi - yi, xi + yi, yr - xr
            odd_r, odd_i = odd_r * cosine - odd_i * sine, odd_r * sine + odd_i * cosine
            y[j + v + v], y[j + v + v + ONE] = scale * (even_r + odd_r), scale * (even_i + odd_i)
            y[k + v + v], y[k + v + v + ONE] = scale * (even_r - odd_r), scale * (odd_i - even_i)


@inner
def _turn_in(z: Array, x: Array, a: Any, cells: Any, width: Any) -> None:
    """Rows of x, a lane each, as the columns of z; a few cells at once, which share cache lines."""
    whole = cells // EIGHT * EIGHT
    for c in range(U(0), whole, EIGHT):
        for v in range(width):
            for k in range(EIGHT):
                z[(c + k) * L + v] = x[a + v * cells + c + k]
    for c in range(whole, cells):
        for v in range(width):
            z[c * L + v] = x[a + v * cells + c]


@inner
def _turn_out(y: Array, j: Any, cells: Any, width: Any, z: Array) -> None:
    """The adjoint."""
    whole = cells // EIGHT * EIGHT
    for c in range(U(0), whole, EIGHT):
        for v in range(width):
            for k in range(EIGHT):
                y[j + v * cells + c + k] = z[(c + k) * L + v]
    for c in range(whole, cells):
        for v in range(width):
            y[j + v * cells + c] = z[c * L + v]


@loop
def transform(
    y: Array,
    x: Array,
    outer: int,
    lanes: int,
    cells: int,
    gap: int,
    n: int,
    is_real: bool,
    by_rows: bool,
    inverse: bool,
    radices: Array,
    w: Array,
    scale: float,
) -> None:
    """The transform of an axis of x, or the inverse, to y, times a scale; both arrays are flat.

    The axis holds `cells`, so far apart, others being zero, or its frequencies: `n`, of a real one,
    of 2n cells, `n + 1`. It lies between `outer` axes and `lanes`; or with `by_rows` after them.
    """
    in_x, in_y = (n + is_real, cells) if inverse else (cells, n + is_real)
    x_parts, y_parts = (2, 2 - is_real) if inverse else (2 - is_real, 2)
    size = n * LANES
    room = np.empty(4 * size + ALIGNMENT // w.itemsize, w.dtype)
    start = -room.ctypes.data % ALIGNMENT // w.itemsize
    r, i = room[start : start + size], room[start + size : start + 2 * size]
    start += 2 * size
    other_r, other_i = room[start : start + size], room[start + size : start + 2 * size]
    room[:] = 0
    last_r = other_r if len(radices) % 2 else r
    last_i = other_i if len(radices) % 2 else i
    turned_x = np.empty(in_x * LANES if by_rows else 0, x.dtype)
    turned_y = np.empty(in_y * LANES if by_rows else 0, y.dtype)
    source = turned_x.view(w.dtype) if by_rows else x.view(w.dtype)
    target = turned_y.view(w.dtype) if by_rows else y.view(w.dtype)
    step = LANES if by_rows else lanes
    x_step, y_step = U(step * x_parts), U(step * y_parts)
    x_gap, y_gap = (ONE, U(gap)) if inverse else (U(gap), ONE)
    beyond = 0 if gap > 1 else cells // (1 + is_real) * LANES
    halves = U(2 * n - 2)
    for o in range(outer):
        for lane in range(0, lanes, LANES):
            width = U(min(LANES, lanes - lane))
            a = (o * in_x * lanes + lane) * x_parts
            j = (o * in_y * lanes + lane) * y_parts
            if by_rows:
                _turn_in(turned_x, x, U(lane * in_x), U(in_x), width)
                a = j = 0
            if not inverse:
                r[beyond:] = 0
                i[beyond:] = 0
            if inverse and is_real:
                _read_half(r, i, source, U(a), x_step, U(n), w, halves, width)
            elif is_real:
                _read_real(r, i, source, U(a), x_step, U(in_x), x_gap, width)
            else:
                _read_complex(r, i, source, U(a), x_step, U(in_x), x_gap, width)
            if inverse:
                _passes(i, r, other_i, other_r, n, radices, w)
            else:
                _passes(r, i, other_r, other_i, n, radices, w)
            if is_real and not inverse:
                _write_half(target, U(j), y_step, U(n), w, halves, width, last_r, last_i, scale)
            elif is_real:
                _write_real(target, U(j), y_step, U(in_y), y_gap, width, last_r, last_i, scale)
            else:
                _write_complex(target, U(j), y_step, U(in_y), y_gap, width, last_r, last_i, scale)
            if by_rows:
                _turn_out(y, U(lane * in_y), U(in_y), width, turned_y)


@inner
def _multiply(
    r: Array, i: Array, w: Array, p: Any, step: Any, n: Any, width: Any, scale: Any
) -> None:
    """All frequencies of some lanes times factors that are `step` apart, and a scale."""
    for f in range(n):
        a, b = f * L, p + f * step
        if width == L:
            multiply_lanes(r, i, a, w, b, scale)
            continue
        for v in range(width):
            real, imaginary = scale * w[b + v + v], scale * w[b + v + v + ONE]
            x, y = r[a + v], i[a + v]
            r[a + v], i[a + v] = x * real - y * imaginary, x * imaginary + y * real


@loop
def filter_columns(
    y: Array,
    x: Array,
    w: Array,
    frequencies: int,
    rows: int,
    channels: int,
    cells: int,
    kept: int,
    gap: int,
    n: int,
    radices: Array,
    roots: Array,
    scale: float,
) -> None:
    """Columns of x transformed, multiplied by those of w, and transformed back to y; all complex.

    `x (cells, frequencies, rows, channels)`, beyond which are zeros up to n; `w (n, frequencies,
    channels)`; of y only every `gap`-th cell is kept.
    """
    size = n * LANES
    room = np.empty(4 * size + ALIGNMENT // roots.itemsize, roots.dtype)
    start = -room.ctypes.data % ALIGNMENT // roots.itemsize
    r, i = room[start : start + size], room[start + size : start + 2 * size]
    start += 2 * size
    other_r, other_i = room[start : start + size], room[start + size : start + 2 * size]
    room[:] = 0
    source, target, factors = x.view(roots.dtype), y.view(roots.dtype), w.view(roots.dtype)
    step, w_step = U(2 * frequencies * rows * channels), U(2 * frequencies * channels)
    is_odd = len(radices) % 2
    for f in range(frequencies):
        for row in range(rows):
            for lane in range(0, channels, LANES):
                width = U(min(LANES, channels - lane))
                a = U(2 * ((f * rows + row) * channels + lane))
                p = U(2 * (f * channels + lane))
                r[cells * LANES :] = 0
                i[cells * LANES :] = 0
                _read_complex(r, i, source, a, step, U(cells), ONE, width)
                _passes(r, i, other_r, other_i, n, radices, roots)
                if is_odd:
                    _multiply(other_r, other_i, factors, p, w_step, U(n), width, scale)
                    _passes(other_i, other_r, i, r, n, radices, roots)
                else:
                    _multiply(r, i, factors, p, w_step, U(n), width, scale)
                    _passes(i, r, other_i, other_r, n, radices, roots)
                _write_complex(target, a, step, U(kept), U(gap), width, r, i, roots.dtype.type(1))
