"""`gemm`, `winograd` and depthwise `taps` by kernels that go through all windows in one launch.

A launch takes longer than most of what it does, and a tap at a time memory is read and written as
often as there are taps. Padding is left out, so that a slab is a view.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod
from typing import ClassVar, Literal, Self

from anyconv._algorithms._bilinear import join_groups, split_groups
from anyconv._algorithms._on_cells import OnCells
from anyconv._algorithms._taps_depthwise import DepthwiseTaps
from anyconv._algorithms._taps_fused import has_one_output_each
from anyconv._algorithms._toom_cook import matrices, transposed
from anyconv._algorithms.gemm import Gemm
from anyconv._algorithms.winograd import Winograd
from anyconv._costs import Cost, product_efficiency
from anyconv._cupy_kernels import (
    TileMatrices,
    fold_in_kernel,
    from_points_in_kernel,
    products_data_in_kernel,
    products_in_kernel,
    products_weight_in_kernel,
    shares_of_sums,
    to_points_in_kernel,
    unfold_in_kernel,
)
from anyconv._geometry import MOST_AXES, AxisLoop, Pairs, Problem
from anyconv._namespace import conjugate, matmul, new_array
from anyconv._traits import Traits
from anyconv._typing import Array, Namespace, Operation, Shape

# What a cell or a factor that is read once for each tap costs of one that memory gives.
READ_AGAIN = 0.25


@dataclass(frozen=True)
class InKernels(OnCells):
    """One whose windows are gone through in kernels."""

    @classmethod
    def suits(cls, problem: Problem, operation: Operation, traits: Traits) -> bool:
        """Where the library has such kernels, of so many axes."""
        return traits.has_kernels and problem.geometry.rank <= MOST_AXES

    @property
    def copies_views(self) -> bool:
        """Kernels are given arrays without gaps."""
        return True

    def placed(self, slab: Pairs, sizes: Shape) -> tuple[Self, Pairs]:
        """With the cells behind it that a stride has passed over: all have a gradient at once."""
        axes = zip(slab, sizes, self.windows.stride, strict=True)
        longer = ((start, size if 0 < size - stop < s else stop) for (start, stop), size, s in axes)
        return super().placed(tuple(longer), sizes)


@dataclass(frozen=True)
class KernelGemm(InKernels, Gemm):
    """`Gemm` whose B, and its adjoint, are a launch each.

    The matrices of groups are views: groups stand side by side in each row of what is multiplied.
    """

    def cost(self, images: int, in_channels: int, out_channels: int, rows: int) -> Cost:
        """Windows are unfolded in one call."""
        cost = super().cost(images, in_channels, out_channels, rows)
        return cost if self._is_product else cost._replace(calls=2)

    def folding(self, images: int, in_channels: int) -> Cost:
        """And folded back in one, which reads them once."""
        cells = images * prod(self.windows.output) * self.windows.taps
        return Cost(0, 0 if self._is_product else cells * in_channels, 0, 0)

    def data(self, x: Array, *, xp: Namespace) -> Iterable[Array]:
        """Windows as rows, `(n, *cells, g * c) -> (g, rows, taps * c)`."""
        if self._is_product:
            return (self._apart(x, xp=xp),)
        u = unfold_in_kernel(x, self.axes, self.groups, xp=xp)
        u = xp.reshape(u, (-1, self.windows.taps * x.shape[-1]))
        return (self._apart(u, xp=xp),)

    def data_adjoint(self, terms: Iterable[Array], images: int, *, xp: Namespace) -> Array:
        """Rows folded back, `(g, rows, taps * c) -> (n, *cells, g * c)`."""
        (u,) = terms
        sizes, taps = (images, *self.windows.output), self.windows.taps
        if self._is_product:
            return self._together(u, sizes, xp=xp)
        u = self._together(u, sizes, xp=xp)
        u = xp.reshape(u, (*sizes, self.groups, taps, u.shape[-1] // (self.groups * taps)))
        return fold_in_kernel(u, self.axes, xp=xp)

    def weight(self, w: Array, *, xp: Namespace) -> Sequence[Array]:
        """One matrix a group, `(*kernel, c, g * k) -> (g, taps * c, k)`."""
        return (self._apart(w, xp=xp),)

    def transposed_weight(self, w: Array, rows: int, *, xp: Namespace) -> Sequence[Array]:
        """That of a transposed weight of a single group, `(*kernel, k, c) -> (taps * c, k)`."""
        k = w.shape[-2]
        if self.windows.taps > 1:
            w = xp.moveaxis(w, -2, 0)
        return (xp.matrix_transpose(xp.reshape(w, (k, -1))),)

    def weight_adjoint(self, terms: Sequence[Array], *, xp: Namespace) -> Array:
        """The inverse, `(g, taps * c, k) -> (*kernel, c, g * k)`."""
        (g,) = terms
        return self._together(g, (*self.windows.kernel, g.shape[-2] // self.windows.taps), xp=xp)

    def output(self, m: Array, images: int, *, xp: Namespace) -> Array:
        """Rows are outputs, `(g, rows, k) -> (n, *output, g * k)`."""
        return self._together(m, (images, *self.windows.output), xp=xp)

    def output_adjoint(self, y: Array, *, xp: Namespace) -> Array:
        """`(n, *output, g * k) -> (g, rows, k)`."""
        return self._apart(y, xp=xp)

    def multiply(self, data: Array, weight: Array, *, xp: Namespace) -> Array:
        """The products of all groups, side by side in each row."""
        if self.groups == 1:
            return matmul(data, weight, xp=xp)
        rows, columns = data.shape[-2], weight.shape[-1]
        y = new_array((rows, self.groups * columns), data.dtype, xp=xp)
        return matmul(data, weight, out=self._apart(y, xp=xp), xp=xp)

    def multiply_adjoint_data(self, m: Array, weight: Array, *, xp: Namespace) -> Array:
        """Likewise."""
        return self.multiply(m, conjugate(xp.matrix_transpose(weight), xp=xp), xp=xp)

    def multiply_adjoint_weight(self, data: Array, m: Array, *, xp: Namespace) -> Array:
        """Likewise."""
        if self.groups == 1:
            return super().multiply_adjoint_weight(data, m, xp=xp)
        return self.multiply(conjugate(xp.matrix_transpose(data), xp=xp), m, xp=xp)

    def _apart(self, a: Array, *, xp: Namespace) -> Array:
        """`(..., g * c) -> (g, rows, c)`, a view; of a single group, `(rows, c)`."""
        if self.groups == 1:
            return xp.reshape(a, (-1, a.shape[-1]))
        return split_groups(a, self.groups, xp=xp)

    def _together(self, a: Array, shape: Shape, *, xp: Namespace) -> Array:
        """The inverse, `(g, rows, c) -> (*shape, g * c)`."""
        if self.groups == 1:
            return xp.reshape(a, (*shape, a.shape[-1]))
        return join_groups(a, (*shape, self.groups * a.shape[-1]), xp=xp)

    @cached_property
    def _is_product(self) -> bool:
        """Whether there is nothing to unfold."""
        return self.windows.is_pointwise and self.cells == self.windows.input


@dataclass(frozen=True)
class KernelTaps(InKernels, DepthwiseTaps):
    """`DepthwiseTaps` with one output channel a group, each map a launch."""

    writes_into: ClassVar[Literal["rows", "slices", "cells", "nothing"]] = "cells"
    is_one_product: ClassVar[bool] = True

    @classmethod
    def suits(cls, problem: Problem, operation: Operation, traits: Traits) -> bool:
        """As many output channels as groups, of real numbers."""
        if not has_one_output_each(problem) or traits.is_complex:
            return False
        return super().suits(problem, operation, traits)

    @property
    def adjoint_is_one_product(self) -> bool:
        """All windows of a cell are summed at once."""
        return True

    def workspace(self, images: int, in_channels: int, out_channels: int) -> int:
        """The outputs, before they are put in their place."""
        return images * prod(self.windows.output) * out_channels

    def weight_elements(self, in_channels: int, out_channels: int) -> int:
        """As many as the weights."""
        return self.windows.taps * out_channels

    def shares(self, rows: int, out_channels: int) -> int:
        """Sums of some windows each."""
        sums = self.windows.taps * out_channels
        return shares_of_sums(rows, sums) * sums

    def cost(self, images: int, in_channels: int, out_channels: int, rows: int) -> Cost:
        """Each output written, and the cells under its taps read."""
        outputs = images * prod(self.windows.output) * out_channels
        return Cost(0, (2 + READ_AGAIN * self.windows.taps) * outputs, 0, 2)

    def folding(self, images: int, in_channels: int) -> Cost:
        """The adjoint is a launch as well, from cell to cell."""
        return Cost(0, 0, 0, 0)

    def weight(self, w: Array, *, xp: Namespace) -> Sequence[Array]:
        """The factors, `(*kernel, 1, g) -> (taps, g)`."""
        return (xp.reshape(w, (self.windows.taps, self.groups)),)

    def weight_adjoint(self, terms: Sequence[Array], *, xp: Namespace) -> Array:
        """The inverse."""
        return xp.reshape(terms[0], (*self.windows.kernel, 1, self.groups))

    def forward(self, x: Array, weights: Sequence[Array], *, xp: Namespace) -> Array:
        """The outputs of one block, from its cells and the factors."""
        return products_in_kernel(x, weights[0], self.axes, xp=xp)

    def forward_into(self, y: Array, x: Array, weights: Sequence[Array], *, xp: Namespace) -> None:
        """The same, written where they belong if there are no gaps."""
        if y.flags.c_contiguous:
            products_in_kernel(x, weights[0], self.axes, out=y, xp=xp)
        else:
            y[...] = self.forward(x, weights, xp=xp)

    def input_gradient(self, dy: Array, weights: Sequence[Array], *, xp: Namespace) -> Array:
        """The gradient of the cells of one slab."""
        return products_data_in_kernel(dy, weights[0], self.axes, xp=xp)

    def weight_gradient(self, dy: Array, x: Array, *, xp: Namespace) -> list[Array]:
        """One block's share of the factors' gradient."""
        return [products_weight_in_kernel(x, dy, self.axes, xp=xp)]


@dataclass(frozen=True)
class KernelWinograd(InKernels, Winograd):
    """`Winograd` whose maps to points and back are a launch each."""

    @classmethod
    def suits(cls, problem: Problem, operation: Operation, traits: Traits) -> bool:
        """A single group of real numbers; an input gradient better has a transposed weight."""
        if operation == "input" or problem.groups > 1 or traits.is_complex:
            return False
        return not cls.refusal(problem) and super().suits(problem, operation, traits)

    @property
    def reach(self) -> Shape:
        """The input under all windows: a tile that hangs over reads nothing there."""
        return self.windows.input

    @property
    def flips_weight(self) -> bool:
        """There are matrices for either order."""
        return False

    def workspace(self, images: int, in_channels: int, out_channels: int) -> int:
        """The points of all tiles, before the products and after them."""
        return images * prod(self.tiles.output) * self.points * (in_channels + out_channels)

    def cost(self, images: int, in_channels: int, out_channels: int, rows: int) -> Cost:
        """A product for each point, and all points written and read."""
        tiles, points = images * prod(self.tiles.output), self.points
        weights = points * in_channels * out_channels
        efficiency = product_efficiency(rows, in_channels, out_channels)
        cells = tiles * (2 * points + prod(self.tile)) * (in_channels + out_channels)
        return Cost(tiles * weights / efficiency, cells + 2 * weights, 0, 4)

    def data(self, x: Array, *, xp: Namespace) -> Iterable[Array]:
        """`(n, *cells, c) -> (points, n * T, c)`."""
        return (to_points_in_kernel(x, self._data_axes, self._matrices("data"), xp=xp),)

    def weight(self, w: Array, *, xp: Namespace) -> Sequence[Array]:
        """`(*kernel, c, k) -> (points, c, k)`, all taps of each pair of channels a tile."""
        return (self._weight_points(w, self._matrices("weight"), xp=xp),)

    def adjoint_weight(self, w: Array, rows: int, *, xp: Namespace) -> Sequence[Array]:
        """The same of taps in the other order, by matrices that read them so."""
        points = self._weight_points(w, self._matrices("weight", backwards=True), xp=xp)
        return (xp.matrix_transpose(points),)

    def _weight_points(self, w: Array, maps: TileMatrices, *, xp: Namespace) -> Array:
        c, k = w.shape[-2:]
        w = xp.reshape(w, (1, *self.windows.kernel, c * k))
        points = to_points_in_kernel(w, self._weight_axes, maps, xp=xp)
        return xp.reshape(points, (-1, c, k))

    def weight_adjoint(self, terms: Sequence[Array], *, xp: Namespace) -> Array:
        """`(points, c, k) -> (*kernel, c, k)`."""
        count, c, k = terms[0].shape
        points = xp.reshape(terms[0], (count, 1, c * k))
        maps = self._matrices("weight", is_transposed=True)
        w = from_points_in_kernel(points, self._weight_axes, maps, xp=xp)
        return xp.reshape(w, (*self.windows.kernel, c, k))

    def output(self, m: Array, images: int, *, xp: Namespace) -> Array:
        """`(points, n * T, k) -> (n, *output, k)`."""
        return from_points_in_kernel(m, self._output_axes, self._matrices("output"), xp=xp)

    def output_adjoint(self, y: Array, *, xp: Namespace) -> Array:
        """`(n, *output, k) -> (points, n * T, k)`, zeros where the last tile hangs over."""
        maps = self._matrices("output", is_transposed=True)
        return to_points_in_kernel(y, self._output_axes, maps, xp=xp)

    def _matrices(
        self, which: str, *, is_transposed: bool = False, backwards: bool = False
    ) -> TileMatrices:
        return _tile_matrices(self.tile, self.windows.kernel, which, is_transposed, backwards)

    @cached_property
    def _data_axes(self) -> tuple[AxisLoop, ...]:
        """The tiles of inputs, which overlap."""
        starts = self.starts or (0,) * len(self.tile)
        return _tiles(self.tiles.output, self.tiles.kernel, self.tile, starts, self.cells)

    @cached_property
    def _output_axes(self) -> tuple[AxisLoop, ...]:
        """Those of outputs."""
        nowhere = (0,) * len(self.tile)
        return _tiles(self.tiles.output, self.tile, self.tile, nowhere, self.windows.output)

    @cached_property
    def _weight_axes(self) -> tuple[AxisLoop, ...]:
        """All taps as a tile."""
        kernel, ones = self.windows.kernel, (1,) * len(self.tile)
        return _tiles(ones, kernel, kernel, (0,) * len(kernel), kernel)


def _tiles(*sizes: Shape) -> tuple[AxisLoop, ...]:
    """Tiles by their count along each axis, their sizes, steps and starts, and the cells."""
    axes = zip(*sizes, strict=True)
    return tuple(AxisLoop(count, n, step, 1, at, cells) for count, n, step, at, cells in axes)


@lru_cache(maxsize=256)
def _tile_matrices(
    tile: Shape, kernel: Shape, which: str, is_transposed: bool, backwards: bool
) -> TileMatrices:
    """One of the matrices of each axis, transposed perhaps, or for the other order of cells."""
    axes = [getattr(matrices(m, r), which) for m, r in zip(tile, kernel, strict=True)]
    if backwards:
        axes = [tuple(row[::-1] for row in matrix) for matrix in axes]
    return TileMatrices(tuple(map(transposed, axes) if is_transposed else axes))
