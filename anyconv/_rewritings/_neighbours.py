"""Outputs that lie side by side along the last axis as channels of one: few columns become many.

With one weight for each of m neighbours, shifted by the stride, m windows that overlap become one:

    y[m r + j] = sum_t x[s m r + s j + t] w[t] = sum_u x[s m r + u] v[u, j],   v[s j + t, j] = w[t]

Where there are few output channels that saves most of the copying of windows, and products that are
thin cost as much as those m times as wide.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import ClassVar, Self

from anyconv._costs import Cost
from anyconv._geometry import Problem
from anyconv._namespace import add_at, device, set_at
from anyconv._rewritings._rewriting import Rewriting
from anyconv._typing import Array, Index, Namespace
from anyconv._windows import slab

# So many output channels of a group at most, and the neighbours that then make the best of them.
FEW_CHANNELS = {8: 4, 16: 2}


@dataclass(frozen=True)
class Neighbours(Rewriting):
    """Blocks of `count` outputs along the last axis, whose channels lie side by side."""

    adds_weights: ClassVar[bool] = True
    count: int

    @classmethod
    def of(cls, problem: Problem) -> Self | None:
        """Where there are few output channels, and taps that lie side by side."""
        geometry, columns = problem.geometry, problem.out_channels // problem.groups
        count = next((n for most, n in FEW_CHANNELS.items() if columns <= most), 1)
        is_depthwise = problem.is_depthwise and problem.groups > 1
        if is_depthwise or geometry.dilation[-1] > 1 or geometry.output[-1] < count > 1:
            return None
        return cls(problem, count) if count > 1 else None

    def worth(self, algorithm: str) -> float:
        """Thin products are estimated too high, those of a single column most of all."""
        is_column = self.problem.out_channels == self.problem.groups
        return 0.4 if is_column and algorithm != "fft" else 0.72

    @cached_property
    def inner(self) -> Problem:
        """The problem of longer strides and longer kernels."""
        p, g, m = self.problem, self.problem.geometry, self.count
        size, before, s = g.input[-1], g.padding[-1][0], g.stride[-1]
        outputs, taps = -(-g.output[-1] // m), g.kernel[-1] + s * (m - 1)
        after = (outputs - 1) * s * m + taps - size - before
        geometry = replace(
            g,
            kernel=(*g.kernel[:-1], taps),
            stride=(*g.stride[:-1], s * m),
            padding=(*g.padding[:-1], (before, after)),
            output=(*g.output[:-1], outputs),
        )
        return replace(p, geometry=geometry, out_channels=m * p.out_channels)

    @property
    def words(self) -> str:
        """How many outputs become one."""
        return f"{self.count} neighbours as channels"

    @property
    def _moves_outputs(self) -> bool:
        """Whether more is done to outputs than to read their shape in another way."""
        return self.problem.groups > 1 or bool(self.problem.geometry.output[-1] % self.count)

    @property
    def held(self) -> int:
        """The weight, and the output where it is moved, each before and after."""
        p = self.inner
        c, outputs = p.in_channels // p.groups, p.images * prod(p.geometry.output)
        moved = outputs * p.out_channels if self._moves_outputs else 0
        return 2 * (prod(p.geometry.kernel) * c * p.out_channels + moved)

    @property
    def passing(self) -> int:
        """Nothing more."""
        return 0

    @property
    def cost(self) -> Cost:
        """The output moved, where it is; the weight is small."""
        p = self.inner
        moved = p.images * prod(p.geometry.output) * p.out_channels * self._moves_outputs
        return Cost(0, 3 * moved, moved * p.groups / p.out_channels, 4 * self.count)

    def data(self, x: Array, *, xp: Namespace) -> Array:
        """The same."""
        return x

    def data_adjoint(self, x: Array, *, xp: Namespace) -> Array:
        """The same."""
        return x

    def weight(self, w: Array, *, xp: Namespace) -> Array:
        """`(*kernel, c, g * k) -> (*inner kernel, c, g * count * k)`, one shifted each."""
        p = self.inner
        *kernel, c, k = w.shape
        w = xp.reshape(w, (*kernel, c, p.groups, 1, k // p.groups))
        shape = (*p.geometry.kernel, c, p.groups, self.count, k // p.groups)
        v = xp.zeros(shape, dtype=w.dtype, device=device(w))
        for j in range(self.count):
            v = set_at(v, self._taps(j), w, xp=xp)
        return xp.reshape(v, (*p.geometry.kernel, c, p.out_channels))

    def weight_adjoint(self, w: Array, *, xp: Namespace) -> Array:
        """`(*inner kernel, c, g * count * k) -> (*kernel, c, g * k)`, the sum over neighbours."""
        p, q = self.problem, self.inner
        c, k = p.in_channels // p.groups, p.out_channels // p.groups
        v = xp.reshape(w, (*q.geometry.kernel, c, p.groups, self.count, k))
        w = xp.zeros((*p.geometry.kernel, c, p.groups, 1, k), dtype=w.dtype, device=device(w))
        for j in range(self.count):
            w = add_at(w, (...,), v[self._taps(j)], xp=xp)
        return xp.reshape(w, (*p.geometry.kernel, c, p.out_channels))

    def _taps(self, neighbour: int) -> Index:
        """Where the weight of one neighbour lies."""
        g = self.problem.geometry
        start = neighbour * g.stride[-1]
        taps = slice(start, start + g.kernel[-1])
        return (..., taps, slice(None), slice(None), slice(neighbour, neighbour + 1), slice(None))

    def output(self, y: Array, *, xp: Namespace) -> Array:
        """`(n, *inner output, g * count * k) -> (n, *output, g * k)`."""
        p, (n, *output, _) = self.problem, y.shape
        if p.groups > 1:
            y = xp.reshape(y, (n, *output, p.groups, self.count, p.out_channels // p.groups))
            y = xp.permute_dims(y, self._swapped)
        y = xp.reshape(y, (n, *output[:-1], output[-1] * self.count, p.out_channels))
        if y.shape[-2] == p.geometry.output[-1]:
            return y
        cells = tuple((0, size) for size in p.geometry.output)
        return xp.astype(slab(y, slice(None), cells, xp=xp), y.dtype, copy=True)

    def output_adjoint(self, y: Array, *, xp: Namespace) -> Array:
        """`(n, *output, g * k) -> (n, *inner output, g * count * k)`."""
        p, q = self.problem, self.inner
        *others, last = q.geometry.output
        cells = (*((0, size) for size in others), (0, last * self.count))
        y = slab(y, slice(None), cells, xp=xp)
        if p.groups > 1:
            shape = (*q.geometry.output, self.count, p.groups, p.out_channels // p.groups)
            y = xp.permute_dims(xp.reshape(y, (y.shape[0], *shape)), self._swapped)
        return xp.reshape(y, (y.shape[0], *q.geometry.output, q.out_channels))

    @property
    def _swapped(self) -> tuple[int, ...]:
        """Groups and neighbours in the other order."""
        end = self.problem.geometry.rank + 1
        return (*range(end), end + 1, end, end + 2)

    def bias(self, b: Array, *, xp: Namespace) -> Array:
        """Each group's share once for each neighbour."""
        groups = self.problem.groups
        rows = xp.reshape(b, (groups, 1, b.shape[0] // groups))
        shape = (groups, self.count, b.shape[0] // groups)
        return xp.reshape(xp.broadcast_to(rows, shape), (self.inner.out_channels,))
