"""What Fourier transforms do with sixteen lanes, for Numba's loops: LLVM's instructions on vectors.

A butterfly of radix q takes numbers x to

    y_j = w^j sum_k x_k exp(-2 pi i j k / q),

and lanes are read and written as complex numbers, whose parts are neighbours, or as real ones. A
compiler finds vectors along lanes, but not that all numbers of a butterfly can stay in registers,
and neighbouring parts it takes apart one by one. So these instructions are written out here.

C. Van Loan, "Computational Frameworks for the Fast Fourier Transform", SIAM 1992, 1.7 and 2.1.
"""

from collections.abc import Callable, Sequence
from math import cos, pi, sin, sqrt
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from anyconv._compiled._tile_loops import VECTOR_BYTES
from anyconv._compiled._transforms import LANES

# Of the room that lanes are transformed in, and of each vector there.
ALIGNMENT, ALIGNED = 64, 32


class _Real:
    """A vector of real numbers, the instructions of whose sums and products are written down."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    def _made(self, operation: str, other: "_Real") -> "_Real":
        make = getattr(self.builder, operation)
        return _Real(self.builder, make(self.value, other.value, flags=("contract",)))

    def __add__(self, other: "_Real") -> "_Real":
        return self._made("fadd", other)

    def __sub__(self, other: "_Real") -> "_Real":
        return self._made("fsub", other)

    def __mul__(self, other: "_Real") -> "_Real":
        return self._made("fmul", other)

    def by(self, factor: float) -> "_Real":
        """Times a constant."""
        kind = self.value.type
        constant = ir.Constant(kind, [ir.Constant(kind.element, factor)] * kind.count)
        return self * _Real(self.builder, constant)


class _Complex(NamedTuple):
    re: _Real
    im: _Real

    def plus(self, other: "_Complex") -> "_Complex":
        return _Complex(self.re + other.re, self.im + other.im)

    def minus(self, other: "_Complex") -> "_Complex":
        return _Complex(self.re - other.re, self.im - other.im)

    def times(self, other: "_Complex") -> "_Complex":
        re = self.re * other.re - self.im * other.im
        return _Complex(re, self.re * other.im + self.im * other.re)

    def by(self, factor: float) -> "_Complex":
        return _Complex(self.re.by(factor), self.im.by(factor))

    def plus_rotated(self, other: "_Complex") -> "_Complex":
        """Plus -i times the other."""
        return _Complex(self.re + other.im, self.im - other.re)

    def minus_rotated(self, other: "_Complex") -> "_Complex":
        """Minus -i times the other."""
        return _Complex(self.re - other.im, self.im + other.re)


def _two(x: Sequence[_Complex]) -> list[_Complex]:
    return [x[0].plus(x[1]), x[0].minus(x[1])]


def _three(x: Sequence[_Complex]) -> list[_Complex]:
    total, odd = x[1].plus(x[2]), x[1].minus(x[2]).by(sin(2 * pi / 3))
    rest = x[0].minus(total.by(0.5))
    return [x[0].plus(total), rest.plus_rotated(odd), rest.minus_rotated(odd)]


def _four(x: Sequence[_Complex]) -> list[_Complex]:
    even, odd = _two([x[0], x[2]]), _two([x[1], x[3]])
    return [
        even[0].plus(odd[0]),
        even[1].plus_rotated(odd[1]),
        even[0].minus(odd[0]),
        even[1].minus_rotated(odd[1]),
    ]


def _five(x: Sequence[_Complex]) -> list[_Complex]:
    cosines = [cos(2 * pi * k / 5) for k in (1, 2)]
    sines = [sin(2 * pi * k / 5) for k in (1, 2)]
    outer, inner = x[1].plus(x[4]), x[2].plus(x[3])
    outer_odd, inner_odd = x[1].minus(x[4]), x[2].minus(x[3])
    first = x[0].plus(outer.by(cosines[0])).plus(inner.by(cosines[1]))
    second = x[0].plus(outer.by(cosines[1])).plus(inner.by(cosines[0]))
    first_odd = outer_odd.by(sines[0]).plus(inner_odd.by(sines[1]))
    second_odd = outer_odd.by(sines[1]).minus(inner_odd.by(sines[0]))
    return [
        x[0].plus(outer).plus(inner),
        first.plus_rotated(first_odd),
        second.plus_rotated(second_odd),
        second.minus_rotated(second_odd),
        first.minus_rotated(first_odd),
    ]


def _eight(x: Sequence[_Complex]) -> list[_Complex]:
    even, odd = _four(x[0::2]), _four(x[1::2])
    half = sqrt(0.5)
    # Times exp(-i pi / 4), exp(-i pi / 2) and exp(-3 i pi / 4); the second is a rotation.
    first = _Complex(odd[1].re + odd[1].im, odd[1].im - odd[1].re).by(half)
    third = _Complex(odd[3].im - odd[3].re, odd[3].re + odd[3].im).by(half)
    third = _Complex(third.re, third.im.by(-1.0))
    return [
        even[0].plus(odd[0]),
        even[1].plus(first),
        even[2].plus_rotated(odd[2]),
        even[3].plus(third),
        even[0].minus(odd[0]),
        even[1].minus(first),
        even[2].minus_rotated(odd[2]),
        even[3].minus(third),
    ]


_FORMS: dict[int, Callable[[Sequence[_Complex]], list[_Complex]]] = {
    2: _two,
    3: _three,
    4: _four,
    5: _five,
    8: _eight,
}


@intrinsic(prefer_literal=True)
def butterfly(
    typing: Any,
    radix: Any,
    xr: Any,
    xi: Any,
    a: Any,
    x_apart: Any,
    yr: Any,
    yi: Any,
    j: Any,
    y_apart: Any,
    w: Any,
    t: Any,
) -> Any:
    """One butterfly of all lanes: from a on in x to j on in y, its roots beginning at `w[t]`.

    Numbers lie `x_apart` and `y_apart` from one another, at multiples of a vector.
    """
    if not isinstance(radix, types.IntegerLiteral):
        return None
    count = radix.literal_value
    others = (xr, xi, a, x_apart, yr, yi, j, y_apart, w, t)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values = _values(context, builder, signature.args[1:], arguments[1:])
        from_r, from_i, at, apart, to_r, to_i, to, to_apart, roots, first = values
        lanes = _Lanes(context, builder, xr.dtype)
        turns = [
            _Complex(lanes.splat(roots, first, 2 * k), lanes.splat(roots, first, 2 * k + 1))
            for k in range(count - 1)
        ]
        for lane in lanes.parts:
            places = [lanes.index(at, lane, apart, k) for k in range(count)]
            x = [_Complex(lanes.load(from_r, p), lanes.load(from_i, p)) for p in places]
            sums = _FORMS[count](x)
            y = [sums[0], *(total.times(turn) for total, turn in zip(sums[1:], turns, strict=True))]
            for k, number in enumerate(y):
                place = lanes.index(to, lane, to_apart, k)
                lanes.store(number.re, to_r, place)
                lanes.store(number.im, to_i, place)
        return context.get_dummy_value()

    return types.void(radix, *others), generate


@intrinsic
def split_lanes(typing: Any, r: Any, i: Any, j: Any, x: Any, a: Any) -> Any:
    """All lanes of complex numbers, whose parts are neighbours from `x[a]` on, to r and i at j."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        to_r, to_i, to, source, at = _values(context, builder, signature.args, arguments)
        lanes = _Lanes(context, builder, x.dtype)
        for lane in lanes.parts:
            number = lanes.load_pairs(source, lanes.index(at, 2 * lane))
            lanes.store(number.re, to_r, lanes.index(to, lane))
            lanes.store(number.im, to_i, lanes.index(to, lane))
        return context.get_dummy_value()

    return types.void(r, i, j, x, a), generate


