"""Reductions over windows, one axis after another, beside their gradients.

Arrays are canonical, `(n, *spatial, c)`; `axes` holds one `AxisWindows` for each spatial axis. The
last axis is reduced first, so that ties fall to the first cell in row-major order.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from anyconv._axis_windows import AxisWindows
from anyconv._namespace import add_at, device, index_dtype, is_kind, pad_constant
from anyconv._typing import Array, DType, Namespace
from anyconv._windows import along

Axes = Sequence[AxisWindows]


def window_sum(x: Array, axes: Axes, *, xp: Namespace) -> Array:
    """The sum over each window, padding counted as zero."""
    for axis in range(len(axes), 0, -1):
        windows = axes[axis - 1]
        x = _padded(x, axis, windows, 0, xp=xp)
        x = _concat([_reduced(x, axis, g.taps, xp.add) for g in windows.groups], axis, xp=xp)
    return x


def window_sum_adjoint(dy: Array, axes: Axes, *, xp: Namespace) -> Array:
    """The adjoint of `window_sum`: each output added to every cell of its window."""
    for axis, windows in enumerate(axes, start=1):
        dx = _empty_gradient(dy, axis, windows, xp=xp)
        for group in windows.groups:
            part = dy[along(axis, group.outputs)]
            for tap in group.taps:
                dx = add_at(dx, along(axis, tap), part, xp=xp)
        dy = _cropped(dx, axis, windows)
    return dy


def window_counts(
    axes: Axes, dtype: DType, device: Any, *, include_padding: bool, xp: Namespace
) -> Array:
    """The counted cells of each window, `(1, *output, 1)`."""
    total = xp.ones((1,) * (len(axes) + 2), dtype=dtype, device=device)
    for axis, windows in enumerate(axes, start=1):
        counts = windows.counts(include_padding=include_padding)
        if len(set(counts)) == 1:
            total = total * counts[0]
        else:
            total = total * _vector(counts, axis, len(axes), dtype, device, xp=xp)
    return total


def window_max(x: Array, axes: Axes, *, xp: Namespace) -> Array:
    """The maximum over each window; NaN wins, padding never does."""
    return _maxima(x, axes, xp=xp)[-1]


def _maxima(x: Array, axes: Axes, *, xp: Namespace) -> list[Array]:
    """The input and the maxima once each axis is reduced, the last axis first."""
    stages = [x]
    for axis in range(len(axes), 0, -1):
        windows = axes[axis - 1]
        x = _padded(x, axis, windows, _lowest(xp, x.dtype), xp=xp)
        x = _concat([_reduced(x, axis, g.taps, xp.maximum) for g in windows.groups], axis, xp=xp)
        stages.append(x)
    return stages


def window_argmax(x: Array, axes: Axes, *, xp: Namespace) -> tuple[Array, Array]:
    """The maximum over each window and the flat position of its first cell in the spatial plane."""
    dtype, where = index_dtype(xp), device(x)
    position, step = None, 1
    for axis in range(len(axes), 0, -1):
        windows = axes[axis - 1]
        x = _padded(x, axis, windows, _lowest(xp, x.dtype), xp=xp)
        if position is not None:
            position = _padded(position, axis, windows, 0, xp=xp)
        parts = []
        for number, group in enumerate(windows.groups):
            best = at = None
            seen = (False,) * (group.outputs.stop - group.outputs.start)
            for tap_number, tap in enumerate(group.taps):
                cells = x[along(axis, tap)]
                here = [step * cell for cell in windows.positions(number, tap_number)]
                place = _vector(here, axis, len(axes), dtype, where, xp=xp)
                if position is not None:
                    place = place + position[along(axis, tap)]
                if best is None:
                    best, at = cells, xp.broadcast_to(place, cells.shape)
                else:
                    better = _beats(cells, best, xp=xp)
                    inside = windows.inside[number][tap_number]
                    first = [now and not before for now, before in zip(inside, seen, strict=True)]
                    if any(first):
                        # Padding that came before is beaten even by an equal cell.
                        better = better | _vector(first, axis, len(axes), xp.bool, where, xp=xp)
                    best, at = xp.where(better, cells, best), xp.where(better, place, at)
                inside = windows.inside[number][tap_number]
                seen = tuple(a or b for a, b in zip(seen, inside, strict=True))
            parts.append((best, at))
        step *= windows.size
        x = _concat([best for best, _ in parts], axis, xp=xp)
        position = _concat([at for _, at in parts], axis, xp=xp)
    return x, position


def window_max_gradient(dy: Array, x: Array, axes: Axes, ties: str, *, xp: Namespace) -> Array:
    """The output gradient handed to the first maximum of each window, to all, or split evenly."""
    stages = _maxima(x, axes, xp=xp)
    if ties == "split":
        dy = dy / _tied(stages, axes, dy.dtype, xp=xp)
    zero = xp.zeros((), dtype=dy.dtype, device=device(dy))
    for axis, windows in enumerate(axes, start=1):
        # Reduced last, undone first: this axis led from one stage to the next.
        cells, best = stages[-axis - 1], stages[-axis]
        cells = _padded(cells, axis, windows, _lowest(xp, x.dtype), xp=xp)
        dx = _empty_gradient(dy, axis, windows, xp=xp)
        for number, group in enumerate(windows.groups):
            part = dy[along(axis, group.outputs)]
            taken = None
            for tap, hit in _hits(cells, best, axis, windows, number, len(axes), xp=xp):
                won = hit if taken is None or ties != "first" else hit & ~taken
                taken = hit if taken is None else taken | hit
                dx = add_at(dx, along(axis, tap), xp.where(won, part, zero), xp=xp)
        dy = _cropped(dx, axis, windows)
    return dy


def _tied(stages: Sequence[Array], axes: Axes, dtype: DType, *, xp: Namespace) -> Array:
    """How many cells of each window equal its maximum."""
    rank = len(axes)
    counts = xp.ones((1,) * (rank + 2), dtype=dtype, device=device(stages[0]))
    counts = xp.broadcast_to(counts, stages[0].shape)
    zero = xp.zeros((), dtype=dtype, device=device(stages[0]))
    for axis, cells, best in zip(range(rank, 0, -1), stages, stages[1:], strict=False):
        windows = axes[axis - 1]
        cells = _padded(cells, axis, windows, _lowest(xp, cells.dtype), xp=xp)
        counts = _padded(counts, axis, windows, 0, xp=xp)
        parts = []
        for number in range(len(windows.groups)):
            total = zero
            for tap, hit in _hits(cells, best, axis, windows, number, rank, xp=xp):
                total = total + xp.where(hit, counts[along(axis, tap)], zero)
            parts.append(total)
        counts = _concat(parts, axis, xp=xp)
    return counts


def _hits(
    cells: Array,
    best: Array,
    axis: int,
    windows: AxisWindows,
    number: int,
    rank: int,
    *,
    xp: Namespace,
) -> Iterable[tuple[slice, Array]]:
    """Each tap of a group, and where the cell under it is its window's maximum."""
    group = windows.groups[number]
    best = best[along(axis, group.outputs)]
    may_be_nan = is_kind(xp, cells.dtype, "real floating")
    for tap, inside in zip(group.taps, windows.inside[number], strict=True):
        under = cells[along(axis, tap)]
        hit = under == best
        if may_be_nan:
            hit = hit | (under != under)  # a NaN under a tap made the maximum NaN
        if not all(inside):
            hit = hit & _vector(inside, axis, rank, xp.bool, device(cells), xp=xp)
        yield tap, hit


