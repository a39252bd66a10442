"""What all algorithms share: three linear maps around one product, and all gradients from them.

    y  = A( sum_t B_t(x) @ G_t(w) )          forward
    dx = sum_t B_t*( A*(dy) @ G_t(w)^H )     gradient of the input
    dw = G_t*( B_t(x)^H @ A*(dy) )           gradient of the weight

`B` prepares data, `G` prepares weights, `A` assembles outputs; a star is the adjoint. An algorithm
states the three maps, each beside its adjoint; everything else stands here once. Most algorithms
have a single term t; `taps` has one for each position in the kernel, made only when it is needed.

An algorithm sees a convolution without padding: `x (n, *reach, groups * c)`,
`w (*kernel, c, groups * k)`, `y (n, *windows.output, groups * k)`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar, Literal, Self

from anyconv._costs import Cost
from anyconv._geometry import Pairs, Problem, Windows
from anyconv._namespace import (
    conjugate,
    has_out,
    in_order,
    inner_pieces_of,
    is_worth_transposing,
    matmul,
)
from anyconv._traits import Traits
from anyconv._typing import Array, Namespace, Operation, Shape

# About as many bytes as a core of a CPU has in a cache of its own, or may have of a shared one.
OWN_CACHE = 2**22


@dataclass(frozen=True)
class Algorithm(ABC):
    """One way to compute a convolution without padding."""

    windows: Windows
    groups: int

    name: ClassVar[str]
    # Where `forward_into` may write: into contiguous rows only, into any slice, into any cells, or
    # nowhere.
    writes_into: ClassVar[Literal["rows", "slices", "cells", "nothing"]] = "nothing"
    # Whether outputs come a few channels at a time, and had better lie so.
    lies_channels_first: ClassVar[bool] = False
    # Whether a slab is but a view of the cells, and outputs are written where they belong.
    reads_cells: ClassVar[bool] = False
    # Whether an output is the sum of one product, with nothing added before it or after.
    is_one_product: ClassVar[bool] = False
    # Whether `add_input_gradient` may be given cells of a larger array.
    adds_into_slices: ClassVar[bool] = False
    # So many multiply-adds are worth another thread: handing it some of fewer costs more.
    worth_a_worker: ClassVar[int] = 3 * 2**21
    # Whether `transposed_weight` has to copy the weight.
    copies_transposed: ClassVar[bool] = False

    @classmethod
    def suits(cls, problem: Problem, operation: Operation, traits: Traits) -> bool:
        """Whether one map of a problem, on such arrays, is done this way if by none better."""
        return True

    @classmethod
    @abstractmethod
    def refusal(cls, problem: Problem) -> str | None:
        """Why this algorithm cannot do a problem, or None."""

    @classmethod
    def create(cls, problem: Problem, box: Shape, traits: Traits) -> Self:
        """The algorithm for blocks of `box` outputs of a problem."""
        geometry = problem.geometry
        windows = Windows(geometry.kernel, geometry.stride, geometry.dilation, box)
        return cls(windows, problem.groups)

    def resized(self, output: Shape) -> Self:
        """The same algorithm, its weights as well, for another number of windows."""
        if output == self.windows.output:
            return self
        return replace(self, windows=replace(self.windows, output=output))

    def placed(self, slab: Pairs, sizes: Shape) -> tuple[Self, Pairs]:
        """The same for one block, whose slab may lie outside an input of such sizes; and the slab.

        An algorithm that needs no padding keeps in mind where the input ends, and takes less.
        """
        return self, slab

    @property
    def reach(self) -> Shape:
        """The cells of the slab along each axis, no fewer than the windows cover."""
        return self.windows.input

    @property
    def grain(self) -> Shape:
        """The outputs along each axis that a block had better hold a multiple of."""
        return (1,) * len(self.windows.output)

    def rows(self, images: int) -> int:
        """The rows of the products of one block."""
        return images * prod(self.windows.output)

    @property
    def fewest_rows(self) -> int:
        """With fewer rows than this a product is slow, however well a cache holds it."""
        return 128

    @property
    def adjoint_is_one_product(self) -> bool:
        """Whether so is a cell's gradient: no windows are folded."""
        return False

    @property
    def copies_views(self) -> bool:
        """Whether a slab is copied if it is a view whose cells do not lie side by side."""
        return False

    @property
    def flips_weight(self) -> bool:
        """Whether `adjoint_weight` reverses the taps of a weight before it is prepared."""
        return self.windows.taps > 1

    @property
    def is_compiled(self) -> bool:
        """Whether loops are compiled for it."""
        return False

    def product_columns(self, in_channels: int) -> int:
        """The columns of the data in one product."""
        return in_channels // self.groups

    def piece(self, rows: int, problem: Problem, traits: Traits) -> int | None:
        """The rows of each piece of which the weight gradient's product is added up, if it is."""
        if traits.runs != "workers" or traits.is_complex or self.groups > 1:
            return None
        columns = self.product_columns(problem.in_channels)
        return inner_pieces_of(columns, rows, problem.out_channels)

    def shares(self, rows: int, out_channels: int) -> int:
        """The elements that the weight's gradient is added up in before it is one sum."""
        return 0

    def longest_sum(self, rows: int, problem: Problem, traits: Traits) -> int:
        """The rows of the weight gradient that are added one after the other, of so many."""
        return self.piece(rows, problem, traits) or rows

    def fits_cache(self, images: int, block: int, weights: int) -> bool:
        """Whether a cache holds a block of so many bytes, by which those of all weights pass."""
        return block <= OWN_CACHE

    @classmethod
    def splits_channels(cls, problem: Problem, operation: Operation) -> bool:
        """Whether a share of the output channels costs little more than its share of the work."""
        return False

    @abstractmethod
    def workspace(self, images: int, in_channels: int, out_channels: int) -> int:
        """Elements held at once beyond the slab and the outputs of one block."""

    @abstractmethod
    def weight_elements(self, in_channels: int, out_channels: int) -> int:
        """Elements of all prepared weights."""

    @abstractmethod
    def cost(self, images: int, in_channels: int, out_channels: int, rows: int) -> Cost:
        """The work on so many images, by products of so many rows."""

    def held(self, images: int, channels: int) -> int | None:
        """Elements of so many channels as they are multiplied; None if weights are as cheap.

        Either side of the product, where it pays to have all of it before the weights are prepared.
        """
        return None

    def folding(self, images: int, in_channels: int) -> Cost:
        """What the adjoint in the input takes more than the map itself: windows are added back."""
        return fold_cost(self.windows, images, in_channels)

    @abstractmethod
    def data(self, x: Array, *, xp: Namespace) -> Iterable[Array]:
        """B: `(n, *input, groups * c)` to one `(..., rows, c')` for each term."""

    @abstractmethod
    def data_adjoint(self, terms: Iterable[Array], images: int, *, xp: Namespace) -> Array:
        """B*: the sum over all terms, `(n, *input, groups * c)`."""

    @abstractmethod
    def weight(self, w: Array, *, xp: Namespace) -> Sequence[Array]:
        """G: `(*kernel, c, groups * k)` to one `(..., c', k)` for each term."""

    def factors(self, weights: Sequence[Array], *, xp: Namespace) -> Sequence[Array]:
        """What `weight` gives, as `multiply` and its adjoint in the data want it."""
        return weights

    def adjoint_weight(self, w: Array, rows: int, *, xp: Namespace) -> Sequence[Array]:
        """`transposed_weight` of the reversed taps: of a convolution's w, for its adjoint."""
        return self.transposed_weight(backwards(w, xp=xp), rows, xp=xp)

    def transposed_weight(self, w: Array, rows: int, *, xp: Namespace) -> Sequence[Array]:
        """`weight` of `(*kernel, k, c)` transposed to `(*kernel, c, k)`, of a single group.

        G treats each pair of channels alike, so its result is transposed instead: a view that a
        matrix product takes as it is, unless it is faster otherwise.
        """
        columns, inner = w.shape[-2:]
        if is_worth_transposing(w, rows, inner, columns, xp=xp):
            return self.weight(in_order(xp.matrix_transpose(w), xp=xp), xp=xp)
        return [xp.matrix_transpose(term) for term in self.weight(w, xp=xp)]

    @abstractmethod
    def weight_adjoint(self, terms: Sequence[Array], *, xp: Namespace) -> Array:
        """G*: `(*kernel, c, groups * k)`."""

    @abstractmethod
    def output(self, m: Array, images: int, *, xp: Namespace) -> Array:
        """A: `(..., rows, k)` to `(n, *output, groups * k)`."""

    @abstractmethod
    def output_adjoint(self, y: Array, *, xp: Namespace) -> Array:
        """A*: `(n, *output, groups * k)` to `(..., rows, k)`."""

    def multiply(self, data: Array, weight: Array, *, xp: Namespace) -> Array:
        """The product of one term, `(..., rows, c') @ (..., c', k) -> (..., rows, k)`."""
        return matmul(data, weight, xp=xp)

    def multiply_adjoint_data(self, m: Array, weight: Array, *, xp: Namespace) -> Array:
        """The adjoint of `multiply` in the data, `m @ weight^H`."""
        return matmul(m, _conjugate_transpose(weight, xp=xp), xp=xp)

    def multiply_adjoint_weight(self, data: Array, m: Array, *, xp: Namespace) -> Array:
        """The adjoint of `multiply` in the weight, `data^H @ m`."""
        (rows, columns), k = data.shape[-2:], m.shape[-1]
        if rows * columns <= rows * k + columns * k:
            return matmul(_conjugate_transpose(data, xp=xp), m, xp=xp)
        # The same, where m and the product are less to conjugate than the data.
        product = matmul(xp.matrix_transpose(data), conjugate(m, xp=xp), xp=xp)
        return conjugate(product, xp=xp)

    def forward(self, x: Array, weights: Sequence[Array], *, xp: Namespace) -> Array:
        """The outputs of one block, from its slab and the prepared weights."""
        return self.outputs(self.data(x, xp=xp), weights, x.shape[0], xp=xp)

    def outputs(
        self, terms: Iterable[Array], weights: Sequence[Array], images: int, *, xp: Namespace
    ) -> Array:
        """The same from the slab's data, with the weights of all output channels or of some."""
        total = None
        for data, weight in zip(terms, weights, strict=True):
            m = self.multiply(data, weight, xp=xp)
            total = m if total is None else _add(total, m, xp=xp)
        return self.output(total, images, xp=xp)

    def forward_into(self, y: Array, x: Array, weights: Sequence[Array], *, xp: Namespace) -> None:
        """The same, written into y, as `writes_into` allows."""
        y[...] = self.forward(x, weights, xp=xp)

    def input_gradient(self, dy: Array, weights: Sequence[Array], *, xp: Namespace) -> Array:
        """The gradient of one slab, from the block's output gradient."""
        m = self.output_adjoint(dy, xp=xp)
        terms = (self.multiply_adjoint_data(m, weight, xp=xp) for weight in weights)
        return self.data_adjoint(terms, dy.shape[0], xp=xp)

    def add_input_gradient(
        self, dx: Array, dy: Array, weights: Sequence[Array], *, xp: Namespace
    ) -> None:
        """The same, added to the cells of the slab where `adds_into_slices`."""
        dx += self.input_gradient(dy, weights, xp=xp)

    def weight_gradient(self, dy: Array, x: Array, *, xp: Namespace) -> list[Array]:
        """One block's share of the prepared weights' gradient, for `weight_adjoint`."""
        m = self.output_adjoint(dy, xp=xp)
        return [self.multiply_adjoint_weight(data, m, xp=xp) for data in self.data(x, xp=xp)]


