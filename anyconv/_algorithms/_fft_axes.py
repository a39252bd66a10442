"""Fourier transforms along some neighbouring axes, of some cells and back to some cells.

Each axis is transformed by the library or in compiled loops, or where few cells are wanted as a
product with roots of unity. All are unitary. Of a real array half of the last of these axes'
frequencies tell the others.
"""

from dataclasses import dataclass
from functools import cache, cached_property
from math import prod
from typing import Literal

from anyconv._algorithms._fft_roots import from_frequencies, to_frequencies
from anyconv._algorithms._fft_sizes import Kind, has_few
from anyconv._compiled import compiled_cells, compiled_spectrum, has_compiled_transform
from anyconv._namespace import device, in_order, set_at, spectrum_of
from anyconv._typing import Array, Index, Namespace, Shape

Cells = tuple[slice, ...]
Way = Literal["roots", "loops", "library"]

# With fewer cells wanted than this part of all, their transform is worth taking axis by axis.
FEW = 0.75


@dataclass(frozen=True)
class Transform:
    """The axes from `first` on, which hold some cells of `sizes`, zero elsewhere."""

    first: int
    cells: Cells
    sizes: Shape
    kind: Kind

    def spectrum(self, a: Array, *, xp: Namespace) -> Array:
        """The frequencies of some cells."""
        rank = len(self.cells)
        if all(way == "library" for way in self._ways):
            a = _spread(a, self.first, self.cells, self.sizes, xp=xp)
            return spectrum_of(a, self._axes, half=not self.kind.is_complex, xp=xp)
        for place in range(rank - 1, -1, -1):
            axis, cells, size, half = self._axis(place)
            if self._ways[place] == "roots":
                a = to_frequencies(a, axis, cells, size, half=half, xp=xp)
            elif self._ways[place] == "loops":
                a = compiled_spectrum(a, axis, cells, size, half=half)
            else:
                a = _spread(a, axis, (cells,), (size,), xp=xp)
                a = spectrum_of(a, (axis,), half=half, xp=xp)
        return a

    def inverse(self, a: Array, *, xp: Namespace) -> Array:
        """The cells again, of their frequencies."""
        kept = prod(_count(*axis) for axis in zip(self.cells, self.sizes, strict=True))
        if "loops" not in self._ways and kept >= FEW * prod(self.sizes):
            inverse = xp.fft.ifftn if self.kind.is_complex else xp.fft.irfftn
            a = inverse(a, s=self.sizes, axes=self._axes, norm="ortho")
            return a[(*(slice(None),) * self.first, *self.cells, ...)]
        for place in range(len(self.cells)):  # and what is not wanted is not taken along
            axis, cells, size, half = self._axis(place)
            if self._ways[place] == "roots":
                a = from_frequencies(a, axis, cells, size, half=half, xp=xp)
                a = xp.real(a) if half else a
            elif self._ways[place] == "loops":
                a = compiled_cells(a, axis, cells, size, half=half)
            else:
                inverse = xp.fft.irfft if half else xp.fft.ifft
                a = inverse(a, n=size, axis=axis, norm="ortho")
                a = a[(*(slice(None),) * axis, cells, ...)]
        return a

    @property
    def _axes(self) -> Shape:
        return tuple(range(self.first, self.first + len(self.cells)))

    def _axis(self, place: int) -> tuple[int, slice, int, bool]:
        """One axis, its cells, its size, and whether half of its frequencies tell the others."""
        half = not self.kind.is_complex and place == len(self.cells) - 1
        return self.first + place, self.cells[place], self.sizes[place], half

    @cached_property
    def _ways(self) -> tuple[Way, ...]:
        """How each axis is best transformed."""
        axes = (self._axis(place) for place in range(len(self.cells)))
        return tuple(
            _way(_count(cells, size), size, half, self.kind) for _, cells, size, half in axes
        )


@cache
def _way(count: int, size: int, half: bool, kind: Kind) -> Way:
    if has_few(count, size, kind):
        return "roots"
    if kind.compiles and has_compiled_transform(size, half=half):
        return "loops"
    return "library"


def _count(cells: slice, size: int) -> int:
    return len(range(*cells.indices(size)))


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
