"""Loops that take tiles to points and back: the maps B, G and A of `_point_loops`.

Small matrices are applied along each axis to vectors of channels, one axis after the other.
"""

from typing import Any

import numpy as np

from anyconv._compiled._kept_loops import inner
from anyconv._compiled._product_loops import _aligned, _multiply
from anyconv._compiled._tile_loops import MOST_VECTORS, VECTOR_BYTES, combine_rows
from anyconv._compiled._walk_loops import (
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
)
from anyconv._typing import Array

# A matrix with longer rows is multiplied as such; of shorter ones all that is combined stays in
# registers.
MOST_COMBINED = 6
# The channels whose weights are gathered at a time.
GATHERED = 16
# The rows of a table with a column for each axis: the sizes of a kernel, of a tile's outputs, of
# its inputs, and of its points; then how far neighbours are apart in an input, an output, among
# points, and in packed room.
KERNEL, TILE, CELLS_OF, POINTS, X, Y, APART, PACKED, TABLE_ROWS = range(9)


@inner
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
    marks: Array,
) -> None:
    """A matrix (m x n) of t along axis k of vectors, for each place along two others, i and j."""
    lanes = VECTOR_BYTES // t.itemsize
    if n > MOST_COMBINED:  # a product of matrices, whose rows lie as `marks` tell
        y_at, t_rows, run = marks[:m], marks[m : 2 * m], marks[2 * m : 2 * m + 3]
        for row in range(m):
            y_at[row], t_rows[row] = row * y_k, t_at + row * n
        run[0], run[1], run[2] = 0, 0, n
        for i in range(rows):
            for j in range(columns):
                to = y + (i * y_i + j * y_j) * t.itemsize
                place = x + (i * x_i + j * x_j) * t.itemsize
                _multiply(
                    width // lanes, to, y_at, 0, t, t_rows, 1, 0, m, run, 1, place, x_k, lanes,
                    False,
                )  # fmt: skip
        return
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


