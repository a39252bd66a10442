"""Images in turn: kernels that treat each image alone, on as many at once as the limits allow.

Where one image alone is too large for the cache of a CPU, pooling takes some rows of it in turn.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from math import prod
from typing import NamedTuple

from anyconv._arguments._pool import PoolCall
from anyconv._compiled import Job, clear_job, run_jobs
from anyconv._execution._job_threads import carry_out
from anyconv._execution._workers import share
from anyconv._geometry._axis_windows import AxisWindows
from anyconv._namespace import (
    accumulator,
    as_dtype,
    device,
    has_out,
    is_numpy,
    is_traced,
    item_bytes,
)
from anyconv._options import current_options
from anyconv._typing import Array, DType, Namespace, Shape

# On the CPU a chunk stays in the last cache, yet its calls cost little beside its work.
CHUNK_BYTES = 8 * 2**20
# So much is worth another worker, less is done before it has well begun: of kernels of many passes,
# and of jobs of one.
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
    takes_halves: bool = False,
    xp: Namespace,
) -> Array:
    """A kernel from `(n, *spatial, c)` to `(n, *output, c)`, on arrays in the caller's layout.

    It is called with the arrays of a block, its axes and, if it takes that, the place of its result
    as `out`. Half precision is widened before the kernel and narrowed after, unless it takes that.
    """
    canonical = [_canonical(a, call, xp=xp) for a in arrays]
    x, dtype = canonical[0], dtype or arrays[0].dtype
    wide = x.dtype if takes_halves else accumulator(xp, x.dtype)
    each = 3 * prod(x.shape[1:]) * item_bytes(xp, wide)
    pace = _pace(x.shape[0], each, call.output[0], xp=xp)
    if pace.images >= x.shape[0] and pace.rows >= call.output[0]:
        y = kernel(*_as(wide, canonical, xp=xp), axes=call.axes)
        return _given_back(y, dtype, call.y_shape, xp=xp)
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
    takes_halves: bool = False,
    adds: bool = False,
    passes: int = 4,
    xp: Namespace,
) -> Array:
    """A kernel from outputs, and perhaps inputs, to the gradient of the inputs, likewise.

    It holds as many arrays of an image's size as it makes `passes` over them.
    Windows of two blocks may overlap only where the kernel `adds` to what it finds in `out`. One
    worker then takes all of an image, in order: what is summed in a cell is so without blocks too.
    """
    dy, *inputs = (_canonical(a, call, xp=xp) for a in arrays)
    n, first = dy.shape[0], call.axes[0]
    shape = (n, *call.spatial, dy.shape[-1])
    wide = dy.dtype if takes_halves else accumulator(xp, dy.dtype)
    writes = takes_out and has_out(xp) and wide == dy.dtype
    each = passes * prod(shape[1:]) * item_bytes(xp, wide)
    pace = _pace(n, each, first.outputs, xp=xp)
    if not (first.disjoint or (adds and writes)):
        pace = pace._replace(rows=first.outputs)
    if pace.images >= n and pace.rows >= first.outputs:
        dx = kernel(*_as(wide, [dy, *inputs], xp=xp), axes=call.axes)
        return _given_back(dx, dy.dtype, call.x_shape, xp=xp)
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

    share(work, _turns(n, pace, call.axes), pace.workers)
    return xp.reshape(dx, call.x_shape)


def pooled_by_jobs(
    jobs: Callable[..., Sequence[Job]],
    call: PoolCall,
    x: Array,
    *,
    dtype: DType | None = None,
    xp: Namespace,
) -> Array:
    """`pooled` by the jobs of each block, which are told its cells, its outputs and its axes."""
    wide = accumulator(xp, x.dtype)
    if wide != x.dtype:
        return pooled(_kernel(jobs, dtype, xp=xp), call, x, dtype=dtype, takes_out=False, xp=xp)
    x = _canonical(x, call, xp=xp)
    n, each = x.shape[0], 3 * prod(x.shape[1:]) * item_bytes(xp, wide)
    pace = _pace(n, each, call.output[0], at_once=True, xp=xp)
    y = xp.empty((n, *call.output, x.shape[-1]), dtype=dtype or x.dtype, device=device(x))

    def of_block(block: Block) -> Sequence[Job]:
        outputs = y[block.images, block.outputs, ...]
        return jobs(x[block.images, block.cells, ...], outputs, block.axes)

    carry_out(of_block, cut(n, pace, call.axes), pace.workers)
    return xp.reshape(y, call.y_shape)


def unpooled_by_jobs(
    jobs: Callable[..., Sequence[Job]],
    call: PoolCall,
    *arrays: Array,
    adds: bool = False,
    xp: Namespace,
) -> Array:
    """`unpooled` likewise, by jobs on outputs, perhaps inputs, and the gradient of the inputs."""
    wide = accumulator(xp, arrays[0].dtype)
    if wide != arrays[0].dtype:
        return unpooled(_gradient_kernel(jobs, xp=xp), call, *arrays, takes_out=False, xp=xp)
    dy, *inputs = (_canonical(a, call, xp=xp) for a in arrays)
    n, first = dy.shape[0], call.axes[0]
    shape = (n, *call.spatial, dy.shape[-1])
    each = 4 * prod(shape[1:]) * item_bytes(xp, wide)
    pace = _pace(n, each, first.outputs, at_once=True, xp=xp)
    if not (first.disjoint or adds):
        pace = pace._replace(rows=first.outputs)
    opens = pace.rows >= first.outputs
    dx = xp.empty(shape, dtype=dy.dtype, device=device(dy))

    def of_blocks(blocks: Sequence[Block]) -> Iterator[Job]:
        for block in blocks:
            cells = (block.images, block.cells, ...)
            if not opens and (adds or block.fresh != block.cells):
                yield clear_job(dx[block.images, block.fresh, ...])
            given = dy[block.images, block.outputs, ...], *(x[cells] for x in inputs)
            yield from jobs(*given, dx[cells], block.axes, opens=opens)

    carry_out(of_blocks, _turns(n, pace, call.axes), pace.workers)
    return xp.reshape(dx, call.x_shape)


def _kernel(
    jobs: Callable[..., Sequence[Job]], dtype: DType | None, *, xp: Namespace
) -> Callable[..., Array]:
    """The kernel that carries out such jobs."""

    def kernel(x: Array, axes: tuple[AxisWindows, ...]) -> Array:
        shape = (x.shape[0], *(windows.outputs for windows in axes), x.shape[-1])
        y = xp.empty(shape, dtype=dtype or x.dtype, device=device(x))
        run_jobs(jobs(x, y, axes))
        return y

    return kernel


def _gradient_kernel(jobs: Callable[..., Sequence[Job]], *, xp: Namespace) -> Callable[..., Array]:
    """The same from outputs, and perhaps inputs, to the gradient of the inputs."""

    def kernel(dy: Array, *inputs: Array, axes: tuple[AxisWindows, ...]) -> Array:
        shape = (dy.shape[0], *(windows.size for windows in axes), dy.shape[-1])
        dx = xp.empty(shape, dtype=dy.dtype, device=device(dy))
        run_jobs(jobs(dy, *inputs, dx, axes, opens=True))
        return dx

    return kernel


def _as(dtype: DType, arrays: Sequence[Array], *, xp: Namespace) -> list[Array]:
    return [as_dtype(x, dtype, xp=xp) for x in arrays]


def _canonical(x: Array, call: PoolCall, *, xp: Namespace) -> Array:
    """`(n, *spatial, c)`. Channels first, each plane is an image of one channel."""
    images, rank = prod(call.batch), call.rank
    if call.layout == "channels_first":
        shape = (images * call.channels, *x.shape[-rank:], 1)
    else:
        shape = (images, *x.shape[-rank - 1 :])
    return x if x.shape == shape else xp.reshape(x, shape)


def _given_back(y: Array, dtype: DType, shape: Shape, *, xp: Namespace) -> Array:
    """A kernel's result as the caller wants it."""
    y = as_dtype(y, dtype, xp=xp)
    return y if y.shape == shape else xp.reshape(y, shape)


