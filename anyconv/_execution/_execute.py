"""Carry out a plan, block by block.

Arrays are canonical: `x (n, *spatial, c_in)`, `w (*kernel, c_in / groups, c_out)`, `y (n, *output,
c_out)`. Blocks write disjoint parts of an output; shares of a sum are added in order, so results
are equal from run to run.
"""

from collections.abc import Sequence
from itertools import groupby

from anyconv._algorithms import ByJobs, CompiledTaps, WritesByJobs
from anyconv._algorithms._bilinear import backwards
from anyconv._execution import _by_jobs
from anyconv._execution._block_maps import inputs, prepared, product_dtype, summed
from anyconv._execution._held_data import write_outputs, write_weight_gradient
from anyconv._execution._workers import share
from anyconv._geometry import Problem
from anyconv._namespace import accumulator, as_dtype, conjugate, device, has_out, set_at
from anyconv._plans._plan import Block, PhasePlan, Plan
from anyconv._typing import Array, DType, Index, Namespace
from anyconv._windows import add_slab


def run_forward(
    plan: Plan,
    x: Array,
    w: Array,
    b: Array | None,
    *,
    channels_first: bool = False,
    is_adjoint: bool = False,
    out: Array | None = None,
    xp: Namespace,
) -> Array:
    """`y = A( B(x) @ G(w) ) + b`; with `channels_first` y may lie so in memory.

    With `is_adjoint` w is that of the convolution whose adjoint this is, `(*kernel, k, c)`, and its
    taps run backwards. A plan that is not rewritten may have `out`, cells of a larger array, to
    write into.
    """
    if plan.inner:
        outer, inner = plan.inner.rewriting, plan.inner.plan
        w = xp.matrix_transpose(backwards(w, xp=xp)) if is_adjoint else w
        x, w = _inner_data(plan, x, xp=xp), outer.weight(w, xp=xp)
        b = None if b is None else outer.bias(b, xp=xp)
        y = run_forward(inner, x, w, b, xp=xp)
        return outer.output(y, xp=xp)
    dtype = product_dtype(plan, x.dtype, xp=xp)
    if b is not None:
        dtype = accumulator(xp, x.dtype)  # a bias is added to sums that are not yet rounded
    bias = None if b is None else as_dtype(b, dtype, xp=xp)
    if out is None and _is_one_block(plan, channels_first=channels_first):
        (block,), (channels,) = plan.blocks, plan.channels
        weights = prepared(plan, w, channels, dtype, is_adjoint=is_adjoint, xp=xp)
        return as_dtype(_outputs(block, x, weights, bias, dtype, xp=xp), x.dtype, xp=xp)
    y = _empty_outputs(plan, x, channels_first=channels_first, xp=xp) if out is None else out
    if plan.holds_data:
        write_outputs(plan, x, w, bias, y, dtype, is_adjoint=is_adjoint, xp=xp)
        return y
    in_place = plan.writes_in_place and has_out(xp) and dtype == x.dtype
    in_place = in_place and (out is None or plan.template.writes_into == "cells")
    if in_place and isinstance(plan.template, WritesByJobs):
        _by_jobs.write_outputs(plan, x, w, bias, y, is_adjoint=is_adjoint, xp=xp)
        return y
    parts = [prepared(plan, w, c, dtype, is_adjoint=is_adjoint, xp=xp) for c in plan.channels]

    def work(blocks: Sequence[Block]) -> None:
        for block in blocks:
            if in_place:
                _write_outputs(block, x, parts[block.part], bias, y, dtype, xp=xp)
            else:
                y[block.outputs] = _outputs(block, x, parts[block.part], bias, dtype, xp=xp)

    share(work, plan.blocks, plan.workers)
    return y


def _is_one_block(plan: Plan, *, channels_first: bool) -> bool:
    """Whether what an algorithm makes of a single block is all of y, as it had better lie.

    One that writes where it is told had better be told, unless to find that place takes longer.
    """
    if plan.traits.runs == "traced":
        return True
    if len(plan.blocks) != 1 or len(plan.channels) > 1 or plan.holds_data:
        return False
    if channels_first and plan.template.lies_channels_first:
        return False
    return plan.traits.runs == "gpu" or plan.template.writes_into in ("rows", "nothing")


def _empty_outputs(plan: Plan, x: Array, *, channels_first: bool, xp: Namespace) -> Array:
    """The canonical y, yet to be written, which may lie in memory with its channels first."""
    shape = plan.problem.y_shape
    if channels_first and plan.template.lies_channels_first:
        n, *sizes, k = shape
        return xp.moveaxis(xp.empty((n, k, *sizes), dtype=x.dtype, device=device(x)), 1, -1)
    return xp.empty(shape, dtype=x.dtype, device=device(x))


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
    block.algorithm.forward_into(target, inputs(block, x, dtype, xp=xp), weights, xp=xp)
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
    y = block.algorithm.forward(inputs(block, x, dtype, xp=xp), weights, xp=xp)
    if bias is None:
        return y
    bias = bias[block.outputs[-1]]
    return xp.add(y, bias, out=y) if has_out(xp) else y + bias


