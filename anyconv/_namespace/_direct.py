"""Windows of NumPy's arrays times weights, in compiled loops that read windows where they lie.

Arrays are canonical, `x (n, *spatial, c)`, `w (*kernel, c, k)` and `y (n, *output, k)`; taps on no
cell of x are left out. It takes a processor that multiplies and adds vectors in one instruction.
"""

from collections.abc import Sequence
from functools import cache
from types import ModuleType

from anyconv._namespace._compiled import AxisLoop, _flat, _steps, _walk, _walkable
from anyconv._typing import Array, Shape


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
    flipped = tuple(slice(None, None, -1 if step < 0 else 1) for step in _steps(w))
    lowest = w[flipped]
    taps_at, steps = _places(tuple(kernel), tuple(_steps(w)))
    table, _ = _walk(x, y, axes)
    _loops().product(_flat(y), _flat(x), _flat(lowest), table, taps_at, steps, c, k)


def multiply_windows_weight(w: Array, x: Array, y: Array, axes: Sequence[AxisLoop]) -> None:
    """The adjoint in w, which is contiguous, added to it."""
    *_, c, k = w.shape
    x, y = _walkable(x), _walkable(y)
    table, _ = _walk(x, y, axes)
    _loops().product_weight(_flat(w), _flat(x), _flat(y), table, c, k)


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
