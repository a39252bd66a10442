"""Images in turn: only so many at once that the workspace holds what is made of them.

What is made of one image is not cut: where the workspace cannot hold it, the call is refused.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import NamedTuple

from anyconv._execution._images import CHUNK_BYTES, SHARED_BYTES
from anyconv._execution._workers import share
from anyconv._namespace import accumulator, device, is_numpy, is_traced, item_bytes
from anyconv._options import current_options
from anyconv._plans._block_sizes import WorkspaceError
from anyconv._typing import Array, Namespace, Shape

# NumPy copies the operands of a strided sum through buffers of this size.
BUFFER_BYTES = 2**16


class Turns(NamedTuple):
    """How many workers take turns, and how many images each of them takes at a time."""

    workers: int
    images: int


def turns_within(n: int, held: int, touched: int, *, xp: Namespace) -> Turns:
    """The turns within the limits, where an image takes `held` bytes of all that are `touched`."""
    if is_traced(xp) or n == 0:
        return Turns(1, max(n, 1))
    limits, held, touched = current_options(), max(held, 1), max(touched, 1)
    if held > limits.workspace_bytes:
        raise WorkspaceError(held, limits.workspace_bytes, "the smallest part of this call")
    if not is_numpy(xp):
        return Turns(1, limits.workspace_bytes // held)
    workers = limits.workers if n * touched > SHARED_BYTES else 1
    workers = min(workers, limits.workspace_bytes // held)
    images = min(
        limits.workspace_bytes // (workers * held), CHUNK_BYTES // touched, -(-n // workers)
    )
    return Turns(workers, max(images, 1))


def by_images(
    kernel: Callable[..., Array],
    arrays: Sequence[Array],
    shape: Shape,
    *,
    each: int,
    out: Array | None = None,
    is_view: bool = False,
    xp: Namespace,
) -> Array:
    """A kernel that treats each image alone, on as many images at once as the limits allow.

    `arrays` and the result `(n, *shape)`, of the dtype of the first, begin with the images; `each`
    counts the bytes that the kernel makes of one of them beside its result. A result that may be a
    view of an array, or that has its place in `out`, is copied where it belongs.
    """
    n, dtype = arrays[0].shape[0], arrays[0].dtype
    is_copied = out is not None or (is_view and not is_traced(xp))
    result = prod(shape) * item_bytes(xp, dtype)
    touched = each + result + sum(prod(a.shape[1:]) * item_bytes(xp, a.dtype) for a in arrays)
    if not is_view and (n > 1 or is_copied):
        each += result
    turns = turns_within(n, each, touched, xp=xp)
    if turns.images >= n and not is_copied:
        return kernel(*arrays)
    y = xp.empty((n, *shape), dtype=dtype, device=device(arrays[0])) if out is None else out

    def work(starts: Sequence[int]) -> None:
        for start in starts:
            images = slice(start, min(start + turns.images, n))
            y[images, ...] = kernel(*(a[images, ...] for a in arrays))

    share(work, range(0, n, turns.images), turns.workers)
    return y


def added_by_images(
    kernel: Callable[[Array], Array],
    x: Array,
    shape: Shape,
    *,
    cells: int,
    is_view: bool,
    xp: Namespace,
) -> Array:
    """The same for a kernel that adds, and makes `cells` elements of an image beside its result.

    Half precision is widened before the kernel and narrowed after.
    """
    wide = accumulator(xp, x.dtype)
    each = cells * item_bytes(xp, wide)
    each += 3 * min(prod(x.shape[1:]) * item_bytes(xp, wide), BUFFER_BYTES)
    if wide == x.dtype:
        return by_images(kernel, [x], shape, each=each, is_view=is_view, xp=xp)

    def widened(x: Array) -> Array:
        return xp.astype(kernel(xp.astype(x, wide)), x.dtype)

    each += (prod(x.shape[1:]) + prod(shape)) * item_bytes(xp, wide)
    return by_images(widened, [x], shape, each=each, xp=xp)