def run_input_gradient(
    plan: Plan,
    dy: Array,
    w: Array,
    b: Array | None = None,
    *,
    channels_first: bool = False,
    xp: Namespace,
) -> Array:
    """`dx = B*( A*(dy) @ G(w)^H )`, or the same as stride-one convolutions of dy.

    As a layer of its own, a transposed convolution, it has a bias, one number for each channel.
    """
    if plan.inner:
        outer, inner, given = plan.inner.rewriting, plan.inner.plan, dy.dtype
        if b is not None:
            dy, w = (as_dtype(a, accumulator(xp, given), xp=xp) for a in (dy, w))
        dy, w = outer.output_adjoint(dy, xp=xp), outer.weight(w, xp=xp)
        dx = run_input_gradient(inner, dy, w, xp=xp)
        if plan.moves_by_jobs:
            dx = _by_jobs.folded(inner, outer, dx, xp=xp)
        else:
            dx = outer.data_adjoint(dx, xp=xp)
        return _with_bias(dx, b, given, xp=xp)
    if plan.phases:
        return _run_phases(plan, dy, w, b, channels_first=channels_first, xp=xp)
    dtype = product_dtype(plan, dy.dtype, xp=xp)
    if b is not None:
        dtype = accumulator(xp, dy.dtype)  # a bias is added to sums that are not yet rounded
    parts = [prepared(plan, w, channels, dtype, xp=xp) for channels in plan.channels]
    is_by_jobs = dtype == dy.dtype and isinstance(plan.template, CompiledTaps)
    images = [list(blocks) for _, blocks in groupby(plan.blocks, key=lambda block: block.images)]
    adds = plan.template.adds_into_slices and len(parts) == 1
    if plan.is_one_slab and not is_by_jobs:
        dx = plan.blocks[0].algorithm.input_gradient(as_dtype(dy, dtype, xp=xp), parts[0], xp=xp)
    elif not (adds and images and len(images) >= plan.workers):
        dx = _add_slabs(plan, dy, parts, dtype, xp=xp)
    elif is_by_jobs:
        dx = xp.empty(plan.problem.x_shape, dtype=dtype, device=device(dy))
        _by_jobs.write_input_gradient(plan, dy, parts[0], dx)
    else:
        dx = _add_by_images(plan, images, dy, parts, dtype, xp=xp)
    return _with_bias(dx, b, dy.dtype, xp=xp)


def _run_phases(
    plan: Plan, dy: Array, w: Array, b: Array | None, *, channels_first: bool, xp: Namespace
) -> Array:
    """An input gradient as stride-one convolutions of dy, written between one another."""
    p = plan.problem
    if len(plan.phases) == 1 and all(s == 1 for s in p.geometry.stride):
        (step,) = plan.phases
        return _run_phase(step, p, dy, w, b, channels_first=channels_first, xp=xp)
    make = xp.empty if plan.phases_cover else xp.zeros
    dx = make(p.x_shape, dtype=dy.dtype, device=device(dy))
    if not plan.phases_cover:
        dx = _with_bias(dx, b, dy.dtype, xp=xp)
    for step in plan.phases:
        axes = zip(step.phases, p.geometry.stride, strict=True)
        cells: Index = (slice(None), *(slice(phase.first, None, s) for phase, s in axes), ...)
        if has_out(xp) and not step.plan.inner:
            _run_phase(step, p, dy, w, b, out=dx[cells], xp=xp)
            continue
        part = _run_phase(step, p, dy, w, b, xp=xp)
        dx = set_at(dx, cells, part, xp=xp)
        del part  # before the next one is made
    return dx


def _add_by_images(
    plan: Plan,
    images: Sequence[Sequence[Block]],
    dy: Array,
    parts: Sequence[Sequence[Array]],
    dtype: DType,
    *,
    xp: Namespace,
) -> Array:
    """Slabs of one image overlap, so they are added in order; each worker has images of its own."""
    dx = xp.empty(plan.problem.x_shape, dtype=dtype, device=device(dy))

    def add(some: Sequence[Sequence[Block]]) -> None:
        for blocks in some:
            dx[blocks[0].images, ...] = 0
            for block in blocks:
                cells = dx[(block.images, *(slice(*ends) for ends in block.slab), ...)]
                part = as_dtype(dy[block.outputs], dtype, xp=xp)
                block.algorithm.add_input_gradient(cells, part, parts[block.part], xp=xp)

    share(add, images, plan.workers)
    return dx


def _add_slabs(
    plan: Plan, dy: Array, parts: Sequence[Sequence[Array]], dtype: DType, *, xp: Namespace
) -> Array:
    """Slabs made by all workers at once, then added one by one, in order."""
    dx = xp.zeros(plan.problem.x_shape, dtype=dtype, device=device(dy))

    def work(blocks: Sequence[Block]) -> Array:
        (block,) = blocks
        part = as_dtype(dy[block.outputs], dtype, xp=xp)
        return block.algorithm.input_gradient(part, parts[block.part], xp=xp)

    for start in range(0, len(plan.blocks), plan.workers):
        blocks = plan.blocks[start : start + plan.workers]
        slabs = share(work, blocks, plan.workers)
        for block in blocks:
            dx = add_slab(dx, slabs.pop(0), block.images, block.slab, xp=xp)
    return dx


