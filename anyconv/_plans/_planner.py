"""Problem -> Plan: the cheapest algorithm within the workspace. Whole numbers in, a plan out.

A plan is a pure function of the sizes, of what the arrays are (`Traits`) and of the limits, so it
is cached, and shown to the user by `plan_conv`.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import product
from math import inf, prod

from anyconv._algorithms import ALGORITHM_NAMES, Algorithm, InOnePass, algorithm_named
from anyconv._compiled import has_wide_tiles
from anyconv._costs import CPU, GPU, WIDE_CPU, Cost, Rates
from anyconv._geometry import Phase, Problem, WindowGeometry, phases
from anyconv._namespace._blas import halves_wide_vectors, has_wide_products
from anyconv._options import Options
from anyconv._plans._block_sizes import WorkspaceError, count_blocks, size_blocks
from anyconv._plans._plan import InnerPlan, PhasePlan, Plan, moves_by_jobs
from anyconv._rewritings import Rewriting, rewritings_of
from anyconv._traits import Traits
from anyconv._typing import Operation

# How many products of half precision a GPU's matrix cores make while it makes one in single.
HALF_SPEED = 8
# What phases that are written between one another take more than is estimated, measured against
# one product whose windows are folded back in a compiled loop.
SEVERAL_PHASES = 1.25
# Where loops are compiled a problem is rewritten only if it saves more: estimates are less alike.
MARGIN_OF_LOOPS = 0.9
# So many multiply-adds are worth having loops compiled for.
WORTH_COMPILING = 2**19
# Below this many multiply-adds nothing is won by rewriting a problem, or by a transform.
WORTH_REWRITING = 2**20
WORTH_A_TRANSFORM = 2**24


@lru_cache(maxsize=4096)
def make_plan(
    problem: Problem,
    operation: Operation,
    algorithm: str,
    traits: Traits,
    limits: Options,
) -> Plan:
    """The plan of one map of a convolution, rewritten where that is cheaper."""
    if traits.runs == "workers" and not traits.compiles:
        compiles = limits.compiles(problem.multiply_adds, WORTH_COMPILING)
        traits = traits._replace(compiles=compiles)
    try:
        plan = _plan_as_it_stands(problem, operation, algorithm, traits, limits)
    except WorkspaceError:
        if not traits.compiles:
            raise
        # Loops hold what they work on for long, others may take it in smaller parts.
        traits, limits = traits._replace(compiles=False), replace(limits, compiled=False)
        plan = _plan_as_it_stands(problem, operation, algorithm, traits, limits)
    # An algorithm asked for by name is wanted on the problem as it stands.
    if algorithm != "auto" or problem.multiply_adds < WORTH_REWRITING:
        return plan
    margin = MARGIN_OF_LOOPS if traits.compiles else 1.0
    others = [
        other
        for rewriting in rewritings_of(problem, operation)
        if (other := _inner_plan(rewriting, operation, traits, limits))
        and other.nanoseconds < rewriting.worth(plan.algorithm) * margin * plan.nanoseconds
    ]
    if not others:
        return plan
    best = min(others, key=lambda other: other.nanoseconds)
    return replace(best, reason=f"{best.reason}; as it stands {plan.nanoseconds / 1e6:.3g} ms")


def check_algorithm(problem: Problem, algorithm: str, traits: Traits) -> None:
    """Refuse a problem that an algorithm asked for by name cannot do."""
    if algorithm == "fft" and not traits.has_transforms:
        raise ValueError(f"`algorithm` 'fft' needs Fourier transforms; {traits.namespace} has none")
    chosen = None if algorithm == "auto" else algorithm_named(algorithm, problem, "forward", traits)
    refusal = chosen and chosen.refusal(problem)
    if refusal:
        raise ValueError(f"`algorithm` {algorithm!r} cannot do this convolution: {refusal}")


def _plan_as_it_stands(
    problem: Problem,
    operation: Operation,
    algorithm: str,
    traits: Traits,
    limits: Options,
) -> Plan:
    """The plan of a problem that is not rewritten before an algorithm is chosen."""
    name, reason, nanoseconds = _choose(problem, operation, algorithm, traits, limits)
    chosen = algorithm_named(name, problem, operation, traits)
    if operation == "input":
        held = _held_by_phases(problem, traits)
        steps = _phase_plans(problem, algorithm, traits, limits, held)
        if steps:
            by_phases = _phases_plan(problem, traits, steps, held)
            several = SEVERAL_PHASES if chosen.adds_into_slices and len(steps) > 1 else 1
            phases_take = several * by_phases.nanoseconds
            is_tie = phases_take == nanoseconds
            if phases_take < nanoseconds or (
                is_tie and not _is_one_block(problem, operation, chosen, traits, limits)
            ):
                return by_phases
    blocks = size_blocks(problem, operation, chosen, traits, limits)
    return Plan(
        problem,
        operation,
        traits,
        blocks.template,
        blocks.images,
        blocks.workers,
        blocks.workspace,
        reason,
        nanoseconds,
        blocks.parts,
        blocks.holds_data,
    )


def _is_one_block(
    problem: Problem,
    operation: Operation,
    chosen: type[Algorithm],
    traits: Traits,
    limits: Options,
) -> bool:
    """Whether a GPU would do all of a problem at once, and its host least to prepare that."""
    if traits.runs != "gpu":
        return False
    try:
        blocks = size_blocks(problem, operation, chosen, traits, limits)
    except WorkspaceError:
        return False
    return count_blocks(problem, blocks.template, blocks.images) == 1


def _choose(
    problem: Problem, operation: Operation, algorithm: str, traits: Traits, limits: Options
) -> tuple[str, str, float]:
    """The algorithm's name, the reason for it, and the nanoseconds that it may take."""
    if algorithm != "auto":
        chosen = algorithm_named(algorithm, problem, operation, traits)
        check_algorithm(problem, algorithm, traits)
        return algorithm, "as asked", _estimate(problem, operation, chosen, traits, limits)
    times = {}
    names = ALGORITHM_NAMES if problem.multiply_adds >= WORTH_A_TRANSFORM else ("gemm", "taps")
    for name in names:
        if name == "fft" and not traits.has_transforms:
            continue
        chosen = algorithm_named(name, problem, operation, traits)
        if chosen.refusal(problem) is None:
            times[name] = _estimate(problem, operation, chosen, traits, limits)
    name = min(times, key=lambda name: times[name])
    if times[name] == inf:
        return "taps", "the workspace holds no other", inf
    times = {name: time for name, time in times.items() if time < inf}
    estimates = ", ".join(f"{name} {time / 1e6:.3g} ms" for name, time in times.items())
    return name, f"estimated {estimates}", times[name]


