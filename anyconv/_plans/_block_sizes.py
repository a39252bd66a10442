"""How large a block of a convolution may be: within the workspace, and within a cache."""

from math import prod
from typing import NamedTuple

from anyconv._algorithms import OWN_CACHE, Algorithm, DepthwiseFft, ThinFft, Tiled
from anyconv._geometry import Problem
from anyconv._namespace import SUMS_AT_ONCE
from anyconv._options import Options
from anyconv._traits import Traits
from anyconv._typing import Operation, Shape

# A sum of so many rows, in single precision, is as exact as its terms; longer ones are cut.
MOST_SUMMED_ROWS = 4096
# Prepared weights larger than this are prepared a few output channels at a time, by all workers,
# where a shared cache holds all data meanwhile, or they are the larger part.
WORTH_PARTS = 2**22
SHARED_CACHE = 2**24
PART_COLUMNS = 64


class WorkspaceError(ValueError):
    """The workspace holds not even the smallest part of the work."""

    def __init__(self, needed: int, given: int, what: str) -> None:
        super().__init__(f"`workspace_bytes` must be at least {needed:,} for {what}, got {given:,}")
        self.needed, self.what = needed, what


class Blocks(NamedTuple):
    """How a problem is cut into blocks, and what they hold."""

    template: Algorithm  # for one block
    images: int  # in one block
    parts: int  # that the output channels are cut into
    workers: int
    workspace: int  # bytes, of all workers
    holds_data: bool = False  # whether the data of all blocks is prepared first


def size_blocks(
    problem: Problem,
    operation: Operation,
    chosen: type[Algorithm],
    traits: Traits,
    limits: Options,
) -> Blocks:
    """The largest blocks within the limits that a cache holds."""
    blocks = _size_held_blocks(problem, operation, chosen, traits, limits)
    return blocks or _size_passing_blocks(problem, operation, chosen, traits, limits)


