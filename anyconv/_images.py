"""Images in turn: kernels that treat each image alone, on as many at once as the limits allow.

Where one image alone is too large for the cache of a CPU, pooling takes some rows of it in turn.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from math import prod
from typing import NamedTuple

from anyconv._axis_windows import AxisWindows
from anyconv._namespace import accumulator, device, has_out, is_numpy, is_traced, item_bytes
from anyconv._options import current_options
from anyconv._pool_arguments import PoolCall
from anyconv._typing import Array, DType, Namespace
from anyconv._workers import share

# On the CPU a chunk stays in the last cache, yet its calls cost little beside its work.
CHUNK_BYTES = 8 * 2**20
# Less is done before a second worker has well begun, by kernels that make one pass or many.
SHARED_BYTES, AT_ONCE_SHARED = 16 * 2**20, 13 * 2**20


class Block(NamedTuple):
    """Some images, and of them the windows of some rows."""

    images: slice
    outputs: slice
    cells: slice  # the rows of the input that these windows see
    fresh: slice  # the rows left to this block by those before it; all blocks' make up the input
    axes: tuple[AxisWindows, ...]


def pooled(
    kernel: Callable[..., Array],
    call: PoolCall,
    *arrays: Array,
    dtype: DType | None = None,
    takes_out: bool = True,
    at_once: bool = False,
    xp: Namespace,
) -> Array:
    """A kernel from `(n, *spatial, c)` to `(n, *output, c)`, on arrays in the caller's layout.

    It is called with the arrays of a block, its axes and, if it takes that, the place of its result
    as `out`. Half precision is widened before the kernel and narrowed after. A kernel that does its
    work `at_once`, without a temporary, has blocks as large as may be.
    """
    canonical = [_canonical(a, call, xp=xp) for a in arrays]
    x = canonical[0]
    wide, dtype = accumulator(xp, x.dtype), dtype or x.dtype
    each = 3 * prod(x.shape[1:]) * item_bytes(xp, wide)
    pace = _pace(x.shape[0], each, call.output[0], at_once=at_once, xp=xp)
    if pace.images >= x.shape[0] and pace.rows >= call.output[0]:
        y = kernel(*_as(wide, canonical, xp=xp), axes=call.axes)
        return xp.reshape(xp.astype(y, dtype, copy=False), call.y_shape)
    y = xp.empty((x.shape[0], *call.output, x.shape[-1]), dtype=dtype, device=device(x))
    writes = takes_out and has_out(xp) and wide == dtype

    def work(blocks: Sequence[Block]) -> None:
        for block in blocks:
            given = _as(wide, [a[block.images, block.cells, ...] for a in canonical], xp=xp)
            outputs = (block.images, block.outputs, ...)
            if writes:
                kernel(*given, axes=block.axes, out=y[outputs])
            else:
                y[outputs] = kernel(*given, axes=block.axes)

    share(work, cut(x.shape[0], pace, call.axes), pace.workers)
    return xp.reshape(y, call.y_shape)


def unpooled(
    kernel: Callable[..., Array],
    call: PoolCall,
    *arrays: Array,
    takes_out: bool = True,
    adds: bool = False,
    at_once: bool = False,
    xp: Namespace,
) -> Array:
    """A kernel from outputs, and perhaps inputs, to the gradient of the inputs, likewise.

    Windows of two blocks may overlap only where the kernel `adds` to what it finds in `out`. One
    worker then takes all of an image, in order: what is summed in a cell is so without blocks too.
    """
    dy, *inputs = (_canonical(a, call, xp=xp) for a in arrays)
    n, first = dy.shape[0], call.axes[0]
    shape = (n, *call.spatial, dy.shape[-1])
    wide = accumulator(xp, dy.dtype)
    writes = takes_out and has_out(xp) and wide == dy.dtype
    each = 4 * prod(shape[1:]) * item_bytes(xp, wide)
    pace = _pace(n, each, first.outputs, at_once=at_once, xp=xp)
    if not (first.disjoint or (adds and writes)):
        pace = pace._replace(rows=first.outputs)
    if pace.images >= n and pace.rows >= first.outputs:
        dx = kernel(*_as(wide, [dy, *inputs], xp=xp), axes=call.axes)
        return xp.reshape(xp.astype(dx, dy.dtype, copy=False), call.x_shape)
    dx = xp.empty(shape, dtype=dy.dtype, device=device(dy))

    def work(turns: Sequence[Sequence[Block]]) -> None:
        for block in chain.from_iterable(turns):
            cells = (block.images, block.cells, ...)
            given = [dy[block.images, block.outputs, ...], *(x[cells] for x in inputs)]
            given = _as(wide, given, xp=xp)
            if adds or block.fresh != block.cells:
                dx[block.images, block.fresh, ...] = 0
            if writes:
                kernel(*given, axes=block.axes, out=dx[cells])
            else:
                dx[cells] = kernel(*given, axes=block.axes)

    blocks = cut(n, pace, call.axes)
    run = 1 if first.disjoint else -(-first.outputs // pace.rows)
    turns = [blocks[start : start + run] for start in range(0, len(blocks), run)]
    share(work, turns, pace.workers)
    return xp.reshape(dx, call.x_shape)


def _as(dtype: DType, arrays: Sequence[Array], *, xp: Namespace) -> list[Array]:
    return [x if x.dtype == dtype else xp.astype(x, dtype) for x in arrays]


def _canonical(x: Array, call: PoolCall, *, xp: Namespace) -> Array:
    """`(n, *spatial, c)`. Channels first, each plane is an image of one channel."""
    images, rank = prod(call.batch), call.rank
    if call.layout == "channels_first":
        shape = (images * call.channels, *x.shape[-rank:], 1)
    else:
        shape = (images, *x.shape[-rank - 1 :])
    return x if x.shape == shape else xp.reshape(x, shape)


class Pace(NamedTuple):
    """How many work at once, and how much each of them takes at a time."""

    workers: int
    images: int
    rows: int


def _pace(n: int, each: int, rows: int = 1, *, at_once: bool = False, xp: Namespace) -> Pace:
    """The pace within the limits, where an image takes `each` bytes and has `rows` of windows."""
    limits, each = current_options(), max(each, 1)
    if is_traced(xp):
        return Pace(1, n, rows)
    if not is_numpy(xp):
        return Pace(1, max(limits.workspace_bytes // each, 1), rows)
    shared, chunk = (AT_ONCE_SHARED, n * each) if at_once else (SHARED_BYTES, CHUNK_BYTES)
    workers = limits.workers if n * each > shared else 1
    room = max(min(limits.workspace_bytes // workers, chunk), 1)
    images = max(min(room // each, -(-n // workers)), 1)
    if each > room:
        parts = workers * -(-each // (workers * room))  # of one image, each worker has as many
        rows = -(-rows // parts)
    return Pace(workers, images, rows)


@lru_cache(maxsize=256)
def cut(n: int, pace: Pace, axes: tuple[AxisWindows, ...]) -> tuple[Block, ...]:
    """All blocks, image after image, and of each image from the first row to the last."""
    first, parts, reached = axes[0], list[Block](), 0
    for start in range(0, first.outputs, pace.rows):
        stop = min(start + pace.rows, first.outputs)
        part = first.part(start, stop)
        cells = slice(part.first, part.first + part.size)
        end = first.size if stop == first.outputs else max(cells.stop, reached)
        fresh, reached = slice(reached, end), end
        parts.append(Block(slice(n), slice(start, stop), cells, fresh, (part, *axes[1:])))
    images = [slice(i, min(i + pace.images, n)) for i in range(0, n, pace.images)]
    return tuple(part._replace(images=some) for some in images for part in parts)
