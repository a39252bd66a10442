"""Short convolutions of tiles by way of points (`winograd`), in loops that Numba compiles.

    y = A^T [ (G w) * (B^T x) ]          dw = G^T [ (B^T x) * (A dy) ]

B^T, G and A^T are small matrices along each axis, applied to vectors of channels one axis after the
other. For some tiles at a time the points of the input are formed, then for one panel of output
channels after another those of the weight, or of the output's gradient, the products of each point
(`_tile`) and what is wanted of them.

How arrays are walked through is told at the top of `_loops`.
"""

from typing import Any

import numpy as np

from anyconv._namespace._direct import TILES_AT_ONCE
from anyconv._namespace._loops import (
    CELLS,
    IMAGES,
    INNER,
    MIDDLE,
    OUTER,
    OUTPUTS,
    START,
    TAPS,
    X_STEP,
    Y_STEP,
    U,
    _inner,
    _loop,
)
from anyconv._namespace._product_loops import _aligned, _multiply, _panels
from anyconv._namespace._tile import MOST_VECTORS, VECTOR_BYTES, combine_rows
from anyconv._typing import Array

# The tiles that are multiplied by weights at a time.
ROWS = 48
# Points of weights that are kept for all tiles have no more bytes.
HELD_BYTES = 2**22
# The rows of a table with a column for each axis: the sizes of a kernel, of a tile's outputs and of
# its inputs, of which there are as many points; then how far neighbours are apart in an input, an
# output, the points of tiles, of weights and of products, in a weight, and in packed room.
KERNEL, TILE, POINTS, X, Y, TILES, WEIGHTS, PRODUCTS, W, PACKED, TABLE_ROWS = range(11)


@_inner
def _along(
    y: int,
    y_i: int,
    y_j: int,
    y_k: int,
    x: int,
    x_i: int,
    x_j: int,
    x_k: int,
    rows: int,
    columns: int,
    m: int,
    n: int,
    t: Array,
    t_at: int,
    width: int,
) -> None:
    """A matrix (m x n) of t along axis k of vectors, for each place along two others, i and j."""
    for i in range(rows):
        for j in range(columns):
            for byte in range(0, width * t.itemsize, VECTOR_BYTES):
                to = y + (i * y_i + j * y_j) * t.itemsize + byte
                place = x + (i * x_i + j * x_j) * t.itemsize + byte
                if n == 6:
                    combine_rows(6, t, t_at, to, y_k, place, x_k, m)
                elif n == 5:
                    combine_rows(5, t, t_at, to, y_k, place, x_k, m)
                elif n == 4:
                    combine_rows(4, t, t_at, to, y_k, place, x_k, m)
                elif n == 3:
                    combine_rows(3, t, t_at, to, y_k, place, x_k, m)
                elif n == 2:
                    combine_rows(2, t, t_at, to, y_k, place, x_k, m)
                else:
                    combine_rows(1, t, t_at, to, y_k, place, x_k, m)


@_inner
def _transform(
    table: Array,
    t: Array,
    y: int,
    to: int,
    made: int,
    x: int,
    of: int,
    given: int,
    width: int,
    room: Array,
) -> None:
    """The matrices of t along each axis of some vectors, x to y, told by where they are in memory.

    The others are rows of the table: steps `to` in y and `of` in x, and sizes. An axis of one
    before and after is left out, but for the innermost.
    """
    n_a, n_b, n_c = table[given, 0], table[given, 1], table[given, 2]
    x_a, x_b, x_c = table[of, 0], table[of, 1], table[of, 2]
    here, other = room.ctypes.data, room.ctypes.data + room.size // 2 * t.itemsize
    t_at = 0
    for axis in range(3):
        n, m = table[given, axis], table[made, axis]
        if axis < 2 and n * m == 1:
            t_at += 1
            continue
        if axis == 0:
            z_a, z_b, z_c = n_b * n_c * width, n_c * width, width
            _along(
                here, z_b, z_c, z_a, x, x_b, x_c, x_a, n_b, n_c, m, n, t, t_at, width
            )
            n_a = m
        elif axis == 1:
            z_a, z_b, z_c = m * n_c * width, n_c * width, width
            _along(
                here, z_a, z_c, z_b, x, x_a, x_c, x_b, n_a, n_c, m, n, t, t_at, width
            )
            n_b = m
        else:
            z_a, z_b, z_c = table[to, 0], table[to, 1], table[to, 2]
            _along(y, z_a, z_b, z_c, x, x_a, x_b, x_c, n_a, n_b, m, n, t, t_at, width)
        x, here, other, x_a, x_b, x_c = here, other, here, z_a, z_b, z_c
        t_at += n * m


