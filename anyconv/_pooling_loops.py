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
    window_maxima,
    window_maxima_gradient,
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
# if so many channels of a cell are neighbours, which a loop takes at once.
FEWEST_CHANNELS = 8
# Longer windows lose digits of a sum that is kept in one place.
MOST_TAPS = 1024


def compiles(call: PoolCall, x: Array, *, xp: Namespace) -> bool:
    """Whether a pooling of x, or of an output gradient, runs in compiled loops."""
    regular = all(isinstance(windows, RegularWindows) for windows in call.axes)
    if not (is_numpy(xp) and regular and call.rank <= MOST_AXES and x.dtype.isnative):
        return False
    if prod(windows.most_taps for windows in call.axes) > MOST_TAPS:
        return False
    neighbours = call.channels if call.layout == "channels_last" else 1
    work = prod(call.x_shape) if neighbours >= FEWEST_CHANNELS else 0
    return current_options().compiles(work, WORTH_COMPILING)


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
    window_maxima_gradient(dx, dy, x, _loops(axes), sets=are_tiles(axes), ties=ties)
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
