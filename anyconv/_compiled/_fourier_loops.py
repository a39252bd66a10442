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

from anyconv._compiled._kept_loops import inner, loop
from anyconv._compiled._transforms import LANES
from anyconv._compiled._walk_loops import FOUR, ONE, THREE, TWO, U
from anyconv._typing import Array

L, EIGHT = U(LANES), U(8)
ALIGNMENT = 64


@inner
def _pass_2(xr: Array, xi: Array, yr: Array, yi: Array, m: Any, s: Any, w: Array, t: Any) -> None:
    """Radix two; the roots begin at `w[t]`, their parts side by side."""
    from_next, to_next = m * s * L, s * L
    for p in range(m):
        c1, s1 = w[t], w[t + ONE]
        t += TWO
        for q in range(s):
            a, j = (p * s + q) * L, (TWO * p * s + q) * L
            for v in range(L):
                r0, i0 = xr[a + v], xi[a + v]
                r1, i1 = xr[a + from_next + v], xi[a + from_next + v]
                yr[j + v], yi[j + v] = r0 + r1, i0 + i1
                r1, i1 = r0 - r1, i0 - i1
                yr[j + to_next + v] = r1 * c1 - i1 * s1
                yi[j + to_next + v] = r1 * s1 + i1 * c1


@inner
def _pass_3(xr: Array, xi: Array, yr: Array, yi: Array, m: Any, s: Any, w: Array, t: Any) -> None:
    """Radix three."""
    half, sine = w.dtype.type(0.5), w.dtype.type(0.8660254037844386)
    from_next, to_next = m * s * L, s * L
    for p in range(m):
        c1, s1, c2, s2 = w[t], w[t + ONE], w[t + TWO], w[t + THREE]
        t += FOUR
        for q in range(s):
            a, j = (p * s + q) * L, (THREE * p * s + q) * L
            for v in range(L):
                r0, i0 = xr[a + v], xi[a + v]
                r1, i1 = xr[a + from_next + v], xi[a + from_next + v]
                r2, i2 = xr[a + TWO * from_next + v], xi[a + TWO * from_next + v]
                sum_r, sum_i = r1 + r2, i1 + i2
                turned_r, turned_i = sine * (i1 - i2), sine * (r2 - r1)
                yr[j + v], yi[j + v] = r0 + sum_r, i0 + sum_i
                r0, i0 = r0 - half * sum_r, i0 - half * sum_i
                r1, i1, r2, i2 = r0 + turned_r, i0 + turned_i, r0 - turned_r, i0 - turned_i
                yr[j + to_next + v] = r1 * c1 - i1 * s1
                yi[j + to_next + v] = r1 * s1 + i1 * c1
                yr[j + TWO * to_next + v] = r2 * c2 - i2 * s2
                yi[j + TWO * to_next + v] = r2 * s2 + i2 * c2


@inner
def _pass_4(xr: Array, xi: Array, yr: Array, yi: Array, m: Any, s: Any, w: Array, t: Any) -> None:
    """Radix four."""
    from_next, to_next = m * s * L, s * L
    for p in range(m):
        c1, s1, c2, s2 = w[t], w[t + ONE], w[t + TWO], w[t + THREE]
        c3, s3 = w[t + FOUR], w[t + FOUR + ONE]
        t += FOUR + TWO
        for q in range(s):
            a, j = (p * s + q) * L, (FOUR * p * s + q) * L
            for v in range(L):
                r0, i0 = xr[a + v], xi[a + v]
                r1, i1 = xr[a + from_next + v], xi[a + from_next + v]
                r2, i2 = xr[a + TWO * from_next + v], xi[a + TWO * from_next + v]
                r3, i3 = xr[a + THREE * from_next + v], xi[a + THREE * from_next + v]
                even_r, even_i, r0, i0 = r0 + r2, i0 + i2, r0 - r2, i0 - i2
                odd_r, odd_i, turned_r, turned_i = r1 + r3, i1 + i3, i1 - i3, r3 - r1
                yr[j + v], yi[j + v] = even_r + odd_r, even_i + odd_i
                r1, i1, r2, i2 = r0 + turned_r, i0 + turned_i, even_r - odd_r, even_i - odd_i
                r3, i3 = r0 - turned_r, i0 - turned_i
                yr[j + to_next + v] = r1 * c1 - i1 * s1
                yi[j + to_next + v] = r1 * s1 + i1 * c1
                yr[j + TWO * to_next + v] = r2 * c2 - i2 * s2
                yi[j + TWO * to_next + v] = r2 * s2 + i2 * c2
                yr[j + THREE * to_next + v] = r3 * c3 - i3 * s3
                yi[j + THREE * to_next + v] = r3 * s3 + i3 * c3


