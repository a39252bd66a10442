"""Windows of NumPy's arrays times weights, in compiled loops that read windows where they lie.

Arrays are canonical, `x (n, *spatial, c)`, `w (*kernel, c, k)` and `y (n, *output, k)`; taps on no
cell of x are left out. It takes a processor that multiplies and adds vectors in one instruction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from anyconv._compiled._jobs import Job
from anyconv._compiled._numba import loops
from anyconv._compiled._walks import copied, flat, has_whole_steps, steps_of, walk, walkable
from anyconv._geometry import MOST_AXES, AxisLoop
from anyconv._typing import Array, DType, Shape

Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, eq=False)
class PointMaps:
    """The matrices of each axis: of data, of weights and of outputs, or the latter's adjoints.

    Arrays are kept for each by its identity: thousands of numbers would take long to hash.
    """

    data: tuple[Matrix, ...]
    weight: tuple[Matrix, ...]
    output: tuple[Matrix, ...]


@cache
def multiplies_windows() -> bool:
    """Whether there are such loops for this processor, where Numba can be imported."""
    from anyconv._compiled._tile_loops import has_fused_vectors

    return has_fused_vectors()


def has_wide_tiles() -> bool:
    """Whether these loops multiply vectors of 512 bits."""
    from anyconv._compiled._tile_loops import IS_WIDE

    return IS_WIDE


def lanes_of(columns: int, itemsize: int) -> float:
    """The columns that a row of weights takes as long as: vectors are whole, a lone one is slow."""
    from anyconv._compiled._tile_loops import VECTOR_BYTES

    lanes = VECTOR_BYTES // itemsize
    vectors = -(-columns // lanes)
    return lanes * (vectors if vectors > 1 else 1.5)


def windows_job(y: Array, x: Array, w: Array, axes: Sequence[AxisLoop]) -> Job:
    """The outputs of all windows, written to y, whose channels are neighbours."""
    *kernel, c, k = w.shape
    x, w = walkable(x), _readable(w)
    taps_at, steps = _places(tuple(kernel), tuple(steps_of(w)))
    table, _ = walk(x, y, axes)
    given = flat(y), flat(x), _lowest(w), table, taps_at, steps, c, k
    return Job(loops("product").product, given)


def windows_weight_job(w: Array, x: Array, y: Array, axes: Sequence[AxisLoop]) -> Job:
    """The adjoint in w, some columns of contiguous weights, added to them."""
    *_, c, k = w.shape
    x, y = walkable(x), walkable(y)
    table, _ = walk(x, y, axes)
    given = flat(w), flat(x), flat(y), table, c, k, steps_of(w)[-2]
    return Job(loops("product").product_weight, given)


def points_job(
    y: Array,
    x: Array,
    w: Array,
    axes: Sequence[AxisLoop],
    tile: Shape,
    maps: PointMaps,
    at_once: int,
    are_complex: bool,
) -> Job:
    """The outputs of windows of stride and dilation one, by the points of tiles, written to y."""
    *kernel, c, k = w.shape
    x, w = walkable(x), _readable(w)
    taps_at, steps = _places(tuple(kernel), tuple(steps_of(w)))
    table, _ = walk(x, y, axes)
    sizes, *factors = _factors(tile, maps, y.dtype)
    given = flat(y), flat(x), _lowest(w), table, taps_at, steps, c, k, sizes, at_once
    return Job(loops("point").convolve, (*given, *factors, are_complex))


def points_weight_job(
    w: Array,
    x: Array,
    y: Array,
    axes: Sequence[AxisLoop],
    tile: Shape,
    maps: PointMaps,
    at_once: int,
    are_complex: bool,
) -> Job:
    """The adjoint in w, as above, added to it; the maps are the gradient's."""
    *_, c, k = w.shape
    x, y = walkable(x), walkable(y)
    table, _ = walk(x, y, axes)
    sizes, *factors = _factors(tile, maps, y.dtype)
    given = flat(w), flat(x), flat(y), table, c, k, steps_of(w)[-2], sizes, at_once
    return Job(loops("point").convolve_weight, (*given, *factors, are_complex))


@lru_cache(maxsize=256)
def _factors(tile: Shape, maps: PointMaps, dtype: DType) -> tuple[Array, ...]:
    """The sizes of a tile along three axes, and each map's matrices one after the other."""
    import numpy

    missing = MOST_AXES - len(tile)
    factors = (
        [1.0] * missing + [entry for matrix in axes for row in matrix for entry in row]
        for axes in (maps.data, maps.weight, maps.output)
    )
    sizes = numpy.asarray((1,) * missing + tile, dtype=numpy.int64)
    return (sizes, *(numpy.asarray(entries, dtype=dtype) for entries in factors))


def _readable(w: Array) -> Array:
    """Weights, or a copy; they may be transposed, and their taps flipped, but no channels."""
    return w if has_whole_steps(w) and min(w.strides[-2:]) >= 0 else copied(w)


def _lowest(w: Array) -> Array:
    """All memory of weights, some of whose taps may run backwards, from the lowest on."""
    return flat(w[tuple(slice(None, None, -1 if step < 0 else 1) for step in steps_of(w))])


@lru_cache(maxsize=256)
def _places(kernel: Shape, steps: Shape) -> tuple[Array, Array]:
    """Where the weights of each tap lie from the lowest of all, and how far channels are apart.

    Weights may be transposed and flipped: taps then lie the other way round.
    """
    import numpy

    (*along, row, column), at = steps, numpy.zeros((1,), dtype=numpy.int64)
    for size, step in zip(kernel, along, strict=True):
        places = numpy.arange(size) * step
        at = (at[:, None] + (places - places.min())).reshape(-1)
    return at, numpy.asarray([row, column], dtype=numpy.int64)
