"""`taps` of depthwise convolution: the product of a tap is elementwise.

What counts is that the library's inner loop is long. So a tap's factors, one a channel, are
repeated for each output of a row, and the sum is kept in place, in blocks that a core's own cache
holds.
"""

from collections.abc import Iterable, Sequence
from math import prod
from typing import ClassVar, Literal

from anyconv._algorithms._bilinear import OWN_CACHE, Algorithm
from anyconv._costs import Cost
from anyconv._geometry import Problem
from anyconv._namespace import add_at, conjugate, device, has_out
from anyconv._traits import Traits
from anyconv._typing import Array, Namespace, Operation

# No more factors than this are made by repeating them.
MOST_REPEATED = 2**17


class DepthwiseTaps(Algorithm):
    """`taps` for one input channel a group: `(rows, g, 1) * (1, g, k) -> (rows, g, k)`."""

    name: ClassVar[str] = "taps"
    writes_into: ClassVar[Literal["rows", "slices", "cells", "nothing"]] = "slices"
    # What a product that is added to a sum takes, as elements that are read or written.
    product_elements: ClassVar[float] = 2.5

    @classmethod
    def suits(cls, problem: Problem, operation: Operation, traits: Traits) -> bool:
        """Depthwise convolution."""
        return problem.is_depthwise

    @classmethod
    def refusal(cls, problem: Problem) -> str | None:
        """None: `suits` has been asked before."""
        return None

    def workspace(self, images: int, in_channels: int, out_channels: int) -> int:
        """One tap's products and their sum."""
        return 3 * images * prod(self.windows.output) * out_channels

    def weight_elements(self, in_channels: int, out_channels: int) -> int:
        """As many as the weights, for each output of a row."""
        return self.windows.taps * self._repeats(out_channels) * out_channels

    def fits_cache(self, images: int, block: int, weights: int) -> bool:
        """Calls are short, and for each of them the workers contend for Python's lock."""
        return block <= 4 * OWN_CACHE

    def _outputs(self, images: int) -> tuple[int, ...]:
        return (images, *self.windows.output)

    def cost(self, images: int, in_channels: int, out_channels: int, rows: int) -> Cost:
        """For each tap a product and a sum, element by element."""
        taps, outputs = self.windows.taps, images * prod(self.windows.output) * out_channels
        row = self.windows.output[-1] if self.windows.stride[-1] == 1 else 1
        return Cost(
            0,
            self.product_elements * taps * outputs,
            2 * taps * outputs / (row * out_channels),
            2 * taps,
        )

    def data(self, x: Array, *, xp: Namespace) -> Iterable[Array]:
        """The inputs under each tap, `(n, *input, g) -> (n, *output, g, 1)`."""
        return (x[(slice(None), *tap, ...)][..., None] for tap in self.windows.tap_slices)

    def data_adjoint(self, terms: Iterable[Array], images: int, *, xp: Namespace) -> Array:
        """Each tap's share added back."""
        x = None
        for tap, term in zip(self.windows.tap_slices, terms, strict=True):
            if x is None:
                shape = (images, *self.windows.input, self.groups)
                x = xp.zeros(shape, dtype=term.dtype, device=device(term))
            x = add_at(x, (slice(None), *tap, ...), term[..., 0], xp=xp)
        return x

    def weight(self, w: Array, *, xp: Namespace) -> Sequence[Array]:
        """Each tap's factors, `(*kernel, 1, g * k) -> (row, g, k)`."""
        channels = w.shape[-1]
        w = xp.reshape(w, (self.windows.taps, 1, self.groups, channels // self.groups))
        w = xp.tile(w, (1, self._repeats(channels), 1, 1))
        return [w[tap, ...] for tap in range(w.shape[0])]

    def transposed_weight(self, w: Array, rows: int, *, xp: Namespace) -> Sequence[Array]:
        """The same: a single group has a single channel on either side."""
        return self.weight(w, xp=xp)

    def weight_adjoint(self, terms: Sequence[Array], *, xp: Namespace) -> Array:
        """`(row, g, k) -> (*kernel, 1, g * k)`, summed over the row."""
        w = xp.sum(xp.stack(list(terms)), axis=1)
        return xp.reshape(w, (*self.windows.kernel, 1, w.shape[-2] * w.shape[-1]))

    def _repeats(self, channels: int) -> int:
        """How often the factors are repeated: for all outputs of a row, or not."""
        row = self.windows.output[-1]
        return row if row * channels * self.windows.taps <= MOST_REPEATED else 1

    def weight_gradient(self, dy: Array, x: Array, *, xp: Namespace) -> list[Array]:
        """One block's share of the factors' gradient, the products of all taps in one place."""
        if not has_out(xp) or self.groups != dy.shape[-1]:
            return super().weight_gradient(dy, x, xp=xp)
        ones = xp.ones((1, prod(dy.shape[:-1])), dtype=dy.dtype, device=device(dy))
        product = xp.empty(dy.shape, dtype=dy.dtype, device=device(dy))
        shares = []
        for tap in self.windows.tap_slices:
            data = conjugate(x[(slice(None), *tap, ...)], xp=xp)
            xp.multiply(data, dy, out=product)
            share = xp.matmul(ones, xp.reshape(product, (-1, self.groups)))
            shares.append(share[..., None])
        return shares

    def _of_row(self, weight: Array) -> Array:
        """The factors of a row that may be shorter than those that they were made for."""
        return weight[: self.windows.output[-1], ...] if weight.shape[0] > 1 else weight

    def output(self, m: Array, images: int, *, xp: Namespace) -> Array:
        """`(n, *output, g, k) -> (n, *output, g * k)`."""
        return xp.reshape(m, (*self._outputs(images), m.shape[-2] * m.shape[-1]))

    def output_adjoint(self, y: Array, *, xp: Namespace) -> Array:
        """`(n, *output, g * k) -> (n, *output, g, k)`."""
        return xp.reshape(y, (*y.shape[:-1], self.groups, y.shape[-1] // self.groups))

    def forward_into(self, y: Array, x: Array, weights: Sequence[Array], *, xp: Namespace) -> None:
        """The same, summed in y."""
        y = xp.reshape(y, (*y.shape[:-1], *weights[0].shape[1:]))  # a view: its last axis is split
        product = None
        for data, weight in zip(self.data(x, xp=xp), weights, strict=True):
            factors = self._of_row(weight)
            if product is None:
                xp.multiply(data, factors, out=y)
                product = xp.empty(y.shape, dtype=y.dtype, device=device(y))
            else:
                xp.multiply(data, factors, out=product)
                xp.add(y, product, out=y)

    def multiply(self, data: Array, weight: Array, *, xp: Namespace) -> Array:
        """Elementwise, `(..., row, g, 1) * (row, g, k) -> (..., row, g, k)`."""
        return data * self._of_row(weight)

    def multiply_adjoint_data(self, m: Array, weight: Array, *, xp: Namespace) -> Array:
        """`sum_k m * conj(weight) -> (..., g, 1)`."""
        products = m * conjugate(self._of_row(weight), xp=xp)
        return products if products.shape[-1] == 1 else xp.sum(products, axis=-1, keepdims=True)

    def multiply_adjoint_weight(self, data: Array, m: Array, *, xp: Namespace) -> Array:
        """`sum_rows conj(data) * m -> (1, g, k)`, by a product with ones, as exact as any sum."""
        products = conjugate(data, xp=xp) * m
        groups, k = products.shape[-2:]
        rows = xp.reshape(products, (-1, groups * k))
        ones = xp.ones((1, rows.shape[0]), dtype=rows.dtype, device=device(rows))
        return xp.reshape(xp.matmul(ones, rows), (1, groups, k))