def fold_cost(windows: Windows, images: int, channels: int) -> Cost:
    """The windows of so many images read and added to cells, tap by tap."""
    cells = images * prod(windows.output) * windows.taps
    row = windows.output[-1] if windows.stride[-1] == 1 else 1
    return Cost(0, 3 * cells * channels, cells / row, 2 * windows.taps)


def _conjugate_transpose(a: Array, *, xp: Namespace) -> Array:
    """The last two axes swapped, complex values conjugated."""
    return conjugate(xp.matrix_transpose(a), xp=xp)


def backwards(w: Array, *, xp: Namespace) -> Array:
    """A weight's taps in the other order."""
    axes = tuple(axis for axis, taps in enumerate(w.shape[:-2]) if taps > 1)
    return xp.flip(w, axis=axes) if axes else w


def _add(total: Array, m: Array, *, xp: Namespace) -> Array:
    """A sum that reuses the memory of its first term where the library can."""
    return xp.add(total, m, out=total) if has_out(xp) else total + m


def split_groups(a: Array, groups: int, *, xp: Namespace) -> Array:
    """`(..., groups * c)` as `(groups, rows, c)`."""
    if groups == 1:
        return xp.reshape(a, (1, -1, a.shape[-1]))
    a = xp.reshape(a, (-1, groups, a.shape[-1] // groups))
    return xp.permute_dims(a, (1, 0, 2))


def join_groups(a: Array, shape: Shape, *, xp: Namespace) -> Array:
    """`(groups, rows, c)` as `(*shape, groups * c)`, the adjoint of `split_groups`."""
    if a.shape[0] > 1:
        a = xp.permute_dims(a, (1, 0, 2))
    return xp.reshape(a, shape)
