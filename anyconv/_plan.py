"""Problem -> Plan: which algorithm runs, in which blocks. Whole numbers in, whole numbers out.

A plan is a pure function of the sizes, of what the arrays are (`Traits`) and of the limits, so it
is cached, and shown to the user by `plan_conv`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import product
from math import prod
from typing import Literal, NamedTuple

from anyconv._algorithms import ALGORITHM_NAMES, Algorithm, Tiled, algorithm_named
from anyconv._costs import CPU, GPU
from anyconv._geometry import Pairs, Phase, Problem, WindowGeometry, phases
from anyconv._layout import join_shape
from anyconv._namespace import (
    accumulator,
    is_cupy,
    is_kind,
    is_numpy,
    is_traced,
    item_bytes,
    multiplies_half_in_float32,
    runs_on_gpu,
)
from anyconv._options import Options
from anyconv._typing import Array, DType, Index, Namespace, Shape

Operation = Literal["forward", "input", "weight"]

# What one worker's block may hold on the CPU: windows as much as stays in the core's own cache,
# tiles, which are touched more often than they are fetched, as much as stays in the shared one.
CACHED_BYTES = 2**21
CACHED_TILE_BYTES = 12 * 2**20
# Fewer rows than this make a matrix product slow, however well they fit.
FEWEST_ROWS = 128
FEWEST_TILES = 32
# A sum of so many rows, in single precision, is as exact as its terms; longer ones are cut.
MOST_SUMMED_ROWS = 4096
# Below this many multiply-adds nothing is won by a transform.
WORTH_A_TRANSFORM = 2**24
# Below this many multiply-adds a call is cheaper than handing it to another thread.
WORTH_A_WORKER = 2**21


class WorkspaceError(ValueError):
    """The workspace holds not even the smallest block."""


class Traits(NamedTuple):
    """What the planner must know of the arrays: their library's ways, never their values."""

    namespace: str
    runs: Literal["workers", "eager", "gpu", "traced"]
    dtype: str
    element_bytes: int
    product_bytes: int
    is_complex: bool


def traits_of(xp: Namespace, x: Array) -> Traits:
    """The traits of an array and of all that share a call with it."""
    return _traits(xp, x.dtype, not is_numpy(xp) and runs_on_gpu(xp, x))


def traits_of_dtype(xp: Namespace, dtype: DType) -> Traits:
    """The traits of arrays where the library keeps them if not told otherwise."""
    return _traits(xp, dtype, is_cupy(xp))


@lru_cache
def _traits(xp: Namespace, dtype: DType, on_gpu: bool) -> Traits:
    runs = (
        "workers" if is_numpy(xp) else "traced" if is_traced(xp) else "gpu" if on_gpu else "eager"
    )
    return Traits(
        namespace=xp.__name__.removeprefix("array_api_compat.").removesuffix(".numpy"),
        runs=runs,  # type: ignore[arg-type]
        dtype=getattr(dtype, "__name__", str(dtype).rpartition(".")[2]),
        element_bytes=item_bytes(xp, dtype),
        product_bytes=item_bytes(xp, product_dtype(xp, dtype)),
        is_complex=is_kind(xp, dtype, "complex floating"),
    )


@lru_cache
def product_dtype(xp: Namespace, dtype: DType) -> DType:
    """The dtype that blocks are multiplied in."""
    return dtype if multiplies_half_in_float32(xp) else accumulator(xp, dtype)


class Block(NamedTuple):
    """A box of outputs and the slab of inputs under it, a convolution without padding.

    `outputs` indexes y, `images` and `slab` the cells of x, which may lie outside it.
    """

    algorithm: Algorithm
    outputs: Index
    images: slice
    slab: Pairs


@dataclass(frozen=True)
class PhasePlan:
    """One of the stride-one convolutions that the gradient of a strided input falls into."""

    phases: tuple[Phase, ...]
    plan: "Plan"