@inner
def _transform(
    table: Array,
    t: Array,
    pairs: int,
    y: int,
    to: int,
    made: int,
    x: int,
    of: int,
    given: int,
    width: int,
    room: Array,
    marks: Array,
) -> None:
    """The matrices of t along each axis of some vectors, x to y, told by where they are in memory.

    The others are rows of the table: steps `to` in y and `of` in x, and sizes. An axis of one
    before and after is left out, but for the innermost. `pairs` tells whether the outer of two axes
    leads to pairs of parts or, if it is negative, is led from there; zero is neither.
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
            _along(here, z_b, z_c, z_a, x, x_b, x_c, x_a, n_b, n_c, m, n, t, t_at, width, marks)
            n_a = m
        elif axis == 1:
            m *= 2 if pairs < 0 else 1
            z_a, z_b, z_c = m * n_c * width, n_c * width, width
            _along(here, z_a, z_c, z_b, x, x_a, x_c, x_b, n_a, n_c, m, n, t, t_at, width, marks)
            n_b = m
            if pairs != 0:  # both parts of a place along the outer axis are one of the inner
                n_b, z_b = m // 2, 2 * z_b
        else:
            n *= 2 if pairs != 0 else 1
            m *= 2 if pairs > 0 else 1
            z_a, z_b, z_c = table[to, 0], table[to, 1], table[to, 2]
            z_b *= 2 if pairs > 0 else 1
            _along(y, z_a, z_b, z_c, x, x_a, x_b, x_c, n_a, n_b, m, n, t, t_at, width, marks)
        x, here, other, x_a, x_b, x_c = here, other, here, z_a, z_b, z_c
        t_at += n * m


@inner
def _pack_steps(table: Array, row: int, sizes: int, apart: int) -> None:
    """Steps of vectors of such sizes, neighbours so far apart."""
    table[row, 2] = apart
    table[row, 1] = table[sizes, 2] * apart
    table[row, 0] = table[sizes, 1] * table[row, 1]


@inner
def _table(axes: Array, tile: Array, is_complex: bool) -> Any:
    """The table, with the sizes and the steps of x and y."""
    table = np.zeros((TABLE_ROWS, 3), np.int64)
    for axis in range(3):
        table[KERNEL, axis], table[TILE, axis] = axes[axis + 1, TAPS], tile[axis]
        table[CELLS_OF, axis] = tile[axis] + axes[axis + 1, TAPS] - 1
        table[POINTS, axis] = table[CELLS_OF, axis]
        table[X, axis], table[Y, axis] = axes[axis + 1, X_STEP], axes[axis + 1, Y_STEP]
    if is_complex:
        table[POINTS, 1] = 2 * (table[CELLS_OF, 1] // 2 + 1)
    return table


@inner
def _planes(table: Array) -> Any:
    """The numbers that the points of one tile are."""
    return table[POINTS, 0] * table[POINTS, 1] * table[POINTS, 2]


@inner
def _room(table: Array, like: Array) -> Any:
    """Room for a tile's vectors between two axes, or gathered, or twice as many."""
    cells = table[CELLS_OF, 0] * (table[CELLS_OF, 1] + 1) * table[CELLS_OF, 2]
    return _aligned(2 * cells * MOST_VECTORS * VECTOR_BYTES // like.itemsize, like)


@inner
def _count(axes: Array, tile: Array) -> Any:
    """All tiles."""
    count = axes[IMAGES, OUTPUTS]
    for axis in range(3):
        count *= -(-axes[axis + 1, OUTPUTS] // tile[axis])
    return count


@inner
def _place(axes: Array, tile: Array, first: int, count: int, places: Array) -> None:
    """Of some tiles the image, and the first output along each axis."""
    for i in range(count):
        rest = first + i
        for axis in (INNER, MIDDLE, OUTER):
            along = -(-axes[axis, OUTPUTS] // tile[axis - 1])
            places[i, axis] = rest % along * tile[axis - 1]
            rest //= along
        places[i, IMAGES] = rest


@inner
def _to_points(
    table: Array,
    t: Array,
    planes: int,
    y: Array,
    to: int,
    apart: int,
    x: Array,
    at: int,
    steps: int,
    given: int,
    width: int,
    room: Array,
    marks: Array,
) -> None:
    """The points of a tile of x, written to y, so many planes so far apart."""
    _pack_steps(table, APART, POINTS, apart)
    target, source = y.ctypes.data + to * y.itemsize, x.ctypes.data + at * x.itemsize
    pairs = 1 if table[POINTS, 1] != table[CELLS_OF, 1] else 0
    _transform(table, t, pairs, target, APART, POINTS, source, steps, given, width, room, marks)
    parts, inner = _planes(table), table[POINTS, 2]
    for p in range(planes - parts):  # the negative of real parts, which every second row has
        a = U(to + (p // inner * 2 * inner + p % inner) * apart)
        j = U(to + (parts + p) * apart)
        for v in range(U(width)):
            y[j + v] = -y[a + v]


@inner
def _from_points(
    table: Array,
    t: Array,
    y: Array,
    to: int,
    steps: int,
    made: int,
    x: Array,
    at: int,
    apart: int,
    width: int,
    room: Array,
    marks: Array,
) -> None:
    """Cells of y from the points x, planes so far apart."""
    _pack_steps(table, APART, POINTS, apart)
    target, source = y.ctypes.data + to * y.itemsize, x.ctypes.data + at * x.itemsize
    pairs = -1 if table[POINTS, 1] != table[CELLS_OF, 1] else 0
    _transform(table, t, pairs, target, steps, made, source, APART, POINTS, width, room, marks)


@inner
def _form_points(
    table: Array,
    t: Array,
    planes: int,
    points: Array,
    depth: int,
    apart: int,
    x: Array,
    axes: Array,
    is_output: bool,
    column: int,
    channels: int,
    places: Array,
    count: int,
    spare: Array,
    room: Array,
    marks: Array,
) -> None:
    """`B x` of some tiles, or `A* y` with `is_output`: of each its points, and their channels.

    A tile has `depth`, planes are so far `apart`. Only some channels from a column on are taken.
    Cells beyond x are zero.
    """
    lanes, steps = VECTOR_BYTES // x.itemsize, Y if is_output else X
    given, step = TILE if is_output else CELLS_OF, Y_STEP if is_output else X_STEP
    n_a, n_b, n_c = table[given, 0], table[given, 1], table[given, 2]
    x_a, x_b, x_c = axes[OUTER, step], axes[MIDDLE, step], axes[INNER, step]
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
            to = i * depth + lane
            some = min(channels - lane, MOST_VECTORS * lanes)
            if is_inside and some >= lanes:
                some -= some % lanes
                _to_points(
                    table, t, planes, points, to, apart, x, at + lane, steps, given, some,
                    room, marks,
                )  # fmt: skip
                lane += some
                continue
            width = -(-some // lanes) * lanes
            for k in range(U(n_a * n_b * n_c * width)):
                spare[k] = 0
            for p in range(low_a, high_a):
                for q in range(low_b, high_b):
                    for r in range(low_c, high_c):
                        place = U(at + lane + p * x_a + q * x_b + r * x_c)
                        target = U(((p * n_b + q) * n_c + r) * width)
                        for k in range(U(some)):
                            spare[target + k] = x[place + k]
            _pack_steps(table, PACKED, given, width)
            _to_points(
                table, t, planes, points, to, apart, spare, 0, PACKED, given, width, room, marks
            )
            lane += some


@inner
def _form_weights(
    table: Array,
    t: Array,
    points: Array,
    at: int,
    apart: int,
    w: Array,
    taps_at: Array,
    steps: Array,
    channels: int,
    column: int,
    columns: int,
    width: int,
    spare: Array,
    room: Array,
    marks: Array,
) -> None:
    """`G w` of some columns, planes so far apart; zero beyond the last column."""
    _pack_steps(table, PACKED, KERNEL, width)
    taps, planes = taps_at.size, _planes(table)
    row, step, size = U(steps[0]), U(steps[1]), U(taps * width)
    for first in range(0, channels, GATHERED):
        some = min(GATHERED, channels - first)
        for tap in range(taps):
            place, target = U(taps_at[tap] + first * row + column * step), U(tap * width)
            if step == 1:
                for c in range(U(some)):
                    for k in range(U(columns)):
                        spare[target + c * size + k] = w[place + c * row + k]
            else:  # channels are neighbours in a transposed weight
                for k in range(U(columns)):
                    for c in range(U(some)):
                        spare[target + c * size + k] = w[place + c * row + k * step]
            for c in range(U(some)):
                for k in range(U(columns), U(width)):
                    spare[target + c * size + k] = 0
        for c in range(some):
            to, of = at + (first + c) * width, c * taps * width
            _to_points(
                table, t, planes, points, to, apart, spare, of, PACKED, KERNEL, width, room, marks
            )
