"""Unpooling: values put at named positions, the first to name one before all others.

The standard has no scatter, and where two values name one position a scatter's winner is anyone's.
So values are numbered in order, and each cell takes the one of the least number that names it. That
number is found by a stable sort of the positions; or, where a library has it, by a minimum taken at
the positions, whose result does not depend on their order.

Arrays are `(n, positions, c)`: n images of c planes each. Cells and values are numbered through all
of them.
"""

from anyconv._namespace import (
    device,
    has_minimum_at,
    index_dtype,
    item_bytes,
    library_name,
    minimum_at,
)
from anyconv._typing import Array, DType, Namespace


def scatter_first(values: Array, positions: Array, cells: int, *, xp: Namespace) -> Array:
    """Values `(n, m, c)` at their positions in `(n, cells, c)`; the first to name one wins."""
    n, m, c = positions.shape
    first = _first_to_name(_numbered(positions, cells, xp=xp), n * cells * c, xp=xp)
    is_named = first < n * m * c
    source = xp.where(is_named, first, xp.zeros_like(first))
    del first  # before as much again is made
    taken = xp.take(xp.reshape(values, (-1,)), source, axis=0)
    zero = xp.zeros((), dtype=values.dtype, device=device(values))
    x = xp.astype(xp.where(is_named, taken, zero), values.dtype, copy=False)  # of either byte order
    return xp.reshape(x, (n, cells, c))


def gather_first(x: Array, positions: Array, *, xp: Namespace) -> Array:
    """The adjoint of `scatter_first`: `(n, cells, c)` read at the positions that won."""
    n, cells, c = x.shape
    numbers = _numbered(positions, cells, xp=xp)
    first = _first_to_name(numbers, n * cells * c, xp=xp)
    is_inside = numbers < n * cells * c
    source = xp.where(is_inside, numbers, xp.zeros_like(numbers))
    del numbers  # before as much again is made
    has_won = is_inside & (xp.take(first, source, axis=0) == _range(source.shape[0], first, xp=xp))
    read = xp.take(xp.reshape(x, (-1,)), source, axis=0)
    zero = xp.zeros((), dtype=x.dtype, device=device(x))
    values = xp.astype(xp.where(has_won, read, zero), x.dtype, copy=False)
    return xp.reshape(values, positions.shape)


def bytes_of_a_plane(m: int, cells: int, dtype: DType, *, xp: Namespace) -> int:
    """What either of the two makes of one plane beside its result, at most."""
    word, item = item_bytes(xp, index_dtype(xp)), item_bytes(xp, dtype)
    words = 3 if has_minimum_at(xp) else 7
    return m * (5 * word + item) + cells * (words * word + item)


def check_numbers(n: int, m: int, cells: int, c: int, *, xp: Namespace) -> None:
    """Refuse more cells or values than the library's integers can number."""
    most = int(xp.iinfo(index_dtype(xp)).max)
    if max(m, cells) * n * c > most:
        raise ValueError(
            f"`output_size` must leave no more than {most:,} cells and values in all, as many as "
            f"{index_dtype(xp)} can number, got {max(m, cells) * n * c:,}; let {library_name(xp)} "
            "have 64-bit integers, for example with jax.config.update('jax_enable_x64', True)"
        )


def _numbered(positions: Array, cells: int, *, xp: Namespace) -> Array:
    """The number of the cell that each value names, `(n * m * c,)`.

    A position outside its plane names a cell past all of them.
    """
    n, _, c = positions.shape
    positions = xp.astype(positions, index_dtype(xp), copy=False)
    is_inside = (positions >= 0) & (positions < cells)
    images, planes = (_range(size, positions, xp=xp) for size in (n, c))
    start = images[:, None, None] * (cells * c) + planes  # (n, 1, c)
    past = xp.full((), n * cells * c, dtype=positions.dtype, device=device(positions))
    return xp.reshape(xp.where(is_inside, positions * c + start, past), (-1,))


def _first_to_name(numbers: Array, count: int, *, xp: Namespace) -> Array:
    """For each of `count` cells the first value that names it, or the number of values."""
    values = numbers.shape[0]
    none = xp.full((count + 1,), values, dtype=numbers.dtype, device=device(numbers))
    if has_minimum_at(xp):
        return minimum_at(none, numbers, _range(values, numbers, xp=xp), xp=xp)[:count]
    order = xp.argsort(numbers, stable=True)
    numbers = xp.take(numbers, order, axis=0)
    wanted = _range(count, numbers, xp=xp)
    place = xp.searchsorted(numbers, wanted, side="left")
    place = xp.where(place < values, place, xp.zeros_like(place))
    is_named = xp.take(numbers, place, axis=0) == wanted
    return xp.where(is_named, xp.take(order, place, axis=0), none[:count])


def _range(size: int, like: Array, *, xp: Namespace) -> Array:
    """The numbers below `size`, of an array's dtype and where it is."""
    return xp.arange(size, dtype=like.dtype, device=device(like))
