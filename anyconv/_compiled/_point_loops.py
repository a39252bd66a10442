"""Convolutions of tiles by way of points (`winograd`, `fft`), in loops that Numba compiles.

    y = A [ (G w) * (B x) ]          dw = G* [ (B x) * (A* dy) ]

B, G and A are small matrices along each axis, applied to vectors of channels one axis after the
other. For some tiles at a time the points of the input are formed, then for one panel of output
channels after another those of the weight, or of the output's gradient, the products of each point
(`_tile_loops`) and what is wanted of them.

The points of Fourier transforms are complex: their matrices take the outer of two axes to pairs of
parts, of half of its frequencies, and the inner one both parts of its cells to both parts of its
frequencies; so points lie as `(outer, part, inner)`. After those of the input are the negative real
ones, and with the weight's conjugate the products are

    re = x_re w_re + x_im w_im,          im = x_im w_re - x_re w_im

How arrays are walked through is told at the top of `_walk_loops`. Each point, or
part of one, is a plane of an array, a matrix of tiles, or of channels of the weights.
"""

import numpy as np

from anyconv._compiled._kept_loops import inner, loop
from anyconv._compiled._loop_sizes import HELD_POINT_BYTES
from anyconv._compiled._map_loops import (
    CELLS_OF,
    GATHERED,
    KERNEL,
    PACKED,
    POINTS,
    TILE,
    Y,
    _count,
    _form_points,
    _form_weights,
    _from_points,
    _pack_steps,
    _place,
    _planes,
    _room,
    _table,
)
from anyconv._compiled._product_loops import _aligned, _multiply, _panels
from anyconv._compiled._tile_loops import MOST_VECTORS, VECTOR_BYTES
from anyconv._compiled._walk_loops import (
    IMAGES,
    INNER,
    MIDDLE,
    OUTER,
    OUTPUTS,
    Y_STEP,
    U,
)
from anyconv._typing import Array

# The tiles that are multiplied by weights at a time.
ROWS = 48


@inner
def _multiply_points(
    table: Array,
    is_complex: bool,
    vectors: int,
    y: Array,
    y_at: Array,
    to: int,
    y_apart: int,
    x: Array,
    x_at: Array,
    step: int,
    x_apart: int,
    first: int,
    stop: int,
    w: Array,
    at: int,
    w_apart: int,
    w_step: int,
    length: int,
    adds: bool,
    runs: Array,
) -> None:
    """The product of each point, a sum over so many rows of w."""
    lanes, planes, inner = VECTOR_BYTES // y.itemsize, _planes(table), table[POINTS, 2]
    runs[2] = runs[5] = length
    for p in range(planes):
        target, count = to + p * y_apart, 1
        runs[0], runs[1] = p * x_apart, at + p * w_apart
        if is_complex:
            row, k = p // inner, p % inner
            real, imaginary, count = row // 2 * 2 * inner + k, (row // 2 * 2 + 1) * inner + k, 2
            negative = planes + row // 2 * inner + k
            runs[1], runs[4] = at + real * w_apart, at + imaginary * w_apart
            runs[0] = (imaginary if row % 2 else real) * x_apart
            runs[3] = (negative if row % 2 else imaginary) * x_apart
        _multiply(
            vectors, y, y_at, target, x, x_at, step, first, stop, runs, count, w, w_step, lanes,
            adds,
        )  # fmt: skip


