"""Convolution and its three gradients.

Convolution here is cross-correlation, as in all of deep learning: the kernel is not flipped
(`anyconv.signal` flips). Every function is one linear map of a bilinear form, so each gradient is
an adjoint: with the inner product that conjugates its first factor,

    <y, dy> = <x, dx> = <w, dw>        where y = conv_forward(x, w)
"""

from collections.abc import Sequence
from typing import NamedTuple

from anyconv._arguments._common import LAYOUTS, check_floating, check_sizes, known_shape
from anyconv._arguments._conv import conv_call, conv_options
from anyconv._checks import checked_shape, choice
from anyconv._execution._conv_kernels import (
    bias_gradient,
    check_bias,
    check_dy,
    forward,
    input_gradient,
    over_images,
    weight_gradient,
)
from anyconv._namespace import common_namespace
from anyconv._typing import Array, Ints, Layout, Padding, PaddingMode


class ConvGradients(NamedTuple):
    """The gradients of a convolution's input, weight and bias."""

    dx: Array
    dw: Array
    db: Array


def conv_forward(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
    layout: Layout = "channels_last",
    algorithm: str = "auto",
) -> Array:
    """Convolve a batch of inputs with a bank of kernels: `y = x * w + b`.

    Parameters
    ----------
    x : array, (*batch, *spatial, C_in)
        The input, floating or complex. Any number of batch axes, none included; one spatial axis or
        more. With ``layout="channels_first"``: (*batch, C_in, *spatial).
    w : array, (*kernel, C_in / groups, C_out)
        The weight; it says how many spatial axes there are. Channels first: (C_out, C_in / groups,
        *kernel).
    b : array, (C_out,), optional
        The bias, added once to each output.
    stride : int or one int for each spatial axis
        The step between windows.
    padding : int, one int or one (before, after) pair for each spatial axis, or a word
        ``"valid"`` (none), ``"full"`` (`dilation * (kernel - 1)` on both sides), ``"same"`` (output
        = ceil(input / stride), the odd cell after) or ``"same_lower"`` (the odd cell before).
    dilation : int or one int for each spatial axis
        The step between the taps of a window; 1 means none.
    groups : int
        Groups of channels that are convolved each by itself. It divides C_in and C_out.
    padding_mode : {"zeros", "reflect", "replicate", "circular"}
        What the padding holds: 1234 -> 00 1234 00, 32 1234 32, 11 1234 44 or 34 1234 12.
    layout : {"channels_last", "channels_first"}
        Where the channels axis is.
    algorithm : str
        ``"auto"`` lets the planner choose, see `plan_conv`; or the name of an algorithm.

    Returns
    -------
    array, (*batch, *output, C_out)
        The output, of the inputs' namespace, dtype and device. Channels first: (*batch, C_out,
        *output). Along each axis ``output = floor((input + before + after - dilation * (kernel - 1)
        - 1) / stride) + 1``.

    Raises
    ------
    TypeError
        If arrays are of different namespaces or dtypes, or of integers; if an option is of the
        wrong kind.
    ValueError
        If shapes, sizes or options do not fit each other; if arrays are on different devices.

    See Also
    --------
    conv_backward : its gradients.
    conv_transpose_forward : its adjoint as a layer of its own.

    Notes
    -----
    Half precision is accumulated in float32. The cost is `prod(batch) * prod(output) * prod(kernel)
    * C_in * C_out / groups` multiply-adds where the algorithm has no short cut.

    ``"winograd"`` and ``"fft"``, which ``"auto"`` may choose, mix the cells of a tile. Their error
    is relative to the largest of those, and NaN or an infinity spreads to all of its tile. Where
    inputs differ by many orders of magnitude or may be NaN, ask for ``"gemm"`` or ``"taps"``: an
    output is then the sum of its own window's products and of nothing else.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning", arXiv:1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv import conv_forward
    >>> images = np.ones((8, 32, 32, 3))  # eight colour images
    >>> w = np.ones((5, 5, 3, 16))  # sixteen 5x5 kernels
    >>> conv_forward(images, w).shape
    (8, 28, 28, 16)
    >>> conv_forward(images, w, stride=2, padding="same").shape
    (8, 16, 16, 16)
    >>> x = np.asarray([1.0, 2.0, 3.0, 4.0])[:, None]  # one signal, one channel
    >>> conv_forward(x, np.asarray([1.0, 10.0])[:, None, None])[:, 0]
    array([21., 32., 43.])
    """
    xp = common_namespace(x=x, w=w) if b is None else common_namespace(x=x, w=w, b=b)
    check_floating("x", xp, x.dtype, what="convolution")
    options = conv_options(stride, padding, dilation, groups, padding_mode, layout, algorithm)
    call = conv_call(known_shape("x", x), known_shape("w", w), options)
    check_bias(b, call.problem.out_channels)
    return over_images(forward, call, [x], [w] if b is None else [w, b], call.y_shape, xp=xp)


