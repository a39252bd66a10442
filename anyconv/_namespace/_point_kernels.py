"""Tiles of CuPy's arrays taken to points and back by small matrices, in one launch (`points.cu`).

Arrays are canonical, `x (n, *cells, c)`; `axes` tell where tiles begin, and how long they are.
"""

from math import prod

from anyconv._namespace._launches import Axes, TileMatrices, launch, outputs_of
from anyconv._typing import Array, Namespace


def to_points_in_kernel(x: Array, axes: Axes, matrices: TileMatrices, *, xp: Namespace) -> Array:
    """The matrices applied to each tile, `(points, n * tiles, c)`; no cell is a zero."""
    count = prod(len(matrix) for matrix in matrices.axes)
    rows = x.shape[0] * prod(outputs_of(axes))
    points = xp.empty((count, rows, x.shape[-1]), dtype=x.dtype)
    return launch("to_points", axes, x.shape[0], points, x, matrices=matrices, xp=xp)


def from_points_in_kernel(
    points: Array, axes: Axes, matrices: TileMatrices, *, xp: Namespace
) -> Array:
    """The matrices applied to the points of each tile, `(n, *cells, c)`, tiles side by side."""
    images = points.shape[1] // prod(outputs_of(axes))
    shape = (images, *(axis.cells for axis in axes), points.shape[-1])
    x = xp.empty(shape, dtype=points.dtype)
    return launch("from_points", axes, images, x, points, matrices=matrices, xp=xp)
