"""Convolutions of channels apart, for Numba's loops: a window slides along a row in registers.

    y[o, i] = sum_rk x[r, stride o + k + start, i] w[r, k, i]

For one vector of channels i the factors of up to three rows of up to three taps stay in registers,
and so do the cells that the next window sees again: for each output only the new ones are read.
Cells beside the input are zeros. As in `_tile_loops` the instructions are LLVM's own.

How arrays are walked through is told at the top of `_walk_loops`.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from anyconv._compiled._kept_loops import inner, loop, named
from anyconv._compiled._loop_sizes import SLIDING_ROWS, SLIDING_TAPS
from anyconv._compiled._tile_loops import VECTOR_BYTES, _call, _Loop, _Tile, _values
from anyconv._compiled._walk_loops import (
    CELLS,
    DILATION,
    IMAGES,
    INNER,
    MIDDLE,
    OUTER,
    OUTPUTS,
    START,
    STRIDE,
    TAPS,
    X_STEP,
    Y_STEP,
    U,
)
from anyconv._typing import Array


@intrinsic(prefer_literal=True)
def slide_products(
    typing: Any,
    rows: Any,
    taps: Any,
    carried: Any,
    y: Any,
    y_at: Any,
    y_next: Any,
    adds: Any,
    x: Any,
    x_rows: Any,
    step: Any,
    low: Any,
    cells: Any,
    ahead: Any,
    w: Any,
    w_rows: Any,
    apart: Any,
    outputs: Any,
) -> Any:
    """`y[y_at + o y_next] = sum_rt x[x_r + (low + o ahead + t) step] w[w_r + t apart]`, in vectors.

    The sum is over so many `rows`, whose cell zero and factors begin at x_r and w_r (three numbers
    each), and `taps` of each, of which `carried` are also the next window's. Places beyond so many
    `cells` are zeros. With `adds` sums are added to y. There is one output at least.
    """
    return _vectors("products", y, (rows, taps, carried), locals())


@intrinsic(prefer_literal=True)
def slide_weight(
    typing: Any,
    rows: Any,
    taps: Any,
    carried: Any,
    y: Any,
    y_at: Any,
    y_next: Any,
    skipped: Any,
    x: Any,
    x_rows: Any,
    step: Any,
    low: Any,
    cells: Any,
    ahead: Any,
    w: Any,
    w_rows: Any,
    apart: Any,
    outputs: Any,
) -> Any:
    """The adjoint in w, added to it, but for the first few elements of each vector, `skipped`."""
    return _vectors("weight", y, (rows, taps, carried), locals())


def _vectors(map_name: str, y: Any, sizes: tuple[Any, ...], given: dict[str, Any]) -> Any:
    """The type of one of these functions, and how its instructions are written."""
    if not all(isinstance(size, types.IntegerLiteral) for size in sizes):
        return None
    rows, taps, carried = (size.literal_value for size in sizes)
    others = [kind for name, kind in given.items() if name != "typing"]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        slide = _Slide(context, y.dtype, rows, taps, carried)
        values = _values(context, builder, signature, arguments)[2:]
        name = f"slide_{map_name}_{rows}_{taps}_{carried}_{slide.bytes}"
        _call(builder, name, getattr(slide, map_name), values)
        return context.get_dummy_value()

    return types.void(*others), generate


class _Slide(_Tile):
    """The instructions of one vector of channels."""

    def __init__(self, context: Any, dtype: Any, rows: int, taps: int, carried: int) -> None:
        super().__init__(context, dtype, 1)
        self.rows, self.taps, self.carried = rows, taps, carried

    def products(
        self, builder: Any, y: Any, y_at: Any, y_next: Any, adds: Any, *others: Any
    ) -> None:
        """One output after the other."""
        outputs = self._begin(builder, *others)
        adds = builder.icmp_signed("!=", adds, self.number(0))
        factors = [[self.load(place, 0) for place in row] for row in self.factors]
        with _Loop(builder, outputs, self._first_columns()) as loop:
            columns = self._columns(loop)
            total = None
            for row in range(self.rows):
                for tap in range(self.taps):
                    cell, factor = columns[tap][row], factors[row][tap]
                    if total is None:
                        total = builder.fmul(cell, factor)
                    else:
                        total = self.multiply_add(cell, factor, total)
            place = builder.gep(y, [builder.add(y_at, builder.mul(loop.index, y_next))])
            self._put(place, 0, total, adds, None)

    def weight(
        self, builder: Any, y: Any, y_at: Any, y_next: Any, skipped: Any, *others: Any
    ) -> None:
        """All sums over the outputs, then added to the weight."""
        outputs, count = self._begin(builder, *others), self.rows * self.taps
        zeros = [ir.Constant(self.vector, None)] * count
        with _Loop(builder, outputs, [*self._first_columns(), *zeros]) as loop:
            sums = loop.sums[-count:]
            columns = self._columns(loop)
            place = builder.gep(y, [builder.add(y_at, builder.mul(loop.index, y_next))])
            gradient = self.load(place, 0)
            for row in range(self.rows):
                for tap in range(self.taps):
                    at = row * self.taps + tap
                    sums[at] = self.multiply_add(columns[tap][row], gradient, sums[at])
            loop.sums[-count:] = sums
        counts = builder.not_(self._mask(skipped))
        for row, places in enumerate(self.factors):
            for tap, place in enumerate(places):
                total = loop.results[row * self.taps + tap - count]
                total = builder.select(counts, total, ir.Constant(self.vector, None))
                total = builder.fadd(self.load(place, 0), total)
                builder.store(total, self.vector_at(place, 0)).align = self.bytes

    def _begin(
        self,
        builder: Any,
        x: Any,
        x_rows: Any,
        step: Any,
        low: Any,
        cells: Any,
        ahead: Any,
        w: Any,
        w_rows: Any,
        apart: Any,
        outputs: Any,
    ) -> Any:
        """Keep in mind what both maps share; the number of outputs."""
        self.builder, self.step, self.low = builder, step, low
        self.cells, self.ahead = cells, ahead
        rows = [self.number(row) for row in range(self.rows)]
        self.begins = [builder.gep(x, [self.element_of(x_rows, row)]) for row in rows]
        self.factors = []
        for row in rows:
            start = builder.gep(w, [self.element_of(w_rows, row)])
            taps = (builder.mul(apart, self.number(tap)) for tap in range(self.taps))
            self.factors.append([builder.gep(start, [tap]) for tap in taps])
        return outputs

    def _first_columns(self) -> list[Any]:
        """The cells that the first window would have been left by one before it."""
        places = (self.builder.add(self.low, self.number(n)) for n in range(self.carried))
        return [cell for place in places for cell in self._column(place)]

    def _columns(self, loop: Any) -> list[list[Any]]:
        """The cells of a window, those of each tap; the loop carries what the next one sees."""
        builder, each = self.builder, self.rows
        columns = [loop.sums[n * each : n * each + each] for n in range(self.carried)]
        first = builder.add(self.low, builder.mul(loop.index, self.ahead))
        for tap in range(self.carried, self.taps):
            columns.append(self._column(builder.add(first, self.number(tap))))
        kept = [cell for column in columns[self.taps - self.carried :] for cell in column]
        loop.sums[: self.carried * each] = kept if self.carried else []
        return columns

    def _column(self, place: Any) -> list[Any]:
        """The cells of all rows at a place along them, zeros beyond their ends."""
        builder, found = self.builder, []
        with builder.if_else(builder.icmp_unsigned("<", place, self.cells)) as (inside, beyond):
            with inside:
                offset = builder.mul(place, self.step)
                loaded = [self.load(builder.gep(begin, [offset]), 0) for begin in self.begins]
                start = builder.block
            with beyond:
                other = builder.block
        for cell in loaded:
            merged = builder.phi(self.vector)
            merged.add_incoming(cell, start)
            merged.add_incoming(ir.Constant(self.vector, None), other)
            found.append(merged)
        return found


def _by_rows(rows: int, slide: Any, map_name: str) -> Any:
    """One of the two functions for so many rows; how many taps and carried cells, it sees."""

    @inner
    @named(map_name, rows)
    def by_taps(
        taps: int,
        carried: int,
        y: Array,
        y_at: int,
        y_next: int,
        last: int,
        x: Array,
        x_rows: Array,
        step: int,
        low: int,
        cells: int,
        ahead: int,
        w: Array,
        w_rows: Array,
        apart: int,
        n: int,
    ) -> None:
        if taps == 1:
            slide(
                rows, 1, 0, y, y_at, y_next, last, x, x_rows, step, low, cells, ahead, w, w_rows,
                apart, n,
            )  # fmt: skip
        elif taps == 2 and carried == 0:
            slide(
                rows, 2, 0, y, y_at, y_next, last, x, x_rows, step, low, cells, ahead, w, w_rows,
                apart, n,
            )  # fmt: skip
        elif taps == 2:
            slide(
                rows, 2, 1, y, y_at, y_next, last, x, x_rows, step, low, cells, ahead, w, w_rows,
                apart, n,
            )  # fmt: skip
        elif carried == 0:
            slide(
                rows, 3, 0, y, y_at, y_next, last, x, x_rows, step, low, cells, ahead, w, w_rows,
                apart, n,
            )  # fmt: skip
        elif carried == 1:
            slide(
                rows, 3, 1, y, y_at, y_next, last, x, x_rows, step, low, cells, ahead, w, w_rows,
                apart, n,
            )  # fmt: skip
        else:
            slide(
                rows, 3, 2, y, y_at, y_next, last, x, x_rows, step, low, cells, ahead, w, w_rows,
                apart, n,
            )  # fmt: skip

    return by_taps


@inner
def _rows_of(axes: Array, image: int, a: int, b: int, x_rows: Array, w_rows: Array) -> Any:
    """Where the rows of cells under a row of outputs begin, and their taps' numbers; how many."""
    count = 0
    for i in range(axes[OUTER, TAPS]):
        outer = a * axes[OUTER, STRIDE] + i * axes[OUTER, DILATION] + axes[OUTER, START]
        for j in range(axes[MIDDLE, TAPS]):
            middle = b * axes[MIDDLE, STRIDE] + j * axes[MIDDLE, DILATION] + axes[MIDDLE, START]
            if 0 <= outer < axes[OUTER, CELLS] and 0 <= middle < axes[MIDDLE, CELLS]:
                x_rows[count] = (
                    image * axes[IMAGES, X_STEP]
                    + outer * axes[OUTER, X_STEP]
                    + middle * axes[MIDDLE, X_STEP]
                )
                w_rows[count] = (i * axes[MIDDLE, TAPS] + j) * axes[INNER, TAPS]
                count += 1
    return count