@_inner
def _pack_steps(table: Array, row: int, sizes: int, apart: int) -> None:
    """Steps of vectors of such sizes, neighbours so far apart."""
    table[row, 2] = apart
    table[row, 1] = table[sizes, 2] * apart
    table[row, 0] = table[sizes, 1] * table[row, 1]


@_inner
def _table(axes: Array, tile: Array) -> Array:
    """The table, with the sizes and the steps of x and y."""
    table = np.zeros((TABLE_ROWS, 3), np.int64)
    for axis in range(3):
        table[KERNEL, axis], table[TILE, axis] = axes[axis + 1, TAPS], tile[axis]
        table[POINTS, axis] = tile[axis] + axes[axis + 1, TAPS] - 1
        table[X, axis], table[Y, axis] = axes[axis + 1, X_STEP], axes[axis + 1, Y_STEP]
    return table


@_inner
def _count(axes: Array, tile: Array) -> int:
    """All tiles."""
    count = axes[IMAGES, OUTPUTS]
    for axis in range(3):
        count *= -(-axes[axis + 1, OUTPUTS] // tile[axis])
    return count


@_inner
def _place(axes: Array, tile: Array, first: int, count: int, places: Array) -> None:
    """Of some tiles the image, and the first output along each axis."""
    for i in range(count):
        rest = first + i
        for axis in (INNER, MIDDLE, OUTER):
            along = -(-axes[axis, OUTPUTS] // tile[axis - 1])
            places[i, axis] = rest % along * tile[axis - 1]
            rest //= along
        places[i, IMAGES] = rest


@_inner
def _form_points(
    table: Array,
    t: Array,
    points: Array,
    depth: int,
    x: Array,
    axes: Array,
    is_output: bool,
    column: int,
    channels: int,
    places: Array,
    count: int,
    room: Array,
) -> None:
    """`B^T x` of some tiles, or `A y` with `is_output`: to each point tiles and their channels.

    Only some channels from a column on are taken; a tile has `depth`. Cells beyond x are zero.
    """
    lanes, steps = VECTOR_BYTES // x.itemsize, Y if is_output else X
    given, step = TILE if is_output else POINTS, Y_STEP if is_output else X_STEP
    n_a, n_b, n_c = table[given, 0], table[given, 1], table[given, 2]
    x_a, x_b, x_c = axes[OUTER, step], axes[MIDDLE, step], axes[INNER, step]
    scratch = room[room.size // 3 :]
    for i in range(count):
        image, a, b, c = places[i]
        if not is_output:
            a, b, c = a + axes[OUTER, START], b + axes[MIDDLE, START], c + axes[INNER, START]
        at = image * axes[IMAGES, step] + a * x_a + b * x_b + c * x_c + column
        most = OUTPUTS if is_output else CELLS
        low_a, high_a = max(-a, 0), min(n_a, axes[OUTER, most] - a)
        low_b, high_b = max(-b, 0), min(n_b, axes[MIDDLE, most] - b)
        low_c, high_c = max(-c, 0), min(n_c, axes[INNER, most] - c)
        is_inside = low_a + low_b + low_c == 0
        is_inside &= high_a == n_a and high_b == n_b and high_c == n_c
        lane = 0
        while lane < channels:
            to = points.ctypes.data + (i * depth + lane) * x.itemsize
            some = min(channels - lane, MOST_VECTORS * lanes)
            if is_inside and some >= lanes:
                some -= some % lanes
                place = x.ctypes.data + (at + lane) * x.itemsize
                _transform(table, t, to, TILES, POINTS, place, steps, given, some, scratch)
                lane += some
                continue
            width = -(-some // lanes) * lanes
            for k in range(U(n_a * n_b * n_c * width)):
                room[k] = 0
            for p in range(low_a, high_a):
                for q in range(low_b, high_b):
                    for r in range(low_c, high_c):
                        place = U(at + lane + p * x_a + q * x_b + r * x_c)
                        target = U(((p * n_b + q) * n_c + r) * width)
                        for k in range(U(some)):
                            room[target + k] = x[place + k]
            _pack_steps(table, PACKED, given, width)
            place = room.ctypes.data
            _transform(table, t, to, TILES, POINTS, place, PACKED, given, width, scratch)
            lane += some


@_inner
def _form_weights(
    table: Array,
    t: Array,
    points: Array,
    at: int,
    w: Array,
    taps_at: Array,
    steps: Array,
    channels: int,
    column: int,
    columns: int,
    width: int,
    room: Array,
) -> None:
    """`G w` of some columns, a panel `(points, channels, width)`, zero beyond the last."""
    _pack_steps(table, WEIGHTS, POINTS, channels * width)
    _pack_steps(table, PACKED, KERNEL, width)
    step, scratch = U(steps[1]), room[room.size // 3 :]
    for c in range(channels):
        for tap in range(taps_at.size):
            place = U(taps_at[tap] + c * steps[0] + column * steps[1])
            target = U(tap * width)
            for k in range(U(columns)):
                room[target + k] = w[place + k * step]
            for k in range(U(columns), U(width)):
                room[target + k] = 0
        to, place = points.ctypes.data + (at + c * width) * w.itemsize, room.ctypes.data
        _transform(table, t, to, WEIGHTS, POINTS, place, PACKED, KERNEL, width, scratch)


@_inner
def _write_outputs(
    table: Array,
    t: Array,
    y: Array,
    column: int,
    columns: int,
    products: Array,
    width: int,
    axes: Array,
    places: Array,
    first: int,
    count: int,
    room: Array,
) -> None:
    """`A^T m` of some tiles, written to y as far as there are outputs."""
    m_a, m_b, m_c = table[TILE, 0], table[TILE, 1], table[TILE, 2]
    y_a, y_b, y_c = table[Y, 0], table[Y, 1], table[Y, 2]
    scratch = room[room.size // 3 :]
    _pack_steps(table, PACKED, TILE, width)
    for i in range(count):
        image, a, b, c = places[first + i]
        at = image * axes[IMAGES, Y_STEP] + a * y_a + b * y_b + c * y_c + column
        stop_a = min(m_a, axes[OUTER, OUTPUTS] - a)
        stop_b = min(m_b, axes[MIDDLE, OUTPUTS] - b)
        stop_c = min(m_c, axes[INNER, OUTPUTS] - c)
        place = products.ctypes.data + i * width * y.itemsize
        if columns == width and stop_a == m_a and stop_b == m_b and stop_c == m_c:
            to = y.ctypes.data + at * y.itemsize
            _transform(table, t, to, Y, TILE, place, PRODUCTS, POINTS, width, scratch)
            continue
        to = room.ctypes.data
        _transform(table, t, to, PACKED, TILE, place, PRODUCTS, POINTS, width, scratch)
        for p in range(stop_a):
            for q in range(stop_b):
                for r in range(stop_c):
                    target = U(at + p * y_a + q * y_b + r * y_c)
                    packed = U(((p * m_b + q) * m_c + r) * width)
                    for k in range(U(columns)):
                        y[target + k] = room[packed + k]


@_inner
def _add_weights(
    table: Array,
    t: Array,
    w: Array,
    channels: int,
    all_columns: int,
    column: int,
    columns: int,
    sums: Array,
    at: int,
    width: int,
    room: Array,
) -> None:
    """`G^T u` of a panel of sums, added to the weight `(tap, channel, column)`."""
    taps = table[KERNEL, 0] * table[KERNEL, 1] * table[KERNEL, 2]
    scratch = room[room.size // 3 :]
    _pack_steps(table, WEIGHTS, POINTS, channels * width)
    _pack_steps(table, PACKED, KERNEL, width)
    for c in range(channels):
        place, to = sums.ctypes.data + (at + c * width) * w.itemsize, room.ctypes.data
        _transform(table, t, to, PACKED, KERNEL, place, WEIGHTS, POINTS, width, scratch)
        for tap in range(taps):
            target, packed = U((tap * channels + c) * all_columns + column), U(tap * width)
            for k in range(U(columns)):
                w[target + k] += room[packed + k]


@_loop
def winograd(
    y: Array,
    x: Array,
    w: Array,
    axes: Array,
    taps_at: Array,
    steps: Array,
    channels: int,
    columns: int,
    tile: Array,
    data: Array,
    weight: Array,
    output: Array,
) -> None:
    """Convolution of stride and dilation one, by tiles of so many outputs, written to y.

    The matrices B^T, G and A^T are those of the three axes, one after the other. Weight (tap,
    channel, column) is `w[taps_at[tap] + channel steps[0] + column steps[1]]`.
    """
    lanes, table, tiles = VECTOR_BYTES // y.itemsize, _table(axes, tile), _count(axes, tile)
    points = table[POINTS, 0] * table[POINTS, 1] * table[POINTS, 2]
    most = -(-tiles // -(-tiles // TILES_AT_ONCE))
    depth, panels = -(-channels // lanes) * lanes, _panels(columns, lanes, MOST_VECTORS)
    widest = panels.max() * lanes
    all_weights = points * channels * panels.sum() * lanes
    holds = most < tiles and all_weights * y.itemsize <= HELD_BYTES
    u = _aligned(all_weights if holds else points * channels * widest, y)
    # Points are a vector further apart than they need be: powers of two share places of a cache.
    v = _aligned(points * (most * depth + lanes), y)
    m = _aligned(points * (min(ROWS, most) * widest + lanes), y)
    room = _aligned(3 * points * MOST_VECTORS * lanes, y)
    places, run = np.empty((most, 4), np.int64), np.empty(3, np.int64)
    v_at, m_at = np.arange(most) * depth, np.empty(most, np.int64)
    for first in range(0, tiles, most):
        count = min(most, tiles - first)
        _place(axes, tile, first, count, places)
        apart = count * depth + lanes
        _pack_steps(table, TILES, POINTS, apart)
        _form_points(table, data, v, depth, x, axes, False, 0, channels, places, count, room)
        column = 0
        for vectors in panels:
            width = vectors * lanes
            wanted = min(width, columns - column)
            at = points * channels * column if holds else 0
            if first == 0 or not holds:
                _form_weights(
                    table, weight, u, at, w, taps_at, steps, channels, column, wanted, width, room
                )
            for row in range(0, count, ROWS):
                rows = min(ROWS, count - row)
                m_apart = rows * width + lanes
                _pack_steps(table, PRODUCTS, POINTS, m_apart)
                for i in range(rows):
                    m_at[row + i] = i * width
                for p in range(points):
                    run[0], run[1], run[2] = p * apart, at + p * channels * width, channels
                    to, end = p * m_apart, row + rows
                    _multiply(vectors, m, m_at, to, v, v_at, 1, row, end, run, 1, u, lanes, False)
                _write_outputs(
                    table, output, y, column, wanted, m, width, axes, places, row, rows, room
                )
            column += width


@_loop
def winograd_weight(
    w: Array,
    x: Array,
    y: Array,
    axes: Array,
    channels: int,
    columns: int,
    tile: Array,
    data: Array,
    weight: Array,
    output: Array,
) -> None:
    """The adjoint in the weight `(tap, channel, column)`, added to it; matrices B^T, G^T and A.

    All tiles are taken at once where they are few, one panel of columns after another then;
    otherwise some at a time, for which all sums are kept.
    """
    lanes, table, tiles = VECTOR_BYTES // y.itemsize, _table(axes, tile), _count(axes, tile)
    points = table[POINTS, 0] * table[POINTS, 1] * table[POINTS, 2]
    are_few = tiles <= max(columns, TILES_AT_ONCE)
    most = tiles if are_few else -(-tiles // -(-tiles // TILES_AT_ONCE))
    depth, panels = -(-channels // lanes) * lanes, _panels(columns, lanes, MOST_VECTORS)
    widest = panels.max() * lanes
    u = _aligned(points * channels * (widest if are_few else panels.sum() * lanes), y)
    v = _aligned(points * (most * depth + lanes), y)
    m = _aligned(points * (most * widest + lanes), y)
    room = _aligned(3 * points * MOST_VECTORS * lanes, y)
    places, run = np.empty((most, 4), np.int64), np.empty(3, np.int64)
    v_at, u_at = np.arange(channels), np.empty(channels, np.int64)
    for first in range(0, tiles, most):
        count = min(most, tiles - first)
        _place(axes, tile, first, count, places)
        apart = count * depth + lanes
        _pack_steps(table, TILES, POINTS, apart)
        _form_points(table, data, v, depth, x, axes, False, 0, channels, places, count, room)
        column = 0
        for vectors in panels:
            width = vectors * lanes
            wanted = min(width, columns - column)
            at, m_apart = 0 if are_few else points * channels * column, count * width + lanes
            _pack_steps(table, TILES, POINTS, m_apart)
            _form_points(
                table, output, m, width, y, axes, True, column, wanted, places, count, room
            )
            for c in range(channels):
                u_at[c] = c * width
            adds = first > 0
            for p in range(points):
                run[0], run[1], run[2] = p * apart, p * m_apart, count
                to = at + p * channels * width
                _multiply(
                    vectors, u, u_at, to, v, v_at, depth, 0, channels, run, 1, m, lanes, adds
                )
            if first + count == tiles:
                _add_weights(
                    table, weight, w, channels, columns, column, wanted, u, at, width, room
                )
            column += width
