"""Carry out a plan: the only loop over blocks.

Arrays are canonical: `x (n, *spatial, c_in)`, `w (*kernel, c_in / groups, c_out)`, `y (n, *output,
c_out)`. Blocks write disjoint parts of an output; shares of a sum are added in order, so results
are equal from run to run.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, Self

from anyconv._algorithms._bilinear import conjugate
from anyconv._geometry import Problem
from anyconv._namespace import (
    accumulator,
    add_at,
    array_namespace,
    device,
    has_out,
    is_lazy_blocks,
    is_traced,
    map_batch,
    set_at,
)
from anyconv._options import options
from anyconv._plan import Block, PhasePlan, Plan
from anyconv._typing import Array, DType, Index, Namespace, Shape
from anyconv._windows import add_slab, slab
from anyconv._workers import share


def run_forward(
    plan: Plan,
    x: Array,
    w: Array,
    b: Array | None,
    *,
    channels_first: bool = False,
    is_turned: bool = False,
    out: Array | None = None,
    xp: Namespace,
) -> Array:
    """`y = A( B(x) @ G(w) ) + b`; with `channels_first` y may lie so in memory.

    With `is_turned` the channels of w stand the other way round, `(*kernel, k, c)`. A plan that is
    not rewritten may have `out`, cells of a larger array, to write into.
    """
    if plan.inner:
        outer, inner = plan.inner.rewriting, plan.inner.plan
        w = xp.matrix_transpose(w) if is_turned else w
        x, w = outer.data(x, xp=xp), outer.weight(w, xp=xp)
        b = None if b is None else outer.bias(b, xp=xp)
        y = run_forward(inner, x, w, b, xp=xp)
        return outer.output(y, xp=xp)
    p, dtype = plan.problem, _product_dtype(plan, x.dtype, xp=xp)
    if b is not None:
        dtype = accumulator(xp, x.dtype)  # a bias is added to sums that are not yet rounded
    weights = _prepared(plan, _as(w, dtype, xp=xp), is_turned=is_turned, xp=xp)
    bias = None if b is None else _as(b, dtype, xp=xp)
    if is_traced(xp):
        (block,) = plan.blocks
        return _as(_outputs(block, x, weights[0], bias, dtype, xp=xp), x.dtype, xp=xp)
    shape = (p.images, *p.geometry.output, p.out_channels)
    in_place = plan.writes_in_place and has_out(xp) and out is None and dtype == x.dtype
    if out is not None:
        y = out
    elif channels_first and plan.template.lies_channels_first:
        y = xp.empty((shape[0], shape[-1], *shape[1:-1]), dtype=x.dtype, device=device(x))
        y = xp.moveaxis(y, 1, -1)
    else:
        y = xp.empty(shape, dtype=x.dtype, device=device(x))

    def work(blocks: Sequence[Block]) -> None:
        for block in blocks:
            if in_place:
                _write_outputs(block, x, weights[block.part], bias, y, dtype, xp=xp)
            else:
                y[block.outputs] = _outputs(block, x, weights[block.part], bias, dtype, xp=xp)

    share(work, plan.blocks, plan.workers)
    return y


def _prepared(
    plan: Plan, w: Array, *, is_turned: bool = False, xp: Namespace
) -> list[Sequence[Array]]:
    """The prepared weights of each part of the output channels."""
    template = plan.template
    if is_turned:
        return [template.turned_weight(w[..., part, :], xp=xp) for part in plan.channels]
    return [template.weight(w[..., part], xp=xp) for part in plan.channels]


def _write_outputs(
    block: Block,
    x: Array,
    weights: Sequence[Array],
    bias: Array | None,
    y: Array,
    dtype: DType,
    *,
    xp: Namespace,
) -> None:
    """The outputs of one block, straight into y where they belong."""
    target = y[block.outputs]
    block.algorithm.forward_into(target, _inputs(block, x, dtype, xp=xp), weights, xp=xp)
    if bias is not None:
        xp.add(target, bias[block.outputs[-1]], out=target)


def _outputs(
    block: Block,
    x: Array,
    weights: Sequence[Array],
    bias: Array | None,
    dtype: DType,
    *,
    xp: Namespace,
) -> Array:
    """The outputs of one block."""
    y = block.algorithm.forward(_inputs(block, x, dtype, xp=xp), weights, xp=xp)
    return y if bias is None else y + bias[block.outputs[-1]]


def run_input_gradient(
    plan: Plan, dy: Array, w: Array, *, channels_first: bool = False, xp: Namespace
) -> Array:
    """`dx = B*( A*(dy) @ G(w)^H )`, or the same as stride-one convolutions of dy."""
    if plan.inner:
        outer, inner = plan.inner.rewriting, plan.inner.plan
        dy, w = outer.output_adjoint(dy, xp=xp), outer.weight(w, xp=xp)
        return outer.data_adjoint(run_input_gradient(inner, dy, w, xp=xp), xp=xp)
    p, dtype = plan.problem, _product_dtype(plan, dy.dtype, xp=xp)
    shape = (p.images, *p.geometry.input, p.in_channels)
    if plan.rewritten:
        if len(plan.rewritten) == 1 and all(s == 1 for s in p.geometry.stride):
            (step,) = plan.rewritten
            return _run_phase(step, p, dy, w, channels_first=channels_first, xp=xp)
        make = xp.empty if plan.phases_cover else xp.zeros
        dx = make(shape, dtype=dy.dtype, device=device(dy))
        for step in plan.rewritten:
            axes = zip(step.phases, p.geometry.stride, strict=True)
            cells: Index = (
                slice(None),
                *(slice(phase.first, None, s) for phase, s in axes),
                ...,
            )
            if has_out(xp) and not step.plan.inner:
                _run_phase(step, p, dy, w, out=dx[cells], xp=xp)
                continue
            part = _run_phase(step, p, dy, w, xp=xp)
            dx = set_at(dx, cells, part, xp=xp)
            del part  # before the next one is made
        return dx
    weights = _prepared(plan, _as(w, dtype, xp=xp), xp=xp)
    dx = xp.zeros(shape, dtype=dtype, device=device(dy))

    def work(blocks: Sequence[Block]) -> Array:
        (block,) = blocks
        part = _as(dy[block.outputs], dtype, xp=xp)
        return block.algorithm.input_gradient(part, weights[block.part], xp=xp)

    # Slabs overlap, so they are added one by one, in order.
    for start in range(0, len(plan.blocks), plan.workers):
        blocks = plan.blocks[start : start + plan.workers]
        slabs = share(work, blocks, plan.workers)
        for block in blocks:
            dx = add_slab(dx, slabs.pop(0), block.images, block.slab, xp=xp)
    return _as(dx, dy.dtype, xp=xp)


def _run_phase(
    step: PhasePlan,
    problem: Problem,
    dy: Array,
    w: Array,
    *,
    channels_first: bool = False,
    out: Array | None = None,
    xp: Namespace,
) -> Array:
    """One phase of an input gradient: dy convolved with its taps, flipped, channels turned."""
    taps = tuple(slice(p.taps.start, None, p.taps.step) for p in step.phases)
    w = conjugate(xp.flip(w[(*taps, ...)], axis=tuple(range(len(taps)))), xp=xp)
    is_turned = problem.groups == 1
    if not is_turned:
        *kernel, c, k = w.shape
        w = xp.reshape(w, (*kernel, c, problem.groups, k // problem.groups))
        w = xp.permute_dims(w, (*range(len(kernel)), w.ndim - 1, w.ndim - 2, w.ndim - 3))
        w = xp.reshape(w, (*kernel, k // problem.groups, problem.groups * c))
    return run_forward(
        step.plan,
        dy,
        w,
        None,
        channels_first=channels_first,
        is_turned=is_turned,
        out=out,
        xp=xp,
    )


def run_weight_gradient(plan: Plan, dy: Array, x: Array, *, xp: Namespace) -> Array:
    """`dw = G*( B(x)^H @ A*(dy) )`, summed over all blocks."""
    if plan.inner:
        outer, inner = plan.inner.rewriting, plan.inner.plan
        dy, x = outer.output_adjoint(dy, xp=xp), outer.data(x, xp=xp)
        return outer.weight_adjoint(run_weight_gradient(inner, dy, x, xp=xp), xp=xp)
    p, dtype = plan.problem, _product_dtype(plan, dy.dtype, xp=xp)
    if not plan.blocks:
        shape = (*p.geometry.kernel, p.in_channels // p.groups, p.out_channels)
        return xp.zeros(shape, dtype=dy.dtype, device=device(dy))

    def work(blocks: Sequence[Block]) -> list[Array]:
        total: list[Array] = []
        for block in blocks:
            part = _as(dy[block.outputs], dtype, xp=xp)
            terms = block.algorithm.weight_gradient(part, _inputs(block, x, dtype, xp=xp), xp=xp)
            total = _sum(total, terms, xp=xp)
            del part, terms  # before the next block's are made
        return total

    total: list[Array] = []
    for terms in share(work, plan.blocks, plan.workers):
        total = _sum(total, terms, xp=xp)
    return _as(plan.template.weight_adjoint(total, xp=xp), dy.dtype, xp=xp)


def _sum(total: list[Array], terms: list[Array], *, xp: Namespace) -> list[Array]:
    if not total:
        return terms
    return [add_at(t, (...,), term, xp=xp) for t, term in zip(total, terms, strict=True)]


def _inputs(block: Block, x: Array, dtype: DType, *, xp: Namespace) -> Array:
    """The slab of one block, ready to be multiplied."""
    return _as(slab(x, block.images, block.slab, xp=xp), dtype, xp=xp)


def _product_dtype(plan: Plan, dtype: DType, *, xp: Namespace) -> DType:
    """The dtype that blocks are multiplied in."""
    return dtype if plan.multiplies_as_given else accumulator(xp, dtype)


def _as(x: Array, dtype: object, *, xp: Namespace) -> Array:
    return x if x.dtype == dtype else xp.astype(x, dtype)


class Call(Protocol):
    """A checked call whose batch may be cut."""

    @property
    def batch(self) -> Shape:
        """The batch axes."""

    def rebatched(self, batch: Shape) -> Self:
        """The same call on another batch."""


def over_batch(
    kernel: Callable[..., Array],
    call: Call,
    batched: Sequence[Array],
    whole: Sequence[Array],
    shape: Shape,
    *,
    summed: bool = False,
    dtype: DType | None = None,
    xp: Namespace,
) -> Array:
    """A kernel on eager arrays; on lazy ones the same kernel on each block of the batch, later."""
    if not is_lazy_blocks(xp):
        return kernel(call, *batched, *whole, xp=xp)
    batch_axes, dtype = len(call.batch), dtype or batched[0].dtype
    wide = accumulator(xp, dtype) if summed else dtype  # what shares of a sum are kept in
    y = map_batch(
        partial(_on_block, kernel, call, wide if wide != dtype else None),
        batched,
        whole,
        batch_axes=batch_axes,
        result=shape if summed else shape[batch_axes:],
        dtype=wide,
        summed=summed,
    )
    return _as(y, dtype, xp=xp)


def _on_block(
    kernel: Callable[..., Array], call: Call, dtype: DType | None, *arrays: Array
) -> Array:
    """The kernel on one block, in one thread: the blocks are what runs side by side."""
    batch, xp = tuple(arrays[0].shape[: len(call.batch)]), array_namespace(x=arrays[0])
    given = arrays if dtype is None else [_as(array, dtype, xp=xp) for array in arrays]
    with options(workers=1):
        return kernel(call.rebatched(batch), *given, xp=xp)
