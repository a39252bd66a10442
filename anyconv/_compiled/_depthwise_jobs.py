"""Jobs of depthwise convolution, forward and both gradients."""

from collections.abc import Sequence
from math import gcd, prod

from anyconv._compiled._jobs import Job
from anyconv._compiled._loop_sizes import SLIDING_ROWS
from anyconv._compiled._numba import loops
from anyconv._compiled._walks import flat, walk, walkable
from anyconv._geometry import AxisLoop
from anyconv._typing import Array, Namespace, Shape

# Neighbours in memory that a loop had better take at once; fewer where four times as many are
# added together.
LONG_RUN, LONG_RUN_OF_FOUR = 256, 64
ALIGNMENT = 64
# The lines of a core's first cache that may have one place in common, and the bytes in which lines
# have places of their own.
CACHE_WAYS, CACHE_WAY = 12, 4096
# So many channels are worth taking by themselves, for four outputs by several taps at once.
FEWEST_BY_FOUR = 16


def outputs_together(channels: int, stride: int, *, are_summed: bool = False) -> int:
    """How many outputs of a row are best taken at once, for which factors must be repeated."""
    if stride > 1 or (are_summed and channels >= FEWEST_BY_FOUR):
        return 1  # their cells are no neighbours, or four outputs are taken by several taps
    return max((LONG_RUN_OF_FOUR if are_summed else LONG_RUN) // channels, 1)


def repeated_factors(w: Array, together: int, *, xp: Namespace) -> Array:
    """Factors `(taps, c)` as `(taps, together * c)`, where a processor likes to read vectors."""
    taps, c = w.shape
    itemsize = w.dtype.itemsize
    room = xp.empty(taps * together * c + ALIGNMENT // itemsize, dtype=w.dtype)
    skipped = -room.ctypes.data % ALIGNMENT // itemsize
    factors = xp.reshape(room[skipped : skipped + taps * together * c], (taps, together, c))
    factors[...] = w[:, None, :]
    return xp.reshape(factors, (taps, together * c))


def products_job(y: Array, x: Array, w: Array, axes: Sequence[AxisLoop]) -> Job:
    """`y = sum_t x_t * w_t`, of factors `(taps, together * c)`; y is written to."""
    x = walkable(x)
    given = flat(y), flat(x), flat(w), *walk(x, y, axes), *_widths(w, x, y, axes)
    return Job(loops("depthwise").products, given)


def products_data_job(x: Array, y: Array, w: Array, axes: Sequence[AxisLoop]) -> Job:
    """The adjoint in x, added to it: `x_t += y * w_t`."""
    y = walkable(y)
    given = flat(x), flat(y), flat(w), *walk(x, y, axes), *_widths(w, x, y, axes)
    return Job(loops("depthwise").products_data, given)


def products_weight_job(w: Array, x: Array, y: Array, axes: Sequence[AxisLoop]) -> Job:
    """The adjoint in w `(taps, together * c)`, added to it: `w_t += sum x_t * y`."""
    by_rows = w.shape[-1] > y.shape[-1]  # else one sum would do the work of several
    x, y = walkable(x, by_rows=by_rows), walkable(y, by_rows=by_rows)
    given = flat(w), flat(x), flat(y), *walk(x, y, axes), *_widths(w, x, y, axes)
    return Job(loops("depthwise").products_weight, given)


def slides(kernel: Shape, cells: int, channels: int, itemsize: int) -> bool:
    """Whether windows slide along rows of so many cells, a vector of channels at a time.

    The cells of the rows that are taken at once have to be found again in a core's first cache,
    where those at a distance of a power of two are in one another's way.
    """
    from anyconv._compiled._tile_loops import VECTOR_BYTES, has_fused_vectors

    if not has_fused_vectors() or channels * itemsize < VECTOR_BYTES:
        return False
    rows = min(prod(kernel[:-1]), SLIDING_ROWS)
    lines = CACHE_WAYS * CACHE_WAY // gcd(channels * itemsize, CACHE_WAY)
    return rows * cells <= lines


def slide_products_job(y: Array, x: Array, w: Array, axes: Sequence[AxisLoop]) -> Job:
    """`y = sum_t x_t * w_t`, of factors `(taps, c)`, by windows that slide."""
    x = walkable(x)
    return Job(loops("slide").products, (flat(y), flat(x), flat(w), *walk(x, y, axes)))


def slide_products_weight_job(w: Array, x: Array, y: Array, axes: Sequence[AxisLoop]) -> Job:
    """The adjoint in w, added to it."""
    x, y = walkable(x), walkable(y)
    return Job(loops("slide").products_weight, (flat(w), flat(x), flat(y), *walk(x, y, axes)))


def goes_by_four(channels: int, stride: int, dilation: int) -> bool:
    """Whether four outputs of a row are taken at once, by taps that share cells."""
    return channels >= FEWEST_BY_FOUR and stride <= 2 and dilation == 1


def plane_products_job(y: Array, x: Array, w: Array, axes: Sequence[AxisLoop]) -> Job:
    """`y = sum_t x_t * w_t` of a single channel and stride one along a row, of factors `(taps,)`.

    Real or complex; y, whose rows lie without gaps, is written to.
    """
    x = walkable(x, by_rows=True)
    table, _ = walk(x, y, axes)
    if w.dtype.kind == "c":
        real = w.real.dtype
        parts = tuple(flat(a).view(real) for a in (y, x, w))
        return Job(loops("depthwise").plane_products_complex, (*parts, table))
    return Job(loops("depthwise").plane_products, (flat(y), flat(x), flat(w), table))


def _widths(w: Array, x: Array, y: Array, axes: Sequence[AxisLoop]) -> tuple[int, int, bool]:
    """The distance of factors from tap to tap, and how outputs of a row are taken."""
    c, width, inner = y.shape[-1], w.shape[-1], axes[-1]
    are_neighbours = x.strides[-2] == y.strides[-2] == c * y.itemsize
    by_four = goes_by_four(c, inner.stride, inner.dilation)
    return width, width // c if are_neighbours else 1, by_four