class Pace(NamedTuple):
    """How many work at once, and how much each of them takes at a time."""

    workers: int
    images: int
    rows: int


def _pace(n: int, each: int, rows: int, *, at_once: bool = False, xp: Namespace) -> Pace:
    """The pace within the limits, where an image takes `each` bytes and has `rows` of windows."""
    limits, each = current_options(), max(each, 1)
    if is_traced(xp):
        return Pace(1, n, rows)
    if not is_numpy(xp):
        return Pace(1, max(limits.workspace_bytes // each, 1), rows)
    shared, chunk = (AT_ONCE_SHARED, n * each) if at_once else (SHARED_BYTES, CHUNK_BYTES)
    workers = min(limits.workers, 1 + n * each // shared)
    room = max(min(limits.workspace_bytes // workers, chunk), 1)
    images = max(min(room // each, -(-n // workers)), 1)
    if each > room:
        parts = workers * -(-each // (workers * room))  # of one image, each worker has as many
        rows = -(-rows // parts)
    return Pace(workers, images, rows)


def _turns(n: int, pace: Pace, axes: tuple[AxisWindows, ...]) -> list[Sequence[Block]]:
    """All blocks, those of some images together if their windows overlap."""
    blocks = cut(n, pace, axes)
    run = 1 if axes[0].disjoint else -(-axes[0].outputs // pace.rows)
    return [blocks[start : start + run] for start in range(0, len(blocks), run)]


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
