"""How large a block of a convolution may be: within the workspace, and within a cache."""

from math import prod
from typing import NamedTuple

from anyconv._algorithms import Algorithm, DepthwiseTaps, ThinFft, Tiled
from anyconv._geometry import Problem
from anyconv._options import Options
from anyconv._traits import Traits
from anyconv._typing import Operation

# What one worker's block may hold on the CPU: windows about as much as stays in the core's own
# cache, tiles, which are touched more often than they are fetched, as much as in the shared one.
# Elementwise products are short calls, for each of which the workers contend for Python's lock.
CACHED_BYTES = 2**22
CACHED_TILE_BYTES = 12 * 2**20
# Fewer rows than this make a matrix product slow, however well they fit.
FEWEST_ROWS = 128
FEWEST_TILES = 32
# A sum of so many rows, in single precision, is as exact as its terms; longer ones are cut.
MOST_SUMMED_ROWS = 4096
# Below this many multiply-adds a call is cheaper than handing it to another thread.
WORTH_A_WORKER = 3 * 2**21


class WorkspaceError(ValueError):
    """The workspace holds not even the smallest part of the work."""

    def __init__(self, needed: int, given: int, what: str) -> None:
        super().__init__(f"`workspace_bytes` must be at least {needed:,} for {what}, got {given:,}")
        self.needed, self.what = needed, what


class Blocks(NamedTuple):
    """The algorithm for one block, the images in it, and into how many parts channels are cut;
    the workers, and the bytes that all hold.
    """

    template: Algorithm
    images: int
    parts: int
    workers: int
    workspace: int


def size_blocks(
    problem: Problem,
    operation: Operation,
    chosen: type[Algorithm],
    traits: Traits,
    limits: Options,
) -> Blocks:
    """The largest blocks within the limits that a cache holds."""
    images, box = max(problem.images, 1), problem.geometry.output
    workers = 1
    if traits.runs == "workers" and problem.multiply_adds >= WORTH_A_WORKER:
        workers = limits.workers
        if operation == "weight":  # workers that hold a sum each must leave room for blocks
            template = chosen.create(problem, box, traits)
            weights = template.weight_elements(problem.in_channels, problem.out_channels)
            room = limits.workspace_bytes // (3 * traits.product_bytes)
            workers = max(min(workers, room // weights), 1)
    parts = 1
    if chosen.splits_channels(problem) and operation != "weight":
        parts = min(workers, problem.out_channels)
    while True:
        template = chosen.create(problem, box, traits)
        block, fixed = _workspace(problem, operation, template, images, workers, traits)
        workspace = block * workers + fixed
        if traits.runs == "traced":
            break
        if workspace <= limits.workspace_bytes:
            if traits.runs != "workers":
                break
            count = count_blocks(problem, template, images)
            rows = images * prod(box)
            is_sum = operation == "weight" and not isinstance(template, Tiled)
            exact = not is_sum or rows <= MOST_SUMMED_ROWS
            fits = _fits_cache(template, images, block, fixed) and exact
            if _is_small(template, images) or (fits and count * parts >= workers):
                break
        smaller = tuple(
            -(-size // (2 * grain)) * grain for size, grain in zip(box, template.grain, strict=True)
        )
        axis = next((a for a, (s, b) in enumerate(zip(smaller, box, strict=True)) if s < b), None)
        if images > 1:
            images = -(-images // 2)
        elif axis is not None:
            box = (*box[:axis], smaller[axis], *box[axis + 1 :])
        elif workspace <= limits.workspace_bytes:
            break
        elif workers > 1:
            workers = 1
        else:
            what = f"the algorithm {template.name!r} on this convolution"
            raise WorkspaceError(workspace, limits.workspace_bytes, what)
    return Blocks(template, images, parts, workers, workspace)


def _is_small(template: Algorithm, images: int) -> bool:
    """Whether a block's matrix products have so few rows that fewer would make them slow."""
    if isinstance(template, Tiled):
        fewest = 1 if template.is_elementwise else FEWEST_TILES
        return images * prod(template.tiles.output) <= fewest
    return images * prod(template.windows.output) <= FEWEST_ROWS


def _fits_cache(template: Algorithm, images: int, block: int, fixed: int) -> bool:
    """Whether a cache holds a block, or it is no larger than the weights that it makes pass by."""
    if isinstance(template, ThinFft):
        return template.fits_cache(images)
    if not isinstance(template, Tiled):
        return block <= CACHED_BYTES * (4 if isinstance(template, DepthwiseTaps) else 1)
    most = CACHED_BYTES if template.is_elementwise else max(CACHED_TILE_BYTES, fixed)
    return block <= most


def _workspace(
    problem: Problem,
    operation: Operation,
    template: Algorithm,
    images: int,
    workers: int,
    traits: Traits,
) -> tuple[int, int]:
    """The bytes that one block holds, and those that all blocks share."""
    slab = images * prod(template.reach) * problem.in_channels
    outputs = images * prod(template.windows.output) * problem.out_channels
    block = template.workspace(images, problem.in_channels, problem.out_channels)
    is_ragged = template.reach != template.windows.input
    if problem.geometry.is_padded or is_ragged or traits.product_bytes != traits.element_bytes:
        block += slab + outputs
    elif block or operation == "input":
        block += outputs + slab * (operation == "input")
    if operation == "weight" and problem.groups > 1 and traits.namespace == "cupy":
        block *= 2  # CuPy copies what a product of many matrices turns round
    turned = problem.groups > 1 or traits.is_complex
    if operation == "input" and turned and not isinstance(template, ThinFft):
        block *= 2  # terms are turned round to be folded, or conjugated
    weights = template.weight_elements(problem.in_channels, problem.out_channels)
    shared = weights
    if operation == "weight":  # each worker has a sum and a term to be added
        shared += 2 * weights * workers
        block += outputs * (1 + traits.is_complex)
    if operation == "input" and traits.product_bytes != traits.element_bytes:
        shared += problem.images * prod(problem.geometry.input) * problem.in_channels
    return block * traits.product_bytes, shared * traits.product_bytes


def count_blocks(problem: Problem, template: Algorithm, images: int) -> int:
    """The number of blocks, channels uncut."""
    axes = zip(problem.geometry.output, template.windows.output, strict=True)
    return max(-(-problem.images // images) * prod(-(-o // b) for o, b in axes), 1)