@inner
def _write_outputs(
    table: Array,
    t: Array,
    y: Array,
    column: int,
    columns: int,
    products: Array,
    apart: int,
    width: int,
    axes: Array,
    places: Array,
    first: int,
    count: int,
    spare: Array,
    room: Array,
    marks: Array,
) -> None:
    """`A m` of some tiles, written to y as far as there are outputs."""
    m_a, m_b, m_c = table[TILE, 0], table[TILE, 1], table[TILE, 2]
    y_a, y_b, y_c = table[Y, 0], table[Y, 1], table[Y, 2]
    _pack_steps(table, PACKED, TILE, width)
    for i in range(count):
        image, a, b, c = places[first + i]
        at = image * axes[IMAGES, Y_STEP] + a * y_a + b * y_b + c * y_c + column
        stop_a = min(m_a, axes[OUTER, OUTPUTS] - a)
        stop_b = min(m_b, axes[MIDDLE, OUTPUTS] - b)
        stop_c = min(m_c, axes[INNER, OUTPUTS] - c)
        of = i * width
        if columns == width and stop_a == m_a and stop_b == m_b and stop_c == m_c:
            _from_points(table, t, y, at, Y, TILE, products, of, apart, width, room, marks)
            continue
        _from_points(table, t, spare, 0, PACKED, TILE, products, of, apart, width, room, marks)
        for p in range(stop_a):
            for q in range(stop_b):
                for r in range(stop_c):
                    target = U(at + p * y_a + q * y_b + r * y_c)
                    packed = U(((p * m_b + q) * m_c + r) * width)
                    for k in range(U(columns)):
                        y[target + k] = spare[packed + k]


@inner
def _add_weights(
    table: Array,
    t: Array,
    w: Array,
    channels: int,
    w_apart: int,
    column: int,
    columns: int,
    sums: Array,
    at: int,
    apart: int,
    width: int,
    spare: Array,
    room: Array,
    marks: Array,
) -> None:
    """`G* u` of a panel of sums, added to the weight `(tap, channel, column)`."""
    taps = table[KERNEL, 0] * table[KERNEL, 1] * table[KERNEL, 2]
    _pack_steps(table, PACKED, KERNEL, width)
    for c in range(channels):
        of = at + c * width
        _from_points(table, t, spare, 0, PACKED, KERNEL, sums, of, apart, width, room, marks)
        for tap in range(taps):
            target, packed = U((tap * channels + c) * w_apart + column), U(tap * width)
            for k in range(U(columns)):
                w[target + k] += spare[packed + k]


