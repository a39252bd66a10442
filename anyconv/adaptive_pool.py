"""Pooling to a given output: average and maximum, forward and backward."""

from collections.abc import Sequence
from functools import partial

from anyconv._arguments._common import check_floating, check_ordered, known_shape
from anyconv._arguments._pool import adaptive_call, check_dy
from anyconv._checks import checked_shape
from anyconv._execution._lazy_batch import over_batch
from anyconv._namespace import common_namespace
from anyconv._typing import Array, Ints, Layout
from anyconv.avg_pool import averages, averages_gradient
from anyconv.max_pool import maxima, maxima_gradient


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
    return over_batch(partial(averages, counted=True), call, [x], [], call.y_shape, xp=xp)


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
    sizes = checked_shape("input_shape", input_shape)
    call = adaptive_call(sizes, output_size, layout=layout, name="input_shape")
    check_dy(dy, call)
    kernel = partial(averages_gradient, counted=True)
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
    return over_batch(maxima, call, [x], [], call.y_shape, xp=xp)


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
    check_dy(dy, call)
    kernel = partial(maxima_gradient, ties="first")
    return over_batch(kernel, call, [dy, x], [], call.x_shape, xp=xp)
