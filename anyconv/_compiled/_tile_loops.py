"""One tile of a matrix product, for Numba's loops: LLVM's instructions, sums in registers.

A compiler does not by itself keep an array of sums in a processor's registers while a loop runs
over what is summed, which is what the speed of a product hangs on. So the instructions of that one
loop are written out here, for as many vectors as a tile has.

K. Goto, R. van de Geijn, "Anatomy of high-performance matrix multiplication", ACM Transactions on
Mathematical Software 34 (2008); E. Georganas et al., "Harnessing deep learning via a single
building block", IPDPS 2020, for sums over several runs.
"""

from functools import cache, partial
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


@cache
def _features() -> dict[str, bool]:
    """What the processor has, as Numba compiles for it."""
    return dict(llvm.get_host_cpu_features())


def has_fused_vectors() -> bool:
    """Whether it multiplies and adds vectors of 256 bits or more in one instruction."""
    return _features().get("avx2", False) and _features().get("fma", False)


IS_WIDE = _features().get("avx512f", False)
VECTOR_BYTES = 64 if IS_WIDE else 32
# The vectors along a row of a tile at most, and for each number of them the rows, so that sums,
# a row of factors and the one that is multiplied by it fill 32 registers, or 16.
MOST_VECTORS = 4 if IS_WIDE else 2
TILE_ROWS = (0, 12, 12, 8, 6) if IS_WIDE else (0, 10, 6)


@intrinsic(prefer_literal=True)
def multiply_tile(
    typing: Any,
    vectors: Any,
    y: Any,
    y_at: Any,
    column: Any,
    x: Any,
    x_at: Any,
    step: Any,
    first: Any,
    rows: Any,
    runs: Any,
    count: Any,
    w: Any,
    w_step: Any,
    width: Any,
    adds: Any,
) -> Any:
    """`y[y_at[i] + column + j] = sum_r sum_k x[x_at[i] + r.x + k step] w[r.w + k w_step + j]`.

    It is for i from `first` on, `rows` of them, at most `TILE_ROWS[vectors]`, and for as many j as
    there are elements in `vectors`, the last of which has `width`. The `count` runs r are threes of
    whole numbers: r.x, r.w and how many k there are, one at least. With `adds` sums are added to y.
    Nothing outside of these elements is read or written, but for all of w's last vector. In place
    of y and w may stand where they begin in memory.
    """
    if not isinstance(vectors, types.IntegerLiteral):
        return None
    most = vectors.literal_value
    others = (y, y_at, column, x, x_at, step, first, rows, runs, count, w, w_step, width, adds)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        tile = _Tile(context, x.dtype, most)
        values = _values(context, builder, signature, arguments)
        for at in (0, 10):  # y and w
            if isinstance(values[at].type, ir.IntType):
                values[at] = builder.inttoptr(values[at], tile.element.as_pointer())
        _call(builder, f"tile_{most}_{tile.bytes}", tile.multiply, values)
        return context.get_dummy_value()

    return types.void(vectors, *others), generate


def _values(context: Any, builder: Any, signature: Any, arguments: Any) -> list[Any]:
    """Where arrays begin, and numbers, of all arguments but the first, a literal."""
    values = []
    for kind, value in zip(signature.args[1:], arguments[1:], strict=True):
        if isinstance(kind, types.Array):
            values.append(context.make_array(kind)(context, builder, value).data)
        else:
            values.append(context.cast(builder, value, kind, types.intp))
    return values