def _with_bias(dx: Array, b: Array | None, dtype: DType, *, xp: Namespace) -> Array:
    """A bias added to what nobody else holds, before that is rounded to its dtype."""
    if b is not None:
        b = as_dtype(b, accumulator(xp, dtype), xp=xp)
        dx = as_dtype(dx, b.dtype, xp=xp)
        dx = xp.add(dx, b, out=dx) if has_out(xp) else dx + b
    return as_dtype(dx, dtype, xp=xp)


def _run_phase(
    step: PhasePlan,
    problem: Problem,
    dy: Array,
    w: Array,
    b: Array | None,
    *,
    channels_first: bool = False,
    out: Array | None = None,
    xp: Namespace,
) -> Array:
    """One phase of an input gradient: dy convolved with its taps, flipped, channels transposed."""
    if step.taps is not None:
        w = w[step.taps]
    w, is_adjoint = conjugate(w, xp=xp), problem.groups == 1
    if not is_adjoint:
        w = backwards(w, xp=xp)
        *kernel, c, k = w.shape
        w = xp.reshape(w, (*kernel, c, problem.groups, k // problem.groups))
        w = xp.permute_dims(w, (*range(len(kernel)), w.ndim - 1, w.ndim - 2, w.ndim - 3))
        w = xp.reshape(w, (*kernel, k // problem.groups, problem.groups * c))
    return run_forward(
        step.plan,
        dy,
        w,
        b,
        channels_first=channels_first,
        is_adjoint=is_adjoint,
        out=out,
        xp=xp,
    )


def run_weight_gradient(plan: Plan, dy: Array, x: Array, *, xp: Namespace) -> Array:
    """`dw = G*( B(x)^H @ A*(dy) )`, summed over all blocks."""
    if plan.inner:
        outer, inner = plan.inner.rewriting, plan.inner.plan
        dy, x = outer.output_adjoint(dy, xp=xp), _inner_data(plan, x, xp=xp)
        return outer.weight_adjoint(run_weight_gradient(inner, dy, x, xp=xp), xp=xp)
    p, dtype = plan.problem, product_dtype(plan, dy.dtype, xp=xp)
    if not plan.blocks:
        return xp.zeros(p.w_shape, dtype=dy.dtype, device=device(dy))
    if plan.holds_data:
        dw = xp.empty(p.w_shape, dtype=dy.dtype, device=device(dy))
        write_weight_gradient(plan, dy, x, dw, dtype, xp=xp)
        return dw
    if dtype == dy.dtype and isinstance(plan.template, ByJobs):
        return _by_jobs.weight_gradient(plan, dy, x, xp=xp)
    if len(plan.blocks) == 1:
        terms = _weight_terms(plan.blocks[0], dy, x, dtype, xp=xp)
        return as_dtype(plan.template.weight_adjoint(terms, xp=xp), dy.dtype, xp=xp)

    def work(blocks: Sequence[Block]) -> list[Array]:
        """The sum of the shares of some blocks, all of the same output channels."""
        total: list[Array] = []
        for block in blocks:
            terms = _weight_terms(block, dy[block.outputs], x, dtype, xp=xp)
            total = summed(total, terms, xp=xp)
            del terms  # before the next block's are made
        return total

    if len(plan.channels) > 1:
        dw = xp.empty(p.w_shape, dtype=dy.dtype, device=device(dy))

        def write(parts: Sequence[Sequence[Block]]) -> None:
            for blocks in parts:
                part = plan.template.weight_adjoint(work(blocks), xp=xp)
                dw[(..., plan.channels[blocks[0].part])] = as_dtype(part, dw.dtype, xp=xp)

        parts = [list(blocks) for _, blocks in groupby(plan.blocks, key=lambda block: block.part)]
        share(write, parts, plan.workers)
        return dw

    total: list[Array] = []
    for terms in share(work, plan.blocks, plan.workers):
        total = summed(total, terms, xp=xp)
    return as_dtype(plan.template.weight_adjoint(total, xp=xp), dy.dtype, xp=xp)


def _weight_terms(block: Block, dy: Array, x: Array, dtype: DType, *, xp: Namespace) -> list[Array]:
    """One block's share of the gradient of the weights, from that of its outputs."""
    x_part = inputs(block, x, dtype, xp=xp)
    return block.algorithm.weight_gradient(as_dtype(dy, dtype, xp=xp), x_part, xp=xp)


def _inner_data(plan: Plan, x: Array, *, xp: Namespace) -> Array:
    """The input of the problem that stands for a plan's."""
    assert plan.inner is not None
    outer, inner = plan.inner.rewriting, plan.inner.plan
    if plan.moves_by_jobs:
        return _by_jobs.unfolded(inner, outer, x, xp=xp)
    return outer.data(x, xp=xp)
