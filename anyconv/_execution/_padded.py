"""Convolutions whose padding is not zeros: images are padded in turn, within the workspace.

Padding is a linear map of each image, before the convolution:

    y = conv(pad(x))        dx = pad*(conv*(dy))        dw = sum over images of conv*(dy, pad(x))

The padded images, of x or of dx, are held beside all else. So are the outputs of a turn, before
they are copied where they belong.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from math import prod

from anyconv._arguments._conv import ConvCall
from anyconv._execution._execute import run_forward, run_input_gradient, run_weight_gradient
from anyconv._execution._turns import BUFFER_BYTES
from anyconv._geometry import Problem
from anyconv._namespace import accumulator, add_at, as_dtype, device
from anyconv._options import Options
from anyconv._plans._block_sizes import WorkspaceError
from anyconv._plans._plan import Plan
from anyconv._plans._planner import make_plan
from anyconv._traits import Traits
from anyconv._typing import Array, Namespace, Operation, Shape
from anyconv._windows import pad, pad_adjoint

# What is summed has at least the precision of numbers of this size.
SINGLE_BYTES = 4


def plan_call(call: ConvCall, operation: Operation, traits: Traits, limits: Options) -> Plan:
    """The plan of a call, padding that is not zeros included."""
    if call.nonzero_padding:
        return _padded_plan(call, operation, traits, limits)
    return make_plan(call.problem, operation, call.algorithm, traits, limits)


@lru_cache(maxsize=1024)
def _padded_plan(call: ConvCall, operation: Operation, traits: Traits, limits: Options) -> Plan:
    """The plan of padding as many images at once as half the workspace holds, or one."""
    problem = call.problem
    images = max(problem.images, 1)
    while True:
        held = _held(problem, operation, images, traits)
        if images == 1 or traits.runs == "traced" or held <= limits.workspace_bytes // 2:
            try:
                return _plan_in_turns(call, operation, images, traits, limits)
            except WorkspaceError:
                if images == 1:
                    raise
        images = -(-images // 2)


def _plan_in_turns(
    call: ConvCall, operation: Operation, images: int, traits: Traits, limits: Options
) -> Plan:
    """The plan that pads so many images at a time."""
    problem = call.problem
    if images >= problem.images:
        return _plan_beside_padding(call, problem, operation, images, traits, limits)
    if operation == "weight" and traits.element_bytes < SINGLE_BYTES:  # what is summed is widened
        traits = traits._replace(
            dtype="float32", element_bytes=SINGLE_BYTES, product_bytes=SINGLE_BYTES
        )
    count, left = divmod(problem.images, images)
    first, *last = (
        _plan_beside_padding(
            call, replace(problem, batch=(size,)), operation, images, traits, limits
        )
        for size in (images, left)
        if size
    )
    turns = (first,) * count + tuple(last)
    return replace(
        first,
        problem=problem,
        workspace=max(turn.workspace for turn in turns),
        reason=f"{images} padded images at a time; {first.reason}",
        nanoseconds=sum(turn.nanoseconds for turn in turns),
        phases=(),
        inner=None,
        turns=turns,
    )


def _plan_beside_padding(
    call: ConvCall,
    problem: Problem,
    operation: Operation,
    images: int,
    traits: Traits,
    limits: Options,
) -> Plan:
    """The plan of some images of a call, in what their padding leaves of the workspace."""
    held = _held(call.problem, operation, images, traits)
    inside = limits
    if traits.runs != "traced":  # there the limit only steers the choice of the algorithm
        inside = replace(limits, workspace_bytes=limits.workspace_bytes - held)
    try:
        plan = make_plan(problem, operation, call.algorithm, traits, inside)
    except WorkspaceError as error:
        raise WorkspaceError(
            error.needed + held, limits.workspace_bytes, f"{error.what}, padding included"
        ) from None
    return replace(plan, workspace=plan.workspace + held)


def _held(problem: Problem, operation: Operation, images: int, traits: Traits) -> int:
    """The bytes that are held beside the convolution of so many padded images."""
    padded = images * prod(problem.geometry.input) * problem.in_channels
    outputs = images * prod(problem.geometry.output) * problem.out_channels
    if operation == "input":
        held = padded * traits.product_bytes + 3 * min(padded * traits.product_bytes, BUFFER_BYTES)
        if traits.product_bytes != traits.element_bytes:  # what is folded is not yet rounded
            weights = prod(problem.geometry.kernel) * problem.in_channels * problem.out_channels
            held += (outputs + weights // problem.groups) * traits.product_bytes
        return held
    if images >= problem.images:
        return padded * traits.element_bytes
    if operation == "forward":
        return (padded + outputs) * traits.element_bytes
    weights = prod(problem.geometry.kernel) * problem.in_channels * problem.out_channels
    held = padded + 2 * weights // problem.groups  # a sum and a term
    if traits.element_bytes < SINGLE_BYTES:
        held += padded + outputs
    return held * max(traits.element_bytes, SINGLE_BYTES)


def padded_forward(
    plan: Plan, call: ConvCall, x: Array, w: Array, b: Array | None, *, xp: Namespace
) -> Array:
    """The output, from the x that is to be padded."""
    channels_first = call.layout == "channels_first"

    def outputs(plan: Plan, x: Array) -> Array:
        x = _pad(call, x, xp=xp)
        return run_forward(plan, x, w, b, channels_first=channels_first, xp=xp)

    if not plan.turns:
        return outputs(plan, x)
    y = _empty(call.problem.y_shape, x, channels_first=channels_first, xp=xp)
    for turn, images in _turns(plan):
        y[images, ...] = outputs(turn, x[images, ...])
    return y


def padded_input_gradient(
    plan: Plan, call: ConvCall, dy: Array, w: Array, *, xp: Namespace
) -> Array:
    """The gradient of the x that was padded; half precision is widened until padding is folded."""
    channels_first, wide = call.layout == "channels_first", accumulator(xp, dy.dtype)
    w = as_dtype(w, wide, xp=xp)

    def gradient(plan: Plan, dy: Array) -> Array:
        dy = as_dtype(dy, wide, xp=xp)
        dx = run_input_gradient(plan, dy, w, channels_first=channels_first, xp=xp)
        return pad_adjoint(dx, call.spatial, call.nonzero_padding or (), call.padding_mode, xp=xp)

    if not plan.turns:
        return xp.astype(gradient(plan, dy), dy.dtype)  # a copy, for a view keeps its padding
    shape = (call.problem.images, *call.spatial, call.problem.in_channels)
    dx = _empty(shape, dy, channels_first=channels_first, xp=xp)
    for turn, images in _turns(plan):
        dx[images, ...] = gradient(turn, dy[images, ...])
    return dx


def padded_weight_gradient(
    plan: Plan, call: ConvCall, dy: Array, x: Array, *, xp: Namespace
) -> Array:
    """The weight's gradient; terms of half precision are widened to be summed."""
    if not plan.turns:
        return run_weight_gradient(plan, dy, _pad(call, x, xp=xp), xp=xp)
    wide = accumulator(xp, dy.dtype)
    total: Array = None
    for turn, images in _turns(plan):
        part = xp.astype(dy[images, ...], wide, copy=False)
        padded = _pad(call, xp.astype(x[images, ...], wide, copy=False), xp=xp)
        term = run_weight_gradient(turn, part, padded, xp=xp)
        total = term if total is None else add_at(total, (...,), term, xp=xp)
        del part, padded, term  # before those of the next turn are made
    return xp.astype(total, dy.dtype, copy=False)


def _pad(call: ConvCall, x: Array, *, xp: Namespace) -> Array:
    return pad(x, call.nonzero_padding or (), call.padding_mode, xp=xp)


def _turns(plan: Plan) -> Iterator[tuple[Plan, slice]]:
    """The plan of each turn and its images."""
    start = 0
    for turn in plan.turns:
        yield turn, slice(start, start + turn.problem.images)
        start += turn.problem.images


def _empty(shape: Shape, like: Array, *, channels_first: bool, xp: Namespace) -> Array:
    """A canonical array that lies as the caller's layout has it."""
    if not channels_first:
        return xp.empty(shape, dtype=like.dtype, device=device(like))
    n, *spatial, c = shape
    return xp.moveaxis(xp.empty((n, c, *spatial), dtype=like.dtype, device=device(like)), 1, -1)