def _call(builder: Any, name: str, write: Any, arguments: list[Any]) -> None:
    """A call of a function that is written once for a module, and never into its callers."""
    name, module = f"anyconv_{name}", builder.module
    function = module.globals.get(name)
    if function is None:
        kind = ir.FunctionType(ir.VoidType(), [argument.type for argument in arguments])
        function = ir.Function(module, kind, name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        own = ir.IRBuilder(function.append_basic_block("entry"))
        write(own, *function.args)
        own.ret_void()
    builder.call(function, arguments)


class _Tile:
    """The instructions of one tile."""

    def __init__(self, context: Any, dtype: Any, vectors: int) -> None:
        self.vectors, self.rows = vectors, TILE_ROWS[vectors]
        self.element = context.get_data_type(dtype)
        self.bytes = dtype.bitwidth // 8
        self.size = VECTOR_BYTES // self.bytes
        self.vector = ir.VectorType(self.element, self.size)
        self.whole = ir.IntType(64)

    def multiply(
        self,
        builder: Any,
        y: Any,
        y_at: Any,
        column: Any,
        x: Any,
        x_at: Any,
        step: Any,
        first: Any,
        rows: Any,
        runs: Any,
        count: Any,
        w: Any,
        w_step: Any,
        width: Any,
        adds: Any,
    ) -> None:
        """Sums over runs, then written or added to y."""
        self.builder = builder
        adds = builder.icmp_signed("!=", adds, self.number(0))
        last = builder.sub(rows, self.number(1))
        places = []  # where the rows of a tile begin in x; those that are too many as the last
        for row in range(self.rows):
            inside = builder.icmp_signed("<", self.number(row), last)
            which = builder.add(first, builder.select(inside, self.number(row), last))
            places.append(builder.gep(x, [self.element_of(x_at, which)]))
        sums = [ir.Constant(self.vector, None)] * (self.rows * self.vectors)

        with _Loop(builder, count, sums) as outer:
            base = builder.mul(outer.index, self.number(3))
            parts = (self.element_of(runs, builder.add(base, self.number(i))) for i in range(3))
            from_x, from_w, length = parts
            starts = [builder.gep(place, [from_x]) for place in places]
            with _Loop(builder, length, outer.sums) as inner:
                ahead = builder.mul(inner.index, step)
                row = builder.mul(inner.index, w_step)
                factors = builder.gep(w, [builder.add(from_w, row)])
                loaded = [self.load(factors, vector) for vector in range(self.vectors)]
                for i, start in enumerate(starts):
                    cell = self.repeat(builder.load(builder.gep(start, [ahead])))
                    for j, factor in enumerate(loaded):
                        at = i * self.vectors + j
                        inner.sums[at] = self.multiply_add(cell, factor, inner.sums[at])
            outer.sums = inner.results
        results = outer.results

        mask = self._mask(width)
        for i in range(self.rows):
            with builder.if_then(builder.icmp_signed("<", self.number(i), rows)):
                at = self.element_of(y_at, builder.add(first, self.number(i)))
                target = builder.gep(y, [builder.add(at, column)])
                for j in range(self.vectors):
                    masked = mask if j == self.vectors - 1 else None
                    self._put(target, j, results[i * self.vectors + j], adds, masked)

    def combine(
        self,
        terms: int,
        builder: Any,
        t: Any,
        y: Any,
        y_step: Any,
        x: Any,
        x_step: Any,
        rows: Any,
    ) -> None:
        """A few vectors times a matrix."""
        self.builder = builder
        x, y = (builder.inttoptr(place, self.element.as_pointer()) for place in (x, y))
        loaded = []
        for j in range(terms):
            place = builder.gep(x, [builder.mul(x_step, self.number(j))])
            loaded.append(self.load(place, 0))
        with _Loop(builder, rows, []) as loop:
            row = builder.gep(t, [builder.mul(loop.index, self.number(terms))])
            total = ir.Constant(self.vector, None)
            for j, cell in enumerate(loaded):
                factor = self.repeat(builder.load(builder.gep(row, [self.number(j)])))
                total = self.multiply_add(cell, factor, total) if j else builder.fmul(cell, factor)
            place = builder.gep(y, [builder.mul(loop.index, y_step)])
            builder.store(total, self.vector_at(place, 0)).align = self.bytes

    def number(self, n: int) -> Any:
        return ir.Constant(self.whole, n)

    def element_of(self, table: Any, index: Any) -> Any:
        return self.builder.load(self.builder.gep(table, [index]))

    def vector_at(self, start: Any, vector: int) -> Any:
        place = self.builder.gep(start, [self.number(vector * self.size)])
        return self.builder.bitcast(place, self.vector.as_pointer())

    def load(self, start: Any, vector: int) -> Any:
        loaded = self.builder.load(self.vector_at(start, vector))
        loaded.align = self.bytes
        return loaded

    def repeat(self, value: Any) -> Any:
        """A vector of one value."""
        undefined = ir.Constant(self.vector, ir.Undefined)
        lane = ir.Constant(ir.IntType(32), 0)
        first = self.builder.insert_element(undefined, value, lane)
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), self.size), None)
        return self.builder.shuffle_vector(first, undefined, lanes)

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        return self.builder.call(self._llvm("fma", kind, ""), [a, b, c])

    def _mask(self, width: Any) -> Any:
        """Of the last vector, the elements that are meant."""
        narrow = self.builder.trunc(width, ir.IntType(32))
        kind = ir.VectorType(ir.IntType(32), self.size)
        undefined = ir.Constant(kind, ir.Undefined)
        lane = ir.Constant(ir.IntType(32), 0)
        repeated = self.builder.shuffle_vector(
            self.builder.insert_element(undefined, narrow, lane), undefined, ir.Constant(kind, None)
        )
        counted = ir.Constant(kind, list(range(self.size)))
        return self.builder.icmp_signed("<", counted, repeated)

    def _put(self, target: Any, vector: int, value: Any, adds: Any, mask: Any) -> None:
        """A vector of sums written to y or added to it."""
        builder, place = self.builder, self.vector_at(target, vector)
        align = ir.Constant(ir.IntType(32), self.bytes)
        pointer = f".p0v{self.size}f{self.bytes * 8}"
        bits = ir.VectorType(ir.IntType(1), self.size)
        with builder.if_else(adds) as (yes, no):
            with yes:
                start = builder.block
                if mask is None:
                    old = self.load(target, vector)
                else:
                    kind = ir.FunctionType(
                        self.vector, [place.type, ir.IntType(32), bits, self.vector]
                    )
                    read = self._llvm("masked.load", kind, pointer)
                    nothing = ir.Constant(self.vector, None)
                    old = builder.call(read, [place, align, mask, nothing])
                total = builder.fadd(old, value)
                start = builder.block
            with no:
                other = builder.block
        merged = builder.phi(self.vector)
        merged.add_incoming(total, start)
        merged.add_incoming(value, other)
        if mask is None:
            builder.store(merged, place).align = self.bytes
            return
        kind = ir.FunctionType(ir.VoidType(), [self.vector, place.type, ir.IntType(32), bits])
        builder.call(self._llvm("masked.store", kind, pointer), [merged, place, align, mask])

    def _llvm(self, name: str, kind: Any, suffix: str) -> Any:
        """One of LLVM's own functions on vectors."""
        name = f"llvm.{name}.v{self.size}f{self.bytes * 8}{suffix}"
        return cgutils.get_or_insert_function(self.builder.module, kind, name)


