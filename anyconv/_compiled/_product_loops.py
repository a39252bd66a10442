"""Convolutions as one matrix product of which no window is ever copied, in loops Numba compiles.

    y[p, j] = sum_f x[place of window p + place of f] w[f, j],     f = (tap, channel)

A tile of the product (`_tile_loops`) is given the places of its rows in x and sums over runs of
neighbours, so a window is read where its cells lie. Windows are taken by classes that share the
taps on cells of the input; padding is neither made nor multiplied. The weights are copied into
panels as wide as a tile, and both they and the windows are taken in portions that a cache holds.

How arrays are walked through is told at the top of `_walk_loops`.
"""

from typing import Any

import numpy as np

from anyconv._compiled._kept_loops import inner, loop
from anyconv._compiled._loop_sizes import HELD_WEIGHT_BYTES, SUMMED_WINDOWS
from anyconv._compiled._tile_loops import (
    MOST_VECTORS,
    TILE_ROWS,
    VECTOR_BYTES,
    multiply_tile,
)
from anyconv._compiled._walk_loops import (
    CELLS,
    DILATION,
    IMAGES,
    INNER,
    MIDDLE,
    OUTER,
    OUTPUTS,
    START,
    STRIDE,
    TAPS,
    X_STEP,
    Y_STEP,
    U,
)
from anyconv._typing import Array

# Of the sums of a product, so many are formed at a time; and so many windows are taken by them.
SUMS, WINDOWS = 384, 256
# Fewer windows are summed before they are added to a weight's gradient where they are far apart,
# for a cache has but few places for cells so many bytes from one another.
SUMMED_FAR, FAR = 256, 1024
ROWS_OF = np.asarray(TILE_ROWS)


@inner
def _multiply(
    vectors: int,
    y: Any,
    y_at: Array,
    column: int,
    x: Array,
    x_at: Array,
    step: int,
    first: int,
    stop: int,
    runs: Array,
    count: int,
    w: Any,
    w_step: int,
    width: int,
    adds: bool,
) -> None:
    """All tiles of a panel, for the rows from `first` on."""
    most = ROWS_OF[vectors]
    for i in range(first, stop, most):
        n = min(most, stop - i)
        if vectors == 1:
            multiply_tile(
                1, y, y_at, column, x, x_at, step, i, n, runs, count, w, w_step, width, adds
            )
        elif vectors == 2:
            multiply_tile(
                2, y, y_at, column, x, x_at, step, i, n, runs, count, w, w_step, width, adds
            )
        elif MOST_VECTORS == 4:
            if vectors == 3:
                multiply_tile(
                    3, y, y_at, column, x, x_at, step, i, n, runs, count, w, w_step, width, adds
                )
            else:
                multiply_tile(
                    4, y, y_at, column, x, x_at, step, i, n, runs, count, w, w_step, width, adds
                )