@dataclass(frozen=True)
class Plan:
    """What one of the three maps of a convolution will do, and why.

    Attributes
    ----------
    problem : Problem
        All sizes of the convolution.
    operation : str
        `"forward"`, `"input"` (its gradient) or `"weight"` (its gradient).
    algorithm : str
        The algorithm that runs.
    reason : str
        Why this one.
    workspace : int
        The bytes held at once beyond inputs and result, at most.
    """

    problem: Problem
    operation: Operation
    traits: Traits
    template: Algorithm
    images_per_block: int
    workers: int
    workspace: int
    reason: str
    rewritten: tuple[PhasePlan, ...] = ()
    layout: str = "channels_last"

    @property
    def output_shape(self) -> Shape:
        """The shape of y, in the layout of the call."""
        p = self.problem
        return join_shape(p.batch, p.geometry.output, p.out_channels, self.layout)

    @property
    def algorithm(self) -> str:
        """The name of the algorithm."""
        return self.rewritten[0].plan.algorithm if self.rewritten else self.template.name

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks in row-major order; at least one where calls are traced."""
        geometry = self.problem.geometry
        images = _cut(self.problem.images, self.images_per_block)
        if self.traits.runs == "traced":
            images = ((0, self.problem.images),)
        boxes = tuple(product(*map(_cut, geometry.output, self.template.windows.output)))
        return tuple(self._block(part, box) for part in images for box in boxes)

    def _block(self, images: tuple[int, int], box: Pairs) -> Block:
        geometry = self.problem.geometry
        algorithm = self.template.resized(tuple(stop - start for start, stop in box))
        starts = (
            start * s - before
            for (start, _), s, (before, _) in zip(
                box, geometry.stride, geometry.padding, strict=True
            )
        )
        slab = tuple((start, start + n) for start, n in zip(starts, algorithm.reach, strict=True))
        part = slice(*images)
        return Block(algorithm, (part, *(slice(*bounds) for bounds in box), ...), part, slab)

    @property
    def many_products(self) -> bool:
        """Whether a block makes many small matrix products, on NumPy."""
        worth_it = self.problem.multiply_adds >= WORTH_A_WORKER
        return self.traits.runs == "workers" and worth_it and isinstance(self.template, Tiled)

    @cached_property
    def writes_in_place(self) -> bool:
        """Whether each block's outputs are contiguous rows that a product can be written into."""
        if not self.template.output_is_reshape or self.problem.groups > 1:
            return False
        if self.traits.product_bytes != self.traits.element_bytes:
            return False
        sizes = (self.problem.images, *self.problem.geometry.output)
        box = (self.images_per_block, *self.template.windows.output)
        partial = [axis for axis, (b, size) in enumerate(zip(box, sizes, strict=True)) if b < size]
        return not partial or all(b == 1 for b in box[: partial[-1]])

    @property
    def bytes_moved(self) -> int:
        """The bytes of inputs, weights and outputs, each counted once."""
        p = self.problem
        elements = (
            p.images * prod(p.geometry.input) * p.in_channels
            + p.images * prod(p.geometry.output) * p.out_channels
            + prod(p.geometry.kernel) * p.in_channels * p.out_channels // p.groups
        )
        return elements * self.traits.element_bytes

    def __str__(self) -> str:
        """A small table."""
        p = self.problem
        calls = sum(len(step.plan.blocks) for step in self.rewritten) or len(self.blocks)
        rows = {
            "operation": self.operation,
            "algorithm": f"{self.algorithm} ({self.reason})",
            "arrays": f"{self.traits.namespace} {self.traits.dtype}",
            "output shape": str(self.output_shape),
            "multiply-adds": f"{p.multiply_adds:,}",
            "bytes moved": f"{self.bytes_moved:,}",
            "workspace": f"{self.workspace:,} bytes",
            "chunks": f"{calls}, {self.workers} at a time",
        }
        width = max(map(len, rows))
        return "\n".join(f"{name:<{width}}  {value}" for name, value in rows.items())


def _cut(size: int, most: int) -> tuple[tuple[int, int], ...]:
    """An axis in parts of at most `most`; a size of zero has no part."""
    return tuple((start, min(start + most, size)) for start in range(0, size, max(most, 1)))


@lru_cache(maxsize=4096)
def make_plan(
    problem: Problem,
    operation: Operation,
    algorithm: str,
    traits: Traits,
    limits: Options,
) -> Plan:
    """The plan of one map of a convolution."""
    name, reason = _choose(problem, operation, algorithm, traits, limits)
    if operation == "input":
        held = _held_by_phases(problem, traits)
        steps = _phase_plans(problem, algorithm, traits, limits, held)
        if steps:
            return _rewritten(problem, traits, steps, held)
    chosen = algorithm_named(name, problem)
    template, images, workers, workspace = _blocks(problem, operation, chosen, traits, limits)
    return Plan(problem, operation, traits, template, images, workers, workspace, reason)