def _estimate(
    problem: Problem,
    operation: Operation,
    chosen: type[Algorithm],
    traits: Traits,
    limits: Options,
) -> float:
    """The nanoseconds an algorithm would take, blocks and workers considered; inf if no room."""
    try:
        blocks = size_blocks(problem, operation, chosen, traits, limits)
    except WorkspaceError:
        return inf
    if blocks.workspace > limits.workspace_bytes:  # of a traced call, which has a single block
        return inf
    template, c, k = blocks.template, problem.in_channels, problem.out_channels
    whole = template.resized(problem.geometry.output)
    images = max(problem.images, 1)
    cost = whole.cost(images, c, k, template.rows(blocks.images))
    if operation == "input":
        cost += whole.folding(images, c)
        is_one_product = template.adjoint_is_one_product
    else:
        is_one_product = template.is_one_product
    if traits.sums_half_in_single and is_one_product:
        cost = cost._replace(multiplies=cost.multiplies / HALF_SPEED)
    count = count_blocks(problem, template, blocks.images)
    count *= 1 if blocks.holds_data else blocks.parts
    if operation == "input" and count > 1 and traits.runs == "gpu":  # slabs are added to zeros
        slabs = 3 * images * prod(problem.geometry.input) * c
        cost = cost._replace(elements=cost.elements + slabs)
    # All weights pass by with each block; a sum of them is read and written too.
    passing = template.weight_elements(c, k) * count * (3 if operation == "weight" else 1)
    if blocks.holds_data and operation == "forward":  # but all data with each part of the weights
        passing = blocks.parts * (template.held(images, c) or 0)
    cost = cost._replace(elements=cost.elements + passing, calls=cost.calls * count)
    rates = _rates(traits, in_tiles=isinstance(template, InOnePass))
    time = rates.nanoseconds(cost, traits.product_bytes, is_complex=traits.is_complex)
    return time / min(blocks.workers, count)


