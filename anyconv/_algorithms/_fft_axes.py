"""Fourier transforms along some neighbouring axes, of some cells and back to some cells.

Each axis is transformed by the library, or where few cells are wanted as a product with roots of
unity. All are unitary. Of a real array half of the last of these axes' frequencies tell the others.
"""

from math import prod

from anyconv._algorithms._fft_roots import from_frequencies, to_frequencies
from anyconv._algorithms._fft_sizes import has_few
from anyconv._namespace import device, in_order, set_at, spectrum_of
from anyconv._typing import Array, Index, Namespace, Shape

Cells = tuple[slice, ...]

# With fewer cells wanted than this part of all, their transform is worth taking axis by axis.
FEW = 0.75


def spectrum(
    a: Array, first: int, cells: Cells, sizes: Shape, *, half: bool, xp: Namespace
) -> Array:
    """The axes from `first` on, which hold some cells of `sizes`, zero elsewhere, transformed."""
    rank = len(cells)
    few = [_are_few(*axis) for axis in zip(cells, sizes, strict=True)]
    if not any(few):
        a = _spread(a, first, cells, sizes, xp=xp)
        return spectrum_of(a, tuple(range(first, first + rank)), half=half, xp=xp)
    for place in range(rank - 1, -1, -1):
        axis, size, is_half = first + place, sizes[place], half and place == rank - 1
        if few[place]:
            a = to_frequencies(a, axis, cells[place], size, half=is_half, xp=xp)
        else:
            a = _spread(a, axis, (cells[place],), (size,), xp=xp)
            a = spectrum_of(a, (axis,), half=is_half, xp=xp)
    return a


def cells_of(
    a: Array, first: int, cells: Cells, sizes: Shape, *, half: bool, xp: Namespace
) -> Array:
    """The inverse at some cells."""
    rank = len(cells)
    kept = prod(_count(*axis) for axis in zip(cells, sizes, strict=True))
    if kept >= FEW * prod(sizes):
        inverse = xp.fft.irfftn if half else xp.fft.ifftn
        axes = tuple(range(first, first + rank))
        return inverse(a, s=sizes, axes=axes, norm="ortho")[(*(slice(None),) * first, *cells, ...)]
    for place in range(rank):  # and what is not wanted is not taken along
        axis, size, is_half = first + place, sizes[place], half and place == rank - 1
        if _are_few(cells[place], size):
            a = from_frequencies(a, axis, cells[place], size, half=is_half, xp=xp)
            a = xp.real(a) if is_half else a
        else:
            inverse = xp.fft.irfft if is_half else xp.fft.ifft
            a = inverse(a, n=size, axis=axis, norm="ortho")
            a = a[(*(slice(None),) * axis, cells[place], ...)]
    return a


def _count(cells: slice, size: int) -> int:
    return len(range(*cells.indices(size)))


def _are_few(cells: slice, size: int) -> bool:
    """Whether a product with roots of unity is the better transform."""
    return has_few(_count(cells, size), size)


def _spread(a: Array, first: int, cells: Cells, sizes: Shape, *, xp: Namespace) -> Array:
    """Some axes at their cells of `sizes`, zeros elsewhere; always a new array.

    Libraries take up to twice as long for the transform of a view, or to pad what they transform;
    and CuPy's cannot take a view that does not begin where a complex number may.
    """
    before, after = a.shape[:first], a.shape[first + len(cells) :]
    if a.shape[first : first + len(cells)] == sizes:
        return in_order(a, xp=xp)
    index: Index = (*(slice(None),) * first, *cells, ...)
    room = xp.zeros((*before, *sizes, *after), dtype=a.dtype, device=device(a))
    return set_at(room, index, a, xp=xp)
