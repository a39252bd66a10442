"""The windows of one axis reduced: the cells of each combined into one.

Arrays are canonical, `(n, *spatial, c)`. Three ways, all with the same result but for rounding:
short windows tap by tap into one place, where a library writes in place; short ones elsewhere, and
long ones that overlap, from all their taps before anything is written; long ones window by window.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache, partial, reduce
from math import gcd, prod
from typing import NamedTuple

from anyconv._geometry._axis_steps import as_slice
from anyconv._geometry._axis_windows import MANY_TAPS, AxisWindows
from anyconv._geometry._pooling_axes import RegularWindows
from anyconv._namespace import adds_row_by_row, combine_at, device, has_out, highest, set_at
from anyconv._typing import Array, DType, Namespace
from anyconv._windows import along

# Rows that are added or compared at once, where a library takes row by row.
ROWS = 128


class Reduction(NamedTuple):
    """A sum or a maximum, of two arrays and of an axis."""

    of_two: Callable[..., Array]
    of_many: Callable[..., Array]


@lru_cache
def sums(xp: Namespace) -> Reduction:
    """The sum."""
    return Reduction(xp.add, xp.sum)


@lru_cache
def maximums(xp: Namespace) -> Reduction:
    """The maximum; NaN wins."""
    return Reduction(xp.maximum, partial(highest, xp=xp))


def reduced(
    x: Array,
    axis: int,
    windows: AxisWindows,
    reduction: Reduction,
    *,
    out: Array | None = None,
    xp: Namespace,
) -> Array:
    """The cells of each window of one axis combined; zero where a window sees none."""
    if windows.is_whole:
        y = of_cells(x, axis, reduction.of_many, xp=xp)
        return y if out is None else set_at(out, (...,), y, xp=xp)
    if windows.is_short and has_out(xp):
        return _in_place(x, axis, windows, reduction, out, xp=xp)
    if windows.are_tiles:
        y = _tiles(x, axis, windows, reduction, xp=xp)
        return y if out is None else set_at(out, (...,), y, xp=xp)
    if isinstance(windows, RegularWindows) and not windows.by_window:
        return _by_tap(x, axis, windows, reduction, out, xp=xp)
    y = room(x, axis, windows.outputs, x.dtype, out, zero=not windows.reaches_all, xp=xp)
    return _by_window(x, y, axis, windows, range(windows.outputs), reduction, xp=xp)


def _by_window(
    x: Array,
    y: Array,
    axis: int,
    windows: AxisWindows,
    outputs: Iterable[int],
    reduction: Reduction,
    *,
    xp: Namespace,
) -> Array:
    """Some outputs, each from all cells of its window, written into y."""
    for output in outputs:
        if seen := windows.seen(output):
            cells = x[along(axis, as_slice(seen))]
            found = of_cells(cells, axis, reduction.of_many, xp=xp)
            y = set_at(y, along(axis, slice(output, output + 1)), found, xp=xp)
    return y


def _by_tap(
    x: Array,
    axis: int,
    windows: RegularWindows,
    reduction: Reduction,
    out: Array | None,
    *,
    xp: Namespace,
) -> Array:
    """The outputs whose windows lie in the input by tap, and the others by window."""
    inside = windows.inside
    if len(inside) == windows.outputs and windows.most_taps > 1 and out is None:
        return _inside(x, axis, windows, reduction)
    y = room(x, axis, windows.outputs, x.dtype, out, zero=not windows.reaches_all, xp=xp)
    y = _by_window(x, y, axis, windows, windows.others(inside), reduction, xp=xp)
    if inside:
        y = set_at(y, along(axis, as_slice(inside)), _inside(x, axis, windows, reduction), xp=xp)
    return y


def _in_place(
    x: Array,
    axis: int,
    windows: AxisWindows,
    reduction: Reduction,
    out: Array | None,
    *,
    xp: Namespace,
) -> Array:
    """Tap by tap into one place."""
    y = room(x, axis, windows.outputs, x.dtype, out, zero=not windows.reaches_all, xp=xp)
    for read in windows.reads:
        at = along(axis, read.outputs)
        cells = [x[along(axis, cells)] for cells in read.cells]
        if not read.opens:
            cells.insert(0, y[at])
        if len(cells) == 1:
            y = set_at(y, at, cells[0], xp=xp)
        else:
            y = combine_at(y, at, reduction.of_two, *cells, xp=xp)
    return y


def _inside(x: Array, axis: int, windows: RegularWindows, reduction: Reduction) -> Array:
    """The windows that lie in the input, from all their taps.

    Nothing that was read is written later, as libraries that differentiate ask.
    """
    first = windows.window(windows.inside.start).start
    sizes = windows.most_taps, windows.stride, windows.dilation, len(windows.inside)
    return _of_taps(x, axis, first, *sizes, reduction.of_two)


def _of_taps(
    x: Array,
    axis: int,
    first: int,
    taps: int,
    stride: int,
    dilation: int,
    outputs: int,
    of_two: Callable[..., Array],
) -> Array:
    """The cells `first + stride * output + dilation * tap` combined over their taps.

    Many taps are those of pieces, each `ahead` outputs before the next: what one output has for a
    piece, another has for the one before. So K taps are log K steps, and sums keep their digits.
    """
    apart = stride // gcd(stride, dilation)  # an output's taps from the next one's
    piece = apart * max(MANY_TAPS // apart, 1)
    pieces, rest = divmod(taps, piece)
    if taps <= MANY_TAPS or pieces < 2:
        length = stride * (outputs - 1) + 1
        starts = (first + dilation * tap for tap in range(taps))
        cells = [x[along(axis, slice(start, start + length, stride))] for start in starts]
        some = [reduce(of_two, cells[at : at + MANY_TAPS]) for at in range(0, taps, MANY_TAPS)]
        return reduce(of_two, some)
    ahead = dilation * piece // stride
    each = outputs + (pieces - 1) * ahead
    y = _of_taps(x, axis, first, piece, stride, dilation, each, of_two)
    y = _of_taps(y, axis, 0, pieces, 1, ahead, outputs, of_two)
    if rest:
        start = first + dilation * piece * pieces
        y = of_two(y, _of_taps(x, axis, start, rest, stride, dilation, outputs, of_two))
    return y


def _tiles(
    x: Array, axis: int, windows: AxisWindows, reduction: Reduction, *, xp: Namespace
) -> Array:
    """Long windows side by side, each an image's row of its own."""
    before, after = x.shape[:axis], x.shape[axis + 1 :]
    x = x[along(axis, slice(0, windows.outputs * windows.most_taps))]
    tiles = xp.reshape(x, (*before, windows.outputs, windows.most_taps, *after))
    y = of_cells(tiles, axis + 1, reduction.of_many, xp=xp)  # (*before, outputs, 1, *after)
    return xp.reshape(y, (*before, windows.outputs, *after))