class _Loop:
    """A loop that runs once at least, and the sums that it carries."""

    def __init__(self, builder: Any, count: Any, sums: list[Any]) -> None:
        self.builder, self.count, self._given = builder, count, sums

    def __enter__(self) -> "_Loop":
        before = self.builder.block
        self._start = self.builder.append_basic_block("sum")
        self.builder.branch(self._start)
        self.builder.position_at_end(self._start)
        self.index = self.builder.phi(self.count.type)
        self.index.add_incoming(ir.Constant(self.count.type, 0), before)
        self._carried = [self.builder.phi(value.type) for value in self._given]
        for carried, value in zip(self._carried, self._given, strict=True):
            carried.add_incoming(value, before)
        self.sums = list(self._carried)
        return self

    def __exit__(self, *_: object) -> None:
        end = self.builder.block
        following = self.builder.add(self.index, ir.Constant(self.count.type, 1))
        self.index.add_incoming(following, end)
        for carried, value in zip(self._carried, self.sums, strict=True):
            carried.add_incoming(value, end)
        after = self.builder.append_basic_block("summed")
        again = self.builder.icmp_signed("<", following, self.count)
        self.builder.cbranch(again, self._start, after)
        self.builder.position_at_end(after)
        self.results = self.sums


@intrinsic(prefer_literal=True)
def combine_rows(
    typing: Any,
    terms: Any,
    t: Any,
    t_at: Any,
    y: Any,
    y_step: Any,
    x: Any,
    x_step: Any,
    rows: Any,
) -> Any:
    """`y[i y_step + v] = sum_j t[t_at + i terms + j] x[j x_step + v]`.

    It is for i < rows, one at least, j < terms, and v the elements of one vector; y and x are where
    these begin in memory.
    """
    if not isinstance(terms, types.IntegerLiteral):
        return None
    most = terms.literal_value
    given = (terms, t, t_at, y, y_step, x, x_step, rows)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        tile = _Tile(context, signature.args[1].dtype, 1)
        factors, at, *others = _values(context, builder, signature, arguments)
        factors = builder.gep(factors, [at])
        write = partial(tile.combine, most)
        _call(builder, f"combine_{most}_{tile.bytes}", write, [factors, *others])
        return context.get_dummy_value()

    return types.void(*given), generate
