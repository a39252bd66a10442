"""`fft` of long tiles where every group has a single input or a single output channel.

The product of two spectra is then elementwise. A lane is a pair of an input and an output channel
that meet; either the inputs of a group or its outputs are as many as its lanes, and

    y[q] = inverse( sum_p spectrum(x[p]) * conj(spectrum(w[lane])) )        p or q is one

goes lane by lane, no more of them at once than a cache holds: nothing is transposed, no spectrum
is kept that is not needed any more, and of the weight only the taps are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod, sqrt
from typing import ClassVar, Literal, Self

from anyconv._algorithms._fft_long import LongFft
from anyconv._algorithms._fft_sizes import CACHED_POINTS, weight_transforms
from anyconv._costs import Cost
from anyconv._geometry import Problem
from anyconv._namespace import add_at, conjugate, in_order, multiply, pad_constant
from anyconv._traits import Traits
from anyconv._typing import Array, Namespace, Operation, Shape
from anyconv._windows import fold, unfold


@dataclass(frozen=True)
class ThinFft(LongFft):
    """Spectra multiplied point by point, a few lanes at a time."""

    writes_into: ClassVar[Literal["rows", "slices", "cells", "nothing"]] = "slices"
    lies_channels_first: ClassVar[bool] = True
    # The points of all lanes held at once, at least one lane's; all if None.
    most_points: int | None = None

    @classmethod
    def suits(cls, problem: Problem, operation: Operation, traits: Traits) -> bool:
        """A single input or output channel in each group."""
        return problem.is_thin

    @classmethod
    def create(cls, problem: Problem, box: Shape, traits: Traits) -> Self:
        """Few lanes at a time where a cache is to be kept, all of them on a GPU or traced."""
        made = super().create(problem, box, traits)
        return replace(made, most_points=CACHED_POINTS if traits.runs == "workers" else None)

    @classmethod
    def splits_channels(cls, problem: Problem, operation: Operation) -> bool:
        """One input serves all lanes."""
        return problem.in_channels == 1 and operation != "weight"

    def fits_cache(self, images: int, block: int, weights: int) -> bool:
        """Whether one lane of all tiles does; then as many lanes are taken as do."""
        return images * prod(self.tiles.output) * self.points <= CACHED_POINTS

    def workspace(self, images: int, in_channels: int, out_channels: int) -> int:
        """The spectra of some lanes on both sides and in between, and what they were made from."""
        tiles, lanes = images * prod(self.tiles.output), max(in_channels, out_channels)
        at_once = min(self._lanes_at_once(tiles), lanes)
        spectrum = self.point_elements
        transformed = (2 * tiles + 2) * spectrum * at_once + 2 * tiles * spectrum
        cells = tiles * (prod(self.sizes) * in_channels + 2 * prod(self.tile) * out_channels)
        return transformed + cells + self.in_loops

    def weight_elements(self, in_channels: int, out_channels: int) -> int:
        """The taps."""
        return prod(self.windows.kernel) * in_channels * out_channels // self.groups

    def cost(self, images: int, in_channels: int, out_channels: int, rows: int) -> Cost:
        """The transforms, the product, and some copies."""
        tiles, lanes = images * prod(self.tiles.output), max(in_channels, out_channels)
        parts = self.point_elements
        chunks = max(lanes / self._lanes_at_once(tiles), 1)
        counts = (
            (self.tile, tiles * out_channels),
            (self.sizes, tiles * in_channels),
            (self.windows.kernel, lanes * weight_transforms(tiles, prod(self.sizes))),
        )
        transforms = sum(n * self._steps(cells) for cells, n in counts)
        elements = parts * tiles * (3 * lanes + 4 * (in_channels + out_channels))
        share = 1.3 if self.is_complex else 0.65
        return Cost(0, elements, 0, 15 + 15 * chunks, share * transforms)

    def folding(self, images: int, in_channels: int) -> Cost:
        """Next to nothing: tiles are large."""
        return Cost(0, 0, 0, 0)

    def weight(self, w: Array, *, xp: Namespace) -> Sequence[Array]:
        """The taps of each lane together, `(*kernel, c, g * k) -> (g, c * k, *kernel)`."""
        *kernel, c, k = w.shape
        rank = len(kernel)
        w = xp.reshape(w, (*kernel, c, self.groups, k // self.groups))
        w = xp.permute_dims(w, (rank + 1, rank, rank + 2, *range(rank)))
        return (in_order(xp.reshape(w, (self.groups, -1, *kernel)), xp=xp),)

    def transposed_weight(self, w: Array, rows: int, *, xp: Namespace) -> Sequence[Array]:
        """The same lanes, in the same order: one of the two numbers of channels is one."""
        return self.weight(w, xp=xp)

    def weight_adjoint(self, terms: Sequence[Array], *, xp: Namespace) -> Array:
        """Back to `(*kernel, c, g * k)`, where c or k is one."""
        (w,) = terms
        groups, lanes, *kernel = w.shape
        c, k = (1, lanes) if self.is_spread else (lanes, 1)
        rank = len(kernel)
        w = xp.permute_dims(xp.reshape(w, (groups, c, k, *kernel)), (*range(3, rank + 3), 1, 0, 2))
        return xp.reshape(w, (*kernel, c, groups * k))

    def forward(self, x: Array, weights: Sequence[Array], *, xp: Namespace) -> Array:
        """The outputs of one block, from its slab and the taps."""
        y = _joined([cells for _, cells in self._outputs(x, weights, xp=xp)], 1, xp=xp)
        return self._side_by_side(y, x.shape[0], xp=xp)

    def forward_into(self, y: Array, x: Array, weights: Sequence[Array], *, xp: Namespace) -> None:
        """The same, a few channels of y at a time."""
        for channels, cells in self._outputs(x, weights, xp=xp):
            y[..., channels] = self._side_by_side(cells, x.shape[0], xp=xp)

    def _outputs(
        self, x: Array, weights: Sequence[Array], *, xp: Namespace
    ) -> Iterator[tuple[slice, Array]]:
        """Some output channels of all tiles at a time."""
        u, (w,) = self._input_lanes(x, xp=xp), weights
        return self._through(u, self.all_cells, w, self.start_cells, backward=False, xp=xp)

    def input_gradient(self, dy: Array, weights: Sequence[Array], *, xp: Namespace) -> Array:
        """The gradient of one slab, from the block's output gradient."""
        u, (w,) = self._output_lanes(dy, xp=xp), weights
        through = self._through(u, self.start_cells, w, self.all_cells, backward=True, xp=xp)
        dx = _joined([cells for _, cells in through], 1, xp=xp)
        dx = xp.reshape(dx, (dy.shape[0], *self.tiles.output, -1, *self.tiles.kernel))
        return fold(xp.moveaxis(dx, len(self.tile) + 1, -1), self.tiles, xp=xp)

    def weight_gradient(self, dy: Array, x: Array, *, xp: Namespace) -> list[Array]:
        """One block's share of the taps' gradient."""
        u, v = self._input_lanes(x, xp=xp), self._output_lanes(dy, xp=xp)
        rank = len(self.tile)
        lanes = max(u.shape[-rank - 1], v.shape[-rank - 1])
        shares = []
        for groups, parts in self._chunks(prod(u.shape[: -rank - 2]), lanes):
            row = []
            for part in parts:
                data = self._lanes_spectrum(u, self.all_cells, groups, part, xp=xp)
                m = self._lanes_spectrum(v, self.start_cells, groups, part, xp=xp)
                product = xp.sum(xp.conj(data) * m, axis=0)
                product = xp.conj(product) * sqrt(prod(self.sizes))
                row.append(conjugate(self._cells(product, self.tap_cells, xp=xp), xp=xp))
            shares.append(_joined(row, 1, xp=xp))
        return [_joined(shares, 0, xp=xp)]

    def _through(
        self,
        u: Array,
        cells: tuple[slice, ...],
        w: Array,
        wanted: tuple[slice, ...],
        *,
        backward: bool,
        xp: Namespace,
    ) -> Iterator[tuple[slice, Array]]:
        """`(..., g, p, *cells)` to `(rows, g * q, *wanted)`, some of the g * q at a time."""
        rank, lanes = len(self.tile), w.shape[1]
        is_sum = u.shape[-rank - 1] == lanes
        for groups, parts in self._chunks(prod(u.shape[: -rank - 2]), lanes):
            total = data = None
            for part in parts:
                if is_sum or data is None:
                    data = self._lanes_spectrum(u, cells, groups, part, xp=xp)
                taps = conjugate(w[groups, part, ...], xp=xp) * sqrt(prod(self.sizes))
                factor = self._spectrum(taps, self.tap_cells, xp=xp)
                factor = factor if backward else xp.conj(factor)
                if not is_sum:
                    product = data * factor
                    start = groups.start * lanes + part.start
                    stop = (groups.stop - 1) * lanes + part.stop
                    yield slice(start, stop), self._channels(product, wanted, xp=xp)
                    continue
                product = multiply(data, factor, xp=xp)
                if product.shape[2] > 1:
                    product = xp.sum(product, axis=2, keepdims=True)
                total = product if total is None else add_at(total, (...,), product, xp=xp)
            if is_sum:
                yield groups, self._channels(total, wanted, xp=xp)

    def _channels(self, points: Array, wanted: tuple[slice, ...], *, xp: Namespace) -> Array:
        """The inverse of `(rows, g, q, points)`, `(rows, g * q, *wanted)`."""
        cells = self._cells(points, wanted, xp=xp)
        return xp.reshape(cells, (cells.shape[0], -1, *cells.shape[3:]))

    def _chunks(self, rows: int, lanes: int) -> Iterator[tuple[slice, list[slice]]]:
        """Some groups, and the parts of their lanes that are taken at once."""
        at_once = self._lanes_at_once(rows)
        step, width = max(at_once // lanes, 1), min(at_once, lanes)
        for group in range(0, self.groups, step):
            parts = [slice(lane, min(lane + width, lanes)) for lane in range(0, lanes, width)]
            yield slice(group, min(group + step, self.groups)), parts

    def _lanes_at_once(self, rows: int) -> int:
        if self.most_points is None:
            return 2**62
        return max(self.most_points // max(rows * self.points, 1), 1)

    def _lanes_spectrum(
        self, u: Array, cells: tuple[slice, ...], groups: slice, part: slice, *, xp: Namespace
    ) -> Array:
        """The spectra of some of `(..., g, p, *cells)`, `(rows, groups, part, points)`."""
        rank = len(cells)
        if u.shape[-rank - 1] == 1:
            part = slice(None)
        u = u[(..., groups, part, *(slice(None),) * rank)]
        spectrum = self._spectrum(u, cells, xp=xp)
        return xp.reshape(spectrum, (-1, *spectrum.shape[-3:]))

    def _input_lanes(self, x: Array, *, xp: Namespace) -> Array:
        """The tiles of `(n, *reach, g * c)`, `(n, *T, g, c, *a)`; a view if possible."""
        rank = len(self.tile)
        u = xp.moveaxis(unfold(x, self.tiles, xp=xp), -1, rank + 1)
        return self._grouped_lanes(u, xp=xp)

    def _output_lanes(self, y: Array, *, xp: Namespace) -> Array:
        """Tiles of `(n, *output, g * k)`, `(n, *T, g, k, *m)`, zeros where the last hangs over."""
        rank, count = len(self.tile), self.tiles.output
        y = xp.moveaxis(y, -1, 1)
        excess = [
            (0, t * m - o) for t, m, o in zip(count, self.tile, self.windows.output, strict=True)
        ]
        if any(map(any, excess)):
            y = pad_constant(y, [(0, 0), (0, 0), *excess], 0, xp=xp)
        split = [size for pair in zip(count, self.tile, strict=True) for size in pair]
        y = xp.reshape(y, (*y.shape[:2], *split))  # (n, g * k, T1, m1, T2, m2, ...)
        order = (0, *range(2, 2 * rank + 2, 2), 1, *range(3, 2 * rank + 2, 2))
        return self._grouped_lanes(xp.permute_dims(y, order), xp=xp)

    def _grouped_lanes(self, u: Array, *, xp: Namespace) -> Array:
        """`(n, *T, g * c, *cells)` with the groups apart."""
        rank = len(self.tile)
        *rows, channels = u.shape[: rank + 2]
        return xp.reshape(u, (*rows, self.groups, channels // self.groups, *u.shape[rank + 2 :]))

    def _side_by_side(self, y: Array, images: int, *, xp: Namespace) -> Array:
        """Tiles `(n * T, channels, *m)` to `(n, *output, g * k)`, a view, its channels moved."""
        rank, count = len(self.tile), self.tiles.output
        y = xp.reshape(y, (images, *count, -1, *self.tile))
        beside = [axis for j in range(rank) for axis in (1 + j, rank + 2 + j)]  # each T by its m
        y = xp.permute_dims(y, (0, rank + 1, *beside))
        covered = tuple(t * m for t, m in zip(count, self.tile, strict=True))
        y = xp.reshape(y, (*y.shape[:2], *covered))
        return xp.moveaxis(y[(..., *(slice(0, o) for o in self.windows.output))], 1, -1)


def _joined(parts: list[Array], axis: int, *, xp: Namespace) -> Array:
    return parts[0] if len(parts) == 1 else xp.concat(parts, axis=axis)
