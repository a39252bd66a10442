"""Transposed convolution, the adjoint of convolution as a layer of its own, and its gradients."""

from anyconv._arguments._common import check_floating, known_shape
from anyconv._arguments._conv import conv_transpose_call, transpose_options
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
from anyconv._typing import Array, Ints, Layout, Padding
from anyconv.conv import ConvGradients


def conv_transpose_forward(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    output_padding: Ints = 0,
    output_size: Ints | None = None,
    dilation: Ints = 1,
    groups: int = 1,
    layout: Layout = "channels_last",
    algorithm: str = "auto",
) -> Array:
    """Transposed convolution: the adjoint of a convolution in its input, plus a bias.

    Parameters
    ----------
    x : array, (*batch, *spatial, C_in)
        The input. Channels first: (*batch, C_in, *spatial).
    w : array, (*kernel, C_out / groups, C_in)
        The weight of the convolution whose adjoint this is, one from C_out to C_in channels.
        Channels first: (C_in, C_out / groups, *kernel).
    b : array, (C_out,), optional
        The bias.
    stride, padding, dilation, groups
        Those of the convolution whose adjoint this is. ``padding="same"`` gives ``output = input *
        stride``, split as ONNX's SAME_UPPER.
    output_padding : int or one int for each spatial axis
        Cells added to the output's end, fewer than the stride or the dilation.
    output_size : int or one int for each spatial axis, optional
        The output's spatial sizes, in place of `output_padding`.
    layout : {"channels_last", "channels_first"}
        Where the channels axis is.
    algorithm : str
        As in `conv_forward`.

    Returns
    -------
    array, (*batch, *output, C_out)
        The output. Along each axis ``output = (input - 1) * stride - before - after + dilation *
        (kernel - 1) + output_padding + 1``. Channels first: (*batch, C_out, *output).

    Raises
    ------
    TypeError, ValueError
        As `conv_forward`, and for output sizes out of reach.

    See Also
    --------
    conv_backward_input : the same map.
    conv_transpose_backward : its gradients.

    References
    ----------
    V. Dumoulin, F. Visin, arXiv:1603.07285, section 4. ONNX operator ConvTranspose, for ``"same"``.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv import conv_transpose_forward
    >>> x, w = np.ones((8, 14, 14, 16)), np.ones((4, 4, 3, 16))
    >>> conv_transpose_forward(x, w, stride=2, padding=1).shape
    (8, 28, 28, 3)
    """
    xp = common_namespace(x=x, w=w) if b is None else common_namespace(x=x, w=w, b=b)
    check_floating("x", xp, x.dtype, what="convolution")
    options = transpose_options(
        stride, padding, output_padding, output_size, dilation, groups, layout, algorithm
    )
    call = conv_transpose_call(known_shape("x", x), known_shape("w", w), options)
    check_bias(b, call.problem.in_channels)
    whole = [w] if b is None else [w, b]
    return over_images(input_gradient, call, [x], whole, call.x_shape, xp=xp)


def conv_transpose_backward(
    dy: Array,
    x: Array,
    w: Array,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    output_padding: Ints = 0,
    output_size: Ints | None = None,
    dilation: Ints = 1,
    groups: int = 1,
    layout: Layout = "channels_last",
    algorithm: str = "auto",
) -> ConvGradients:
    """All three gradients of `conv_transpose_forward`, called with the same options.

    Parameters
    ----------
    dy : array, (*batch, *output, C_out)
        The gradient of the output. Channels first: (*batch, C_out, *output).
    x, w : array
        The input and the weight that `conv_transpose_forward` had.
    stride, padding, output_padding, output_size, dilation, groups, layout, algorithm
        As `conv_transpose_forward` had them.

    Returns
    -------
    ConvGradients
        A named tuple ``(dx, dw, db)``, of the shapes of x, w and b.

    Raises
    ------
    TypeError, ValueError
        As `conv_transpose_forward`, and if dy has not the shape of its output.

    See Also
    --------
    conv_transpose_forward : the function whose gradients these are.

    Notes
    -----
    The adjoint of an adjoint is the convolution itself: dx is `conv_forward` of dy, and dw is the
    weight's gradient with dy and x in each other's place, conjugated.

    References
    ----------
    V. Dumoulin, F. Visin, arXiv:1603.07285, section 4.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv import conv_transpose_backward
    >>> dy, x, w = np.ones((8, 28, 28, 3)), np.ones((8, 14, 14, 16)), np.ones((4, 4, 3, 16))
    >>> gradients = conv_transpose_backward(dy, x, w, stride=2, padding=1)
    >>> gradients.dx.shape, gradients.dw.shape, gradients.db.shape
    ((8, 14, 14, 16), (4, 4, 3, 16), (3,))
    """
    xp = common_namespace(dy=dy, x=x, w=w)
    check_floating("x", xp, x.dtype, what="convolution")
    options = transpose_options(
        stride, padding, output_padding, output_size, dilation, groups, layout, algorithm
    )
    call = conv_transpose_call(known_shape("x", x), known_shape("w", w), options)
    check_dy(dy, call.x_shape)
    dx = over_images(forward, call, [dy], [w], call.y_shape, xp=xp)
    # y = conv_backward_input(x, w) is linear in conj(w), so its adjoint in w is the weight gradient
    # with the parts of x and dy exchanged: <y, dy> = <x, conv(dy, w)> = <dw, w>.
    dw = over_images(weight_gradient, call, [x, dy], [], call.w_shape, summed=True, xp=xp)
    return ConvGradients(dx, dw, bias_gradient(dy, call.channels_axis, xp=xp))
