"""`gemm`: unfold all windows (im2col), then one matrix product.

K. Chellapilla, S. Puri, P. Simard, "High performance convolutional neural networks for document
processing", 2006.
"""

from collections.abc import Iterable, Sequence
from math import prod
from typing import ClassVar, Literal

from anyconv._algorithms._bilinear import Algorithm, join_groups, split_groups
from anyconv._costs import Cost, product_efficiency
from anyconv._geometry import Problem
from anyconv._namespace import in_order, is_worth_transposing, matmul
from anyconv._typing import Array, Namespace
from anyconv._windows import fold, unfold


class Gemm(Algorithm):
    """B unfolds windows, G and A only reshape."""

    name: ClassVar[str] = "gemm"
    writes_into: ClassVar[Literal["rows", "slices", "cells", "nothing"]] = "rows"
    is_one_product: ClassVar[bool] = True
    copies_transposed: ClassVar[bool] = True

    @classmethod
    def refusal(cls, problem: Problem) -> str | None:
        """Nothing is refused."""
        return None

    @property
    def copies_views(self) -> bool:
        """Where nothing is unfolded, cells are rows as they lie."""
        return self.windows.is_pointwise and self.groups == 1

    @property
    def adjoint_is_one_product(self) -> bool:
        """Where each window is a cell."""
        return self.windows.is_pointwise

    def workspace(self, images: int, in_channels: int, out_channels: int) -> int:
        """The unfolded windows; none where each is a single cell."""
        if self.windows.is_pointwise and self.groups == 1:
            return 0
        rows = images * prod(self.windows.output)
        return rows * self.windows.taps * in_channels + (self.groups > 1) * rows * out_channels

    def weight_elements(self, in_channels: int, out_channels: int) -> int:
        """As many as the weights."""
        return self.windows.taps * in_channels * out_channels // self.groups

    def product_columns(self, in_channels: int) -> int:
        """All taps of a window."""
        return self.windows.taps * in_channels // self.groups

    def cost(self, images: int, in_channels: int, out_channels: int, rows: int) -> Cost:
        """One product, and the windows written and read, in runs as long as a kernel's row."""
        total = images * prod(self.windows.output)
        c, k = in_channels // self.groups, out_channels // self.groups
        inner = self.windows.taps * c
        efficiency = product_efficiency(rows, inner, k)
        copies = total * inner * self.groups
        if self.windows.is_pointwise:
            return Cost(copies * k / efficiency, total * out_channels, 0, 1)
        row = self.windows.kernel[-1] if self.windows.dilation[-1] == 1 and self.groups == 1 else 1
        return Cost(copies * k / efficiency, 3 * copies, copies / (row * c), 4)

    def forward_into(self, y: Array, x: Array, weights: Sequence[Array], *, xp: Namespace) -> None:
        """The same, multiplied straight into contiguous rows y."""
        (data,) = self.data(x, xp=xp)
        matmul(data, weights[0], out=xp.reshape(y, (*data.shape[:-1], y.shape[-1])), xp=xp)

    def data(self, x: Array, *, xp: Namespace) -> Iterable[Array]:
        """Windows as rows, `(n, *input, g * c) -> (g, rows, taps * c)`."""
        if self.windows.is_pointwise:
            return (split_groups(x, self.groups, xp=xp),)
        n, c = x.shape[0], x.shape[-1] // self.groups
        rows, taps = n * prod(self.windows.output), self.windows.taps
        u = unfold(x, self.windows, xp=xp)  # (n, *output, *kernel, g * c)
        if self.groups == 1:
            return (xp.reshape(u, (1, rows, taps * c)),)
        # Groups go first while u is a view, so that only the last reshape copies.
        u = xp.reshape(u, (*u.shape[:-1], self.groups, c))
        u = xp.permute_dims(u, (u.ndim - 2, *range(u.ndim - 2), u.ndim - 1))
        return (xp.reshape(u, (self.groups, rows, taps * c)),)

    def data_adjoint(self, terms: Iterable[Array], images: int, *, xp: Namespace) -> Array:
        """Rows folded back, `(g, rows, taps * c) -> (n, *input, g * c)`."""
        (u,) = terms
        groups, rows, columns = u.shape
        taps = self.windows.taps
        c = columns // taps
        if groups > 1:
            u = xp.permute_dims(xp.reshape(u, (groups, rows, taps, c)), (1, 2, 0, 3))
        u = xp.reshape(u, (images, *self.windows.output, *self.windows.kernel, groups * c))
        return fold(u, self.windows, xp=xp)

    def weight(self, w: Array, *, xp: Namespace) -> Sequence[Array]:
        """One matrix a group, `(*kernel, c, g * k) -> (g, taps * c, k)`."""
        return (split_groups(w, self.groups, xp=xp),)

    def transposed_weight(self, w: Array, rows: int, *, xp: Namespace) -> Sequence[Array]:
        """The matrix of a transposed weight, `(*kernel, k, c) -> (1, taps * c, k)`."""
        rank, columns = len(self.windows.kernel), w.shape[-2]
        if is_worth_transposing(w, rows, self.windows.taps * w.shape[-1], columns, xp=xp):
            return self.weight(in_order(xp.matrix_transpose(w), xp=xp), xp=xp)
        w = xp.permute_dims(w, (rank, *range(rank), rank + 1))
        return (xp.matrix_transpose(xp.reshape(w, (1, w.shape[0], -1))),)

    def weight_adjoint(self, terms: Sequence[Array], *, xp: Namespace) -> Array:
        """The inverse permutation, `(g, taps * c, k) -> (*kernel, c, g * k)`."""
        (g,) = terms
        c, k = g.shape[1] // self.windows.taps, g.shape[2] * self.groups
        return join_groups(g, (*self.windows.kernel, c, k), xp=xp)

    def output(self, m: Array, images: int, *, xp: Namespace) -> Array:
        """Rows are outputs, `(g, rows, k) -> (n, *output, g * k)`."""
        k = m.shape[0] * m.shape[2]
        return join_groups(m, (images, *self.windows.output, k), xp=xp)

    def output_adjoint(self, y: Array, *, xp: Namespace) -> Array:
        """`(n, *output, g * k) -> (g, rows, k)`."""
        return split_groups(y, self.groups, xp=xp)