def of_cells(x: Array, axis: int, of_many: Callable[..., Array], *, xp: Namespace) -> Array:
    """All cells of an axis combined, and the axis kept.

    Where a library takes row by row, long axes are cut in `ROWS` of many cells: (*before, cells,
    *after) -> (*before, ROWS, cells / ROWS, *after) -> (*before, cells / ROWS, *after).
    """
    before, after = x.shape[:axis], x.shape[axis + 1 :]
    while not is_short(x.shape[axis], prod(after), xp=xp):
        cells, rest = divmod(x.shape[axis], ROWS)
        even = xp.reshape(x[along(axis, slice(0, ROWS * cells))], (*before, ROWS, cells, *after))
        parts = [of_many(even, axis=axis)]
        if rest:
            parts.append(x[along(axis, slice(ROWS * cells, None))])
        x = xp.concat(parts, axis=axis)
    return of_many(x, axis=axis, keepdims=True)


def is_short(cells: int, after: int, *, xp: Namespace) -> bool:
    """Whether cells, with so many elements after each, are best combined by the library at once."""
    return cells <= 2 * ROWS or after == 1 or not adds_row_by_row(xp)


def room(
    x: Array,
    axis: int,
    size: int,
    dtype: DType,
    out: Array | None,
    *,
    zero: bool = False,
    xp: Namespace,
) -> Array:
    """Room for an array like x with another size of one axis: `out`, or a new one."""
    if out is None:
        make = xp.zeros if zero else xp.empty
        shape = (*x.shape[:axis], size, *x.shape[axis + 1 :])
        return make(shape, dtype=dtype, device=device(x))
    if zero:
        out[...] = 0
    return out
