"""Windows on CuPy's arrays in one launch each (`windows.cu`), for what CuPy would do in many.

Arrays are canonical, `x (n, *spatial, c)` and `y (n, *output, c)`; each axis of windows is an
`AxisLoop`, one to three of them. Taps on no cell of x are left out. What is returned lies without
gaps; what is summed in half precision is summed in single.
"""

from math import prod

from anyconv._cupy_kernels._launches import (
    Axes,
    Counts,
    cells_of,
    is_wide,
    launch,
    outputs_of,
    taps_of,
    windows_of,
)
from anyconv._geometry import AxisLoop
from anyconv._namespace._kinds import accumulator
from anyconv._namespace._places import new_array
from anyconv._typing import Array, DType, Namespace

# The windows that are added one after the other to a share of a sum, and the threads wanted for it.
FEWEST_ADDED, MOST_ADDED, THREADS_WANTED = 32, 1024, 2**18


def unfold_in_kernel(x: Array, axes: Axes, groups: int = 1, *, xp: Namespace) -> Array:
    """Each window as a row, `(n, *output, groups, taps, c)`; zero where a tap is on no cell."""
    images, *_, channels = x.shape
    shape = (images, *outputs_of(axes), groups, taps_of(axes), channels // groups)
    u = new_array(shape, x.dtype, xp=xp)
    return launch("unfold", axes, images, u, x, groups=groups, xp=xp)


def fold_in_kernel(u: Array, axes: Axes, *, xp: Namespace) -> Array:
    """The adjoint, `(n, *cells, groups * c)`."""
    images, groups, channels = u.shape[0], u.shape[-3], u.shape[-1]
    x = new_array((images, *cells_of(axes), groups * channels), u.dtype, xp=xp)
    return launch("fold", axes, images, x, u, groups=groups, xp=xp)


def products_in_kernel(
    x: Array, w: Array, axes: Axes, *, out: Array | None = None, xp: Namespace
) -> Array:
    """The sum over the taps of each window of `x w`, with factors `w (taps, c)`.

    Written to `out` where that is given, which lies without gaps.
    """
    y = _of_outputs(x, axes, xp=xp) if out is None else out
    return launch("products", axes, x.shape[0], y, x, w, xp=xp)


def products_data_in_kernel(dy: Array, w: Array, axes: Axes, *, xp: Namespace) -> Array:
    """The adjoint in x."""
    return launch("products_data", axes, dy.shape[0], _of_cells(dy, axes, xp=xp), dy, w, xp=xp)


def products_weight_in_kernel(x: Array, dy: Array, axes: Axes, *, xp: Namespace) -> Array:
    """The adjoint in w, `(taps, c)`, of the dtype of sums."""
    taps, c = taps_of(axes), dy.shape[-1]
    shape = (shares_of_sums(prod(dy.shape[:-1]), taps * c), taps, c)
    dw = new_array(shape, accumulator(xp, dy.dtype), xp=xp)
    return xp.sum(launch("products_weight", axes, dy.shape[0], dw, x, dy, xp=xp), axis=0)


def totals_in_kernel(x: Array, *, xp: Namespace) -> Array:
    """The sum of all rows `(rows, c)`, of the dtype of sums."""
    rows, c = x.shape
    total = new_array((shares_of_sums(rows, c), c), accumulator(xp, x.dtype), xp=xp)
    axes = (AxisLoop(1, 1, 1, 1, 0, 1),)  # each row is an image of one window
    return xp.sum(launch("totals", axes, rows, total, x, xp=xp), axis=0)


def shares_of_sums(windows: int, sums: int) -> int:
    """In how many shares so many windows are added up for each of some sums."""
    wanted = max(THREADS_WANTED // sums, -(-windows // MOST_ADDED))
    return min(wanted, -(-windows // FEWEST_ADDED))


def sums_in_kernel(x: Array, axes: Axes, *, xp: Namespace) -> Array:
    """The sum over each window."""
    return launch("sums", axes, x.shape[0], _of_outputs(x, axes, xp=xp), x, xp=xp)


def sums_adjoint_in_kernel(dy: Array, axes: Axes, *, xp: Namespace) -> Array:
    """The adjoint."""
    return launch("sums_adjoint", axes, dy.shape[0], _of_cells(dy, axes, xp=xp), dy, xp=xp)


def averages_in_kernel(x: Array, axes: Axes, counts: Counts, *, xp: Namespace) -> Array:
    """The sum over each window divided by what it counts."""
    y = _of_outputs(x, axes, xp=xp)
    return launch("averages", axes, x.shape[0], y, x, counts=counts, xp=xp)


def averages_adjoint_in_kernel(dy: Array, axes: Axes, counts: Counts, *, xp: Namespace) -> Array:
    """The adjoint."""
    dx = _of_cells(dy, axes, xp=xp)
    return launch("averages_adjoint", axes, dy.shape[0], dx, dy, counts=counts, xp=xp)


def maxima_in_kernel(x: Array, axes: Axes, *, xp: Namespace) -> Array:
    """The maximum of each window; NaN wins."""
    return launch("maxima", axes, x.shape[0], _of_outputs(x, axes, xp=xp), x, xp=xp)


def winners_in_kernel(x: Array, axes: Axes, *, xp: Namespace) -> Array:
    """The number in its plane of the first maximum of each window, in 32 bits if these do."""
    wide = is_wide(axes, max(x.size, x.shape[0] * windows_of(axes) * x.shape[-1]))
    places = _of_outputs(x, axes, dtype=xp.int64 if wide else xp.int32, xp=xp)
    return launch("winners", axes, x.shape[0], places, x, xp=xp)


def winners_gradient_in_kernel(dy: Array, places: Array, axes: Axes, *, xp: Namespace) -> Array:
    """The gradient of the first maximum of each window, where `winners_in_kernel` found it."""
    return launch(
        "winners_gradient", axes, dy.shape[0], _of_cells(dy, axes, xp=xp), dy, places, xp=xp
    )


def ties_gradient_in_kernel(
    dy: Array, x: Array, best: Array, axes: Axes, *, xp: Namespace
) -> Array:
    """The gradient of every cell that equals the maximum of its window, `best`."""
    return launch(
        "ties_gradient", axes, dy.shape[0], _of_cells(dy, axes, xp=xp), dy, x, best, xp=xp
    )


def _of_outputs(x: Array, axes: Axes, *, dtype: DType | None = None, xp: Namespace) -> Array:
    return new_array((x.shape[0], *outputs_of(axes), x.shape[-1]), dtype or x.dtype, xp=xp)


def _of_cells(dy: Array, axes: Axes, *, xp: Namespace) -> Array:
    return new_array((dy.shape[0], *cells_of(axes), dy.shape[-1]), dy.dtype, xp=xp)