def _size_held_blocks(
    problem: Problem,
    operation: Operation,
    chosen: type[Algorithm],
    traits: Traits,
    limits: Options,
) -> Blocks | None:
    """Blocks whose data is all prepared before any weights are, if that is better and fits."""
    images, workers = max(problem.images, 1), limits.workers
    template = chosen.create(problem, problem.geometry.output, traits)
    held = _held(problem, operation, template, images)
    if held is None or traits.runs != "workers":
        return None
    weights = template.weight_elements(problem.in_channels, problem.out_channels)
    weights, held = (n * traits.product_bytes for n in (weights, held))
    worth = WORTH_PARTS * (3 if operation == "weight" else 1)
    if weights < worth or held > max(SHARED_CACHE, weights):
        return None
    columns = PART_COLUMNS * workers
    parts = min(-(-problem.out_channels // columns) * workers, problem.out_channels)
    while True:
        each = _workspace_beside_held(problem, operation, template, images, parts, traits)
        workspace = held + workers * each
        is_cut = count_blocks(problem, template, images) >= workers
        if workspace <= limits.workspace_bytes and is_cut:
            data = (template.held(images, problem.in_channels) or 0) * traits.product_bytes
            # Blocks of a sum had better be large: each of them adds to all of it.
            if operation == "weight" or data <= OWN_CACHE or _is_small(template, images):
                return Blocks(template, images, parts, workers, workspace, holds_data=True)
        smaller = _smaller(template, images)
        if smaller is None:
            return None
        images, box = smaller
        template = chosen.create(problem, box, traits)


def _held(problem: Problem, operation: Operation, template: Algorithm, images: int) -> int | None:
    """The elements of all data as they are multiplied, of both factors where the weight is none."""
    data = template.held(images, problem.in_channels)
    if data is None or operation == "input":
        return None
    outputs = template.held(images, problem.out_channels) if operation == "weight" else 0
    return data + (outputs or 0)


def _workspace_beside_held(
    problem: Problem,
    operation: Operation,
    template: Algorithm,
    images: int,
    parts: int,
    traits: Traits,
) -> int:
    """The bytes of one worker: of a block that is prepared, or of a part that all data passes."""
    c, k = problem.in_channels, problem.out_channels
    columns, outputs = -(-k // parts), images * prod(template.windows.output)
    part = template.weight_elements(c, columns)
    slabs = 1 if traits.product_bytes == traits.element_bytes else 2  # widened
    block = slabs * images * prod(template.reach) * c + template.workspace(images, c, 0)
    if operation == "weight":  # a sum, a term to be added and the taps
        block += outputs * k + template.workspace(images, 0, k)
        conjugated = 2 * (template.held(images, columns) or 0) * traits.is_complex
        passing = 3 * part + conjugated
    else:
        passing = part + max(part, template.workspace(images, 0, columns) + outputs * columns)
    return max(block, passing) * traits.product_bytes


def _smaller(template: Algorithm, images: int) -> tuple[int, Shape] | None:
    """The images and outputs of the next smaller block: fewer images, then fewer rows."""
    box = template.windows.output
    if images > 1:
        return -(-images // 2), box
    for axis, (size, grain) in enumerate(zip(box, template.grain, strict=True)):
        smaller = -(-size // (2 * grain)) * grain
        if smaller < size:
            return images, (*box[:axis], smaller, *box[axis + 1 :])
    return None


def _size_passing_blocks(
    problem: Problem,
    operation: Operation,
    chosen: type[Algorithm],
    traits: Traits,
    limits: Options,
) -> Blocks:
    """Blocks by each of which all prepared weights pass, one block after the other."""
    images, box = max(problem.images, 1), problem.geometry.output
    workers = 1
    if traits.runs == "workers":
        workers = min(limits.workers, 1 + problem.multiply_adds // chosen.worth_a_worker)
        if operation == "weight":  # workers that hold a sum each must leave room for blocks
            template = chosen.create(problem, box, traits)
            weights = template.weight_elements(problem.in_channels, problem.out_channels)
            room = limits.workspace_bytes // (3 * traits.product_bytes)
            workers = max(min(workers, room // weights), 1)
    parts = 1
    if chosen.splits_channels(problem, operation):
        parts = min(workers, problem.out_channels)
    while True:
        template = chosen.create(problem, box, traits)
        block, fixed = _workspace(problem, operation, template, images, workers, traits)
        copied = _copied(problem, operation, template, images, traits)
        workspace = (block + copied) * workers + fixed
        if traits.runs == "traced":
            break
        if workspace <= limits.workspace_bytes:
            if traits.runs != "workers":
                break
            count = count_blocks(problem, template, images)
            rows = images * prod(box)
            is_sum = operation == "weight" and not isinstance(template, Tiled)
            exact = not is_sum or template.longest_sum(rows, problem, traits) <= MOST_SUMMED_ROWS
            is_cut = operation == "weight" and template.piece(rows, problem, traits)
            near = block // 2 if is_cut else block  # pieces are read one after the other
            fits = template.fits_cache(images, near, fixed) and exact
            if _is_small(template, images) or (fits and count * parts >= workers):
                break
        smaller = _smaller(template, images)
        if smaller is not None:
            images, box = smaller
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
    return template.rows(images) <= template.fewest_rows


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
    is_copied = (problem.geometry.is_padded or is_ragged) and not template.reads_cells
    if is_copied or traits.product_bytes != traits.element_bytes:
        block += slab + outputs
    elif block or operation == "input":
        block += outputs + slab * (operation == "input")
    copies_terms = problem.groups > 1 or traits.is_complex
    if operation == "input" and copies_terms and not isinstance(template, ThinFft | DepthwiseFft):
        block *= 2  # terms are transposed to be folded, or conjugated
    weights = template.weight_elements(problem.in_channels, problem.out_channels)
    shared = weights
    if operation == "weight":  # each worker has a sum and a term to be added
        shared += 2 * weights * workers
        block += outputs * (1 + traits.is_complex)
        if traits.is_complex:  # the data is conjugated, where the outputs are more
            block += template.workspace(images, problem.in_channels, problem.out_channels)
        block += template.shares(images * prod(template.windows.output), problem.out_channels)
        if template.piece(images * prod(template.windows.output), problem, traits):
            block += SUMS_AT_ONCE + weights
    if operation == "input" and traits.product_bytes != traits.element_bytes:
        shared += prod(problem.x_shape)
    return block * traits.product_bytes, shared * traits.product_bytes


def _copied(
    problem: Problem, operation: Operation, template: Algorithm, images: int, traits: Traits
) -> int:
    """The bytes that a block holds as well if its arrays are views of larger or transposed ones."""
    if not template.copies_views:
        return 0
    cells = prod(template.reach) * problem.in_channels
    outputs = prod(template.windows.output) * problem.out_channels
    given = {"forward": cells, "input": outputs, "weight": cells + outputs}[operation]
    return images * given * traits.product_bytes


def count_blocks(problem: Problem, template: Algorithm, images: int) -> int:
    """The number of blocks, channels uncut."""
    axes = zip(problem.geometry.output, template.windows.output, strict=True)
    return max(-(-problem.images // images) * prod(-(-o // b) for o, b in axes), 1)
