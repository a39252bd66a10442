"""`taps` of depthwise convolution where the library adds products in one pass.

The sum over all taps is one call then, and what counts is again that its inner loop is long. So
the outputs of a row and their channels are one axis p wherever no stride breaks the row,

    y[n, h, p] = sum_kl x[n, s h + d k, p + d C l] w[k, l, p]         p = (column, channel)

and the gradient of the factors w is the sum over n and h of the same products with dy.
"""

from collections.abc import Sequence
from typing import ClassVar

from anyconv._algorithms._taps_depthwise import DepthwiseTaps
from anyconv._geometry import Problem
from anyconv._namespace import device, strided_view, sum_of_products
from anyconv._traits import Traits
from anyconv._typing import Array, Namespace, Operation


def has_one_output_each(problem: Problem) -> bool:
    """Whether a convolution is depthwise, with one output for each channel."""
    return problem.is_depthwise and problem.groups == problem.out_channels


class FusedTaps(DepthwiseTaps):
    """`DepthwiseTaps` with one output channel a group, all taps as one term."""

    is_one_product: ClassVar[bool] = True
    product_elements: ClassVar[float] = 1.5

    @classmethod
    def suits(cls, problem: Problem, operation: Operation, traits: Traits) -> bool:
        """As many output channels as groups, and several.

        Of a single channel, taps lie as close as outputs: a library may go along the few of them.
        """
        return problem.groups > 1 and has_one_output_each(problem) and traits.adds_products

    def weight(self, w: Array, *, xp: Namespace) -> Sequence[Array]:
        """The factors of a row, `(*kernel, 1, g) -> (*kernel, row * g)`."""
        kernel = self.windows.kernel
        repeats = (*(1,) * len(kernel), self._repeats(self.groups), 1)
        return (xp.reshape(xp.tile(w, repeats), (*kernel, -1)),)

    def weight_adjoint(self, terms: Sequence[Array], *, xp: Namespace) -> Array:
        """The sum over a row, `(*kernel, row * g) -> (*kernel, 1, g)`."""
        rows = xp.reshape(terms[0], (*self.windows.kernel, -1, self.groups))
        return xp.sum(rows, axis=-2, keepdims=True)

    def forward(self, x: Array, weights: Sequence[Array], *, xp: Namespace) -> Array:
        """The outputs of one block, from its slab and the factors."""
        shape = (x.shape[0], *self.windows.output, self.groups)
        y = xp.empty(shape, dtype=x.dtype, device=device(x))
        self.forward_into(y, x, weights, xp=xp)
        return y

    def forward_into(self, y: Array, x: Array, weights: Sequence[Array], *, xp: Namespace) -> None:
        """The same, summed in y."""
        (w,) = weights
        u = self._windows(x, joined=w.shape[-1] > self.groups, xp=xp)
        taps, outputs = self._axes(u)
        y = xp.reshape(y, (*u.shape[: len(outputs) - 1], -1), copy=False)
        w = w[..., : y.shape[-1]]  # perhaps of a longer row
        sum_of_products(u, w, (*taps, outputs[-1]), outputs, out=y)

    def input_gradient(self, dy: Array, weights: Sequence[Array], *, xp: Namespace) -> Array:
        """The gradient of one slab, tap by tap."""
        w = xp.reshape(weights[0], (self.windows.taps, -1, self.groups, 1))
        return super().input_gradient(dy, [w[tap, ...] for tap in range(w.shape[0])], xp=xp)

    def weight_gradient(self, dy: Array, x: Array, *, xp: Namespace) -> list[Array]:
        """One block's share of the factors' gradient, a row of one, `(*kernel, g)`."""
        u = self._windows(x, joined=self._repeats(self.groups) > 1, xp=xp)
        taps, outputs = self._axes(u)
        dy = xp.reshape(dy, (*u.shape[: len(outputs) - 1], -1))
        dw = sum_of_products(u, dy, outputs, (*taps, outputs[-1]))
        return [xp.squeeze(self.weight_adjoint([dw], xp=xp), axis=-2)]

    def _repeats(self, channels: int) -> int:
        """None where a stride breaks the row."""
        return super()._repeats(channels) if self.windows.stride[-1] == 1 else 1

    def _windows(self, x: Array, *, joined: bool, xp: Namespace) -> Array:
        """A view `(n, *outputs, *taps, p)`; with `joined` p holds the outputs of a row too."""
        windows, rank = self.windows, len(self.windows.kernel)
        outputs, p, last = windows.output, self.groups, rank + 1
        steps = [(axis + 1, s) for axis, s in enumerate(windows.stride)]
        reach = [(axis + 1, d) for axis, d in enumerate(windows.dilation)]
        if joined:
            x = xp.reshape(x, (*x.shape[:-2], -1))  # a view where channels lie last
            reach[-1] = (rank, windows.dilation[-1] * p)
            outputs, p, last, steps = outputs[:-1], outputs[-1] * p, rank, steps[:-1]
        shape = (x.shape[0], *outputs, *windows.kernel, p)
        return strided_view(x, shape, [(0, 1), *steps, *reach, (last, 1)], xp=xp)

    def _axes(self, u: Array) -> tuple[list[int], list[int]]:
        """The axes of a view's taps, and those of its outputs with p."""
        first = u.ndim - 1 - len(self.windows.kernel)
        taps = range(first, u.ndim - 1)
        return list(taps), [*range(first), u.ndim - 1]
