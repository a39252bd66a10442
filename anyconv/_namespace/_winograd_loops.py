"""Short convolutions of tiles by way of points (`winograd`), in loops that Numba compiles.

    y = A^T [ (G w) * (B^T x) ]

B^T, G and A^T are small matrices along each axis, applied to vectors of channels one axis after the
other. For some tiles at a time their points are formed, then for one panel of output channels after
another the points of its weights, the products of each point (`_tile`) and the outputs.

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
    _inner,
    _loop,
)
from anyconv._namespace._product_loops import _aligned, _multiply, _panels
from anyconv._namespace._tile import MOST_VECTORS, VECTOR_BYTES, combine_rows
from anyconv._typing import Array

# The tiles whose points are formed at a time, and those that are multiplied at a time.
TILES, ROWS = TILES_AT_ONCE, 48
# Points of weights that are kept for all tiles have no more bytes.
HELD_BYTES = 2**22


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
    y: int,
    y_a: int,
    y_b: int,
    y_c: int,
    x: int,
    x_a: int,
    x_b: int,
    x_c: int,
    given: Array,
    made: Array,
    t: Array,
    width: int,
    room: Array,
) -> None:
    """The matrices of t along each axis, from sizes `given` to those `made`, of some vectors.

    Both are told by where they begin in memory. An axis of one before and after is left out, but
    for the innermost.
    """
    n_a, n_b, n_c = given
    to, other = room.ctypes.data, room.ctypes.data + room.size // 2 * t.itemsize
    t_at = 0
    for axis in range(3):
        n, m = given[axis], made[axis]
        if axis < 2 and n * m == 1:
            t_at += 1
            continue
        if axis == 0:
            n_a = m
        elif axis == 1:
            n_b = m
        else:
            n_c = m
        z_a, z_b, z_c = n_b * n_c * width, n_c * width, width
        if axis == 2:
            to, z_a, z_b, z_c = y, y_a, y_b, y_c
        if axis == 0:
            rows, columns, x_i, x_j, x_k, z_i, z_j, z_k = n_b, n_c, x_b, x_c, x_a, z_b, z_c, z_a
        elif axis == 1:
            rows, columns, x_i, x_j, x_k, z_i, z_j, z_k = n_a, n_c, x_a, x_c, x_b, z_a, z_c, z_b
        else:
            rows, columns, x_i, x_j, x_k, z_i, z_j, z_k = n_a, n_b, x_a, x_b, x_c, z_a, z_b, z_c
        _along(to, z_i, z_j, z_k, x, x_i, x_j, x_k, rows, columns, m, n, t, t_at, width)
        x, to, other, x_a, x_b, x_c = to, other, to, z_a, z_b, z_c
        t_at += n * m


@_inner
def _place_tiles(axes: Array, tile: Array, first: int, count: int, places: Array) -> None:
    """Of some tiles the image, and the first output along each axis."""
    a, b, c = _counts(axes, tile)
    for i in range(count):
        rest = first + i
        places[i, 3], rest = rest % c * tile[2], rest // c
        places[i, 2], rest = rest % b * tile[1], rest // b
        places[i, 1], places[i, 0] = rest % a * tile[0], rest // a


@_inner
def _counts(axes: Array, tile: Array) -> tuple[Any, Any, Any]:
    """The tiles along each axis."""
    return (
        -(-axes[OUTER, OUTPUTS] // tile[0]),
        -(-axes[MIDDLE, OUTPUTS] // tile[1]),
        -(-axes[INNER, OUTPUTS] // tile[2]),
    )


@_inner
def _data_points(
    v: Array,
    apart: int,
    depth: int,
    x: Array,
    axes: Array,
    channels: int,
    places: Array,
    count: int,
    cells: Array,
    t: Array,
    room: Array,
    spare: Array,
) -> None:
    """`B^T x` of some tiles: points so far apart, in each the tiles, and their channels."""
    lanes = VECTOR_BYTES // v.itemsize
    n_a, n_b, n_c = cells
    x_a, x_b, x_c = axes[OUTER, X_STEP], axes[MIDDLE, X_STEP], axes[INNER, X_STEP]
    for i in range(count):
        a, b, c = (
            places[i, 1] + axes[OUTER, START],
            places[i, 2] + axes[MIDDLE, START],
            places[i, 3] + axes[INNER, START],
        )
        at = places[i, 0] * axes[IMAGES, X_STEP] + a * x_a + b * x_b + c * x_c
        low_a, high_a = max(-a, 0), min(n_a, axes[OUTER, CELLS] - a)
        low_b, high_b = max(-b, 0), min(n_b, axes[MIDDLE, CELLS] - b)
        low_c, high_c = max(-c, 0), min(n_c, axes[INNER, CELLS] - c)
        is_inside = low_a + low_b + low_c == 0
        is_inside &= high_a == n_a and high_b == n_b and high_c == n_c
        lane = 0
        while lane < channels:
            to = v.ctypes.data + (i * depth + lane) * v.itemsize
            some = min(channels - lane, MOST_VECTORS * lanes)
            if is_inside and some >= lanes:
                some -= some % lanes
                _transform(
                    to, n_b * n_c * apart, n_c * apart, apart,
                    x.ctypes.data + (at + lane) * v.itemsize, x_a, x_b, x_c,
                    cells, cells, t, some, room,
                )
                lane += some
                continue
            width = -(-some // lanes) * lanes
            for k in range(n_a * n_b * n_c * width):
                spare[np.uint64(k)] = 0
            for p in range(low_a, high_a):
                for q in range(low_b, high_b):
                    for r in range(low_c, high_c):
                        place = np.uint64(at + lane + p * x_a + q * x_b + r * x_c)
                        target = np.uint64(((p * n_b + q) * n_c + r) * width)
                        for k in range(np.uint64(some)):
                            spare[target + k] = x[place + k]
            _transform(
                to, n_b * n_c * apart, n_c * apart, apart,
                spare.ctypes.data, n_b * n_c * width, n_c * width, width,
                cells, cells, t, width, room,
            )
            lane += some


@_inner
def _weight_points(
    u: Array,
    at: int,
    w: Array,
    taps_at: Array,
    steps: Array,
    channels: int,
    column: int,
    columns: int,
    width: int,
    kernel: Array,
    cells: Array,
    t: Array,
    room: Array,
    spare: Array,
) -> None:
    """`G w` of some columns, a panel `(points, channels, width)`, zero beyond the last."""
    (_, r_b, r_c), (_, n_b, n_c) = kernel, cells
    apart, step = channels * width, np.uint64(steps[1])
    for c in range(channels):
        for tap in range(taps_at.size):
            place = np.uint64(taps_at[tap] + c * steps[0] + column * steps[1])
            target = np.uint64(tap * width)
            for k in range(np.uint64(columns)):
                spare[target + k] = w[place + k * step]
            for k in range(np.uint64(columns), np.uint64(width)):
                spare[target + k] = 0
        _transform(
            u.ctypes.data + (at + c * width) * u.itemsize, n_b * n_c * apart, n_c * apart, apart,
            spare.ctypes.data, r_b * r_c * width, r_c * width, width,
            kernel, cells, t, width, room,
        )


@_inner
def _outputs(
    y: Array,
    column: int,
    columns: int,
    m: Array,
    apart: int,
    width: int,
    axes: Array,
    places: Array,
    first: int,
    count: int,
    tile: Array,
    cells: Array,
    t: Array,
    room: Array,
    spare: Array,
) -> None:
    """`A^T m` of some tiles, written to y as far as there are outputs."""
    (_, n_b, n_c), (m_a, m_b, m_c) = cells, tile
    y_a, y_b, y_c = axes[OUTER, Y_STEP], axes[MIDDLE, Y_STEP], axes[INNER, Y_STEP]
    for i in range(count):
        image, a, b, c = places[first + i]
        at = image * axes[IMAGES, Y_STEP] + a * y_a + b * y_b + c * y_c + column
        stop_a = min(m_a, axes[OUTER, OUTPUTS] - a)
        stop_b = min(m_b, axes[MIDDLE, OUTPUTS] - b)
        stop_c = min(m_c, axes[INNER, OUTPUTS] - c)
        if columns == width and stop_a == m_a and stop_b == m_b and stop_c == m_c:
            _transform(
                y.ctypes.data + at * y.itemsize, y_a, y_b, y_c,
                m.ctypes.data + i * width * m.itemsize, n_b * n_c * apart, n_c * apart, apart,
                cells, tile, t, width, room,
            )
            continue
        _transform(
            spare.ctypes.data, m_b * m_c * width, m_c * width, width,
            m.ctypes.data + i * width * m.itemsize, n_b * n_c * apart, n_c * apart, apart,
            cells, tile, t, width, room,
        )
        for p in range(stop_a):
            for q in range(stop_b):
                for r in range(stop_c):
                    target = np.uint64(at + p * y_a + q * y_b + r * y_c)
                    place = np.uint64(((p * m_b + q) * m_c + r) * width)
                    for k in range(np.uint64(columns)):
                        y[target + k] = spare[place + k]


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

    The matrices are those of the three axes, one after the other. Weight (tap, channel, column) is
    `w[taps_at[tap] + channel steps[0] + column steps[1]]`.
    """
    lanes = VECTOR_BYTES // y.itemsize
    kernel = axes[1:, TAPS].copy()
    cells = tile + kernel - 1
    points = cells[0] * cells[1] * cells[2]
    a, b, c = _counts(axes, tile)
    tiles = axes[IMAGES, OUTPUTS] * a * b * c
    most = -(-tiles // -(-tiles // TILES))
    depth = -(-channels // lanes) * lanes
    panels = _panels(columns, lanes)
    widest = panels.max() * lanes
    all_weights = points * channels * panels.sum() * lanes
    holds = most < tiles and all_weights * y.itemsize <= HELD_BYTES
    u = _aligned(all_weights if holds else points * channels * widest, y)
    v = _aligned(points * (most * depth + lanes), y)
    m = _aligned(points * (min(ROWS, most) * widest + lanes), y)
    room, spare = _aligned(2 * points * widest_chunk(lanes), y), _aligned(points * widest_chunk(lanes), y)
    places = np.empty((most, 4), np.int64)
    v_at, m_at, run = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(3, np.int64)
    for i in range(most):
        v_at[i] = i * depth
    for first in range(0, tiles, most):
        count = min(most, tiles - first)
        # Points are a vector further apart than they need: a power of two would share few places of
        # a cache.
        v_apart = count * depth + lanes
        _place_tiles(axes, tile, first, count, places)
        _data_points(v, v_apart, depth, x, axes, channels, places, count, cells, data, room, spare)
        column = 0
        for vectors in panels:
            width = vectors * lanes
            wanted = min(width, columns - column)
            at = points * channels * column if holds else 0
            if first == 0 or not holds:
                _weight_points(
                    u, at, w, taps_at, steps, channels, column, wanted, width,
                    kernel, cells, weight, room, spare,
                )
            for row in range(0, count, ROWS):
                rows = min(ROWS, count - row)
                m_apart = rows * width + lanes
                for i in range(rows):
                    m_at[row + i] = i * width
                for point in range(points):
                    run[0], run[1] = point * v_apart, at + point * channels * width
                    run[2] = channels
                    _multiply(
                        vectors, m, m_at, point * m_apart, v, v_at, 1, row, row + rows,
                        run, 1, u, lanes, False,
                    )
                _outputs(
                    y, column, wanted, m, m_apart, width, axes, places, row, rows,
                    tile, cells, output, room, spare,
                )
            column += width


@_inner
def widest_chunk(lanes: int) -> int:
    return MOST_VECTORS * lanes