def conv_backward(
    dy: Array,
    x: Array,
    w: Array,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
    layout: Layout = "channels_last",
    algorithm: str = "auto",
) -> ConvGradients:
    """All three gradients of `conv_forward`, called with the same options.

    Parameters
    ----------
    dy : array, (*batch, *output, C_out)
        The gradient of a scalar loss with respect to the output. Channels first: (*batch, C_out,
        *output).
    x, w : array
        The input and the weight that `conv_forward` had.
    stride, padding, dilation, groups, padding_mode, layout, algorithm
        As `conv_forward` had them.

    Returns
    -------
    ConvGradients
        A named tuple ``(dx, dw, db)``, of the shapes of x, w and b.

    Raises
    ------
    TypeError, ValueError
        As `conv_forward`, and if dy has not the shape of its output.

    See Also
    --------
    conv_forward : the function whose gradients these are.
    conv_backward_input, conv_backward_weight, conv_backward_bias : one of the three alone.

    Notes
    -----
    For complex arrays the other factor is conjugated, so that the gradients are adjoints: ``<y, dy>
    = <x, dx> = <w, dw>`` with the inner product that conjugates. Inputs that no window reaches have
    gradient zero. Here ``dw = x^H dy``, of the same cost as the output; so is dx.

    References
    ----------
    Y. LeCun et al., "Gradient-based learning applied to document recognition", 1998, section II.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv import conv_backward, conv_forward
    >>> x, w = np.ones((8, 32, 32, 3)), np.ones((5, 5, 3, 16))
    >>> y = conv_forward(x, w, stride=2)
    >>> dx, dw, db = conv_backward(y, x, w, stride=2)
    >>> dx.shape, dw.shape, db.shape
    ((8, 32, 32, 3), (5, 5, 3, 16), (16,))
    """
    xp = common_namespace(dy=dy, x=x, w=w)
    check_floating("x", xp, x.dtype, what="convolution")
    options = conv_options(stride, padding, dilation, groups, padding_mode, layout, algorithm)
    call = conv_call(known_shape("x", x), known_shape("w", w), options)
    check_dy(dy, call.y_shape)
    return ConvGradients(
        over_images(input_gradient, call, [dy], [w], call.x_shape, xp=xp),
        over_images(weight_gradient, call, [dy, x], [], call.w_shape, summed=True, xp=xp),
        bias_gradient(dy, call.channels_axis, xp=xp),
    )


def conv_backward_input(
    dy: Array,
    w: Array,
    input_shape: Sequence[int],
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
    layout: Layout = "channels_last",
    algorithm: str = "auto",
) -> Array:
    """The gradient of the input of `conv_forward`, the adjoint of ``x -> conv_forward(x, w)``.

    Parameters
    ----------
    dy : array, (*batch, *output, C_out)
        The gradient of the output. Channels first: (*batch, C_out, *output).
    w : array, (*kernel, C_in / groups, C_out)
        The weight. Channels first: (C_out, C_in / groups, *kernel).
    input_shape : sequence of int
        The shape of x, which a stride leaves open.
    stride, padding, dilation, groups, padding_mode, layout, algorithm
        As `conv_forward` had them.

    Returns
    -------
    array, `input_shape`
        dx.

    Raises
    ------
    TypeError, ValueError
        As `conv_forward`, and if dy has not the shape of its output.

    See Also
    --------
    conv_transpose_forward : the same map as a layer of its own.

    References
    ----------
    V. Dumoulin, F. Visin, arXiv:1603.07285, section 4: with stride one the input gradient is itself
    a convolution, with the flipped weight.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv import conv_backward_input
    >>> dy = np.ones((8, 14, 14, 16))
    >>> conv_backward_input(dy, np.ones((5, 5, 3, 16)), (8, 32, 32, 3), stride=2).shape
    (8, 32, 32, 3)
    """
    xp = common_namespace(dy=dy, w=w)
    check_floating("dy", xp, dy.dtype, what="convolution")
    options = conv_options(stride, padding, dilation, groups, padding_mode, layout, algorithm)
    call = conv_call(
        checked_shape("input_shape", input_shape),
        known_shape("w", w),
        options,
        x_name="input_shape",
    )
    check_dy(dy, call.y_shape)
    return over_images(input_gradient, call, [dy], [w], call.x_shape, xp=xp)


