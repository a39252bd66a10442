"""The maps of convolution on eager arrays, in the caller's layout."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from anyconv._arguments._common import known_shape
from anyconv._arguments._conv import ConvCall
from anyconv._checks import check_shape
from anyconv._cupy_kernels import has_window_kernels, is_copied_first, totals_in_kernel
from anyconv._execution._execute import run_forward, run_input_gradient, run_weight_gradient
from anyconv._execution._lazy_batch import over_batch
from anyconv._execution._padded import (
    padded_forward,
    padded_input_gradient,
    padded_weight_gradient,
    plan_call,
)
from anyconv._layout import (
    from_canonical,
    to_canonical,
    weight_from_canonical,
    weight_to_canonical,
)
from anyconv._namespace import (
    accumulator,
    as_dtype,
    device,
    in_own_precision,
    is_lazy_blocks,
    is_numpy,
)
from anyconv._namespace._blas import single_threaded_products
from anyconv._options import current_options
from anyconv._plans._plan import Plan
from anyconv._plans._planner import check_algorithm
from anyconv._traits import traits_of
from anyconv._typing import Array, Namespace, Operation, Shape

# So many rows are summed in single precision without a loss that matters.
EXACT_ROWS = 1024


def over_images(
    kernel: Callable[..., Array],
    call: ConvCall,
    batched: Sequence[Array],
    whole: Sequence[Array],
    shape: Shape,
    *,
    summed: bool = False,
    xp: Namespace,
) -> Array:
    """`over_batch`, once the algorithm is known to fit: lazy blocks would refuse it much later."""
    if is_lazy_blocks(xp):
        check_algorithm(call.problem, call.algorithm, traits_of(xp, batched[0]))
    return over_batch(kernel, call, batched, whole, shape, summed=summed, xp=xp)


def plan_of(call: ConvCall, operation: Operation, x: Array, *, xp: Namespace) -> Plan:
    """The plan within the options in force."""
    return plan_call(call, operation, traits_of(xp, x), current_options())


def _products_of(plan: Plan, x: Array, *, xp: Namespace) -> AbstractContextManager[None]:
    """What matrix products need while a plan is carried out.

    One thread of NumPy's, where they would take more; of PyTorch's, their own precision.
    """
    if plan.wakes_threads:
        return single_threaded_products()
    return in_own_precision(x, xp=xp)


def forward(call: ConvCall, x: Array, w: Array, b: Array | None = None, *, xp: Namespace) -> Array:
    """The output from x and w, in the caller's layout."""
    x = to_canonical(x, call.rank, call.layout, xp=xp)
    w = weight_to_canonical(w, call.layout, xp=xp)
    plan, channels_first = plan_of(call, "forward", x, xp=xp), call.layout == "channels_first"
    with _products_of(plan, x, xp=xp):
        if call.nonzero_padding:
            y = padded_forward(plan, call, x, w, b, xp=xp)
        else:
            y = run_forward(plan, x, w, b, channels_first=channels_first, xp=xp)
    return from_canonical(y, call.problem.batch, call.layout, xp=xp)


def input_gradient(
    call: ConvCall, dy: Array, w: Array, b: Array | None = None, *, xp: Namespace
) -> Array:
    """The input's gradient from dy and w, in the caller's layout.

    Or the output of a transposed convolution, with its bias.
    """
    dy = to_canonical(dy, call.rank, call.layout, xp=xp)
    w = weight_to_canonical(w, call.layout, xp=xp)
    plan, channels_first = plan_of(call, "input", dy, xp=xp), call.layout == "channels_first"
    with _products_of(plan, dy, xp=xp):
        if call.nonzero_padding:
            dx = padded_input_gradient(plan, call, dy, w, xp=xp)
        else:
            dx = run_input_gradient(plan, dy, w, b, channels_first=channels_first, xp=xp)
    return from_canonical(dx, call.problem.batch, call.layout, xp=xp)


def weight_gradient(call: ConvCall, dy: Array, x: Array, *, xp: Namespace) -> Array:
    """The weight's gradient from dy and x, in the caller's layout."""
    dy = to_canonical(dy, call.rank, call.layout, xp=xp)
    x = to_canonical(x, call.rank, call.layout, xp=xp)
    plan = plan_of(call, "weight", x, xp=xp)
    with _products_of(plan, x, xp=xp):
        if call.nonzero_padding:
            dw = padded_weight_gradient(plan, call, dy, x, xp=xp)
        else:
            dw = run_weight_gradient(plan, dy, x, xp=xp)
    return weight_from_canonical(dw, call.layout, xp=xp)


def bias_gradient(dy: Array, channels_axis: int, *, xp: Namespace) -> Array:
    """The sum over all axes but one."""
    kept, dtype = channels_axis % dy.ndim, accumulator(xp, dy.dtype)
    is_last = kept == dy.ndim - 1 and not is_lazy_blocks(xp)
    has_no_gaps = is_last and not is_copied_first(dy, xp=xp)
    if has_no_gaps and dy.size and has_window_kernels(xp, dy.dtype):
        total = totals_in_kernel(xp.reshape(dy, (-1, dy.shape[-1])), xp=xp)
        return as_dtype(total, dy.dtype, xp=xp)
    if not is_last or dtype != dy.dtype:
        others = tuple(axis for axis in range(dy.ndim) if axis != kept)
        # A dtype of the other byte order is none that a sum can be asked for.
        wide = {} if dtype == dy.dtype else {"dtype": dtype}
        return as_dtype(xp.sum(dy, axis=others, **wide), dy.dtype, xp=xp)
    many = is_numpy(xp) and dy.size > EXACT_ROWS
    with single_threaded_products() if many else in_own_precision(dy, xp=xp):
        total = _sum_of_rows(xp.reshape(dy, (-1, dy.shape[-1])), xp=xp)
    return as_dtype(total, dy.dtype, xp=xp)


def _sum_of_rows(rows: Array, *, xp: Namespace) -> Array:
    """A product with ones, the fastest sum; of shares of the rows, so that no digits are lost."""
    shares, left = divmod(rows.shape[0], EXACT_ROWS)
    ones = xp.ones((EXACT_ROWS,), dtype=rows.dtype, device=device(rows))
    cut = xp.reshape(rows[: shares * EXACT_ROWS, :], (shares, EXACT_ROWS, rows.shape[-1]))
    total = xp.matmul(ones[:left], rows[shares * EXACT_ROWS :, :])
    return total + xp.sum(xp.matmul(ones, cut), axis=0) if shares else total


def check_bias(b: Array | None, channels: int) -> None:
    """A bias must hold a value for each output channel."""
    if b is not None:
        check_shape(
            "b", known_shape("b", b), (channels,), "one value for each output channel, shape"
        )


def check_dy(dy: Array, expected: Shape) -> None:
    """A gradient must have the shape of what it is of."""
    check_shape("dy", known_shape("dy", dy), expected, "the shape of the output")
