"""Average pooling, forward and backward."""

from collections.abc import Sequence
from functools import partial

from anyconv._arguments._common import check_floating, known_shape
from anyconv._arguments._pool import PoolCall, check_dy, pool_call, pool_options
from anyconv._checks import boolean, checked_shape
from anyconv._compiled import Job
from anyconv._execution._images import pooled, pooled_by_jobs, unpooled, unpooled_by_jobs
from anyconv._execution._lazy_batch import over_batch
from anyconv._namespace import common_namespace, device, is_kind
from anyconv._pooling._axis_loops import loops_in_kernels
from anyconv._pooling._by_axis import Axes, window_average, window_average_adjoint, window_counts
from anyconv._pooling._in_loops import are_tiles, averages_adjoint_jobs, averages_jobs, compiles
from anyconv._typing import Array, Ints, Layout, Namespace, Padding


def avg_pool_forward(
    x: Array,
    kernel_size: Ints,
    *,
    stride: Ints | None = None,
    padding: Padding = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    layout: Layout = "channels_last",
) -> Array:
    """The average of each window.

    Parameters
    ----------
    x : array, (*batch, *spatial, C)
        The input, floating or complex. With ``layout="channels_first"``: (*batch, C, *spatial).
    kernel_size, stride, padding, dilation, ceil_mode, layout
        As in `max_pool_forward`. Padding counts as zero.
    count_include_pad : bool
        Whether the divisor counts the cells in the input and its explicit padding, or in the input
        alone. What `ceil_mode` adds beyond the padding is never counted.

    Returns
    -------
    array, (*batch, *output, C)
        The averages. Channels first: (*batch, C, *output).

    Raises
    ------
    TypeError
        If x is of integers or no array; if an option is of the wrong kind.
    ValueError
        If sizes do not fit; if a window has no cell to count.

    See Also
    --------
    avg_pool_backward : its gradient.

    References
    ----------
    ONNX operator AveragePool; PyTorch's torch.nn.AvgPool2d.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv import avg_pool_forward
    >>> x = np.arange(16.0).reshape(1, 4, 4, 1)
    >>> avg_pool_forward(x, 2)[0, ..., 0]
    array([[ 2.5,  4.5],
           [10.5, 12.5]])
    """
    xp = common_namespace(x=x)
    check_floating("x", xp, x.dtype, what="average pooling")
    counted = boolean("count_include_pad", count_include_pad)
    options = pool_options(kernel_size, stride, padding, dilation, ceil_mode, layout)
    call = pool_call(known_shape("x", x), options, needs="counted" if counted else "input")
    return over_batch(partial(averages, counted=counted), call, [x], [], call.y_shape, xp=xp)


def avg_pool_backward(
    dy: Array,
    input_shape: Sequence[int],
    kernel_size: Ints,
    *,
    stride: Ints | None = None,
    padding: Padding = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    layout: Layout = "channels_last",
) -> Array:
    """The gradient of `avg_pool_forward`, its adjoint.

    Parameters
    ----------
    dy : array, (*batch, *output, C)
        The gradient of the output. Channels first: (*batch, C, *output).
    input_shape : sequence of int
        The shape of x, which a stride leaves open.
    kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, layout
        As `avg_pool_forward` had them.

    Returns
    -------
    array, `input_shape`
        dx.

    Raises
    ------
    TypeError, ValueError
        As `avg_pool_forward`, and if dy has not the shape of its output.

    See Also
    --------
    avg_pool_forward : the function whose gradient this is.

    References
    ----------
    PyTorch's torch.nn.AvgPool2d.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv import avg_pool_backward
    >>> avg_pool_backward(np.ones((1, 1, 1, 1)), (1, 2, 2, 1), 2)[0, ..., 0]
    array([[0.25, 0.25],
           [0.25, 0.25]])
    """
    xp = common_namespace(dy=dy)
    check_floating("dy", xp, dy.dtype, what="average pooling")
    counted = boolean("count_include_pad", count_include_pad)
    options = pool_options(kernel_size, stride, padding, dilation, ceil_mode, layout)
    call = pool_call(
        checked_shape("input_shape", input_shape),
        options,
        needs="counted" if counted else "input",
        name="input_shape",
    )
    check_dy(dy, call)
    kernel = partial(averages_gradient, counted=counted)
    return over_batch(kernel, call, [dy], [], call.x_shape, xp=xp)


def averages(call: PoolCall, x: Array, *, counted: bool, xp: Namespace) -> Array:
    """The average of each window, on arrays in the caller's layout."""

    def jobs(x: Array, y: Array, axes: Axes) -> list[Job]:
        return averages_jobs(x, y, axes, by=_divisors(y, axes, counted, xp=xp))

    if compiles(call, x, xp=xp):
        return pooled_by_jobs(jobs, call, x, xp=xp)
    takes_halves = loops_in_kernels(call.axes, x.dtype, xp=xp) is not None
    average = partial(window_average, counted=counted, xp=xp)
    return pooled(average, call, x, takes_halves=takes_halves, xp=xp)


def averages_gradient(call: PoolCall, dy: Array, *, counted: bool, xp: Namespace) -> Array:
    """The gradient of `averages`."""
    sets = are_tiles(call.axes)

    def jobs(dy: Array, dx: Array, axes: Axes, opens: bool) -> list[Job]:
        by = _divisors(dy, axes, counted, xp=xp)
        return averages_adjoint_jobs(dy, dx, axes, by=by, opens=opens, sets=sets)

    if compiles(call, dy, xp=xp):
        return unpooled_by_jobs(jobs, call, dy, adds=not sets, xp=xp)
    takes_halves = loops_in_kernels(call.axes, dy.dtype, xp=xp) is not None
    gradient = partial(window_average_adjoint, counted=counted, xp=xp)
    return unpooled(gradient, call, dy, takes_halves=takes_halves, xp=xp)


def _divisors(y: Array, axes: Axes, counted: bool, *, xp: Namespace) -> Array:
    """What windows count, in real numbers: a single one, or one for each output of an image."""
    dtype = xp.real(y).dtype if is_kind(xp, y.dtype, "complex floating") else y.dtype
    counts = window_counts(axes, dtype, device(y), include_padding=counted, xp=xp)
    if isinstance(counts, int):
        return xp.asarray([counts], dtype=dtype, device=device(y))
    return xp.reshape(xp.broadcast_to(counts, (1, *y.shape[1:-1], 1)), (-1,))
