"""Windows and padding as linear maps beside their adjoints.

Arrays are canonical, `(n, *spatial, c)`. Each map and its adjoint satisfy `<Ax, y> = <x, A*y>`.

    unfold   x (n, *input, c) -> windows (n, *output, *kernel, c)      fold       its adjoint
    slab     x (n, *input, c) -> the cells `start:stop`, zeros outside  add_slab   its adjoint
    pad      x (n, *input, c) -> one of four paddings                   pad_adjoint
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product
from math import prod
from typing import NamedTuple

from anyconv._cupy_kernels import fold_in_kernel, has_window_kernels
from anyconv._geometry import MOST_AXES, AxisLoop, Pairs, Windows, padding_segments
from anyconv._namespace import (
    add_at,
    device,
    has_strided_views,
    is_numpy,
    is_traced,
    pad_constant,
    set_at,
    strided_view,
)
from anyconv._typing import Array, Index, Namespace, Shape

# In larger arrays than this, margins are filled with zeros in less time than the whole.
WORTH_MARGINS = 2**14


def unfold(x: Array, windows: Windows, *, xp: Namespace) -> Array:
    """The windows of `x (n, *windows.input, c)`, `(n, *output, *kernel, c)`; a view if possible."""
    n, *_, c = x.shape
    rank = len(windows.kernel)
    if has_strided_views(xp):
        axes = [
            (0, 1),
            *((axis + 1, s) for axis, s in enumerate(windows.stride)),
            *((axis + 1, d) for axis, d in enumerate(windows.dilation)),
            (rank + 1, 1),
        ]
        shape = (n, *windows.output, *windows.kernel, c)
        return strided_view(x, shape, axes, xp=xp)
    shape = (n, *windows.output, *windows.kernel, c)
    if prod(windows.output) < windows.taps:
        each = [x[(slice(None), *window, ...)] for window in windows.window_slices]
        return xp.reshape(xp.stack(each, axis=1), shape)  # of (n, *kernel, c)
    taps = [x[(slice(None), *tap, ...)] for tap in windows.tap_slices]
    return xp.reshape(xp.stack(taps, axis=-2), shape)  # of (n, *output, c)


def fold(u: Array, windows: Windows, *, xp: Namespace) -> Array:
    """The adjoint of `unfold`: windows `(n, *output, *kernel, c)` added back, `(n, *input, c)`."""
    n, c = u.shape[0], u.shape[-1]
    if windows.is_pointwise:
        return xp.reshape(u, (n, *windows.input, c))
    if has_window_kernels(xp, u.dtype) and len(windows.kernel) <= MOST_AXES:
        u = xp.reshape(u, (n, *windows.output, 1, windows.taps, c))
        return fold_in_kernel(u, _loops(windows), xp=xp)
    x = xp.zeros((n, *windows.input, c), dtype=u.dtype, device=device(u))
    rank = len(windows.kernel)
    if prod(windows.output) < windows.taps:
        for place, window in zip(_places(windows.output), windows.window_slices, strict=True):
            x = add_at(x, (slice(None), *window, ...), u[(slice(None), *place, ...)], xp=xp)
        return x
    for place, tap in zip(_places(windows.kernel), windows.tap_slices, strict=True):
        part = u[(*(slice(None),) * (rank + 1), *place, ...)]  # (n, *output, c)
        x = add_at(x, (slice(None), *tap, ...), part, xp=xp)
    return x


def _loops(windows: Windows) -> tuple[AxisLoop, ...]:
    sizes = windows.output, windows.kernel, windows.stride, windows.dilation
    starts = (0,) * len(windows.kernel)
    return tuple(AxisLoop(*axis) for axis in zip(*sizes, starts, windows.input, strict=True))


def _places(sizes: Shape) -> Iterator[Shape]:
    """All positions of a grid, in row-major order."""
    return product(*map(range, sizes))


def slab(x: Array, images: slice, box: Pairs, *, xp: Namespace) -> Array:
    """The cells `start:stop` of each spatial axis of some images, zeros where they lie outside."""
    cut = _cut(x.shape[1:-1], box)
    if cut.is_all and images == slice(0, x.shape[0]):
        return x
    cells = x[(images, *cut.inside, ...)]
    if cut.is_whole:
        return cells
    if is_traced(xp):
        return pad_constant(cells, [(0, 0), *cut.widths, (0, 0)], 0, xp=xp)
    n, *_, c = cells.shape
    is_large = is_numpy(xp) and cells.size > WORTH_MARGINS
    make = xp.empty if is_large else xp.zeros
    padded = make((n, *cut.sizes, c), dtype=x.dtype, device=device(x))
    padded[(slice(None), *cut.kept, ...)] = cells
    if is_large:
        for axis, kept in enumerate(cut.kept, start=1):
            padded[along(axis, slice(0, kept.start))] = 0
            padded[along(axis, slice(kept.stop, None))] = 0
    return padded


def add_slab(x: Array, cells: Array, images: slice, box: Pairs, *, xp: Namespace) -> Array:
    """The adjoint of `slab`, added to x: what fell outside x is dropped."""
    cut = _cut(x.shape[1:-1], box)
    return add_at(x, (images, *cut.inside, ...), cells[(slice(None), *cut.kept, ...)], xp=xp)


class _Cut(NamedTuple):
    """The part of a box inside an array, and where it lies in the box."""

    inside: tuple[slice, ...]
    kept: tuple[slice, ...]
    widths: Pairs
    sizes: Shape
    is_whole: bool  # whether all of the box lies in the array
    is_all: bool  # and is all of it


@lru_cache(maxsize=4096)
def _cut(shape: Shape, box: Pairs) -> _Cut:
    inside, kept, widths = [], [], []
    for size, (start, stop) in zip(shape, box, strict=True):
        low = min(max(start, 0), size)
        high = max(min(stop, size), low)
        before = min(max(-start, 0), stop - start)
        inside.append(slice(low, high))
        kept.append(slice(before, before + high - low))
        widths.append((before, stop - start - before - (high - low)))
    sizes = tuple(stop - start for start, stop in box)
    is_whole = not any(map(any, widths))
    return _Cut(
        tuple(inside), tuple(kept), tuple(widths), sizes, is_whole, is_whole and sizes == shape
    )


def pad(x: Array, padding: Pairs, mode: str, *, xp: Namespace) -> Array:
    """The array with `(before, after)` cells added to each spatial axis.

    `zeros` 1234 -> 00 1234 00, `reflect` -> 32 1234 32, `replicate` -> 11 1234 44, `circular` ->
    34 1234 12.
    """
    if not any(map(any, padding)):
        return x
    if mode == "zeros":
        return pad_constant(x, [(0, 0), *padding, (0, 0)], 0, xp=xp)
    n, *spatial, c = x.shape
    sizes = (i + sum(pair) for i, pair in zip(spatial, padding, strict=True))
    y = xp.empty((n, *sizes, c), dtype=x.dtype, device=device(x))
    y = set_at(y, _inner(spatial, padding), x, xp=xp)
    for margin in _margins(tuple(spatial), padding, mode):
        cells = y[margin.source]
        if margin.is_flipped:
            cells = xp.flip(cells, axis=margin.axis)
        y = set_at(y, margin.target, cells, xp=xp)  # one cell, repeated, is broadcast
    return y


def pad_adjoint(
    y: Array, shape: Sequence[int], padding: Pairs, mode: str, *, xp: Namespace
) -> Array:
    """The adjoint of `pad` on `shape`: each padded cell is added to the cell it was read from.

    It is added in y, which nobody else may hold; the result is the view of y that padding had been
    put around.
    """
    for margin in reversed(_margins(tuple(shape), padding, mode)):
        cells = y[margin.target]
        if margin.is_flipped:
            cells = xp.flip(cells, axis=margin.axis)
        if margin.is_repeated:
            cells = xp.sum(cells, axis=margin.axis, keepdims=True)
            cells = xp.astype(cells, y.dtype, copy=False)  # integers were widened
        y = add_at(y, margin.source, cells, xp=xp)
    return y[_inner(shape, padding)]


def _inner(shape: Sequence[int], padding: Pairs) -> Index:
    """The cells of a padded array that padding was put around."""
    axes = zip(shape, padding, strict=True)
    return (slice(None), *(slice(before, before + size) for size, (before, _) in axes), ...)


class _Margin(NamedTuple):
    """A run of padded cells along one axis and the cells of the same array that they repeat."""

    target: Index
    source: Index
    axis: int
    is_flipped: bool
    is_repeated: bool


@lru_cache(maxsize=1024)
def _margins(shape: Shape, padding: Pairs, mode: str) -> tuple[_Margin, ...]:
    """Axis by axis: those of an axis lie beside all cells of the axes before, margins included."""
    margins = []
    for place, (size, (before, after)) in enumerate(zip(shape, padding, strict=True)):
        later = _inner(shape[place + 1 :], padding[place + 1 :])[1:]
        axis, start = place + 1, 0
        for segment in padding_segments(size, before, after, mode):
            target = slice(start, start + segment.count)
            source = slice(before + segment.start, before + segment.stop)
            start = target.stop
            if segment.kind == "zeros" or target == source:
                continue
            margins.append(
                _Margin(
                    (*along(axis, target)[:-1], *later),
                    (*along(axis, source)[:-1], *later),
                    axis,
                    segment.kind == "flip",
                    segment.kind == "repeat",
                )
            )
    return tuple(margins)


def along(axis: int, cells: slice) -> Index:
    """An index that takes some cells of one axis and all of those before and after it."""
    return (*(slice(None),) * axis, cells, ...)
