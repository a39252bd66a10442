"""The same convolution as a plain one: strides become channels, dilation becomes images.

Along an axis, output o meets cell `p = s o + d t` of the padded input through tap t. With g =
gcd(s, d), S = s / g and D = d / g, of which one must be one, write

    p = s (D q + j) + g i,    o = D r + j,    t = S u + i        0 <= j < D, 0 <= i < S

and the sum falls apart into convolutions of stride and dilation one,

    y[D r + j] = sum_u sum_i x[r + u, j, i] w[u, i]

of which the phases i are channels (space to depth) and the phases j are images. Three linear maps
lead there, each beside its adjoint. They move elements and add zeros, no more.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from math import gcd, prod
from typing import Self

from anyconv._costs import Cost
from anyconv._geometry import MOST_AXES, AxisLoop, Pairs, Problem, WindowGeometry
from anyconv._namespace import device, set_at
from anyconv._rewritings._rewriting import Rewriting
from anyconv._typing import Array, Index, Namespace, Shape
from anyconv._windows import slab

# A run of neighbours that is moved costs this part of one in a window, which is moved with many.
MOVED_RUN = 0.5


@dataclass(frozen=True)
class Plain(Rewriting):
    """The plain problem that a problem becomes when each axis is cut into phases.

    `images` holds the D of each axis, `channels` the phases i that a tap reaches: S of them, or as
    many as there are taps.
    """

    images: Shape
    channels: Shape

    @classmethod
    def of(cls, problem: Problem) -> Self | None:
        """Where no axis is both strided and dilated, and one of them is either."""
        geometry = problem.geometry
        if all(s == d == 1 for s, d in zip(geometry.stride, geometry.dilation, strict=True)):
            return None
        common = tuple(map(gcd, geometry.stride, geometry.dilation))
        strides = tuple(s // g for s, g in zip(geometry.stride, common, strict=True))
        dilations = tuple(d // g for d, g in zip(geometry.dilation, common, strict=True))
        if any(s > 1 < d for s, d in zip(strides, dilations, strict=True)):
            return None
        return cls(problem, dilations, tuple(map(min, geometry.kernel, strides)))

    def worth(self, algorithm: str) -> float:
        """Estimates of both problems are alike."""
        return 0.95

    @cached_property
    def inner(self) -> Problem:
        """The problem of stride and dilation one, without padding."""
        p = self.problem
        kernel = _quotients(p.geometry.kernel, self.channels)
        output = _quotients(p.geometry.output, self.images)
        size = tuple(r + u - 1 for r, u in zip(output, kernel, strict=True))
        ones, no_padding = (1,) * len(size), ((0, 0),) * len(size)
        return Problem(
            batch=(*p.batch, prod(self.images)),
            geometry=WindowGeometry(size, kernel, ones, ones, no_padding, output),
            groups=p.groups,
            in_channels=p.in_channels * prod(self.channels),
            out_channels=p.out_channels,
        )

    @property
    def words(self) -> str:
        """What becomes of the phases."""
        counts = {"channels": prod(self.channels), "images": prod(self.images)}
        words = [f"{count} phases as {what}" for what, count in counts.items() if count > 1]
        return " and ".join(words) or "one phase alone"

    def data(self, x: Array, *, xp: Namespace) -> Array:
        """`(n, *input, g * c) -> (n * images, *inner input, g * channels * c)`."""
        return self._data.apart(x, xp=xp)

    def data_adjoint(self, x: Array, *, xp: Namespace) -> Array:
        """`(n * images, *inner input, g * channels * c) -> (n, *input, g * c)`."""
        return self._data.together(x, xp=xp)

    def weight(self, w: Array, *, xp: Namespace) -> Array:
        """`(*kernel, c, k) -> (*inner kernel, channels * c, k)`."""
        return self._weight.apart(w[None, ...], xp=xp)

    def weight_adjoint(self, w: Array, *, xp: Namespace) -> Array:
        """`(*inner kernel, channels * c, k) -> (*kernel, c, k)`."""
        return self._weight.together(w, xp=xp)[0, ...]

    def output(self, y: Array, *, xp: Namespace) -> Array:
        """`(n * images, *inner output, k) -> (n, *output, k)`."""
        return self._output.together(y, xp=xp)

    def output_adjoint(self, y: Array, *, xp: Namespace) -> Array:
        """`(n, *output, k) -> (n * images, *inner output, k)`."""
        return self._output.apart(y, xp=xp)

    @property
    def held(self) -> int:
        """The input, and the weight and the output where they move, each before and after."""
        return prod(self._data.far) + 2 * sum(prod(phases.far) for phases in self._others)

    @property
    def passing(self) -> int:
        """The padded input, until it is rearranged."""
        return prod(self._data.split)

    @property
    def cost(self) -> Cost:
        """What it takes to rearrange the arrays."""
        return sum((phases.cost for phases in self._others), self._data.cost)

    @cached_property
    def windows(self) -> tuple[AxisLoop, ...] | None:
        """Those of phases that are channels alone."""
        p, g = self.problem, self.problem.geometry
        if p.groups > 1 or prod(g.dilation) > 1 or g.rank > MOST_AXES:
            return None
        before = (-before for before, _ in g.padding)
        ones, sizes = (1,) * g.rank, self.inner.geometry.input
        axes = zip(sizes, self.channels, g.stride, ones, before, g.input, strict=True)
        return tuple(AxisLoop(*axis) for axis in axes)

    @property
    def cost_in_loops(self) -> Cost:
        """Each element of the input read and written once, short runs too."""
        moved = prod(self._data.far)
        cost = Cost(0, 2 * moved, self._data.cost.runs / 4, 4)
        return sum((phases.cost for phases in self._others), cost)

    @property
    def _others(self) -> tuple["_Phases", ...]:
        """The weight and the output, where they are rearranged at all."""
        weight = (self._weight,) if prod(self.channels) > 1 else ()
        return (*weight, self._output) if prod(self.images) > 1 else weight

    @cached_property
    def _data(self) -> "_Phases":
        p, g = self.problem, self.problem.geometry
        end, c = 3 * g.rank + 1, p.in_channels // p.groups
        size = self.inner.geometry.input
        axes = tuple(zip(size, self.images, g.stride, strict=True))
        steps = map(gcd, g.stride, g.dilation)
        starts = [-before for before, _ in g.padding]
        return _Phases(
            near=(p.images, *g.input, p.in_channels),
            box=tuple((start, start + prod(n)) for start, n in zip(starts, axes, strict=True)),
            split=(p.images, *chain(*axes), p.groups, c),
            taken=tuple(
                index
                for count, step in zip(self.channels, steps, strict=True)
                for index in (slice(None), slice(None), slice(0, step * (count - 1) + 1, step))
            ),
            order=(0, *range(2, end, 3), *range(1, end, 3), end, *range(3, end, 3), end + 1),
            far=(self.inner.images, *size, self.inner.in_channels),
        )

    @cached_property
    def _weight(self) -> "_Phases":
        p, kernel = self.problem, self.inner.geometry.kernel
        end, c, k = 2 * len(kernel) + 1, p.in_channels // p.groups, p.out_channels
        axes = tuple(zip(kernel, self.channels, strict=True))
        return _Phases(
            near=(1, *p.geometry.kernel, c, k),
            box=(*((0, prod(n)) for n in axes), (0, c)),
            split=(1, *chain(*axes), c, k),
            order=(0, *range(1, end, 2), *range(2, end, 2), end, end + 1),
            far=(*kernel, prod(self.channels) * c, k),
        )

    @cached_property
    def _output(self) -> "_Phases":
        p, output = self.problem, self.inner.geometry.output
        end, k = 2 * len(output) + 1, p.out_channels
        axes = tuple(zip(output, self.images, strict=True))
        return _Phases(
            near=(p.images, *p.geometry.output, k),
            box=tuple((0, prod(n)) for n in axes),
            split=(p.images, *chain(*axes), k),
            order=(0, *range(2, end, 2), *range(1, end, 2), end),
            far=(self.inner.images, *output, k),
        )


@dataclass(frozen=True)
class _Phases:
    """A box of an array's cells, its axes split, cells taken of each, in another order.

    `near -> box -> split[taken] -> order -> far`, shapes all but `taken` and `order`.
    """

    near: Shape
    box: Pairs
    split: Shape
    order: Shape
    far: Shape
    taken: tuple[slice, ...] = ()

    @cached_property
    def _index(self) -> Index:
        return (slice(None), *self.taken, ...)

    @cached_property
    def _sizes(self) -> Shape:
        """The sizes of what is taken, in the first order."""
        taken = (slice(None), *self.taken, *(slice(None),) * (len(self.split) - 1))
        return tuple(len(range(n)[cells]) for n, cells in zip(self.split, taken, strict=False))

    @property
    def cost(self) -> Cost:
        """Each element read and written, once more where zeros are put round them."""
        run = 1
        near = [axis for axis, n in enumerate(self._sizes) if n > 1]
        far = [axis for axis in self.order if self._sizes[axis] > 1]
        for axis, other in zip(reversed(near), reversed(far), strict=True):
            if axis != other:
                break
            run *= self._sizes[axis]
        padded = 0 if prod(self.near) == prod(self.split) else prod(self.split)
        moved = prod(self.far)
        return Cost(0, 3 * (moved + padded), MOVED_RUN * moved / run, 4)

    def apart(self, x: Array, *, xp: Namespace) -> Array:
        """The map."""
        x = xp.reshape(slab(x, slice(None), self.box, xp=xp), self.split)
        return xp.reshape(xp.permute_dims(x[self._index], self.order), self.far)

    def together(self, x: Array, *, xp: Namespace) -> Array:
        """Its adjoint, zero where no cell was taken from."""
        back = sorted(range(len(self.order)), key=self.order.__getitem__)
        x = xp.reshape(x, tuple(self._sizes[axis] for axis in self.order))
        x = xp.permute_dims(x, tuple(back))
        if self._sizes != self.split:
            cells = xp.zeros(self.split, dtype=x.dtype, device=device(x))
            x = set_at(cells, self._index, x, xp=xp)
        x = xp.reshape(x, (self.near[0], *(b - a for a, b in self.box), self.near[-1]))
        sides = tuple(zip(self.box, self.near[1:-1], strict=True))
        cells = slab(x, slice(None), tuple((-a, n - a) for (a, _), n in sides), xp=xp)
        if cells.shape != x.shape and all(a <= 0 and n <= b for (a, b), n in sides):
            return xp.astype(cells, cells.dtype, copy=True)  # else a view that keeps all of x
        return cells


def _quotients(sizes: Shape, parts: Shape) -> Shape:
    """Each size divided by its parts, rounded up."""
    return tuple(-(-size // n) for size, n in zip(sizes, parts, strict=True))
