"""Carry out a plan whose blocks are jobs: calls of compiled loops on parts of arrays.

Arrays are canonical, as in `_execute`.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from anyconv._algorithms import ByJobs, CompiledTaps, WritesByJobs
from anyconv._compiled import Job, add_to_channels_job, clear_job, fold_job, unfold_job
from anyconv._execution._block_maps import inputs, prepared, summed
from anyconv._execution._job_threads import carry_out, wake
from anyconv._execution._workers import shares
from anyconv._namespace import device
from anyconv._plans._plan import Block, Plan
from anyconv._rewritings import Rewriting
from anyconv._typing import Array, Namespace


def write_outputs(
    plan: Plan,
    x: Array,
    w: Array,
    bias: Array | None,
    y: Array,
    *,
    is_adjoint: bool = False,
    xp: Namespace,
) -> None:
    """`y = A( B(x) @ G(w) ) + b`."""
    wake(plan.workers)
    parts = [prepared(plan, w, c, x.dtype, is_adjoint=is_adjoint, xp=xp) for c in plan.channels]

    def jobs(block: Block) -> Iterator[Job]:
        outputs = y[block.outputs]
        x_part = inputs(block, x, x.dtype, xp=xp)
        algorithm = block.algorithm
        assert isinstance(algorithm, WritesByJobs)
        yield algorithm.forward_job(outputs, x_part, parts[block.part])
        if bias is not None:
            yield add_to_channels_job(outputs, bias[block.outputs[-1]])

    carry_out(jobs, plan.blocks, plan.workers)


def write_input_gradient(plan: Plan, dy: Array, weights: Sequence[Array], dx: Array) -> None:
    """`dx = B*( A*(dy) @ G(w)^H )`. Slabs of one image overlap: they are added one by one."""
    wake(plan.workers)

    def jobs(blocks: Sequence[Block]) -> Iterator[Job]:
        yield clear_job(dx[blocks[0].images, ...])
        for block in blocks:
            cells = dx[(block.images, *(slice(*ends) for ends in block.slab), ...)]
            assert isinstance(block.algorithm, CompiledTaps)
            yield block.algorithm.input_job(cells, dy[block.outputs], weights)

    images = [list(blocks) for _, blocks in groupby(plan.blocks, key=lambda block: block.images)]
    carry_out(jobs, images, plan.workers)


def weight_gradient(plan: Plan, dy: Array, x: Array, *, xp: Namespace) -> Array:
    """`dw = G*( B(x)^H @ A*(dy) )`, over all blocks."""
    wake(plan.workers)
    p, template = plan.problem, plan.template
    assert isinstance(template, ByJobs)
    shape = template.weight_gradient_shape(p.in_channels, p.out_channels)

    def room() -> Array:
        return xp.empty(shape, dtype=dy.dtype, device=device(dy))

    def jobs(terms: Sequence[_Term]) -> Iterator[Job]:
        for block, total, opens, share in terms:
            if opens:
                yield clear_job(total)
            if share is not None:
                yield clear_job(share)
            x_part = inputs(block, x, x.dtype, xp=xp)
            assert isinstance(block.algorithm, ByJobs)
            into = total if share is None else share
            yield block.algorithm.weight_job(into, dy[block.outputs], x_part)
            if share is not None:
                yield add_to_channels_job(xp.reshape(total, (1, -1)), xp.reshape(share, (-1,)))

    if len(plan.channels) > 1:
        dw = room()
        groups = groupby(plan.blocks, key=lambda block: block.part)
        parts = [_terms(list(blocks), dw[..., plan.channels[part]]) for part, blocks in groups]
        carry_out(jobs, parts, plan.workers)
        return template.weight_adjoint([dw], xp=xp)
    each = []
    for some in shares(plan.blocks, plan.workers):
        share = room() if template.sums_one_by_one and len(some) > 1 else None
        each.append(_terms(some, room(), share))
    carry_out(jobs, [[term] for terms in each for term in terms], plan.workers)
    total: list[Array] = []
    for terms in each:
        total = summed(total, [terms[0].total], xp=xp)
    return template.weight_adjoint(total, xp=xp)


def unfolded(plan: Plan, rewriting: Rewriting, x: Array, *, xp: Namespace) -> Array:
    """B of a rewriting that unfolds windows: the input of the problem that is solved."""
    p, windows = rewriting.inner, rewriting.windows or ()
    u = xp.empty(p.x_shape, dtype=x.dtype, device=device(x))
    carry_out(
        lambda images: [unfold_job(u[images], x[images], windows)],
        _images(p.images, plan.workers),
        plan.workers,
    )
    return u


def folded(plan: Plan, rewriting: Rewriting, u: Array, *, xp: Namespace) -> Array:
    """B*, the adjoint."""
    p, windows = rewriting.problem, rewriting.windows or ()
    x = xp.empty(p.x_shape, dtype=u.dtype, device=device(u))
    carry_out(
        lambda images: [clear_job(x[images]), fold_job(x[images], u[images], windows)],
        _images(p.images, plan.workers),
        plan.workers,
    )
    return x


def _images(count: int, workers: int) -> list[slice]:
    """All images, as many at once as each worker has."""
    return [slice(some[0], some[-1] + 1) for some in shares(range(count), workers) if some]


class _Term(NamedTuple):
    """A block whose share of the weight's gradient is added to others'."""

    block: Block
    total: Array
    opens: bool  # whether nothing has been added there
    share: Array | None  # where it is summed first, so that no digits are lost


def _terms(blocks: Sequence[Block], total: Array, share: Array | None = None) -> list[_Term]:
    return [_Term(block, total, number == 0, share) for number, block in enumerate(blocks)]