def conv_backward_weight(
    dy: Array,
    x: Array,
    weight_shape: Sequence[int],
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
    layout: Layout = "channels_last",
    algorithm: str = "auto",
) -> Array:
    """The gradient of the weight of `conv_forward`, the adjoint of ``w -> conv_forward(x, w)``.

    Parameters
    ----------
    dy : array, (*batch, *output, C_out)
        The gradient of the output. Channels first: (*batch, C_out, *output).
    x : array, (*batch, *spatial, C_in)
        The input. Channels first: (*batch, C_in, *spatial).
    weight_shape : sequence of int
        The shape of w, which a stride leaves open.
    stride, padding, dilation, groups, padding_mode, layout, algorithm
        As `conv_forward` had them.

    Returns
    -------
    array, `weight_shape`
        dw, summed over the batch; zero for an empty one.

    Raises
    ------
    TypeError, ValueError
        As `conv_forward`, and if dy has not the shape of its output.

    See Also
    --------
    conv_backward : all three gradients.

    References
    ----------
    Y. LeCun et al., "Gradient-based learning applied to document recognition", 1998, section II.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv import conv_backward_weight
    >>> dy, x = np.ones((8, 14, 14, 16)), np.ones((8, 32, 32, 3))
    >>> conv_backward_weight(dy, x, (5, 5, 3, 16), stride=2)[0, 0, 0, 0] == 8 * 14 * 14
    np.True_
    """
    xp = common_namespace(dy=dy, x=x)
    check_floating("x", xp, x.dtype, what="convolution")
    options = conv_options(stride, padding, dilation, groups, padding_mode, layout, algorithm)
    call = conv_call(
        known_shape("x", x),
        checked_shape("weight_shape", weight_shape),
        options,
        w_name="weight_shape",
    )
    check_dy(dy, call.y_shape)
    return over_images(weight_gradient, call, [dy, x], [], call.w_shape, summed=True, xp=xp)


def conv_backward_bias(dy: Array, *, layout: Layout = "channels_last") -> Array:
    """The gradient of the bias of `conv_forward`: dy summed over all but its channels.

    Parameters
    ----------
    dy : array, (*batch, *output, C_out)
        The gradient of the output, with any number of batch axes. Channels first the shape does not
        say which axis holds the channels, so one batch axis is taken for granted: (batch, C_out,
        *output); or none where there are two axes, (C_out, output).
    layout : {"channels_last", "channels_first"}
        Where the channels axis is.

    Returns
    -------
    array, (C_out,)
        db.

    Raises
    ------
    TypeError
        If dy is of integers or of no array library.
    ValueError
        If dy has fewer than two axes or no channels.

    See Also
    --------
    conv_backward : knows the number of spatial axes from w, so it takes any number of batch axes in
        either layout.

    Notes
    -----
    Channels first with other batch axes: move the channels, and say ``"channels_last"``.

    References
    ----------
    Y. LeCun et al., "Gradient-based learning applied to document recognition", 1998, section II.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv import conv_backward_bias
    >>> conv_backward_bias(np.ones((8, 14, 14, 2)))
    array([1568., 1568.])
    >>> image = np.ones((2, 14, 14))  # channels first, no batch axis
    >>> conv_backward_bias(np.moveaxis(image, 0, -1))
    array([196., 196.])
    """
    xp = common_namespace(dy=dy)
    check_floating("dy", xp, dy.dtype, what="convolution")
    choice("layout", layout, LAYOUTS)
    sizes = known_shape("dy", dy)
    if len(sizes) < 2:
        raise ValueError(f"`dy` must have a spatial and a channels axis, got shape {sizes}")
    channels_axis = -1 if layout == "channels_last" else min(len(sizes) - 2, 1)
    spatial_axis = -2 if layout == "channels_last" else -1
    check_sizes("dy", sizes, [channels_axis, spatial_axis])
    return bias_gradient(dy, channels_axis, xp=xp)
