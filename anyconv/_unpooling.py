"""Unpooling: values put at named positions, without a scatter.

The standard has no scatter, and where two values name one position a scatter's winner is anyone's.
So the positions are sorted, stably, and each cell looks up the first value that names it. All
planes are sorted together, plane after plane.
"""

from anyconv._namespace import device
from anyconv._typing import Array, Namespace


def scatter_first(values: Array, positions: Array, cells: int, *, xp: Namespace) -> Array:
    """Values `(planes, m)` at their positions in `(planes, cells)`; the first to name one wins."""
    planes = values.shape[0]
    keys, order = _sorted_keys(positions, cells, xp=xp)
    wanted = xp.arange(planes * cells, dtype=keys.dtype, device=device(keys))
    place = xp.searchsorted(keys, wanted, side="left")
    place = xp.where(place < keys.shape[0], place, xp.zeros_like(place))
    found = xp.take(keys, place, axis=0) == wanted
    source = xp.take(order, place, axis=0)
    taken = xp.take(xp.reshape(values, (-1,)), source, axis=0)
    zero = xp.zeros((), dtype=values.dtype, device=device(values))
    return xp.reshape(xp.where(found, taken, zero), (planes, cells))


def gather_first(cells: Array, positions: Array, *, xp: Namespace) -> Array:
    """The adjoint of `scatter_first`: `(planes, cells)` read at the positions that won."""
    planes, size = cells.shape
    keys, order = _sorted_keys(positions, size, xp=xp)
    place = xp.searchsorted(keys, keys, side="left")
    first = place == xp.arange(keys.shape[0], dtype=place.dtype, device=device(keys))
    inside = keys < planes * size
    source = xp.where(inside, keys, xp.zeros_like(keys))
    zero = xp.zeros((), dtype=cells.dtype, device=device(cells))
    read = xp.where(first & inside, xp.take(xp.reshape(cells, (-1,)), source, axis=0), zero)
    back = xp.argsort(order, stable=True)
    return xp.reshape(xp.take(read, back, axis=0), positions.shape)


def _sorted_keys(positions: Array, cells: int, *, xp: Namespace) -> tuple[Array, Array]:
    """Positions numbered through all planes, sorted; and the order that sorts them.

    A position outside its plane is numbered past all of them, where no cell looks.
    """
    planes = positions.shape[0]
    first = xp.arange(planes, dtype=positions.dtype, device=device(positions)) * cells
    inside = (positions >= 0) & (positions < cells)
    past = xp.full((), planes * cells, dtype=positions.dtype, device=device(positions))
    keys = xp.reshape(xp.where(inside, positions + first[:, None], past), (-1,))
    order = xp.argsort(keys, stable=True)
    return xp.take(keys, order, axis=0), order
