"""`taps`: one strided slice and one matrix product for each position in the kernel, then a sum.

No window is ever copied whole, so the workspace does not grow with the kernel.
"""

from collections.abc import Iterable, Sequence
from math import prod
from typing import ClassVar

from anyconv._algorithms._bilinear import Algorithm, join_groups, split_groups
from anyconv._costs import Cost, product_efficiency
from anyconv._geometry import Problem
from anyconv._namespace import add_at, device
from anyconv._typing import Array, Namespace


class Taps(Algorithm):
    """B takes the inputs under a tap, G the tap's matrix, A sums (and reshapes)."""

    name: ClassVar[str] = "taps"

    @classmethod
    def refusal(cls, problem: Problem) -> str | None:
        """Nothing is refused."""
        return None

    def workspace(self, images: int, in_channels: int, out_channels: int) -> int:
        """The inputs under one tap, their product and the sum, while the last tap's still live."""
        rows = images * prod(self.windows.output)
        return rows * max(2 * in_channels + 2 * out_channels, in_channels + 3 * out_channels)

    def weight_elements(self, in_channels: int, out_channels: int) -> int:
        """As many as the weights."""
        return self.windows.taps * in_channels * out_channels // self.groups

    def cost(self, images: int, in_channels: int, out_channels: int, rows: int) -> Cost:
        """For each tap its inputs copied, a product, and its outputs added."""
        taps, total = self.windows.taps, images * prod(self.windows.output)
        c, k = in_channels // self.groups, out_channels // self.groups
        efficiency = product_efficiency(rows, c, k)
        inputs, outputs = taps * total * in_channels, taps * total * out_channels
        contiguous = self.groups == 1 and self.windows.stride[-1] == 1
        runs = inputs / (c * (self.windows.output[-1] if contiguous else 1))
        return Cost(inputs * k / efficiency, 2 * inputs + 4 * outputs, runs, 4 * taps)

    def data(self, x: Array, *, xp: Namespace) -> Iterable[Array]:
        """The inputs under each tap, `(n, *input, g * c) -> (g, rows, c)`."""
        return (
            split_groups(x[(slice(None), *tap, ...)], self.groups, xp=xp)
            for tap in self.windows.tap_slices
        )

    def data_adjoint(self, terms: Iterable[Array], images: int, *, xp: Namespace) -> Array:
        """Each tap's share added back, `(g, rows, c) -> (n, *input, g * c)`."""
        x = None
        for tap, term in zip(self.windows.tap_slices, terms, strict=True):
            channels = term.shape[0] * term.shape[2]
            if x is None:
                shape = (images, *self.windows.input, channels)
                x = xp.zeros(shape, dtype=term.dtype, device=device(term))
            cells = join_groups(term, (images, *self.windows.output, channels), xp=xp)
            x = add_at(x, (slice(None), *tap, ...), cells, xp=xp)
        return x

    def weight(self, w: Array, *, xp: Namespace) -> Sequence[Array]:
        """Each tap's matrices, `(*kernel, c, g * k) -> (g, c, k)`."""
        w = xp.reshape(w, (self.windows.taps, *w.shape[-2:]))
        return [split_groups(w[tap, ...], self.groups, xp=xp) for tap in range(w.shape[0])]

    def weight_adjoint(self, terms: Sequence[Array], *, xp: Namespace) -> Array:
        """The inverse permutation, `(g, c, k) -> (*kernel, c, g * k)`."""
        groups, c, k = terms[0].shape
        taps = [join_groups(term, (c, groups * k), xp=xp) for term in terms]
        return xp.reshape(xp.stack(taps), (*self.windows.kernel, c, groups * k))

    def output(self, m: Array, images: int, *, xp: Namespace) -> Array:
        """Rows are outputs, `(g, rows, k) -> (n, *output, g * k)`."""
        k = m.shape[0] * m.shape[2]
        return join_groups(m, (images, *self.windows.output, k), xp=xp)

    def output_adjoint(self, y: Array, *, xp: Namespace) -> Array:
        """`(n, *output, g * k) -> (g, rows, k)`."""
        return split_groups(y, self.groups, xp=xp)