def _all_by(slide: Any, is_weight: bool) -> Any:
    """One of the two maps: all rows of outputs, of each all vectors of channels."""
    map_name = "weight" if is_weight else "products"
    one, two, three = (_by_rows(rows, slide, map_name) for rows in (1, 2, 3))

    @inner
    @named(map_name)
    def all_rows(y: Array, x: Array, w: Array, axes: Array, channels: int) -> None:
        lanes, c = VECTOR_BYTES // y.itemsize, channels
        most = axes[OUTER, TAPS] * axes[MIDDLE, TAPS]
        rows, taps_of = np.empty(most, np.int64), np.empty(most, np.int64)
        x_rows, w_rows = np.empty(SLIDING_ROWS, np.int64), np.empty(SLIDING_ROWS, np.int64)
        n, taps, stride, dilation, start, cells, step, y_next = axes[INNER]
        together = SLIDING_TAPS if dilation == 1 else 1
        for row in range(axes[IMAGES, OUTPUTS] * axes[OUTER, OUTPUTS] * axes[MIDDLE, OUTPUTS]):
            b, rest = row % axes[MIDDLE, OUTPUTS], row // axes[MIDDLE, OUTPUTS]
            a, image = rest % axes[OUTER, OUTPUTS], rest // axes[OUTER, OUTPUTS]
            count = _rows_of(axes, image, a, b, rows, taps_of)
            y_row = (
                image * axes[IMAGES, Y_STEP] + a * axes[OUTER, Y_STEP] + b * axes[MIDDLE, Y_STEP]
            )
            if count == 0 and not is_weight:
                for o in range(n):
                    for i in range(U(c)):
                        y[U(y_row + o * y_next) + i] = 0
            for first in range(0, c, lanes):
                channel = min(first, c - lanes)  # the last vector may begin in the one before it
                y_at, last = y_row + channel, first - channel if is_weight else 0
                for r in range(0, count, SLIDING_ROWS):
                    together_rows = min(SLIDING_ROWS, count - r)
                    for k in range(0, taps, together):
                        for i in range(together_rows):
                            x_rows[i] = rows[r + i] + channel
                            w_rows[i] = (taps_of[r + i] + k) * c + channel
                        low, some = start + k * dilation, min(together, taps - k)
                        carried = max(some - stride, 0)
                        if together_rows == 3:
                            three(
                                some, carried, y, y_at, y_next, last, x, x_rows, step, low, cells,
                                stride, w, w_rows, c, n,
                            )  # fmt: skip
                        elif together_rows == 2:
                            two(
                                some, carried, y, y_at, y_next, last, x, x_rows, step, low, cells,
                                stride, w, w_rows, c, n,
                            )  # fmt: skip
                        else:
                            one(
                                some, carried, y, y_at, y_next, last, x, x_rows, step, low, cells,
                                stride, w, w_rows, c, n,
                            )  # fmt: skip
                        if not is_weight:
                            last = 1

    return all_rows


_all_products, _all_weights = _all_by(slide_products, False), _all_by(slide_weight, True)


@loop
def products(y: Array, x: Array, w: Array, axes: Array, channels: int) -> None:
    """`y = sum_t x_t * w_t`, channel by channel, of factors `(taps, channels)`."""
    _all_products(y, x, w, axes, channels)


@loop
def products_weight(w: Array, x: Array, y: Array, axes: Array, channels: int) -> None:
    """The adjoint in w, added to it."""
    _all_weights(y, x, w, axes, channels)
