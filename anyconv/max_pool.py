"""Maximum pooling, forward and backward."""

from functools import partial
from math import prod

from anyconv._arguments._common import check_ordered, check_real_floating, known_shape
from anyconv._arguments._pool import PoolCall, check_dy, pool_call, pool_options
from anyconv._checks import boolean, choice
from anyconv._execution._images import pooled, pooled_by_jobs, unpooled, unpooled_by_jobs
from anyconv._execution._lazy_batch import over_batch
from anyconv._namespace import add_at, common_namespace, index_dtype, scatters_in_order
from anyconv._pooling._axis_loops import loops_in_kernels
from anyconv._pooling._by_axis import Axes, max_gradient, window_max
from anyconv._pooling._in_loops import (
    WORTH_A_GRADIENT,
    are_tiles,
    argmax_jobs,
    compiles,
    maxima_gradient_jobs,
    maxima_jobs,
)
from anyconv._pooling._winners import (
    first_max_gradient,
    first_max_gradient_by_taps,
    is_small,
    scatter_to_first_max,
    window_argmax,
)
from anyconv._typing import Array, Ints, Layout, Namespace, Padding, Ties

TIES = ("first", "all", "split")


def max_pool_forward(
    x: Array,
    kernel_size: Ints,
    *,
    stride: Ints | None = None,
    padding: Padding = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    layout: Layout = "channels_last",
    return_indices: bool = False,
) -> Array | tuple[Array, Array]:
    """The maximum of each window.

    Parameters
    ----------
    x : array, (*batch, *spatial, C)
        The input, real floating or integer. With ``layout="channels_first"``: (*batch, C,
        *spatial).
    kernel_size : int or one int for each spatial axis
        The size of a window; as a sequence it says how many spatial axes there are.
    stride : int or one int for each spatial axis, optional
        The step between windows; the kernel size unless given.
    padding : int, one int or one (before, after) pair for each spatial axis, or a word
        As in `conv_forward`. Padding never wins.
    dilation : int or one int for each spatial axis
        The step between the cells of a window; 1 means none.
    ceil_mode : bool
        Whether a last window may hang over the end.
    layout : {"channels_last", "channels_first"}
        Where the channels axis is.
    return_indices : bool
        Whether to return where each maximum was found.

    Returns
    -------
    y : array, (*batch, *output, C)
        The maxima, of x's namespace, dtype and device. Channels first: (*batch, C, *output). Along
        each axis ``output = floor((input + before + after - dilation * (kernel - 1) - 1) / stride)
        + 1``, or ``ceil`` in place of ``floor``, less the windows that would then start beyond
        input + before.
    indices : array of int64, of the shape of y
        With `return_indices`: the flat position of each maximum within the unpadded spatial plane
        of its batch entry and channel, the first of equals in row-major order.

    Raises
    ------
    TypeError
        If x is complex, boolean or no array; if an option is of the wrong kind.
    ValueError
        If sizes do not fit; if a window lies wholly in padding, which names the axis.

    See Also
    --------
    max_pool_backward : its gradient.
    max_unpool_forward : puts the maxima back.

    Notes
    -----
    NaN wins. Axes are reduced one after another, so a window of k by k costs 2 k steps.

    References
    ----------
    ONNX operator MaxPool; PyTorch's torch.nn.MaxPool2d for `ceil_mode` and `return_indices`.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv import max_pool_forward
    >>> x = np.arange(16.0).reshape(1, 4, 4, 1)
    >>> max_pool_forward(x, 2)[0, ..., 0]
    array([[ 5.,  7.],
           [13., 15.]])
    >>> max_pool_forward(x, 3, stride=2, padding=1).shape
    (1, 2, 2, 1)
    """
    xp = common_namespace(x=x)
    check_ordered("x", xp, x.dtype, what="max pooling")
    options = pool_options(kernel_size, stride, padding, dilation, ceil_mode, layout)
    call = pool_call(known_shape("x", x), options, needs="input")
    if not boolean("return_indices", return_indices):
        return over_batch(maxima, call, [x], [], call.y_shape, xp=xp)
    return (
        over_batch(maxima, call, [x], [], call.y_shape, xp=xp),
        over_batch(_positions, call, [x], [], call.y_shape, dtype=index_dtype(xp), xp=xp),
    )


