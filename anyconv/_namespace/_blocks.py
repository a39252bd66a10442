"""Lazy arrays, block by block."""

from collections.abc import Callable, Sequence
from typing import Any

from anyconv._typing import Array, DType, Shape


def map_batch(
    function: Callable[..., Array],
    batched: Sequence[Array],
    whole: Sequence[Array],
    *,
    batch_axes: int,
    result: Shape,
    dtype: DType,
    summed: bool = False,
) -> Array:
    """A function of eager arrays on each lazy block of the batch: `(*batch, *result)`.

    `batched` arrays are cut along their first `batch_axes` axes only, `whole` arrays not at all.
    Where the result is `summed` over the batch, `function` gives the share of its block.
    """
    import dask.array
    from dask.array.utils import meta_from_array

    names = iter(range(1_000_000))
    batch = [next(names) for _ in range(batch_axes)]
    arguments: list[Any] = []
    for index, x in enumerate([*batched, *whole]):
        kept = batch_axes if index < len(batched) else 0
        axes = batch[:kept] + [next(names) for _ in range(x.ndim - kept)]
        arguments += [x.rechunk(dict.fromkeys(range(kept, x.ndim), -1)), axes]
    core = [next(names) for _ in result]
    share = _one_share if summed else _as_it_is
    y = dask.array.blockwise(
        share,
        [*batch, *core],
        *arguments,
        new_axes=dict(zip(core, result, strict=True)),
        adjust_chunks=dict.fromkeys(batch, 1) if summed else None,
        concatenate=True,
        dtype=dtype,
        meta=meta_from_array(batched[0]._meta, ndim=batch_axes + len(result), dtype=dtype),
        function=function,
        batch_axes=batch_axes,
    )
    return y.sum(axis=tuple(range(batch_axes)), dtype=dtype) if summed else y


def _as_it_is(*blocks: Array, function: Callable[..., Array], batch_axes: int) -> Array:
    return function(*blocks)


def _one_share(*blocks: Array, function: Callable[..., Array], batch_axes: int) -> Array:
    return function(*blocks)[(None,) * batch_axes]
