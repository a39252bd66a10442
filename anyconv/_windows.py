"""Windows and padding as linear maps beside their adjoints: the only slicing of the package.

Arrays are canonical, `(n, *spatial, c)`. Each map and its adjoint satisfy `<Ax, y> = <x, A*y>`.

    unfold   x (n, *input, c) -> windows (n, *output, *kernel, c)      fold       its adjoint
    slab     x (n, *input, c) -> the cells `start:stop`, zeros outside  add_slab   its adjoint
    pad      x (n, *input, c) -> one of four paddings                   pad_adjoint
"""

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import NamedTuple

from anyconv._geometry import Pairs, Segment, Windows, padding_segments
from anyconv._namespace import (
    add_at,
    device,
    has_strided_views,
    is_numpy,
    is_traced,
    pad_constant,
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
    taps = [x[(slice(None), *tap, ...)] for tap in windows.tap_slices]  # each (n, *output, c)
    stacked = xp.stack(taps, axis=-2)  # (n, *output, taps, c)
    return xp.reshape(stacked, (n, *windows.output, *windows.kernel, c))


def fold(u: Array, windows: Windows, *, xp: Namespace) -> Array:
    """The adjoint of `unfold`: windows `(n, *output, *kernel, c)` added back, `(n, *input, c)`."""
    n, c = u.shape[0], u.shape[-1]
    if windows.is_pointwise:
        return xp.reshape(u, (n, *windows.input, c))
    x = xp.zeros((n, *windows.input, c), dtype=u.dtype, device=device(u))
    if prod(windows.output) < windows.taps:
        rank = len(windows.kernel)
        u = xp.reshape(u, (n, prod(windows.output), *u.shape[rank + 1 :]))
        for index, window in enumerate(windows.window_slices):
            x = add_at(x, (slice(None), *window, ...), u[:, index, ...], xp=xp)
        return x
    u = xp.reshape(u, (n, *windows.output, windows.taps, c))
    for index, tap in enumerate(windows.tap_slices):
        x = add_at(x, (slice(None), *tap, ...), u[..., index, :], xp=xp)
    return x


def slab(x: Array, images: slice, box: Pairs, *, xp: Namespace) -> Array:
    """The cells `start:stop` of each spatial axis of some images, zeros where they lie outside."""
    cut = _cut(x.shape[1:-1], box)
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
    is_whole: bool


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
    return _Cut(tuple(inside), tuple(kept), tuple(widths), sizes, is_whole)


def pad(x: Array, padding: Pairs, mode: str, *, xp: Namespace) -> Array:
    """X with `(before, after)` cells added to each spatial axis.

    `zeros` 1234 -> 00 1234 00, `reflect` -> 32 1234 32, `replicate` -> 11 1234 44, `circular` ->
    34 1234 12.
    """
    if mode == "zeros":
        widths = [(0, 0), *padding, (0, 0)]
        return pad_constant(x, widths, 0, xp=xp) if any(map(any, padding)) else x
    for axis, (before, after) in enumerate(padding, start=1):
        segments = padding_segments(x.shape[axis], before, after, mode)
        if len(segments) > 1:
            x = xp.concat([_cells(x, segment, axis, xp=xp) for segment in segments], axis=axis)
    return x


def pad_adjoint(
    y: Array, shape: Sequence[int], padding: Pairs, mode: str, *, xp: Namespace
) -> Array:
    """The adjoint of `pad` on `shape`: each padded cell is added to the cell it was read from."""
    for axis in range(len(padding), 0, -1):
        size, (before, after) = shape[axis - 1], padding[axis - 1]
        segments = padding_segments(size, before, after, mode)
        if len(segments) == 1:
            continue
        x = xp.zeros((*y.shape[:axis], size, *y.shape[axis + 1 :]), dtype=y.dtype, device=device(y))
        position = 0
        for segment in segments:
            cells = y[along(axis, slice(position, position + segment.count))]
            position += segment.count
            if segment.kind == "zeros":
                continue
            if segment.kind == "flip":
                cells = xp.flip(cells, axis=axis)
            elif segment.kind == "repeat":
                cells = xp.sum(cells, axis=axis, keepdims=True)
            x = add_at(x, along(axis, slice(segment.start, segment.stop)), cells, xp=xp)
        y = x
    return y


def _cells(x: Array, segment: Segment, axis: int, *, xp: Namespace) -> Array:
    """The cells of one run of a padded axis."""
    if segment.kind == "zeros":
        shape = (*x.shape[:axis], segment.count, *x.shape[axis + 1 :])
        return xp.zeros(shape, dtype=x.dtype, device=device(x))
    cells = x[along(axis, slice(segment.start, segment.stop))]
    if segment.kind == "flip":
        return xp.flip(cells, axis=axis)
    if segment.kind == "repeat":
        shape = (*x.shape[:axis], segment.count, *x.shape[axis + 1 :])
        return xp.broadcast_to(cells, shape)
    return cells


def along(axis: int, cells: slice) -> Index:
    """An index that takes some cells of one axis and all of those before and after it."""
    return (*(slice(None),) * axis, cells, ...)
