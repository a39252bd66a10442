"""Windows of NumPy's arrays times weights, in compiled loops that read windows where they lie.

Arrays are canonical, `x (n, *spatial, c)`, `w (*kernel, c, k)` and `y (n, *output, k)`; taps on no
cell of x are left out. It takes a processor that multiplies and adds vectors in one instruction.
"""

from collections.abc import Sequence
from functools import cache, lru_cache
from types import ModuleType
from typing import Protocol

from anyconv._namespace._compiled import MOST_AXES, AxisLoop, _flat, _steps, _walk, _walkable
from anyconv._typing import Array, DType, Shape

Matrix = tuple[tuple[float, ...], ...]


# The widest panel of output channels, in elements of single precision.
MOST_PANEL = 64
# The tiles whose points are formed at a time.
TILES_AT_ONCE = 256


class PointMatrices(Protocol):
    """The matrices of one axis: of its data, its weights and its outputs."""

    @property
    def data(self) -> Matrix: ...
    @property
    def weight(self) -> Matrix: ...
    @property
    def output(self) -> Matrix: ...


@cache
def _loops() -> ModuleType:
    from anyconv._namespace import _product_loops

    return _product_loops


@cache
def multiplies_windows() -> bool:
    """Whether there are such loops for this processor, where Numba can be imported."""
    from anyconv._namespace._tile import has_fused_vectors

    return has_fused_vectors()


def lanes_of(columns: int, itemsize: int) -> float:
    """The columns that a row of weights takes as long as: vectors are whole, a lone one is slow."""
    from anyconv._namespace._tile import VECTOR_BYTES

    lanes = VECTOR_BYTES // itemsize
    vectors = -(-columns // lanes)
    return lanes * (vectors if vectors > 1 else 1.5)


def multiply_windows(y: Array, x: Array, w: Array, axes: Sequence[AxisLoop]) -> None:
    """The outputs of all windows, written to y, whose channels are neighbours."""
    *kernel, c, k = w.shape
    x = _walkable(x)
    taps_at, steps = _places(tuple(kernel), tuple(_steps(w)))
    table, _ = _walk(x, y, axes)
    _loops().product(_flat(y), _flat(x), _lowest(w), table, taps_at, steps, c, k)


def multiply_windows_weight(w: Array, x: Array, y: Array, axes: Sequence[AxisLoop]) -> None:
    """The adjoint in w, which is contiguous, added to it."""
    *_, c, k = w.shape
    x, y = _walkable(x), _walkable(y)
    table, _ = _walk(x, y, axes)
    _loops().product_weight(_flat(w), _flat(x), _flat(y), table, c, k)


def multiply_points(
    y: Array,
    x: Array,
    w: Array,
    axes: Sequence[AxisLoop],
    tile: Shape,
    matrices: tuple[PointMatrices, ...],
) -> None:
    """The outputs of windows of stride and dilation one, by the points of tiles, written to y."""
    from anyconv._namespace import _winograd_loops

    *kernel, c, k = w.shape
    x = _walkable(x)
    taps_at, steps = _places(tuple(kernel), tuple(_steps(w)))
    table, _ = _walk(x, y, axes)
    sizes, factors = _factors(tile, matrices, y.dtype)
    _winograd_loops.winograd(
        _flat(y), _flat(x), _lowest(w), table, taps_at, steps, c, k, sizes, *factors
    )


def multiply_points_weight(
    w: Array,
    x: Array,
    y: Array,
    axes: Sequence[AxisLoop],
    tile: Shape,
    matrices: tuple[PointMatrices, ...],
) -> None:
    """The adjoint in w, which is contiguous, added to it."""
    from anyconv._namespace import _winograd_loops

    *_, c, k = w.shape
    x, y = _walkable(x), _walkable(y)
    table, _ = _walk(x, y, axes)
    sizes, factors = _factors(tile, matrices, y.dtype, is_adjoint=True)
    _winograd_loops.winograd_weight(_flat(w), _flat(x), _flat(y), table, c, k, sizes, *factors)


@lru_cache(maxsize=256)
def _factors(
    tile: Shape, matrices: tuple[PointMatrices, ...], dtype: DType, *, is_adjoint: bool = False
) -> tuple[Array, list[Array]]:
    """The sizes of a tile along three axes, and all axes' matrices one after the other.

    Of data, weights and outputs, or of their gradient's adjoint: the latter two transposed.
    """
    import numpy

    missing = MOST_AXES - len(tile)
    factors = []
    for name in ("data", "weight", "output"):
        each = [numpy.asarray(getattr(axis, name), dtype) for axis in matrices]
        if is_adjoint and name != "data":
            each = [matrix.T for matrix in each]
        rows = [numpy.ones(missing, dtype), *(matrix.reshape(-1) for matrix in each)]
        factors.append(numpy.concatenate(rows))
    return numpy.asarray((1,) * missing + tile, dtype=numpy.int64), factors


def _lowest(w: Array) -> Array:
    """All memory of weights, some of whose axes may run backwards, from the lowest on."""
    return _flat(w[tuple(slice(None, None, -1 if step < 0 else 1) for step in _steps(w))])


@cache
def _places(kernel: Shape, steps: Shape) -> tuple[Array, Array]:
    """Where the weights of each tap lie from the lowest of all, and how far channels are apart.

    Weights may be turned and flipped: taps then lie the other way round.
    """
    import numpy

    (*along, row, column), at = steps, numpy.zeros((1,), dtype=numpy.int64)
    for size, step in zip(kernel, along, strict=True):
        places = numpy.arange(size) * step
        at = (at[:, None] + (places - places.min())).reshape(-1)
    return at, numpy.asarray([row, column], dtype=numpy.int64)
