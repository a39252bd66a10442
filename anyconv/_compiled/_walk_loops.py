"""How compiled loops go through windows, and what all of them share.

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

from anyconv._compiled._kept_loops import inner
from anyconv._typing import Array

OUTPUTS, TAPS, STRIDE, DILATION, START, CELLS, X_STEP, Y_STEP = range(8)
IMAGES, OUTER, MIDDLE, INNER = range(4)


U = np.uint64
ONE, TWO, THREE, FOUR, FIVE, SEVEN = U(1), U(2), U(3), U(4), U(5), U(7)
MANY = 2**62
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