@intrinsic
def join_lanes(typing: Any, y: Any, j: Any, r: Any, i: Any, a: Any, scale: Any) -> Any:
    """The inverse, times a scale: all lanes of r and i at a, to `y[j]` on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target, to, from_r, from_i, at, number = _values(
            context, builder, signature.args, arguments
        )
        lanes = _Lanes(context, builder, y.dtype)
        factor = lanes.spread(number)
        for lane in lanes.parts:
            place = lanes.index(at, lane)
            number = _Complex(
                lanes.load(from_r, place) * factor, lanes.load(from_i, place) * factor
            )
            lanes.store_pairs(number, target, lanes.index(to, 2 * lane))
        return context.get_dummy_value()

    return types.void(y, j, r, i, a, scale), generate


@intrinsic
def copy_lanes(typing: Any, y: Any, j: Any, x: Any, a: Any, scale: Any) -> Any:
    """All lanes of real numbers, times a scale."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target, to, source, at, number = _values(context, builder, signature.args, arguments)
        lanes = _Lanes(context, builder, y.dtype)
        factor = lanes.spread(number)
        for lane in lanes.parts:
            value = lanes.load(source, lanes.index(at, lane), align=4)
            lanes.store(value * factor, target, lanes.index(to, lane), align=4)
        return context.get_dummy_value()

    return types.void(y, j, x, a, scale), generate


