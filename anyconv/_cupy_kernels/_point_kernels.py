"""Tiles of CuPy's arrays taken to points and back by small matrices, in one launch (`points.cu`).

Arrays are canonical, `x (n, *cells, c)`; `axes` tell where tiles begin, and how long they are.
"""

from anyconv._cupy_kernels._launches import Axes, TileMatrices, cells_of, launch, windows_of
from anyconv._namespace._places import new_array
from anyconv._typing import Array, Namespace


def to_points_in_kernel(x: Array, axes: Axes, matrices: TileMatrices, *, xp: Namespace) -> Array:
    """The matrices applied to each tile, `(points, n * tiles, c)`; no cell is a zero."""
    images, *_, channels = x.shape
    points = new_array((matrices.points, images * windows_of(axes), channels), x.dtype, xp=xp)
    return launch("to_points", axes, images, points, x, matrices=matrices, xp=xp)


def from_points_in_kernel(
    points: Array, axes: Axes, matrices: TileMatrices, *, xp: Namespace
) -> Array:
    """The matrices applied to the points of each tile, `(n, *cells, c)`, tiles side by side."""
    _, rows, channels = points.shape
    images = rows // windows_of(axes)
    x = new_array((images, *cells_of(axes), channels), points.dtype, xp=xp)
    return launch("from_points", axes, images, x, points, matrices=matrices, xp=xp)