def max_pool_backward(
    dy: Array,
    x: Array,
    kernel_size: Ints,
    *,
    stride: Ints | None = None,
    padding: Padding = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    layout: Layout = "channels_last",
    ties: Ties = "first",
) -> Array:
    """The gradient of `max_pool_forward`, called with the same options.

    Parameters
    ----------
    dy : array, (*batch, *output, C)
        The gradient of the output. Channels first: (*batch, C, *output).
    x : array, (*batch, *spatial, C)
        The input that `max_pool_forward` had.
    kernel_size, stride, padding, dilation, ceil_mode, layout
        As `max_pool_forward` had them.
    ties : {"first", "all", "split"}
        Who of several equal maxima has the gradient: the first in row-major order; every one (what
        the mask of the course notebook does); or all in equal parts.

    Returns
    -------
    array, (*batch, *spatial, C)
        dx. Overlapping windows add.

    Raises
    ------
    TypeError, ValueError
        As `max_pool_forward`, and if dy has not the shape of its output.

    See Also
    --------
    max_pool_forward : the function whose gradient this is.

    References
    ----------
    PyTorch's torch.nn.MaxPool2d, for ``"first"``; the course notebook "Convolutional Neural
    Networks: Step by Step", section 5.2, for ``"all"``.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv import max_pool_backward
    >>> x = np.asarray([[1.0, 5.0], [5.0, 2.0]])[None, :, :, None]
    >>> dy = np.ones((1, 1, 1, 1))
    >>> max_pool_backward(dy, x, 2)[0, ..., 0]
    array([[0., 1.],
           [0., 0.]])
    >>> max_pool_backward(dy, x, 2, ties="split")[0, ..., 0]
    array([[0. , 0.5],
           [0.5, 0. ]])
    """
    xp = common_namespace(dy=dy, x=x)
    check_ordered("x", xp, x.dtype, what="max pooling")
    choice("ties", ties, TIES)
    if ties == "split":
        check_real_floating("dy", xp, dy.dtype, what="`ties='split'`")
    options = pool_options(kernel_size, stride, padding, dilation, ceil_mode, layout)
    call = pool_call(known_shape("x", x), options, needs="input")
    check_dy(dy, call)
    return over_batch(partial(maxima_gradient, ties=ties), call, [dy, x], [], call.x_shape, xp=xp)


def maxima(call: PoolCall, x: Array, *, xp: Namespace) -> Array:
    """The maximum of each window, on arrays in the caller's layout."""
    if compiles(call, x, xp=xp):
        return pooled_by_jobs(maxima_jobs, call, x, xp=xp)
    in_kernels = loops_in_kernels(call.axes, x.dtype, xp=xp) is not None
    return pooled(partial(window_max, xp=xp), call, x, takes_halves=in_kernels, xp=xp)


def maxima_gradient(call: PoolCall, dy: Array, x: Array, *, ties: str, xp: Namespace) -> Array:
    """The gradient of `maxima`."""
    if ties != "split" and compiles(call, x, worth=WORTH_A_GRADIENT, xp=xp):
        sets = are_tiles(call.axes)
        jobs = partial(maxima_gradient_jobs, ties=ties == "all", sets=sets)
        return unpooled_by_jobs(jobs, call, dy, x, adds=not sets, xp=xp)
    in_kernels = loops_in_kernels(call.axes, x.dtype, xp=xp) is not None
    if ties != "first":
        kernel = partial(max_gradient, split=ties == "split", xp=xp)
        takes_halves = in_kernels and ties == "all"
        return unpooled(kernel, call, dy, x, takes_halves=takes_halves, xp=xp)
    if in_kernels:
        kernel = partial(first_max_gradient, xp=xp)
        return unpooled(kernel, call, dy, x, takes_halves=True, xp=xp)
    if is_small(call.axes):
        return unpooled(partial(first_max_gradient_by_taps, xp=xp), call, dy, x, xp=xp)
    if scatters_in_order(xp):
        return unpooled(partial(scatter_to_first_max, xp=xp), call, dy, x, adds=True, xp=xp)
    return unpooled(partial(first_max_gradient, xp=xp), call, dy, x, xp=xp)


def _positions(call: PoolCall, x: Array, *, xp: Namespace) -> Array:
    plane, dtype = prod(call.spatial[1:]), index_dtype(xp)
    if compiles(call, x, xp=xp):
        return pooled_by_jobs(partial(argmax_jobs, plane=plane), call, x, dtype=dtype, xp=xp)

    def positions(x: Array, axes: Axes) -> Array:
        before = axes[0].first * plane  # cells of the plane that others have
        return add_at(window_argmax(x, axes, xp=xp), (...,), before, xp=xp)

    takes_halves = loops_in_kernels(call.axes, x.dtype, xp=xp) is not None
    return pooled(
        positions, call, x, dtype=dtype, takes_out=False, takes_halves=takes_halves, xp=xp
    )