@intrinsic
def multiply_lanes(typing: Any, r: Any, i: Any, a: Any, w: Any, p: Any, scale: Any) -> Any:
    """All lanes at a times complex factors, whose parts are neighbours from `w[p]` on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        parts_r, parts_i, at, factors, start, number = _values(
            context, builder, signature.args, arguments
        )
        lanes = _Lanes(context, builder, r.dtype)
        factor = lanes.spread(number)
        for lane in lanes.parts:
            place = lanes.index(at, lane)
            value = _Complex(lanes.load(parts_r, place), lanes.load(parts_i, place))
            by = lanes.load_pairs(factors, lanes.index(start, 2 * lane))
            product = value.times(_Complex(by.re * factor, by.im * factor))
            lanes.store(product.re, parts_r, place)
            lanes.store(product.im, parts_i, place)
        return context.get_dummy_value()

    return types.void(r, i, a, w, p, scale), generate


@intrinsic
def join_halves(
    typing: Any,
    y: Any,
    j: Any,
    k: Any,
    r: Any,
    i: Any,
    a: Any,
    b: Any,
    w: Any,
    t: Any,
    scale: Any,
) -> Any:
    """Two frequencies of a real array, at `y[j]` and `y[k]` on, from those of its halves.

    X[f] = E + w^f O,  E = (Z[f] + conj Z[n - f]) / 2,  O = (Z[f] - conj Z[n - f]) / 2i,  of which
    Z[f] is at a, Z[n - f] at b, and the root at `w[t]`; times twice the scale.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values = _values(context, builder, signature.args, arguments)
        target, to, back, from_r, from_i, at, behind, roots, first, number = values
        lanes = _Lanes(context, builder, y.dtype)
        factor = lanes.spread(number)
        cosine, sine = (lanes.splat(roots, first, part) * factor for part in (0, 1))
        for lane in lanes.parts:
            one, other = (lanes.index(start, lane) for start in (at, behind))
            xr, xi = lanes.load(from_r, one), lanes.load(from_i, one)
            yr, yi = lanes.load(from_r, other), lanes.load(from_i, other)
            even_r, even_i, odd_r, odd_i = xr + yr, xi - yi, xi + yi, yr - xr
            turned_r = odd_r * cosine - odd_i * sine
            turned_i = odd_r * sine + odd_i * cosine
            even_r, even_i = even_r * factor, even_i * factor
            near = _Complex(even_r + turned_r, even_i + turned_i)
            far = _Complex(even_r - turned_r, turned_i - even_i)
            lanes.store_pairs(near, target, lanes.index(to, 2 * lane))
            lanes.store_pairs(far, target, lanes.index(back, 2 * lane))
        return context.get_dummy_value()

    return types.void(y, j, k, r, i, a, b, w, t, scale), generate