@inner
def _panels(columns: int, size: int, most: int) -> Any:
    """The vectors in each panel, which are as even as they can be."""
    vectors = -(-columns // size)
    count = -(-vectors // most)
    panels = np.empty(count, np.int64)
    for j in range(count):
        panels[j] = vectors * (j + 1) // count - vectors * j // count
    return panels


@inner
def _spans(axes: Array, axis: int, spans: Array) -> Any:
    """The outputs along an axis by the taps they have on cells: first, stop, low, high of each."""
    outputs, taps, stride, dilation, start, cells = axes[axis, :6]
    count = 0
    for o in range(outputs):
        place = o * stride + start
        low = min(max(-(place // dilation), 0), taps)
        high = max(min((cells - 1 - place) // dilation + 1, taps), low)
        if count and spans[count - 1, 2] == low and spans[count - 1, 3] == high:
            spans[count - 1, 1] = o + 1
            continue
        spans[count, 0], spans[count, 1], spans[count, 2], spans[count, 3] = o, o + 1, low, high
        count += 1
    return count


@inner
def _most_spans(axes: Array, axis: int) -> Any:
    """No more spans than that: one for each window that begins before the input or ends after."""
    return min(axes[axis, OUTPUTS], 2 * axes[axis, TAPS] * axes[axis, DILATION] + 1)


@inner
def _put_run(runs: Array, count: int, f: int, length: int, at: int, portion: Array) -> Any:
    """A run of neighbours of a window, as far as it is in a portion; the new count of runs."""
    low, high, place, width = portion
    start, stop = max(f, low), min(f + length, high)
    if start >= stop:
        return count
    runs[3 * count], runs[3 * count + 1] = at + start - f, place + (start - low) * width
    runs[3 * count + 2] = stop - start
    return count + 1


@inner
def _runs_of(axes: Array, spans: Array, c: int, portion: Array, runs: Array) -> Any:
    """The runs of a class of windows in a portion: place in x, in the panel, and length, of each.

    `portion` tells where it begins and ends among (tap, channel), where its panel lies and how wide
    that is. They are counted.
    """
    count = 0
    step = axes[INNER, DILATION] * axes[INNER, X_STEP]
    k_low, k_high = spans[2, 2], spans[2, 3]
    for i in range(spans[0, 2], spans[0, 3]):
        for j in range(spans[1, 2], spans[1, 3]):
            at = (
                i * axes[OUTER, DILATION] * axes[OUTER, X_STEP]
                + j * axes[MIDDLE, DILATION] * axes[MIDDLE, X_STEP]
                + k_low * step
            )
            f = ((i * axes[MIDDLE, TAPS] + j) * axes[INNER, TAPS] + k_low) * c
            if step == c:
                count = _put_run(runs, count, f, (k_high - k_low) * c, at, portion)
                continue
            for _ in range(k_low, k_high):
                count = _put_run(runs, count, f, c, at, portion)
                f, at = f + c, at + step
    return count


@inner
def _windows_of(axes: Array, spans: Array, count: int, x_at: Array, y_at: Array) -> Any:
    """The places of a class's windows in x and y, written from the count on; the new count."""
    step = axes[INNER, STRIDE] * axes[INNER, X_STEP]
    for n in range(axes[IMAGES, OUTPUTS]):
        for i in range(spans[0, 0], spans[0, 1]):
            for j in range(spans[1, 0], spans[1, 1]):
                x_row = (
                    n * axes[IMAGES, X_STEP]
                    + (i * axes[OUTER, STRIDE] + axes[OUTER, START]) * axes[OUTER, X_STEP]
                    + (j * axes[MIDDLE, STRIDE] + axes[MIDDLE, START]) * axes[MIDDLE, X_STEP]
                    + axes[INNER, START] * axes[INNER, X_STEP]
                )
                y_row = (
                    n * axes[IMAGES, Y_STEP] + i * axes[OUTER, Y_STEP] + j * axes[MIDDLE, Y_STEP]
                )
                for k in range(spans[2, 0], spans[2, 1]):
                    x_at[count], y_at[count] = x_row + k * step, y_row + k * axes[INNER, Y_STEP]
                    count += 1
    return count


@inner
def _pack(
    panel: Array,
    at: int,
    w: Array,
    taps_at: Array,
    steps: Array,
    c: int,
    start: int,
    stop: int,
    column: int,
    columns: int,
    width: int,
) -> None:
    """The weights of some (tap, channel) and some columns, side by side; zeros beyond the last."""
    row_step, column_step = steps
    f = start
    while f < stop:
        tap, channel = f // c, f % c
        length = min(c - channel, stop - f)
        place = taps_at[tap] + channel * row_step + column * column_step
        target = at + (f - start) * width
        if column_step == 1:
            for r in range(length):
                for j in range(columns):
                    panel[U(target + r * width) + U(j)] = w[U(place + r * row_step) + U(j)]
                for j in range(columns, width):
                    panel[target + r * width + j] = 0
        else:
            for r0 in range(0, length, 16):
                for j in range(columns):
                    for r in range(r0, min(r0 + 16, length)):
                        panel[U(target + r * width + j)] = w[
                            U(place + r * row_step + j * column_step)
                        ]
            for r in range(length):
                for j in range(columns, width):
                    panel[target + r * width + j] = 0
        f += length


@inner
def _portion(total: int, unit: int) -> Any:
    """How many sums are formed at a time: whole units where that can be."""
    most = max(SUMS // unit, 1) * unit if unit <= SUMS else -(-unit // -(-unit // SUMS))
    if unit <= SUMS:
        units = -(-total // unit)
        return -(-units // -(-total // most)) * unit
    return most


@inner
def _aligned(elements: int, y: Array) -> Any:
    """Room that begins where a vector may."""
    spare = VECTOR_BYTES // y.itemsize
    room = np.empty(elements + spare, y.dtype)
    skipped = (-room.ctypes.data % VECTOR_BYTES) // y.itemsize
    return room[skipped : skipped + elements]


@inner
def _classes(axes: Array) -> Any:
    """Windows by the taps that they have on cells: the spans of each class, and where it ends.

    And the places of all windows in x and y, class by class.
    """
    most = max(_most_spans(axes, OUTER), _most_spans(axes, MIDDLE), _most_spans(axes, INNER))
    each = np.empty((3, most, 4), np.int64)
    a, b = _spans(axes, OUTER, each[0]), _spans(axes, MIDDLE, each[1])
    o = _spans(axes, INNER, each[2])
    spans, ends = np.empty((a * b * o, 3, 4), np.int64), np.empty(a * b * o + 1, np.int64)
    windows = axes[:, OUTPUTS].prod()
    x_at, y_at = np.empty(windows, np.int64), np.empty(windows, np.int64)
    ends[0] = 0
    for number in range(a * b * o):
        spans[number, 0] = each[0, number // (b * o)]
        spans[number, 1] = each[1, number // o % b]
        spans[number, 2] = each[2, number % o]
        ends[number + 1] = _windows_of(axes, spans[number], ends[number], x_at, y_at)
    return spans, ends, x_at, y_at


@loop
def product(
    y: Array,
    x: Array,
    w: Array,
    axes: Array,
    taps_at: Array,
    steps: Array,
    channels: int,
    columns: int,
) -> None:
    """Windows of x times weights, written to y.

    Weight (tap, channel, column) is `w[taps_at[tap] + channel steps[0] + column steps[1]]`.
    """
    c, size = channels, VECTOR_BYTES // y.itemsize
    is_joined = axes[INNER, DILATION] * axes[INNER, X_STEP] == c
    total = taps_at.size * c
    most = _portion(total, axes[INNER, TAPS] * c if is_joined else c)
    panels = _panels(columns, size, MOST_VECTORS)
    holds = total * panels.sum() * VECTOR_BYTES <= HELD_WEIGHT_BYTES
    packed = _aligned((total * panels.sum() if holds else most * panels.max()) * size, y)
    spans, ends, x_at, y_at = _classes(axes)
    runs, portion = np.empty(3 * taps_at.size, np.int64), np.empty(4, np.int64)
    for first in range(0, x_at.size, WINDOWS):
        stop = min(first + WINDOWS, x_at.size)
        for low in range(0, total, most):
            high = min(low + most, total)
            column = 0
            for vectors in panels:
                width = vectors * size
                wanted = min(width, columns - column)
                at = (total * column + low * width) if holds else 0
                if first == 0 or not holds:
                    _pack(packed, at, w, taps_at, steps, c, low, high, column, wanted, width)
                portion[0], portion[1], portion[2], portion[3] = low, high, at, width
                for number in range(spans.shape[0]):
                    i, end = max(ends[number], first), min(ends[number + 1], stop)
                    if i >= end:
                        continue
                    adds = low > 0 and _begins(axes, spans[number]) * c < low
                    count = _runs_of(axes, spans[number], c, portion, runs)
                    if count:
                        last = wanted - (vectors - 1) * size
                        _multiply(
                            vectors, y, y_at, column, x, x_at, 1, i, end, runs, count, packed,
                            width, last, adds,
                        )  # fmt: skip
                    elif low == 0 and _begins(axes, spans[number]) == taps_at.size:
                        for row in range(i, end):
                            for j in range(wanted):
                                y[y_at[row] + column + j] = 0
                column += width


@inner
def _begins(axes: Array, spans: Array) -> Any:
    """The first tap of a class that is on a cell; the number of all if there is none."""
    taps = axes[MIDDLE, TAPS] * axes[INNER, TAPS]
    if spans[0, 2] >= spans[0, 3] or spans[1, 2] >= spans[1, 3] or spans[2, 2] >= spans[2, 3]:
        return axes[OUTER, TAPS] * taps
    return spans[0, 2] * taps + spans[1, 2] * axes[INNER, TAPS] + spans[2, 2]


@inner
def _segments(axes: Array, first: int, most: int, segments: Array) -> Any:
    """Some windows from the first on as segments of rows: how many, and of how many windows.

    Of each: where its row begins in x, in y, its place along the outer two axes, which of the row's
    windows it has, and how many windows are before it.
    """
    row_size = axes[INNER, OUTPUTS]
    count, windows = 0, 0
    while windows < most and count < segments.shape[0]:
        row, o = (first + windows) // row_size, (first + windows) % row_size
        j, rest = row % axes[MIDDLE, OUTPUTS], row // axes[MIDDLE, OUTPUTS]
        i, n = rest % axes[OUTER, OUTPUTS], rest // axes[OUTER, OUTPUTS]
        if n == axes[IMAGES, OUTPUTS]:
            break
        stop = min(row_size, o + most - windows)
        segment = segments[count]
        segment[0] = (
            n * axes[IMAGES, X_STEP]
            + (i * axes[OUTER, STRIDE] + axes[OUTER, START]) * axes[OUTER, X_STEP]
            + (j * axes[MIDDLE, STRIDE] + axes[MIDDLE, START]) * axes[MIDDLE, X_STEP]
            + axes[INNER, START] * axes[INNER, X_STEP]
        )
        segment[1] = n * axes[IMAGES, Y_STEP] + i * axes[OUTER, Y_STEP] + j * axes[MIDDLE, Y_STEP]
        segment[2], segment[3], segment[4], segment[5], segment[6] = i, j, o, stop, windows
        windows += stop - o
        count += 1
    return count, windows


@inner
def _is_on(axes: Array, axis: int, o: int, tap: int) -> Any:
    """Whether a tap of a window is on a cell."""
    place = o * axes[axis, STRIDE] + tap * axes[axis, DILATION] + axes[axis, START]
    return 0 <= place < axes[axis, CELLS]


@inner
def _runs_under(axes: Array, tap: int, segments: Array, count: int, width: int, runs: Array) -> Any:
    """The windows of some segments that have a tap on a cell, as runs in x and y; how many."""
    k, rest = tap % axes[INNER, TAPS], tap // axes[INNER, TAPS]
    j, i = rest % axes[MIDDLE, TAPS], rest // axes[MIDDLE, TAPS]
    stride = axes[INNER, STRIDE]
    start = axes[INNER, START] + k * axes[INNER, DILATION]
    low, high = max(-(start // stride), 0), (axes[INNER, CELLS] - 1 - start) // stride + 1
    to_tap = (
        i * axes[OUTER, DILATION] * axes[OUTER, X_STEP]
        + j * axes[MIDDLE, DILATION] * axes[MIDDLE, X_STEP]
        + k * axes[INNER, DILATION] * axes[INNER, X_STEP]
    )
    found = 0
    for s in range(count):
        segment = segments[s]
        if not (_is_on(axes, OUTER, segment[2], i) and _is_on(axes, MIDDLE, segment[3], j)):
            continue
        first, stop = max(segment[4], low), min(segment[5], high)
        if first < stop:
            runs[3 * found] = segment[0] + to_tap + first * stride * axes[INNER, X_STEP]
            runs[3 * found + 1] = (segment[6] + first - segment[4]) * width
            runs[3 * found + 2] = stop - first
            found += 1
    return found


@inner
def _pack_outputs(
    panel: Array,
    y: Array,
    segments: Array,
    count: int,
    step: int,
    column: int,
    columns: int,
    width: int,
) -> None:
    """Some columns of the outputs of segments, side by side; zeros beyond the last."""
    for s in range(count):
        segment = segments[s]
        for o in range(segment[4], segment[5]):
            target = U((segment[6] + o - segment[4]) * width)
            place = U(segment[1] + o * step + column)
            for j in range(U(columns)):
                panel[target + j] = y[place + j]
            for j in range(U(columns), U(width)):
                panel[target + j] = 0


@loop
def product_weight(
    w: Array, x: Array, y: Array, axes: Array, channels: int, columns: int, apart: int
) -> None:
    """The adjoint in the weight `(tap, channel, column)`, added to it; rows lie `apart`."""
    c, size = channels, VECTOR_BYTES // y.itemsize
    taps = axes[OUTER, TAPS] * axes[MIDDLE, TAPS] * axes[INNER, TAPS]
    step = axes[INNER, STRIDE] * axes[INNER, X_STEP]
    # The taps of a row are neighbours of which all windows have as many.
    last = (axes[INNER, OUTPUTS] - 1) * axes[INNER, STRIDE] + axes[INNER, START]
    are_joined = axes[INNER, DILATION] * axes[INNER, X_STEP] == c and axes[INNER, START] >= 0
    are_joined &= last + axes[INNER, TAPS] <= axes[INNER, CELLS]
    together = axes[INNER, TAPS] if are_joined else 1
    x_at, w_at = np.empty(taps * c, np.int64), np.empty(taps * c, np.int64)
    for f in range(taps * c):
        x_at[f], w_at[f] = f % (together * c), f * apart
    panels = _panels(columns, size, MOST_VECTORS)
    at_once = SUMMED_FAR if step * x.itemsize >= FAR else SUMMED_WINDOWS
    packed = _aligned(at_once * panels.max() * size, y)
    segments, runs = np.empty((at_once, 7), np.int64), np.empty(3 * at_once, np.int64)
    first = 0
    while True:
        count, windows = _segments(axes, first, at_once, segments)
        if windows == 0:
            return
        column = 0
        for vectors in panels:
            width = vectors * size
            wanted = min(width, columns - column)
            _pack_outputs(packed, y, segments, count, axes[INNER, Y_STEP], column, wanted, width)
            for tap in range(0, taps, together):
                found = _runs_under(axes, tap, segments, count, width, runs)
                if found:
                    low, high, last = tap * c, (tap + together) * c, wanted - (vectors - 1) * size
                    _multiply(
                        vectors, w, w_at, column, x, x_at, step, low, high, runs, found, packed,
                        width, last, True,
                    )  # fmt: skip
            column += width
        first += windows