@inner
def _pass_5(xr: Array, xi: Array, yr: Array, yi: Array, m: Any, s: Any, w: Array, t: Any) -> None:
    """Radix five."""
    cos1, cos2 = w.dtype.type(0.30901699437494745), w.dtype.type(-0.8090169943749475)
    sin1, sin2 = w.dtype.type(0.9510565162951535), w.dtype.type(0.5877852522924731)
    from_next, to_next = m * s * L, s * L
    for p in range(m):
        c1, s1, c2, s2 = w[t], w[t + ONE], w[t + TWO], w[t + THREE]
        t += FOUR
        c3, s3, c4, s4 = w[t], w[t + ONE], w[t + TWO], w[t + THREE]
        t += FOUR
        for q in range(s):
            a, j = (p * s + q) * L, ((FOUR + ONE) * p * s + q) * L
            for v in range(L):
                r0, i0 = xr[a + v], xi[a + v]
                r1, i1 = xr[a + from_next + v], xi[a + from_next + v]
                r2, i2 = xr[a + TWO * from_next + v], xi[a + TWO * from_next + v]
                r3, i3 = xr[a + THREE * from_next + v], xi[a + THREE * from_next + v]
                r4, i4 = xr[a + FOUR * from_next + v], xi[a + FOUR * from_next + v]
                outer_r, outer_i, r1, i1 = r1 + r4, i1 + i4, i1 - i4, r4 - r1
                inner_r, inner_i, r2, i2 = r2 + r3, i2 + i3, i2 - i3, r3 - r2
                yr[j + v], yi[j + v] = r0 + outer_r + inner_r, i0 + outer_i + inner_i
                first_r = r0 + cos1 * outer_r + cos2 * inner_r
                first_i = i0 + cos1 * outer_i + cos2 * inner_i
                second_r = r0 + cos2 * outer_r + cos1 * inner_r
                second_i = i0 + cos2 * outer_i + cos1 * inner_i
                turned_r, turned_i = sin1 * r1 + sin2 * r2, sin1 * i1 + sin2 * i2
                twice_r, twice_i = sin2 * r1 - sin1 * r2, sin2 * i1 - sin1 * i2
                r1, i1, r4, i4 = (
                    first_r + turned_r,
                    first_i + turned_i,
                    first_r - turned_r,
                    first_i - turned_i,
                )
                r2, i2, r3, i3 = (
                    second_r + twice_r,
                    second_i + twice_i,
                    second_r - twice_r,
                    second_i - twice_i,
                )
                yr[j + to_next + v] = r1 * c1 - i1 * s1
                yi[j + to_next + v] = r1 * s1 + i1 * c1
                yr[j + TWO * to_next + v] = r2 * c2 - i2 * s2
                yi[j + TWO * to_next + v] = r2 * s2 + i2 * c2
                yr[j + THREE * to_next + v] = r3 * c3 - i3 * s3
                yi[j + THREE * to_next + v] = r3 * s3 + i3 * c3
                yr[j + FOUR * to_next + v] = r4 * c4 - i4 * s4
                yi[j + FOUR * to_next + v] = r4 * s4 + i4 * c4


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
        if place & ONE:
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
        if place & ONE:
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
