"""`fft` along all axes but the last, along which windows are unfolded.

That saves half of the transforms, or a third, for a product with as many more taps as the kernel is
wide: little, where there are few channels. Each frequency p has a convolution of rows of its own,

    y[p, m r + j] = sum_t spectrum(x)[p, s m r + s j + d t] @ conj(spectrum(w))[p, t]

which is one product for all windows r of m neighbours j, as in `_rewritings._neighbours`; so fewer
cells are unfolded.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod, sqrt
from typing import ClassVar, Self

from anyconv._algorithms._bilinear import OWN_CACHE
from anyconv._algorithms._fft_axes import Cells
from anyconv._algorithms._fft_sizes import (
    Kind,
    cheapest_rows,
    joined_windows,
    rows_are_cheaper,
)
from anyconv._algorithms.fft import Spectral
from anyconv._costs import Cost, product_efficiency
from anyconv._geometry import Problem, Windows
from anyconv._namespace import (
    add_at,
    complex_factor,
    conjugate,
    device,
    in_order,
    multiply_by_factor,
    set_at,
)
from anyconv._traits import Traits
from anyconv._typing import Array, Index, Namespace, Operation, Shape
from anyconv._windows import fold, unfold

# What a step of a transform takes along another axis than the last, of complex and of real arrays.
STRIDED, STRIDED_REAL = 1.5, 1.2


@dataclass(frozen=True)
class RowFft(Spectral):
    """B transforms all axes but the last and unfolds rows, A is the inverse, cropped."""

    lies_channels_first: ClassVar[bool] = True
    neighbours: int

    @classmethod
    def suits(cls, problem: Problem, operation: Operation, traits: Traits) -> bool:
        """Where that is cheaper. Rows fold back in many small calls, for which workers contend."""
        return operation != "input" and rows_are_cheaper(problem, operation, traits)

    @classmethod
    def create(cls, problem: Problem, box: Shape, traits: Traits) -> Self:
        """Tiles of whole rows, as many rows as cost the least."""
        geometry = problem.geometry
        windows = Windows(geometry.kernel, geometry.stride, geometry.dilation, box)
        kind = Kind.of(traits)
        tile, sizes, neighbours, _ = cheapest_rows(problem, kind)
        tile = (*tile, _whole(box[-1], neighbours))
        return cls(windows, problem.groups, tile, sizes, kind, neighbours)

    def resized(self, output: Shape) -> Self:
        """The same algorithm for other windows; a tile's rows are as long as all are."""
        tile = (*self.tile[:-1], _whole(output[-1], self.neighbours))
        return replace(self, windows=replace(self.windows, output=output), tile=tile)

    @property
    def grain(self) -> Shape:
        """Whole tiles, but any neighbours of a row."""
        return (*self.tile[:-1], self.neighbours)

    def rows(self, images: int) -> int:
        """The outputs of all tiles' rows."""
        return super().rows(images) * self.tile[-1]

    def fits_cache(self, images: int, block: int, weights: int) -> bool:
        """A shared one does: each of its many calls has little to do."""
        return block <= 2 * OWN_CACHE

    def held(self, images: int, channels: int) -> int | None:
        """Weights are few."""
        return None

    @property
    def row(self) -> Windows:
        """The windows of neighbours along a row."""
        return joined_windows(self.windows.axis(-1), self.neighbours, self.tile[-1])

    def workspace(self, images: int, in_channels: int, out_channels: int) -> int:
        """The tiles, their spectra before and after a copy, unfolded, and those of the outputs."""
        tiles, points = images * prod(self.tiles.output), self.point_elements
        cells = (prod(self.sizes) + 2 * points) * self.row.input[0]
        unfolded = points * self.row.output[0] * self.row.taps
        outputs = (prod(self.sizes) + 3 * points) * self.tile[-1]
        held = tiles * ((cells + unfolded) * in_channels + outputs * out_channels)
        return held + self.in_loops

    def weight_elements(self, in_channels: int, out_channels: int) -> int:
        """The spectra of each tap of a row, with their parts apart, and what they are made from."""
        each = self.row.taps * self.neighbours * in_channels * out_channels
        return 4 * self.point_elements * each

    def cost(self, images: int, in_channels: int, out_channels: int, rows: int) -> Cost:
        """The transforms, the windows unfolded and a product for each frequency."""
        tiles, row, c = images * prod(self.tiles.output), self.row, in_channels
        cells, windows, columns = row.input[0], row.output[0], self.neighbours * out_channels
        counts = (
            (self.tile[:-1], tiles * windows * columns),
            (self.sizes, tiles * cells * c),
            (self.windows.kernel[:-1], self.windows.kernel[-1] * c * out_channels),
        )
        transforms = sum(n * self._steps(cells) for cells, n in counts)
        if not self.kind.compiles:
            transforms *= STRIDED if self.is_complex else STRIDED_REAL
        unfolded = tiles * windows * row.taps * c
        efficiency = product_efficiency(windows, 2 * row.taps * c, 2 * columns)
        own = self.points * (1.0 if self.is_complex else 4.0)
        copied = 6 * unfolded + 9 * tiles * (cells * c + windows * columns)
        multiplies = own * unfolded * columns / efficiency
        return Cost(multiplies, self.point_elements * copied, 0, 20, transforms)

    def data(self, x: Array, *, xp: Namespace) -> Iterable[Array]:
        """`(n, *reach, c) -> (n * T, points, windows of a row, taps * c)`."""
        rank, c = len(self.tile), x.shape[-1]
        u = unfold(x, self.tiles, xp=xp)  # (n, *T, *a, c)
        u = self._spectrum(u, rank + 1, self.all_cells, xp=xp)
        u = unfold(xp.reshape(u, (-1, *u.shape[-2:])), self.row, xp=xp)  # (..., r, taps, c)
        u = in_order(u, xp=xp)  # which of one channel would stay a view, that is multiplied slowly
        return (xp.reshape(u, (-1, self.points, u.shape[1], self.row.taps * c)),)

    def data_adjoint(self, terms: Iterable[Array], images: int, *, xp: Namespace) -> Array:
        """`(n * T, points, windows of a row, taps * c) -> (n, *reach, c)`."""
        (u,) = terms
        c = u.shape[-1] // self.row.taps
        u = xp.reshape(u, (-1, u.shape[-2], self.row.taps, c))
        u = xp.reshape(fold(u, self.row, xp=xp), (-1, self.points, *self.row.input, c))
        u = self._cells(u, self.all_cells, xp=xp)  # (n * T, *a, c)
        return fold(xp.reshape(u, (images, *self.tiles.output, *u.shape[1:])), self.tiles, xp=xp)

    def weight(self, w: Array, *, xp: Namespace) -> Sequence[Array]:
        """The conjugate of the spectrum (of the conjugate), `(points, taps * c, m * k)`."""
        *kernel, c, k = w.shape
        w = conjugate(w, xp=xp) * sqrt(prod(self.sizes))
        w = xp.conj(self._spectrum(w, 0, self.tap_cells, xp=xp))
        w = xp.reshape(w, (self.points, kernel[-1], c, 1, k))
        if self.neighbours > 1:
            shape = (self.points, self.row.taps, c, self.neighbours, k)
            wide = xp.zeros(shape, dtype=w.dtype, device=device(w))
            for place in self._neighbours():
                wide = set_at(wide, place, w, xp=xp)
            w = wide
        return (xp.reshape(w, (self.points, self.row.taps * c, -1)),)

    def factors(self, weights: Sequence[Array], *, xp: Namespace) -> Sequence[Array]:
        """As a library multiplies small complex matrices best."""
        return [complex_factor(weight, xp=xp) for weight in weights]

    def transposed_weight(self, w: Array, rows: int, *, xp: Namespace) -> Sequence[Array]:
        """The same of a transposed weight."""
        return self.weight(xp.matrix_transpose(w), xp=xp)

    def weight_adjoint(self, terms: Sequence[Array], *, xp: Namespace) -> Array:
        """Back to the taps, `(*kernel, c, k)`, summed over neighbours."""
        (points,) = terms
        c, k = points.shape[1] // self.row.taps, points.shape[2] // self.neighbours
        wide = xp.reshape(points, (self.points, self.row.taps, c, self.neighbours, k))
        w = None
        for place in self._neighbours():
            w = wide[place] if w is None else w + wide[place]
        w = xp.reshape(xp.conj(w) * sqrt(prod(self.sizes)), (1, self.points, -1))
        w = conjugate(self._cells(w, self.tap_cells, xp=xp), xp=xp)
        return xp.reshape(w, (*self.windows.kernel, c, k))

    def _neighbours(self) -> Iterator[Index]:
        """Where the taps of each neighbour lie, and its column."""
        taps, stride = self.windows.kernel[-1], self.windows.stride[-1]
        for j in range(self.neighbours):
            start = j * stride
            yield slice(None), slice(start, start + taps), slice(None), slice(j, j + 1), slice(None)

    def multiply(self, data: Array, weight: Array, *, xp: Namespace) -> Array:
        """The product of each frequency."""
        return multiply_by_factor(data, weight, xp=xp)

    def multiply_adjoint_data(self, m: Array, weight: Array, *, xp: Namespace) -> Array:
        """The adjoint in the data."""
        weight = conjugate(xp.matrix_transpose(weight), xp=xp)
        return multiply_by_factor(m, weight, xp=xp)

    def multiply_adjoint_weight(self, data: Array, m: Array, *, xp: Namespace) -> Array:
        """The adjoint in the weight, summed over all tiles."""
        total = None
        for tile in range(data.shape[0]):
            term = super().multiply_adjoint_weight(data[tile, ...], m[tile, ...], xp=xp)
            total = term if total is None else add_at(total, (...,), term, xp=xp)
        return total

    def output(self, m: Array, images: int, *, xp: Namespace) -> Array:
        """`(n * T, points, windows of a row, m * k) -> (n, *output, k)`."""
        y = self._cells(m, self.start_cells, xp=xp)  # (n * T, *m, r, m * k)
        count, rank = self.tiles.output[:-1], len(self.tile)
        y = xp.reshape(y, (images, *count, *self.tile, y.shape[-1] // self.neighbours))
        beside = [axis for j in range(1, rank) for axis in (j, j + rank - 1)]  # each T before its m
        return self.joined(xp.permute_dims(y, (0, *beside, y.ndim - 2, y.ndim - 1)), xp=xp)

    def output_adjoint(self, y: Array, *, xp: Namespace) -> Array:
        """`(n, *output, k) -> (n * T, points, windows of a row, m * k)`."""
        rank = len(self.tile)
        y = self.separated(y, xp=xp)[..., 0, :, :]  # (n, T1, m1, ..., o, k)
        order = (0, *range(1, 2 * rank - 2, 2), *range(2, 2 * rank - 1, 2))
        y = xp.permute_dims(y, (*order, y.ndim - 2, y.ndim - 1))
        y = self._spectrum(y, rank, self.start_cells, xp=xp)
        return xp.reshape(y, (-1, self.points, *self.row.output, self.neighbours * y.shape[-1]))

    def _spectrum(self, a: Array, first: int, cells: Cells, *, xp: Namespace) -> Array:
        """All axes of a tile but the last, from `first` on, transformed."""
        return self._transform(first, cells[:-1]).spectrum(a, xp=xp)

    def _cells(self, points: Array, cells: Cells, *, xp: Namespace) -> Array:
        """The inverse at some cells, `(rows, points, ...)` to `(rows, *cells, ...)`."""
        a = xp.reshape(points, (points.shape[0], *self.frequencies, *points.shape[2:]))
        return self._transform(1, cells[:-1]).inverse(a, xp=xp)


def _whole(size: int, parts: int) -> int:
    """A size that so many parts divide."""
    return -(-size // parts) * parts