def _choose(
    problem: Problem, operation: Operation, algorithm: str, traits: Traits, limits: Options
) -> tuple[str, str]:
    """The algorithm's name and the reason for it."""
    if algorithm != "auto":
        refusal = algorithm_named(algorithm, problem).refusal(problem)
        if refusal:
            raise ValueError(f"`algorithm` {algorithm!r} cannot do this convolution: {refusal}")
        return algorithm, "as asked"
    times = {}
    names = ALGORITHM_NAMES if problem.multiply_adds >= WORTH_A_TRANSFORM else ("gemm", "taps")
    for name in names:
        chosen = algorithm_named(name, problem)
        if chosen.refusal(problem) is None:
            try:
                times[name] = _estimate(problem, operation, chosen, traits, limits)
            except WorkspaceError:
                continue
    if not times:
        return "taps", "the workspace holds no other"
    name = min(times, key=lambda name: times[name])
    estimates = ", ".join(f"{name} {time / 1e6:.3g} ms" for name, time in times.items())
    return name, f"estimated {estimates}"


def _estimate(
    problem: Problem,
    operation: Operation,
    chosen: type[Algorithm],
    traits: Traits,
    limits: Options,
) -> float:
    """The nanoseconds that an algorithm would take, blocks and workers considered."""
    template, images, workers, workspace = _blocks(problem, operation, chosen, traits, limits)
    if workspace > limits.workspace_bytes:  # of a traced call, which has a single block
        raise WorkspaceError
    c, k = problem.in_channels, problem.out_channels
    whole = template.resized(problem.geometry.output)
    cost = whole.cost(max(problem.images, 1), c, k)
    count = _count(problem, template, images)
    summed = 3 * template.weight_elements(c, k) * count if operation == "weight" else 0
    cost = cost._replace(elements=cost.elements + summed, calls=cost.calls * count)
    rates = GPU if traits.runs == "gpu" else CPU
    time = rates.nanoseconds(cost, traits.product_bytes, is_complex=traits.is_complex)
    return time / min(workers, count)


