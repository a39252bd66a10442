"""Pooling in compiled loops: over all axes of a window at once, in one pass.

The jobs of a map work on the arrays that the kernels of `_pooling` and `_winners` are given, and
give the same but for the rounding of sums.
"""

from functools import lru_cache
from math import prod

from anyconv._arguments._pool import PoolCall
from anyconv._compiled import (
    Job,
    clear_job,
    divide_job,
    gathered_gradient_job,
    gathering_room,
    maxima_gradient_job,
    maxima_job,
    maximum_gradient_job,
    pooling_room,
    quotients_job,
    run_jobs,
    sums_adjoint_job,
    sums_job,
    winners_job,
)
from anyconv._geometry import MOST_AXES
from anyconv._geometry._pooling_axes import RegularWindows
from anyconv._namespace import array_namespace, device, is_numpy, item_bytes
from anyconv._options import Options, current_options
from anyconv._pooling._axis_loops import loops_of
from anyconv._pooling._by_axis import Axes
from anyconv._typing import Array, Namespace

# So many elements are worth having loops compiled for,
WORTH_COMPILING = 2**17
# or so many for the gradient of a maximum, which otherwise takes several passes for each tap,
WORTH_A_GRADIENT = 2**14
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
# Cells look up the windows that they have won, if these have no more taps.
MOST_GATHERED = 9


def compiles(call: PoolCall, x: Array, *, worth: int = WORTH_COMPILING, xp: Namespace) -> bool:
    """Whether a pooling of x, or of an output gradient, runs in compiled loops."""
    if not (is_numpy(xp) and x.dtype.isnative):
        return False
    return _compiles(call, item_bytes(xp, x.dtype), worth, current_options())


@lru_cache(maxsize=256)
def _compiles(call: PoolCall, element_bytes: int, worth: int, limits: Options) -> bool:
    regular = all(isinstance(windows, RegularWindows) for windows in call.axes)
    if not regular or call.rank > MOST_AXES:
        return False
    if prod(w.most_taps for w in call.axes) > MOST_TAPS or prod(call.spatial) > MOST_CELLS:
        return False
    neighbours = call.channels if call.layout == "channels_last" else 1
    are_short = all(w.disjoint or w.most_taps <= LONGEST_OVERLAP for w in call.axes)
    work = prod(call.x_shape) if neighbours >= FEWEST_CHANNELS and are_short else 0
    if not limits.compiles(work, worth):
        return False
    room = pooling_room(loops_of(call.axes)[-1], call.channels) * element_bytes
    return room * limits.workers <= min(limits.workspace_bytes, MOST_ROOM)


@lru_cache(maxsize=256)
def are_tiles(axes: Axes) -> bool:
    """Whether every cell is in one window."""
    return all(windows.disjoint and windows.covers_all for windows in axes)


def sums_jobs(x: Array, y: Array, axes: Axes) -> list[Job]:
    """`_pooling.window_sum`, written to y."""
    return [sums_job(y, x, loops_of(axes))]


def averages_jobs(x: Array, y: Array, axes: Axes, *, by: Array) -> list[Job]:
    """The same, divided by one number or by one for each output of an image."""
    return [*sums_jobs(x, y, axes), divide_job(y, by)]


def sums_adjoint_jobs(dy: Array, dx: Array, axes: Axes, *, opens: bool, sets: bool) -> list[Job]:
    """`_pooling.window_sum_adjoint`, added to dx, or if it `opens` it written to all of it.

    It is told whether it `sets` cells, as where the windows of all blocks together are tiles:
    those of one block may be so when a cell of theirs is in another block's too.
    """
    clear = [clear_job(dx)] if opens and not sets else []
    return [*clear, sums_adjoint_job(dx, dy, loops_of(axes), sets=sets)]


def averages_adjoint_jobs(
    dy: Array, dx: Array, axes: Axes, *, by: Array, opens: bool, sets: bool
) -> list[Job]:
    """The same of quotients."""
    shares = array_namespace(dy=dy).empty(dy.shape, dtype=dy.dtype, device=device(dy))
    added = sums_adjoint_jobs(shares, dx, axes, opens=opens, sets=sets)
    return [quotients_job(shares, dy, by), *added]


def maxima_jobs(x: Array, y: Array, axes: Axes) -> list[Job]:
    """`_pooling.window_max`, written to y."""
    return [maxima_job(y, x, loops_of(axes))]


def argmax_jobs(x: Array, places: Array, axes: Axes, *, plane: int) -> list[Job]:
    """`_winners.window_argmax` among the cells of an image, whose rows have so many."""
    return [winners_job(places, x, loops_of(axes), axes[0].first * plane)]


def maxima_gradient_jobs(
    dy: Array, x: Array, dx: Array, axes: Axes, *, ties: bool, opens: bool, sets: bool
) -> list[Job]:
    """The gradient of the first maximum of each window, or of all `ties`; dx as above."""
    loops, taps = loops_of(axes), prod(w.most_taps for w in axes)
    if opens and not ties and _gathers(axes, x.shape[-1], current_options()):
        return [gathered_gradient_job(dx, dy, x, loops)]
    clear = [clear_job(dx)] if opens and not sets else []
    if ties or (sets and taps <= FEW_TAPS and x.shape[-1] >= MANY_CHANNELS):
        return [*clear, maxima_gradient_job(dx, dy, x, loops, sets=sets, ties=ties)]
    return [*clear, maximum_gradient_job(dx, dy, x, loops, sets=sets)]


@lru_cache(maxsize=256)
def _gathers(axes: Axes, channels: int, limits: Options) -> bool:
    """Whether each cell looks up the windows that it has won: few ones, whose winners are held."""
    room = gathering_room(loops_of(axes), channels)
    if room is None or prod(w.most_taps for w in axes) > MOST_GATHERED:
        return False
    return 4 * room * limits.workers <= min(limits.workspace_bytes, MOST_ROOM)


def sums_at_once(x: Array, axes: Axes, *, xp: Namespace) -> Array:
    """`_pooling.window_sum`."""
    shape = (x.shape[0], *(windows.outputs for windows in axes), x.shape[-1])
    y = xp.empty(shape, dtype=x.dtype, device=device(x))
    run_jobs(sums_jobs(x, y, axes))
    return y


def sums_at_once_adjoint(dy: Array, axes: Axes, *, xp: Namespace) -> Array:
    """`_pooling.window_sum_adjoint`."""
    shape = (dy.shape[0], *(windows.size for windows in axes), dy.shape[-1])
    dx = xp.zeros(shape, dtype=dy.dtype, device=device(dy))
    run_jobs(sums_adjoint_jobs(dy, dx, axes, opens=False, sets=are_tiles(axes)))
    return dx
