"""Images in turn: kernels that treat each image alone, on as many at once as the limits allow."""

from collections.abc import Callable, Sequence

from anyconv._namespace import accumulator, device, is_numpy, is_traced, item_bytes
from anyconv._options import current_options
from anyconv._plan import CACHED_BYTES
from anyconv._typing import Array, DType, Namespace, Shape
from anyconv._workers import share


def by_images(
    kernel: Callable[..., Array],
    arrays: Sequence[Array],
    shape: Shape,
    *,
    cells: int,
    dtype: DType | None = None,
    xp: Namespace,
) -> Array:
    """A kernel that treats each image alone, on as many images at once as the limits allow.

    `arrays` and the result `(n, *shape)` begin with the images; `cells` are the elements that the
    kernel holds for one of them. Half precision is widened before the kernel and narrowed after.
    """
    n, narrow = arrays[0].shape[0], arrays[0].dtype
    wide, dtype = accumulator(xp, narrow), dtype or narrow
    limits = current_options()
    each = max(cells * item_bytes(xp, wide), 1)

    def part(start: int, stop: int) -> Array:
        return kernel(*(xp.astype(a[start:stop, ...], wide, copy=False) for a in arrays))

    at_once = max(limits.workspace_bytes // each, 1)
    if is_numpy(xp):
        at_once = max(min(at_once // limits.workers, CACHED_BYTES // each), 1)
    if is_traced(xp) or at_once >= n:
        return xp.astype(part(0, n), dtype, copy=False)
    y = xp.empty((n, *shape), dtype=dtype, device=device(arrays[0]))

    def work(starts: Sequence[int]) -> None:
        for start in starts:
            stop = min(start + at_once, n)
            y[start:stop, ...] = part(start, stop)

    share(work, range(0, n, at_once), limits.workers if is_numpy(xp) else 1)
    return y
