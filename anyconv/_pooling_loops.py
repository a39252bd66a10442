"""Pooling in compiled loops: over all axes of a window at once, in one pass.

The functions are called as those of `_pooling` and `_winners` are, on the same arrays, and give the
same but for the rounding of sums.
"""

from collections.abc import Sequence
from math import prod

from anyconv._namespace import (
    MOST_AXES,
    AxisLoop,
    device,
    index_dtype,
    is_numpy,
    item_bytes,
    pooling_room,
    window_maxima,
    window_maxima_gradient,
    window_maximum_gradient,
    window_sums,
    window_sums_adjoint,
    window_winners,
)
from anyconv._options import current_options
from anyconv._pool_arguments import PoolCall
from anyconv._pooling import Axes
from anyconv._pooling_axes import RegularWindows
from anyconv._typing import Array, Namespace

# So many elements are worth having loops compiled for,
WORTH_COMPILING = 2**17
# if so many channels of a cell are neighbours,
FEWEST_CHANNELS = 2
# and no axis has windows of more cells that overlap, which NumPy's path combines in fewer steps.
LONGEST_OVERLAP = 10
# Longer windows lose digits of a sum that is kept in one place.
MOST_TAPS = 1024
# Bytes held while windows are pooled by columns.
MOST_ROOM = 2**22
# Cells of a plane are counted in 32 bits.
MOST_CELLS = 2**31 - 1
# Tiles of so few taps, of so many channels, are given their gradient tap by tap.
FEW_TAPS, MANY_CHANNELS = 4, 64


def compiles(call: PoolCall, x: Array, *, xp: Namespace) -> bool:
    """Whether a pooling of x, or of an output gradient, runs in compiled loops."""
    regular = all(isinstance(windows, RegularWindows) for windows in call.axes)
    if not (is_numpy(xp) and regular and call.rank <= MOST_AXES and x.dtype.isnative):
        return False
    if prod(w.most_taps for w in call.axes) > MOST_TAPS or prod(call.spatial) > MOST_CELLS:
        return False
    limits, neighbours = current_options(), call.channels if call.layout == "channels_last" else 1
    are_short = all(w.disjoint or w.most_taps <= LONGEST_OVERLAP for w in call.axes)
    work = prod(call.x_shape) if neighbours >= FEWEST_CHANNELS and are_short else 0
    if not limits.compiles(work, WORTH_COMPILING):
        return False
    room = pooling_room(_loops(call.axes)[-1], call.channels) * item_bytes(xp, x.dtype)
    return room * limits.workers <= min(limits.workspace_bytes, MOST_ROOM)


def are_tiles(axes: Axes) -> bool:
    """Whether every cell is in one window."""
    return all(windows.disjoint and windows.covers_all for windows in axes)


def sums_at_once(x: Array, axes: Axes, *, out: Array | None = None, xp: Namespace) -> Array:
    """`_pooling.window_sum`."""
    y = _outputs_like(x, axes, xp=xp) if out is None else out
    window_sums(y, x, _loops(axes))
    return y


def sums_at_once_adjoint(
    dy: Array, axes: Axes, *, out: Array | None = None, xp: Namespace
) -> Array:
    """`_pooling.window_sum_adjoint`; `out` is zero, or every cell is in one window."""
    dx = _cells_like(dy, axes, xp=xp) if out is None else out
    window_sums_adjoint(dx, dy, _loops(axes), sets=are_tiles(axes))
    return dx


def maxima_at_once(x: Array, axes: Axes, *, out: Array | None = None, xp: Namespace) -> Array:
    """`_pooling.window_max`."""
    y = _outputs_like(x, axes, xp=xp) if out is None else out
    window_maxima(y, x, _loops(axes))
    return y


def argmax_at_once(x: Array, axes: Axes, *, xp: Namespace) -> Array:
    """`_winners.window_argmax`."""
    shape = (x.shape[0], *(windows.outputs for windows in axes), x.shape[-1])
    places = xp.empty(shape, dtype=index_dtype(xp), device=device(x))
    window_winners(places, x, _loops(axes))
    return places


def maxima_gradient_at_once(
    dy: Array, x: Array, axes: Axes, *, ties: bool, out: Array | None = None, xp: Namespace
) -> Array:
    """The gradient of the first maximum of each window, or of all `ties`; `out` as above."""
    dx = _cells_like(dy, axes, xp=xp) if out is None else out
    sets = are_tiles(axes)
    taps = prod(windows.most_taps for windows in axes)
    if ties or (sets and taps <= FEW_TAPS and x.shape[-1] >= MANY_CHANNELS):
        window_maxima_gradient(dx, dy, x, _loops(axes), sets=sets, ties=ties)
    else:
        window_maximum_gradient(dx, dy, x, _loops(axes), sets=sets)
    return dx


def _outputs_like(x: Array, axes: Axes, *, xp: Namespace) -> Array:
    shape = (x.shape[0], *(windows.outputs for windows in axes), x.shape[-1])
    return xp.empty(shape, dtype=x.dtype, device=device(x))


def _cells_like(dy: Array, axes: Axes, *, xp: Namespace) -> Array:
    shape = (dy.shape[0], *(windows.size for windows in axes), dy.shape[-1])
    return xp.zeros(shape, dtype=dy.dtype, device=device(dy))


def _loops(axes: Axes) -> Sequence[AxisLoop]:
    return [
        AxisLoop(w.outputs, w.most_taps, w.stride, w.dilation, w.start, w.size)
        for w in axes
        if isinstance(w, RegularWindows)
    ]
