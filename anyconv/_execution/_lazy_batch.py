"""One kernel for eager arrays and for lazy blocks of the batch."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, Self

from anyconv._namespace import accumulator, array_namespace, is_lazy_blocks, map_batch
from anyconv._options import Options, current_options, options
from anyconv._typing import Array, DType, Namespace, Shape


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
        partial(_on_block, kernel, call, wide if wide != dtype else None, current_options()),
        batched,
        whole,
        batch_axes=batch_axes,
        result=shape if summed else shape[batch_axes:],
        dtype=wide,
        summed=summed,
    )
    return xp.astype(y, dtype, copy=False)


def _on_block(
    kernel: Callable[..., Array],
    call: Call,
    dtype: DType | None,
    limits: Options,
    *arrays: Array,
) -> Array:
    """The kernel on one block, within the limits that were in force when it was called.

    In one thread: the blocks are what runs side by side.
    """
    batch, xp = tuple(arrays[0].shape[: len(call.batch)]), array_namespace(x=arrays[0])
    given = arrays if dtype is None else [xp.astype(array, dtype, copy=False) for array in arrays]
    with options(workspace_bytes=limits.workspace_bytes, workers=1, compiled=limits.compiled):
        return kernel(call.rebatched(batch), *given, xp=xp)
