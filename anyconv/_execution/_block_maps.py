"""What is done with one block of a plan, or with some of its weights, whatever the order."""

from collections.abc import Sequence

from anyconv._namespace import accumulator, add_at, as_dtype
from anyconv._plans._plan import Block, Plan
from anyconv._typing import Array, DType, Namespace
from anyconv._windows import slab


def product_dtype(plan: Plan, dtype: DType, *, xp: Namespace) -> DType:
    """The dtype that blocks are multiplied in."""
    return dtype if plan.multiplies_as_given else accumulator(xp, dtype)


def inputs(block: Block, x: Array, dtype: DType, *, xp: Namespace) -> Array:
    """The slab of one block, ready to be multiplied."""
    return as_dtype(slab(x, block.images, block.slab, xp=xp), dtype, xp=xp)


def prepared(
    plan: Plan,
    w: Array,
    channels: slice,
    dtype: DType,
    *,
    is_adjoint: bool = False,
    xp: Namespace,
) -> Sequence[Array]:
    """The prepared weights of some output channels, in the dtype that they multiply in."""
    template = plan.template
    if len(plan.channels) > 1:
        w = w[..., channels, :] if is_adjoint else w[..., channels]
    if is_adjoint:
        part = as_dtype(w, dtype, xp=xp)
        weights = template.adjoint_weight(part, template.rows(plan.images_per_block), xp=xp)
    else:
        weights = template.weight(as_dtype(w, dtype, xp=xp), xp=xp)
    return template.factors(weights, xp=xp)


def summed(total: list[Array], terms: list[Array], *, xp: Namespace) -> list[Array]:
    """Terms added to their sums, in place where that is possible."""
    if not total:
        return terms
    return [add_at(t, (...,), term, xp=xp) for t, term in zip(total, terms, strict=True)]