def _count(problem: Problem, template: Algorithm, images: int) -> int:
    """The number of blocks."""
    axes = zip(problem.geometry.output, template.windows.output, strict=True)
    return max(-(-problem.images // images) * prod(-(-o // b) for o, b in axes), 1)


def _phase_plans(
    problem: Problem, algorithm: str, traits: Traits, limits: Options, held: int
) -> tuple[PhasePlan, ...]:
    """The input gradient as stride-one convolutions of dy; none where a fold does better."""
    geometry = problem.geometry
    if prod(min(k, s) for k, s in zip(geometry.kernel, geometry.stride, strict=True)) > 16:
        return ()
    inside = replace(limits, workspace_bytes=limits.workspace_bytes - held)
    try:
        return tuple(
            PhasePlan(parts, make_plan(inner, "forward", algorithm, traits, inside))
            for parts, inner in _phase_problems(problem)
        )
    except WorkspaceError:
        return ()  # a fold holds neither a flipped weight nor a phase's result


def _held_by_phases(problem: Problem, traits: Traits) -> int:
    """The bytes of a flipped weight, where it is copied, and of one phase's result beside dx."""
    geometry = problem.geometry
    held = 0
    if problem.groups > 1 or traits.is_complex:
        held += prod(geometry.kernel) * problem.in_channels * problem.out_channels // problem.groups
    if any(s > 1 for s in geometry.stride):
        sizes = (-(-i // s) for i, s in zip(geometry.input, geometry.stride, strict=True))
        held += problem.images * prod(sizes) * problem.in_channels
    return held * traits.element_bytes


def _rewritten(problem: Problem, traits: Traits, steps: tuple[PhasePlan, ...], held: int) -> Plan:
    """The plan of an input gradient made of other plans."""
    first = steps[0].plan
    reason = f"{len(steps)} of stride one on dy; {first.reason}"
    workspace = held + max(step.plan.workspace for step in steps)
    images = max(problem.images, 1)
    return Plan(
        problem, "input", traits, first.template, images, first.workers, workspace, reason, steps
    )


def _phase_problems(problem: Problem) -> Iterator[tuple[tuple[Phase, ...], Problem]]:
    """The stride-one convolutions of the output gradient that give the input gradient.

    The flipped weight takes output channels back to input channels. A phase that no tap reaches has
    gradient zero and is left out.
    """
    geometry = problem.geometry
    for parts in product(*(tuple(phases(geometry, axis)) for axis in range(geometry.rank))):
        if not all(len(part.taps) for part in parts):
            continue
        kernel = tuple(len(part.taps) for part in parts)
        dilation = tuple(part.dilation for part in parts)
        counts = tuple(part.count for part in parts)
        padding = tuple(
            (-part.start, part.start + part.count + d * (k - 1) - size)
            for part, d, k, size in zip(parts, dilation, kernel, geometry.output, strict=True)
        )
        ones = (1,) * geometry.rank
        inner = WindowGeometry(geometry.output, kernel, ones, dilation, padding, counts)
        yield (
            parts,
            replace(
                problem,
                geometry=inner,
                in_channels=problem.out_channels,
                out_channels=problem.in_channels,
            ),
        )


def _blocks(
    problem: Problem,
    operation: Operation,
    chosen: type[Algorithm],
    traits: Traits,
    limits: Options,
) -> tuple[Algorithm, int, int, int]:
    """Blocks within the limits: the algorithm for one, its images, the workers, the workspace."""
    images, box = max(problem.images, 1), problem.geometry.output
    workers = 1
    if traits.runs == "workers" and problem.multiply_adds >= WORTH_A_WORKER:
        workers = limits.workers
        if operation == "weight":  # workers that hold a sum each must leave room for blocks
            template = chosen.create(problem, box, is_complex=traits.is_complex)
            weights = template.weight_elements(problem.in_channels, problem.out_channels)
            room = limits.workspace_bytes // (3 * traits.product_bytes)
            workers = max(min(workers, room // weights), 1)
    while True:
        template = chosen.create(problem, box, is_complex=traits.is_complex)
        block, fixed = _workspace(problem, operation, template, images, workers, traits)
        workspace = block * workers + fixed
        if traits.runs == "traced":
            break
        if workspace <= limits.workspace_bytes:
            if traits.runs != "workers":
                break
            count = _count(problem, template, images)
            rows = images * prod(box)
            is_sum = operation == "weight" and not isinstance(template, Tiled)
            exact = not is_sum or rows <= MOST_SUMMED_ROWS
            cached = block <= _cached_bytes(template, fixed) and count >= workers
            if _is_small(template, images) or (exact and cached):
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
            raise WorkspaceError(
                f"`workspace_bytes` must be at least {workspace:,} for the algorithm "
                f"{template.name!r} on this convolution, got {limits.workspace_bytes:,}"
            )
    return template, images, workers, workspace


def _is_small(template: Algorithm, images: int) -> bool:
    """Whether a block's matrix products have so few rows that fewer would make them slow."""
    if isinstance(template, Tiled):
        fewest = 1 if template.is_elementwise else FEWEST_TILES
        return images * prod(template.tiles.output) <= fewest
    return images * prod(template.windows.output) <= FEWEST_ROWS


def _cached_bytes(template: Algorithm, fixed: int) -> int:
    """What a block may hold: as much as a cache does, or as the weights that it makes pass by."""
    if not isinstance(template, Tiled):
        return CACHED_BYTES
    return 2 * CACHED_BYTES if template.is_elementwise else max(CACHED_TILE_BYTES, fixed)


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
    if operation == "input" and (problem.groups > 1 or traits.is_complex):
        block *= 2  # terms are turned round to be folded, or conjugated
    weights = template.weight_elements(problem.in_channels, problem.out_channels)
    shared = weights
    if operation == "weight":  # each worker has a sum and a term to be added
        shared += 2 * weights * workers
        block += outputs * (1 + traits.is_complex)
    if operation == "input" and traits.product_bytes != traits.element_bytes:
        shared += problem.images * prod(problem.geometry.input) * problem.in_channels
    return block * traits.product_bytes, shared * traits.product_bytes
