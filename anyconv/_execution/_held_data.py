"""Carry out a plan whose data is all prepared before its weights are.

All workers prepare the data of the blocks; then each takes some parts of the output channels,
prepares their weights, which a cache holds, and has all data pass by. Else one thread would prepare
all weights while the others wait, and each block would fetch them from memory.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from anyconv._execution._block_maps import inputs, prepared, summed
from anyconv._execution._workers import share
from anyconv._namespace import as_dtype
from anyconv._plans._plan import Block, Plan
from anyconv._typing import Array, DType, Namespace

Held = TypeVar("Held")


def write_outputs(
    plan: Plan,
    x: Array,
    w: Array,
    bias: Array | None,
    y: Array,
    dtype: DType,
    *,
    is_adjoint: bool = False,
    xp: Namespace,
) -> None:
    """`y = A( B(x) @ G(w) ) + b`, a part of its channels after the other."""
    held = _held(plan, lambda block: _data(block, x, dtype, xp=xp))

    def work(parts: Sequence[slice]) -> None:
        for channels in parts:
            weights = prepared(plan, w, channels, dtype, is_adjoint=is_adjoint, xp=xp)
            for block, data in zip(plan.blocks, held, strict=True):
                images = block.images.stop - block.images.start
                outputs = block.algorithm.outputs(data, weights, images, xp=xp)
                if bias is not None:
                    outputs += bias[channels]
                y[(*block.outputs[:-1], channels)] = outputs
                del outputs  # before the next block's are made
            del weights  # before the next part's are prepared

    share(work, plan.channels, plan.workers)


def write_weight_gradient(
    plan: Plan, dy: Array, x: Array, dw: Array, dtype: DType, *, xp: Namespace
) -> None:
    """`dw = G*( B(x)^H @ A*(dy) )`, likewise; no two workers have the same sum."""

    def factors(block: Block) -> tuple[list[Array], Array]:
        part = as_dtype(dy[block.outputs], dtype, xp=xp)
        return _data(block, x, dtype, xp=xp), block.algorithm.output_adjoint(part, xp=xp)

    held = _held(plan, factors)

    def work(parts: Sequence[slice]) -> None:
        for channels in parts:
            total: list[Array] = []
            for block, (data, m) in zip(plan.blocks, held, strict=True):
                multiply, columns = block.algorithm.multiply_adjoint_weight, m[..., channels]
                terms = [multiply(term, columns, xp=xp) for term in data]
                total = summed(total, terms, xp=xp)
                del terms  # before the next block's are made
            dw[..., channels] = plan.template.weight_adjoint(total, xp=xp)
            del total

    share(work, plan.channels, plan.workers)


def _held(plan: Plan, prepare: Callable[[Block], Held]) -> list[Held]:
    """What is prepared of each block, in order."""

    def work(blocks: Sequence[Block]) -> list[Held]:
        return [prepare(block) for block in blocks]

    return [held for some in share(work, plan.blocks, plan.workers) for held in some]


def _data(block: Block, x: Array, dtype: DType, *, xp: Namespace) -> list[Array]:
    """The data of one block, as it is multiplied."""
    return list(block.algorithm.data(inputs(block, x, dtype, xp=xp), xp=xp))