def _rates(traits: Traits, *, in_tiles: bool = False) -> Rates:
    """What the machine that runs the call takes for its work; products are a library's, or ours."""
    if traits.runs == "gpu":
        return GPU
    if in_tiles:
        is_wide = has_wide_tiles() and not halves_wide_vectors()
    else:
        is_wide = traits.runs == "workers" and has_wide_products()
    return WIDE_CPU if is_wide else CPU


def _inner_plan(
    rewriting: Rewriting, operation: Operation, traits: Traits, limits: Options
) -> Plan | None:
    """The plan of a problem by way of another, where that fits."""
    if rewriting.adds_weights and operation == "weight" and traits.element_bytes < 4:
        return None
    held, passing = (n * traits.element_bytes for n in (rewriting.held, rewriting.passing))
    inside = replace(limits, workspace_bytes=limits.workspace_bytes - held)
    try:
        inner = make_plan(rewriting.inner, operation, "auto", traits, inside)
    except WorkspaceError:
        return None
    workspace = held + max(inner.workspace, passing)
    if workspace > limits.workspace_bytes:
        return None
    by_jobs = moves_by_jobs(rewriting, inner.traits)
    cost = rewriting.cost_in_loops if by_jobs else rewriting.cost
    maps = _rates(traits).nanoseconds(cost, traits.element_bytes, is_complex=traits.is_complex)
    maps /= inner.workers if by_jobs else 1
    return replace(
        inner,
        problem=rewriting.problem,
        workspace=workspace,
        reason=f"{rewriting.words}; {inner.reason}",
        nanoseconds=maps + inner.nanoseconds,
        phases=(),
        inner=InnerPlan(rewriting, inner),
    )


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
            PhasePlan(parts, _transposed_plan(inner, algorithm, traits, inside))
            for parts, inner in _phase_problems(problem)
        )
    except WorkspaceError:
        return ()  # a fold holds neither a flipped weight nor a phase's result


def _transposed_plan(problem: Problem, algorithm: str, traits: Traits, limits: Options) -> Plan:
    """The plan of a convolution with a transposed weight; `taps` where another has to copy it."""
    plan = make_plan(problem, "forward", algorithm, traits, limits)
    if algorithm != "auto" or not plan.template.copies_transposed:
        return plan
    weights = prod(problem.geometry.kernel) * problem.in_channels * problem.out_channels
    copied = _rates(traits).nanoseconds(
        Cost(0, 4 * weights / problem.groups, 0, 2),
        traits.element_bytes,
        is_complex=traits.is_complex,
    )
    taps = make_plan(problem, "forward", "taps", traits, limits)
    return taps if taps.nanoseconds < plan.nanoseconds + copied else plan


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


def _phases_plan(problem: Problem, traits: Traits, steps: tuple[PhasePlan, ...], held: int) -> Plan:
    """The plan of an input gradient made of other plans."""
    first = steps[0].plan
    reason = f"{len(steps)} of stride one on dy; {first.reason}"
    workspace = held + max(step.plan.workspace for step in steps)
    images = max(problem.images, 1)
    nanoseconds = sum(step.plan.nanoseconds for step in steps)
    if traits.runs == "gpu":
        nanoseconds += _beside_products(problem, traits, steps)
    return Plan(
        problem,
        "input",
        traits,
        first.template,
        images,
        first.workers,
        workspace,
        reason,
        nanoseconds,
        phases=steps,
    )


def _beside_products(problem: Problem, traits: Traits, steps: tuple[PhasePlan, ...]) -> float:
    """What a GPU takes to flip weights, and to put what phases give between one another."""
    cost = Cost(0, 0, 0, sum(step.plan.template.flips_weight for step in steps))
    strides = problem.geometry.stride
    if any(s > 1 for s in strides):
        cells = max(problem.images, 1) * prod(problem.geometry.input) * problem.in_channels
        cost += Cost(0, cells + 2 * cells * len(steps) / prod(strides), 0, 1 + len(steps))
    return GPU.nanoseconds(cost, traits.element_bytes, is_complex=traits.is_complex)


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
