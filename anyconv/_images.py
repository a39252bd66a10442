"""Images in turn: kernels that treat each image alone, on as many at once as the limits allow."""

from collections.abc import Callable, Sequence
from math import prod

from anyconv._namespace import accumulator, device, has_out, is_numpy, is_traced, item_bytes
from anyconv._options import current_options
from anyconv._pool_arguments import PoolCall
from anyconv._typing import Array, DType, Namespace, Shape
from anyconv._workers import share

# On the CPU a chunk stays in the last cache, yet its calls cost little beside its work.
CHUNK_BYTES = 8 * 2**20
SHARED_BYTES = 4 * 2**20  # less is done before a second worker has well begun


def pooled(
    kernel: Callable[..., Array],
    call: PoolCall,
    *arrays: Array,
    dtype: DType | None = None,
    takes_out: bool = True,
    xp: Namespace,
) -> Array:
    """A kernel from `(n, *spatial, c)` to `(n, *output, c)`, on arrays in the caller's layout."""
    canonical = [_canonical(a, call, xp=xp) for a in arrays]
    shape = (*call.output, canonical[0].shape[-1])
    cells = 3 * prod(canonical[0].shape[1:])
    y = by_images(kernel, canonical, shape, cells=cells, dtype=dtype, takes_out=takes_out, xp=xp)
    return xp.reshape(y, call.y_shape)


def unpooled(
    kernel: Callable[..., Array],
    call: PoolCall,
    *arrays: Array,
    takes_out: bool = True,
    xp: Namespace,
) -> Array:
    """A kernel from outputs, and perhaps inputs, to the gradient of the inputs, likewise."""
    canonical = [_canonical(a, call, xp=xp) for a in arrays]
    shape = (*call.spatial, canonical[0].shape[-1])
    cells = 4 * prod(shape)
    dx = by_images(kernel, canonical, shape, cells=cells, takes_out=takes_out, xp=xp)
    return xp.reshape(dx, call.x_shape)


def _canonical(x: Array, call: PoolCall, *, xp: Namespace) -> Array:
    """`(n, *spatial, c)`. Channels first, each plane is an image of one channel."""
    images, rank = prod(call.batch), call.rank
    if call.layout == "channels_first":
        shape = (images * call.channels, *x.shape[-rank:], 1)
    else:
        shape = (images, *x.shape[-rank - 1 :])
    return x if x.shape == shape else xp.reshape(x, shape)


def by_images(
    kernel: Callable[..., Array],
    arrays: Sequence[Array],
    shape: Shape,
    *,
    cells: int,
    dtype: DType | None = None,
    takes_out: bool = False,
    xp: Namespace,
) -> Array:
    """A kernel that treats each image alone, on as many images at once as the limits allow.

    `arrays` and the result `(n, *shape)` begin with the images; `cells` are the elements that the
    kernel holds for one of them. Half precision is widened before the kernel and narrowed after.
    Where a library writes in place, a kernel that `takes_out` is handed the place of its result.
    """
    n, narrow = arrays[0].shape[0], arrays[0].dtype
    wide, dtype = accumulator(xp, narrow), dtype or narrow
    limits = current_options()
    each = max(cells * item_bytes(xp, wide), 1)

    def part(start: int, stop: int) -> list[Array]:
        return [xp.astype(a[start:stop, ...], wide, copy=False) for a in arrays]

    at_once = max(limits.workspace_bytes // each, 1)
    if is_numpy(xp):
        workers = limits.workers if n * each > SHARED_BYTES else 1
        at_once = max(min(at_once // workers, CHUNK_BYTES // each, -(-n // workers)), 1)
    if is_traced(xp) or at_once >= n:
        return xp.astype(kernel(*part(0, n)), dtype, copy=False)
    y = xp.empty((n, *shape), dtype=dtype, device=device(arrays[0]))
    writes = takes_out and has_out(xp) and wide == dtype

    def work(starts: Sequence[int]) -> None:
        for start in starts:
            stop = min(start + at_once, n)
            if writes:
                kernel(*part(start, stop), out=y[start:stop, ...])
            else:
                y[start:stop, ...] = kernel(*part(start, stop))

    share(work, range(0, n, at_once), limits.workers if is_numpy(xp) else 1)
    return y