def _beats(cells: Array, best: Array, *, xp: Namespace) -> Array:
    """Where a later cell replaces the maximum so far: larger, or the first NaN."""
    larger = cells > best
    if is_kind(xp, cells.dtype, "real floating"):
        larger = larger | ((cells != cells) & (best == best))
    return larger


def _lowest(xp: Namespace, dtype: DType) -> float | int:
    """The value that no maximum prefers."""
    if is_kind(xp, dtype, "real floating"):
        return -float("inf")
    return int(xp.iinfo(dtype).min)


def _reduced(x: Array, axis: int, taps: Iterable[slice], combine: Any) -> Array:
    """The taps of one axis combined."""
    total = None
    for tap in taps:
        cells = x[along(axis, tap)]
        total = cells if total is None else combine(total, cells)
    return total


def _padded(x: Array, axis: int, windows: AxisWindows, value: Any, *, xp: Namespace) -> Array:
    if not (windows.before or windows.after):
        return x
    widths = [(0, 0)] * x.ndim
    widths[axis] = (windows.before, windows.after)
    return pad_constant(x, widths, value, xp=xp)


def _empty_gradient(dy: Array, axis: int, windows: AxisWindows, *, xp: Namespace) -> Array:
    size = windows.before + windows.size + windows.after
    shape = (*dy.shape[:axis], size, *dy.shape[axis + 1 :])
    return xp.zeros(shape, dtype=dy.dtype, device=device(dy))


def _cropped(x: Array, axis: int, windows: AxisWindows) -> Array:
    if not (windows.before or windows.after):
        return x
    return x[along(axis, slice(windows.before, windows.before + windows.size))]


def _concat(parts: Sequence[Array], axis: int, *, xp: Namespace) -> Array:
    return parts[0] if len(parts) == 1 else xp.concat(list(parts), axis=axis)


def _vector(
    values: Iterable[Any], axis: int, rank: int, dtype: DType, device: Any, *, xp: Namespace
) -> Array:
    """Values along one axis of a canonical array, to be broadcast."""
    vector = xp.asarray(list(values), dtype=dtype, device=device)
    return xp.reshape(vector, tuple(-1 if a == axis else 1 for a in range(rank + 2)))