@loop
def convolve(
    y: Array,
    x: Array,
    w: Array,
    axes: Array,
    taps_at: Array,
    steps: Array,
    channels: int,
    columns: int,
    tile: Array,
    at_once: int,
    data: Array,
    weight: Array,
    output: Array,
    is_complex: bool,
) -> None:
    """Convolution of stride and dilation one, by tiles of so many outputs, written to y.

    `at_once` tiles are taken at a time. The matrices B, G and A are those of the three axes, one
    after the other. Weight (tap, channel, column) is `w[taps_at[tap] + channel steps[0] + column
    steps[1]]`.
    """
    lanes, table = VECTOR_BYTES // y.itemsize, _table(axes, tile, is_complex)
    tiles, planes = _count(axes, tile), _planes(table)
    x_planes = planes + planes // 2 if is_complex else planes
    most = -(-tiles // -(-tiles // at_once))
    depth, panels = -(-channels // lanes) * lanes, _panels(columns, lanes, MOST_VECTORS)
    widest = panels.max() * lanes
    # Planes are a vector further apart than they need be: powers of two share places of a cache.
    v_apart, all_columns = most * depth + lanes, panels.sum() * lanes
    holds = most < tiles and planes * channels * all_columns * y.itemsize <= HELD_POINT_BYTES
    u = _aligned(planes * (channels * (all_columns if holds else widest) + panels.size * lanes), y)
    v = _aligned(x_planes * v_apart, y)
    m = _aligned(planes * (min(ROWS, most) * widest + lanes), y)
    room = _room(table, y)
    spare = _aligned(max(room.size, GATHERED * taps_at.size * widest), y)
    marks = np.empty(4 * (table[CELLS_OF].max() + 2) + 3, np.int64)
    places, runs = np.empty((most, 4), np.int64), np.empty(6, np.int64)
    v_at, m_at = np.arange(most) * depth, np.empty(most, np.int64)
    for first in range(0, tiles, most):
        count = min(most, tiles - first)
        _place(axes, tile, first, count, places)
        _form_points(
            table, data, x_planes, v, depth, v_apart, x, axes, False, 0, channels, places, count,
            spare, room, marks,
        )  # fmt: skip
        column = at = 0
        for vectors in panels:
            width = vectors * lanes
            wanted, u_apart = min(width, columns - column), channels * width + lanes
            if first == 0 or not holds:
                _form_weights(
                    table, weight, u, at, u_apart, w, taps_at, steps, channels, column, wanted,
                    width, spare, room, marks,
                )  # fmt: skip
            for row in range(0, count, ROWS):
                rows = min(ROWS, count - row)
                m_apart, end = rows * width + lanes, row + rows
                for i in range(rows):
                    m_at[row + i] = i * width
                _multiply_points(
                    table, is_complex, vectors, m, m_at, 0, m_apart, v, v_at, 1, v_apart, row, end,
                    u, at, u_apart, width, channels, False, runs,
                )  # fmt: skip
                _write_outputs(
                    table, output, y, column, wanted, m, m_apart, width, axes, places, row, rows,
                    spare, room, marks,
                )  # fmt: skip
            column += width
            at += planes * u_apart if holds else 0


@loop
def convolve_weight(
    w: Array,
    x: Array,
    y: Array,
    axes: Array,
    channels: int,
    columns: int,
    apart: int,
    tile: Array,
    at_once: int,
    data: Array,
    weight: Array,
    output: Array,
    is_complex: bool,
) -> None:
    """The adjoint in the weight `(tap, channel, column)`, added to it; matrices B, G* and A*.

    The weight's rows are so far `apart`.

    All tiles are taken at once where they are few, one panel of columns after another then;
    otherwise some at a time, for which all sums are kept.
    """
    lanes, table = VECTOR_BYTES // y.itemsize, _table(axes, tile, is_complex)
    tiles, planes = _count(axes, tile), _planes(table)
    x_planes = planes + planes // 2 if is_complex else planes
    are_few = tiles <= max(columns, at_once)
    most = tiles if are_few else -(-tiles // -(-tiles // at_once))
    depth, panels = -(-channels // lanes) * lanes, _panels(columns, lanes, MOST_VECTORS)
    widest = panels.max() * lanes
    v_apart, all_columns = most * depth + lanes, panels.sum() * lanes
    sums = channels * (widest if are_few else all_columns) + panels.size * lanes
    u = _aligned(planes * sums, y)
    v = _aligned(x_planes * v_apart, y)
    m = _aligned(planes * (most * widest + lanes), y)
    room, spare = _room(table, y), _room(table, y)
    marks = np.empty(4 * (table[CELLS_OF].max() + 2) + 3, np.int64)
    places, runs = np.empty((most, 4), np.int64), np.empty(6, np.int64)
    v_at, u_at = np.arange(channels), np.empty(channels, np.int64)
    for first in range(0, tiles, most):
        count = min(most, tiles - first)
        _place(axes, tile, first, count, places)
        _form_points(
            table, data, x_planes, v, depth, v_apart, x, axes, False, 0, channels, places, count,
            spare, room, marks,
        )  # fmt: skip
        column = at = 0
        for vectors in panels:
            width = vectors * lanes
            wanted, u_apart = min(width, columns - column), channels * width + lanes
            m_apart = count * width + lanes
            _form_points(
                table, output, planes, m, width, m_apart, y, axes, True, column, wanted, places,
                count, spare, room, marks,
            )  # fmt: skip
            for c in range(channels):
                u_at[c] = c * width
            _multiply_points(
                table, is_complex, vectors, u, u_at, at, u_apart, v, v_at, depth, v_apart, 0,
                channels, m, 0, m_apart, width, count, first > 0, runs,
            )  # fmt: skip
            if first + count == tiles:
                _add_weights(
                    table, weight, w, channels, apart, column, wanted, u, at, u_apart, width,
                    spare, room, marks,
                )  # fmt: skip
            column += width
            at += 0 if are_few else planes * u_apart