@intrinsic
def split_halves(
    typing: Any,
    r: Any,
    i: Any,
    j: Any,
    k: Any,
    x: Any,
    a: Any,
    b: Any,
    w: Any,
    t: Any,
) -> Any:
    """The inverse, twice as large: Z at j and k from frequencies at `x[a]` and `x[b]` on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values = _values(context, builder, signature.args, arguments)
        to_r, to_i, to, back, source, at, behind, roots, first = values
        lanes = _Lanes(context, builder, x.dtype)
        cosine, sine = (lanes.splat(roots, first, part) for part in (0, 1))
        for lane in lanes.parts:
            near = lanes.load_pairs(source, lanes.index(at, 2 * lane))
            far = lanes.load_pairs(source, lanes.index(behind, 2 * lane))
            even_r, even_i = near.re + far.re, near.im - far.im
            odd_r, odd_i = near.re - far.re, near.im + far.im
            turned_r = odd_r * cosine + odd_i * sine
            turned_i = odd_i * cosine - odd_r * sine
            one, other = (lanes.index(start, lane) for start in (to, back))
            lanes.store(even_r - turned_i, to_r, one)
            lanes.store(even_i + turned_r, to_i, one)
            lanes.store(even_r + turned_i, to_r, other)
            lanes.store(turned_r - even_i, to_i, other)
        return context.get_dummy_value()

    return types.void(r, i, j, k, x, a, b, w, t), generate


def _values(context: Any, builder: Any, kinds: Sequence[Any], given: Sequence[Any]) -> list[Any]:
    """Where arrays begin, whole numbers, and a scale in the arrays' own dtype."""
    (dtype, *_) = (kind.dtype for kind in kinds if isinstance(kind, types.Array))
    values = []
    for kind, value in zip(kinds, given, strict=True):
        if isinstance(kind, types.Array):
            values.append(context.make_array(kind)(context, builder, value).data)
        else:
            wanted = dtype if isinstance(kind, types.Float) else types.intp
            values.append(context.cast(builder, value, kind, wanted))
    return values


class _Lanes:
    """Loads and stores of all lanes, a vector of the processor's at a time."""

    def __init__(self, context: Any, builder: Any, dtype: Any) -> None:
        self.builder, self.element = builder, context.get_data_type(dtype)
        self.size = VECTOR_BYTES // (dtype.bitwidth // 8)
        self.vector = ir.VectorType(self.element, self.size)
        self.parts = range(0, LANES, self.size)
        self.number = ir.IntType(32)

    def index(self, start: Any, lane: int, apart: Any = None, count: int = 0) -> Any:
        """`start + count * apart + lane`."""
        if count:
            start = self.builder.add(start, self.builder.mul(apart, ir.Constant(apart.type, count)))
        return self.builder.add(start, ir.Constant(start.type, lane))

    def _place(self, array: Any, at: Any) -> Any:
        place = self.builder.gep(array, [at])
        return self.builder.bitcast(place, self.vector.as_pointer())

    def load(self, array: Any, at: Any, align: int = ALIGNED) -> _Real:
        """A vector."""
        return _Real(self.builder, self.builder.load(self._place(array, at), align=align))

    def store(self, number: _Real, array: Any, at: Any, align: int = ALIGNED) -> None:
        """The same, stored."""
        self.builder.store(number.value, self._place(array, at), align=align)

    def load_pairs(self, array: Any, at: Any) -> _Complex:
        """Two vectors of neighbouring parts, taken apart."""
        after = self.builder.add(at, ir.Constant(at.type, self.size))
        two = [self.builder.load(self._place(array, place), align=4) for place in (at, after)]
        numbers = range(self.size)
        re, im = (self._shuffled(two, [2 * k + part for k in numbers]) for part in (0, 1))
        return _Complex(_Real(self.builder, re), _Real(self.builder, im))

    def store_pairs(self, number: _Complex, array: Any, at: Any) -> None:
        """The inverse."""
        parts, half = [number.re.value, number.im.value], self.size // 2
        for first, place in (
            (0, at),
            (half, self.builder.add(at, ir.Constant(at.type, self.size))),
        ):
            order = [k + part * self.size for k in range(first, first + half) for part in (0, 1)]
            self.builder.store(self._shuffled(parts, order), self._place(array, place), align=4)

    def _shuffled(self, two: Sequence[Any], order: Sequence[int]) -> Any:
        mask = ir.Constant(ir.VectorType(self.number, len(order)), list(order))
        return self.builder.shuffle_vector(*two, mask)

    def splat(self, array: Any, first: Any, part: int) -> _Real:
        """One number of an array in all lanes."""
        place = self.builder.gep(array, [self.builder.add(first, ir.Constant(first.type, part))])
        return self.spread(self.builder.load(place))

    def spread(self, number: Any) -> _Real:
        """A number in all lanes."""
        nothing = ir.Constant(self.vector, ir.Undefined)
        one = self.builder.insert_element(nothing, number, ir.Constant(self.number, 0))
        zeros = ir.Constant(ir.VectorType(self.number, self.size), [0] * self.size)
        return _Real(self.builder, self.builder.shuffle_vector(one, nothing, zeros))
