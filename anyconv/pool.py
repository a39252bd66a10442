"""Pooling: maximum, average, Lp, to a given output, and the way back.

`kernel_size` as a sequence says how many spatial axes there are; one number means every axis but
the first (batch) and the channels.
"""

from collections.abc import Sequence
from functools import partial
from math import inf, prod
from numbers import Real
from typing import Any

from anyconv._arguments import (
    LAYOUTS,
    boolean,
    check_floating,
    check_ordered,
    check_real_floating,
    check_shape,
    choice,
    known_shape,
    numbers,
    per_axis,
    shape,
)
from anyconv._execute import over_batch
from anyconv._images import by_images
from anyconv._layout import from_canonical, split_shape, to_canonical
from anyconv._namespace import (
    accumulator,
    array_namespace,
    common_namespace,
    device,
    index_dtype,
    is_kind,
)
from anyconv._pool_arguments import PoolCall, adaptive_call, pool_call, spatial_rank
from anyconv._pooling import (
    window_argmax,
    window_counts,
    window_max,
    window_max_gradient,
    window_sum,
    window_sum_adjoint,
)
from anyconv._typing import Array, DType, Ints, Layout, Namespace, Padding, Shape, Ties
from anyconv._unpooling import gather_first, scatter_first

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
    call = pool_call(
        known_shape("x", x),
        kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
        layout=layout,
        needs="input",
    )
    if not boolean("return_indices", return_indices):
        return over_batch(_max, call, [x], [], call.y_shape, xp=xp)
    return (
        over_batch(_max, call, [x], [], call.y_shape, xp=xp),
        over_batch(_argmax, call, [x], [], call.y_shape, dtype=index_dtype(xp), xp=xp),
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
    call = pool_call(
        known_shape("x", x),
        kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
        layout=layout,
        needs="input",
    )
    _check_dy(dy, call)
    return over_batch(partial(_max_gradient, ties=ties), call, [dy, x], [], call.x_shape, xp=xp)


def max_unpool_forward(
    y: Array, indices: Array, output_size: Ints, *, layout: Layout = "channels_last"
) -> Array:
    """Put maxima back where `max_pool_forward` found them, zeros elsewhere.

    Parameters
    ----------
    y : array, (*batch, *pooled, C)
        The values. Channels first: (*batch, C, *pooled).
    indices : array of int64, of the shape of y
        The flat position of each within the spatial plane of its batch entry and channel. Those
        outside the plane are dropped.
    output_size : sequence of int, or int
        The spatial sizes of the result; as a sequence it says how many spatial axes there are.
    layout : {"channels_last", "channels_first"}
        Where the channels axis is.

    Returns
    -------
    array, (*batch, *output_size, C)
        x. Where several values name one position, the first in row-major order wins.

    Raises
    ------
    TypeError
        If the arrays are of different namespaces, or the indices are no integers.
    ValueError
        If shapes do not fit.

    See Also
    --------
    max_pool_forward : with ``return_indices=True``.
    max_unpool_backward : its gradient.

    References
    ----------
    M. D. Zeiler, R. Fergus, "Visualizing and understanding convolutional networks",
    arXiv:1311.2901, section 2.1. ONNX operator MaxUnpool.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv import max_pool_forward, max_unpool_forward
    >>> x = np.arange(16.0).reshape(1, 4, 4, 1)
    >>> y, indices = max_pool_forward(x, 2, return_indices=True)
    >>> max_unpool_forward(y, indices, (4, 4))[0, ..., 0]
    array([[ 0.,  0.,  0.,  0.],
           [ 0.,  5.,  0.,  7.],
           [ 0.,  0.,  0.,  0.],
           [ 0., 13.,  0., 15.]])
    """
    xp = _values_and_indices("y", y, indices)
    call = _unpool_call(known_shape("y", y), output_size, layout)
    check_shape("indices", known_shape("indices", indices), call.y_shape, "the shape of `y`")
    return over_batch(_unpool, call, [y, indices], [], call.x_shape, xp=xp)


def max_unpool_backward(
    dx: Array,
    indices: Array,
    *,
    layout: Layout = "channels_last",
    output_size: Ints | None = None,
) -> Array:
    """The gradient of `max_unpool_forward`: its output's gradient read at the indices.

    Parameters
    ----------
    dx : array, (*batch, *output_size, C)
        The gradient of the unpooled array. Channels first: (*batch, C, *output_size).
    indices : array of int64, (*batch, *pooled, C)
        The indices that `max_unpool_forward` had.
    layout : {"channels_last", "channels_first"}
        Where the channels axis is.
    output_size : sequence of int, optional
        As `max_unpool_forward` had it, needed where there is not exactly one batch axis: every axis
        but the first and the channels is taken for a spatial one otherwise.

    Returns
    -------
    array, of the shape of `indices`
        dy; zero where another value had won the position.

    Raises
    ------
    TypeError
        If the arrays are of different namespaces, or the indices are no integers.
    ValueError
        If shapes do not fit.

    See Also
    --------
    max_unpool_forward : the function whose gradient this is.

    References
    ----------
    ONNX operator MaxUnpool.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv import max_unpool_backward
    >>> dx = np.arange(16.0).reshape(1, 4, 4, 1)
    >>> max_unpool_backward(dx, np.asarray([5, 7, 13, 15]).reshape(1, 2, 2, 1))[0, ..., 0]
    array([[ 5.,  7.],
           [13., 15.]])
    """
    xp = _values_and_indices("dx", dx, indices)
    sizes = known_shape("dx", dx)
    wanted = 1 if output_size is None else numbers("output_size", output_size, minimum=1)
    choice("layout", layout, LAYOUTS)
    rank = spatial_rank("output_size", wanted, sizes, "dx")
    batch, spatial, channels = split_shape(sizes, rank, layout)
    found = known_shape("indices", indices)
    pooled_batch, pooled, pooled_channels = split_shape(found, rank, layout)
    if len(found) != len(sizes) or pooled_batch != batch or pooled_channels != channels:
        raise ValueError(
            f"`indices` must have the batch axes and channels of `dx`, {batch} and {channels}, "
            f"got shape {found}"
        )
    call = PoolCall(batch, spatial, pooled, channels, layout, None)
    return over_batch(_unpool_gradient, call, [dx, indices], [], call.y_shape, xp=xp)


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
    call = pool_call(
        known_shape("x", x),
        kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
        layout=layout,
        needs="counted" if counted else "input",
    )
    return over_batch(partial(_average, counted=counted), call, [x], [], call.y_shape, xp=xp)


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
    call = pool_call(
        shape("input_shape", input_shape),
        kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
        layout=layout,
        needs="counted" if counted else "input",
        name="input_shape",
    )
    _check_dy(dy, call)
    kernel = partial(_average_gradient, counted=counted)
    return over_batch(kernel, call, [dy], [], call.x_shape, xp=xp)


def lp_pool_forward(
    x: Array,
    kernel_size: Ints,
    *,
    p: float = 2,
    stride: Ints | None = None,
    padding: Padding = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    layout: Layout = "channels_last",
) -> Array:
    """The p-norm of each window, ``(sum |x| ** p) ** (1 / p)``.

    Parameters
    ----------
    x : array, (*batch, *spatial, C)
        The input, real floating. With ``layout="channels_first"``: (*batch, C, *spatial).
    kernel_size, stride, padding, dilation, ceil_mode, layout
        As in `max_pool_forward`. Padding counts as zero.
    p : float
        The exponent, positive and finite.

    Returns
    -------
    array, (*batch, *output, C)
        The norms. Channels first: (*batch, C, *output).

    Raises
    ------
    TypeError
        If x is not real floating; if an option is of the wrong kind.
    ValueError
        If sizes do not fit, or p is not positive and finite.

    See Also
    --------
    lp_pool_backward : its gradient.

    References
    ----------
    P. Sermanet, S. Chintala, Y. LeCun, "Convolutional neural networks applied to house numbers
    digit classification", arXiv:1204.3968, section 2.2. ONNX operator LpPool.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv import lp_pool_forward
    >>> lp_pool_forward(np.asarray([[3.0], [-4.0]]), (2,))
    array([[5.]])
    """
    xp = common_namespace(x=x)
    check_real_floating("x", xp, x.dtype, what="Lp pooling")
    call = pool_call(
        known_shape("x", x),
        kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
        layout=layout,
    )
    return over_batch(partial(_norm, p=_exponent(p)), call, [x], [], call.y_shape, xp=xp)


def lp_pool_backward(
    dy: Array,
    x: Array,
    kernel_size: Ints,
    *,
    p: float = 2,
    stride: Ints | None = None,
    padding: Padding = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    layout: Layout = "channels_last",
) -> Array:
    """The gradient of `lp_pool_forward`, called with the same options.

    Parameters
    ----------
    dy : array, (*batch, *output, C)
        The gradient of the output. Channels first: (*batch, C, *output).
    x : array, (*batch, *spatial, C)
        The input that `lp_pool_forward` had.
    kernel_size, p, stride, padding, dilation, ceil_mode, layout
        As `lp_pool_forward` had them.

    Returns
    -------
    array, (*batch, *spatial, C)
        ``dx = |x| ** (p - 1) * sign(x) * sum(dy * y ** (1 - p))`` over the windows that hold the
        cell; zero where x is zero.

    Raises
    ------
    TypeError, ValueError
        As `lp_pool_forward`, and if dy has not the shape of its output.

    See Also
    --------
    lp_pool_forward : the function whose gradient this is.

    References
    ----------
    P. Sermanet, S. Chintala, Y. LeCun, arXiv:1204.3968, section 2.2.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv import lp_pool_backward
    >>> lp_pool_backward(np.ones((1, 1)), np.asarray([[3.0], [-4.0]]), (2,))
    array([[ 0.6],
           [-0.8]])
    """
    xp = common_namespace(dy=dy, x=x)
    check_real_floating("x", xp, x.dtype, what="Lp pooling")
    call = pool_call(
        known_shape("x", x),
        kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
        layout=layout,
    )
    _check_dy(dy, call)
    kernel = partial(_norm_gradient, p=_exponent(p))
    return over_batch(kernel, call, [dy, x], [], call.x_shape, xp=xp)


def adaptive_avg_pool_forward(
    x: Array, output_size: Ints, *, layout: Layout = "channels_last"
) -> Array:
    """The average of each of a given number of windows.

    Parameters
    ----------
    x : array, (*batch, *spatial, C)
        The input, floating or complex. With ``layout="channels_first"``: (*batch, C, *spatial).
    output_size : int or one int for each spatial axis
        The spatial sizes of the result; as a sequence it says how many spatial axes there are. 1 is
        global pooling.
    layout : {"channels_last", "channels_first"}
        Where the channels axis is.

    Returns
    -------
    array, (*batch, *output_size, C)
        Window j of an axis spans the cells from ``floor(j * input / output)`` to ``ceil((j + 1) *
        input / output)``. Channels first: (*batch, C, *output_size).

    Raises
    ------
    TypeError
        If x is of integers or no array.
    ValueError
        If sizes do not fit.

    See Also
    --------
    adaptive_avg_pool_backward : its gradient.

    References
    ----------
    PyTorch's torch.nn.AdaptiveAvgPool2d. M. Lin, Q. Chen, S. Yan, "Network in network",
    arXiv:1312.4400, section 3.2, for global pooling.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv import adaptive_avg_pool_forward
    >>> adaptive_avg_pool_forward(np.arange(5.0)[None, :, None], 2)[0, :, 0]
    array([1., 3.])
    """
    xp = common_namespace(x=x)
    check_floating("x", xp, x.dtype, what="average pooling")
    call = adaptive_call(known_shape("x", x), output_size, layout=layout)
    return over_batch(partial(_average, counted=True), call, [x], [], call.y_shape, xp=xp)


def adaptive_avg_pool_backward(
    dy: Array,
    input_shape: Sequence[int],
    output_size: Ints,
    *,
    layout: Layout = "channels_last",
) -> Array:
    """The gradient of `adaptive_avg_pool_forward`, its adjoint.

    Parameters
    ----------
    dy : array, (*batch, *output_size, C)
        The gradient of the output. Channels first: (*batch, C, *output_size).
    input_shape : sequence of int
        The shape of x.
    output_size, layout
        As `adaptive_avg_pool_forward` had them.

    Returns
    -------
    array, `input_shape`
        dx.

    Raises
    ------
    TypeError, ValueError
        As `adaptive_avg_pool_forward`, and if dy has not the shape of its output.

    See Also
    --------
    adaptive_avg_pool_forward : the function whose gradient this is.

    References
    ----------
    PyTorch's torch.nn.AdaptiveAvgPool2d.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv import adaptive_avg_pool_backward
    >>> adaptive_avg_pool_backward(np.ones((1, 1, 1)), (1, 4, 1), 1)[0, :, 0]
    array([0.25, 0.25, 0.25, 0.25])
    """
    xp = common_namespace(dy=dy)
    check_floating("dy", xp, dy.dtype, what="average pooling")
    sizes = shape("input_shape", input_shape)
    call = adaptive_call(sizes, output_size, layout=layout, name="input_shape")
    _check_dy(dy, call)
    kernel = partial(_average_gradient, counted=True)
    return over_batch(kernel, call, [dy], [], call.x_shape, xp=xp)


def adaptive_max_pool_forward(
    x: Array, output_size: Ints, *, layout: Layout = "channels_last"
) -> Array:
    """The maximum of each of a given number of windows.

    Parameters
    ----------
    x : array, (*batch, *spatial, C)
        The input, real floating or integer. With ``layout="channels_first"``: (*batch, C,
        *spatial).
    output_size, layout
        As in `adaptive_avg_pool_forward`.

    Returns
    -------
    array, (*batch, *output_size, C)
        The maxima. Channels first: (*batch, C, *output_size).

    Raises
    ------
    TypeError
        If x is complex, boolean or no array.
    ValueError
        If sizes do not fit.

    See Also
    --------
    adaptive_max_pool_backward : its gradient.

    References
    ----------
    PyTorch's torch.nn.AdaptiveMaxPool2d.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv import adaptive_max_pool_forward
    >>> adaptive_max_pool_forward(np.arange(5.0)[None, :, None], 2)[0, :, 0]
    array([2., 4.])
    """
    xp = common_namespace(x=x)
    check_ordered("x", xp, x.dtype, what="max pooling")
    call = adaptive_call(known_shape("x", x), output_size, layout=layout)
    return over_batch(_max, call, [x], [], call.y_shape, xp=xp)


def adaptive_max_pool_backward(
    dy: Array, x: Array, output_size: Ints, *, layout: Layout = "channels_last"
) -> Array:
    """The gradient of `adaptive_max_pool_forward`, for the first maximum of each window.

    Parameters
    ----------
    dy : array, (*batch, *output_size, C)
        The gradient of the output. Channels first: (*batch, C, *output_size).
    x : array, (*batch, *spatial, C)
        The input that `adaptive_max_pool_forward` had.
    output_size, layout
        As `adaptive_max_pool_forward` had them.

    Returns
    -------
    array, (*batch, *spatial, C)
        dx. Overlapping windows add.

    Raises
    ------
    TypeError, ValueError
        As `adaptive_max_pool_forward`, and if dy has not the shape of its output.

    See Also
    --------
    adaptive_max_pool_forward : the function whose gradient this is.

    References
    ----------
    PyTorch's torch.nn.AdaptiveMaxPool2d.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv import adaptive_max_pool_backward
    >>> adaptive_max_pool_backward(np.ones((1, 2, 1)), np.arange(5.0)[None, :, None], 2)[0, :, 0]
    array([0., 0., 1., 0., 1.])
    """
    xp = common_namespace(dy=dy, x=x)
    check_ordered("x", xp, x.dtype, what="max pooling")
    call = adaptive_call(known_shape("x", x), output_size, layout=layout)
    _check_dy(dy, call)
    kernel = partial(_max_gradient, ties="first")
    return over_batch(kernel, call, [dy, x], [], call.x_shape, xp=xp)


def _reduce(
    kernel: Any, call: PoolCall, *arrays: Array, dtype: DType | None = None, xp: Namespace
) -> Array:
    """A reduction of canonical arrays over the windows of a call, in the caller's layout."""
    canonical = [to_canonical(a, call.rank, call.layout, xp=xp) for a in arrays]
    cells = 3 * prod(call.spatial) * call.channels
    tail = (*call.output, call.channels)
    y = by_images(kernel, canonical, tail, cells=cells, dtype=dtype, xp=xp)
    return from_canonical(y, call.batch, call.layout, xp=xp)


def _spread(kernel: Any, call: PoolCall, *arrays: Array, xp: Namespace) -> Array:
    """A gradient on canonical arrays over the inputs of a call, in the caller's layout."""
    canonical = [to_canonical(a, call.rank, call.layout, xp=xp) for a in arrays]
    cells = 4 * prod(call.spatial) * call.channels
    tail = (*call.spatial, call.channels)
    dx = by_images(kernel, canonical, tail, cells=cells, xp=xp)
    return from_canonical(dx, call.batch, call.layout, xp=xp)


def _max(call: PoolCall, x: Array, *, xp: Namespace) -> Array:
    return _reduce(partial(window_max, axes=call.axes, xp=xp), call, x, xp=xp)


def _argmax(call: PoolCall, x: Array, *, xp: Namespace) -> Array:
    def positions(x: Array) -> Array:
        return window_argmax(x, call.axes, xp=xp)[1]

    return _reduce(positions, call, x, dtype=index_dtype(xp), xp=xp)


def _max_gradient(call: PoolCall, dy: Array, x: Array, *, ties: str, xp: Namespace) -> Array:
    kernel = partial(window_max_gradient, axes=call.axes, ties=ties, xp=xp)
    return _spread(kernel, call, dy, x, xp=xp)


def _average(call: PoolCall, x: Array, *, counted: bool, xp: Namespace) -> Array:
    divisor = _divisor(call, x, counted, xp=xp)

    def average(x: Array) -> Array:
        return window_sum(x, call.axes, xp=xp) / divisor

    return _reduce(average, call, x, xp=xp)


def _average_gradient(call: PoolCall, dy: Array, *, counted: bool, xp: Namespace) -> Array:
    divisor = _divisor(call, dy, counted, xp=xp)

    def gradient(dy: Array) -> Array:
        return window_sum_adjoint(dy / divisor, call.axes, xp=xp)

    return _spread(gradient, call, dy, xp=xp)


def _divisor(call: PoolCall, x: Array, counted: bool, *, xp: Namespace) -> Array:
    dtype = accumulator(xp, x.dtype)
    return window_counts(call.axes, dtype, device(x), include_padding=counted, xp=xp)


def _norm(call: PoolCall, x: Array, *, p: float, xp: Namespace) -> Array:
    def norm(x: Array) -> Array:
        powers = window_sum(_power(x, p, xp=xp), call.axes, xp=xp)
        return xp.sqrt(powers) if p == 2 else powers ** (1 / p)

    return _reduce(norm, call, x, xp=xp)


def _norm_gradient(call: PoolCall, dy: Array, x: Array, *, p: float, xp: Namespace) -> Array:
    def gradient(dy: Array, x: Array) -> Array:
        powers = window_sum(_power(x, p, xp=xp), call.axes, xp=xp)
        is_zero = powers == 0
        one, zero = xp.ones_like(powers), xp.zeros_like(powers)
        scaled = dy * xp.where(is_zero, one, powers) ** (1 / p - 1)  # dy * y ** (1 - p)
        shares = window_sum_adjoint(xp.where(is_zero, zero, scaled), call.axes, xp=xp)
        if p == 2:
            return shares * x
        size = xp.abs(x)
        slope = xp.where(size == 0, xp.ones_like(x), size) ** (p - 1)
        return shares * slope * xp.sign(x)

    return _spread(gradient, call, dy, x, xp=xp)


def _power(x: Array, p: float, *, xp: Namespace) -> Array:
    if p == 2:
        return x * x
    return xp.abs(x) if p == 1 else xp.abs(x) ** p


def _exponent(p: Any) -> float:
    if isinstance(p, bool) or not isinstance(p, Real):
        raise TypeError(f"`p` must be a number, got {p!r}")
    if not 0 < float(p) < inf:
        raise ValueError(f"`p` must be positive and finite, got {p!r}")
    return float(p)


def _unpool(call: PoolCall, y: Array, indices: Array, *, xp: Namespace) -> Array:
    values, positions = (_planes(a, call, xp=xp) for a in (y, indices))
    x = scatter_first(values, positions, prod(call.spatial), xp=xp)
    return _from_planes(x, call, call.spatial, xp=xp)


def _unpool_gradient(call: PoolCall, dx: Array, indices: Array, *, xp: Namespace) -> Array:
    cells, positions = (_planes(a, call, xp=xp) for a in (dx, indices))
    dy = gather_first(cells, positions, xp=xp)
    return _from_planes(dy, call, call.output, xp=xp)


def _planes(x: Array, call: PoolCall, *, xp: Namespace) -> Array:
    """Each spatial plane as a row, `(n * c, cells)`."""
    x = to_canonical(x, call.rank, call.layout, xp=xp)
    n, *spatial, c = x.shape
    return xp.reshape(xp.moveaxis(x, -1, 1), (n * c, prod(spatial)))


def _from_planes(x: Array, call: PoolCall, spatial: Sequence[int], *, xp: Namespace) -> Array:
    """The inverse of `_planes`."""
    x = xp.reshape(x, (prod(call.batch), call.channels, *spatial))
    return from_canonical(xp.moveaxis(x, 1, -1), call.batch, call.layout, xp=xp)


def _values_and_indices(name: str, values: Array, indices: Array) -> Namespace:
    """The namespace of values and their indices, which differ in dtype."""
    xp = array_namespace(**{name: values, "indices": indices})
    if not is_kind(xp, indices.dtype, "integral"):
        raise TypeError(f"`indices` must be of integers, got {indices.dtype}")
    if device(values) != device(indices):
        raise ValueError(
            f"all arrays of a call must share one device: `{name}` has {device(values)}, "
            f"`indices` has {device(indices)}"
        )
    return xp


def _unpool_call(y_shape: Shape, output_size: Ints, layout: str) -> PoolCall:
    wanted = numbers("output_size", output_size, minimum=1)
    choice("layout", layout, LAYOUTS)
    rank = spatial_rank("output_size", wanted, y_shape, "y")
    batch, pooled, channels = split_shape(y_shape, rank, layout)
    return PoolCall(batch, per_axis("output_size", wanted, rank), pooled, channels, layout, None)


def _check_dy(dy: Array, call: PoolCall) -> None:
    check_shape("dy", known_shape("dy", dy), call.y_shape, "the shape of the output")
