"""The convolution of the notebook, forward and backward, and what it is made of."""

from typing import TypeAlias

import anyconv
from anyconv._checks import check_shape, integer
from anyconv._namespace import common_namespace
from anyconv._typing import Array, Shape
from anyconv.stepbystep._checks import (
    Hyperparameters,
    floating_namespace,
    four_sizes,
    hyperparameter,
    output_size,
    require_one_element,
    unpacked,
)

ConvCache: TypeAlias = tuple[Array, Array, Array, Hyperparameters]


def zero_pad(X: Array, pad: int) -> Array:
    """Pad the height and width of all images with zeros.

    Parameters
    ----------
    X : array, shape (m, n_H, n_W, n_C)
        A batch of m images.
    pad : int
        The rows and columns of zeros on each side, at least 0.

    Returns
    -------
    array, shape (m, n_H + 2*pad, n_W + 2*pad, n_C)
        In the dtype of `X`.

    Raises
    ------
    TypeError
        If `X` is not an array, or `pad` not an integer.
    ValueError
        If `X` has not four axes, or `pad` is negative.

    See Also
    --------
    anyconv.pad : Other modes, unequal sides, any number of axes.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv.stepbystep import zero_pad
    >>> X = np.ones((1, 2, 2, 1))
    >>> zero_pad(X, 1)[0, :, :, 0]
    array([[0., 0., 0., 0.],
           [0., 1., 1., 0.],
           [0., 1., 1., 0.],
           [0., 0., 0., 0.]])
    """
    common_namespace(X=X)
    four_sizes("X", X, "(m, n_H, n_W, n_C)")
    pad = integer("pad", pad, minimum=0)
    return anyconv.pad(X, [(pad, pad), (pad, pad)])


def conv_single_step(a_slice_prev: Array, W: Array, b: Array) -> Array:
    """Apply one filter to one window: the sum of all products, plus the bias.

    Parameters
    ----------
    a_slice_prev : array, shape (f, f, n_C_prev), floating or complex
        The cells of the input under the window.
    W : array, shape (f, f, n_C_prev)
        The weights of one filter.
    b : array, shape (1, 1, 1)
        Its bias; any array of one element will do.

    Returns
    -------
    array, shape ()
        ``sum(a_slice_prev * W) + b``: the bias is added once.

    Raises
    ------
    TypeError
        If something is not an array, not of a floating dtype, or of another dtype than the rest.
    ValueError
        If the window and the weights differ in shape, or `b` has more than one element.

    See Also
    --------
    conv_forward : All windows and filters at once.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv.stepbystep import conv_single_step
    >>> window, W = np.full((2, 2, 3), 2.0), np.full((2, 2, 3), 0.5)
    >>> float(conv_single_step(window, W, np.full((1, 1, 1), 10.0)))
    22.0
    """
    xp = floating_namespace(a_slice_prev=a_slice_prev, W=W, b=b)
    check_shape("W", W.shape, tuple(a_slice_prev.shape), "the shape of `a_slice_prev`")
    require_one_element("b", b, "(1, 1, 1)")
    return xp.sum(a_slice_prev * W) + xp.reshape(b, ())


def conv_forward(
    A_prev: Array, W: Array, b: Array, hparameters: Hyperparameters
) -> tuple[Array, ConvCache]:
    """Convolve a batch of images with n_C filters.

    Parameters
    ----------
    A_prev : array, shape (m, n_H_prev, n_W_prev, n_C_prev), floating or complex
        The activations of the layer before.
    W : array, shape (f, f, n_C_prev, n_C)
        The filters. They need not be square: (f_H, f_W, n_C_prev, n_C).
    b : array, shape (1, 1, 1, n_C)
        The biases.
    hparameters : dict
        With the keys ``"stride"`` (at least 1) and ``"pad"`` (zeros on each side, at least 0).

    Returns
    -------
    Z : array, shape (m, n_H, n_W, n_C)
        With ``n_H = floor((n_H_prev - f + 2*pad) / stride) + 1``, n_W likewise.
    cache : tuple
        ``(A_prev, W, b, hparameters)``, for `conv_backward`.

    Raises
    ------
    TypeError
        If something is not an array, not of a floating dtype (divide ``uint8`` images by 255), or
        of another namespace or dtype than the rest; if a hyperparameter is not an integer.
    ValueError
        If a shape is wrong, a key is missing, or the filter is larger than the padded images.

    See Also
    --------
    conv_backward : Its gradients.
    anyconv.conv_forward : More options, other layouts, any number of axes.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv.stepbystep import conv_forward
    >>> rng = np.random.default_rng(1)
    >>> A_prev, W = rng.normal(size=(2, 5, 7, 4)), rng.normal(size=(3, 3, 4, 8))
    >>> Z, cache = conv_forward(A_prev, W, np.zeros((1, 1, 1, 8)), {"pad": 1, "stride": 2})
    >>> Z.shape
    (2, 3, 4, 8)
    """
    xp = floating_namespace(A_prev=A_prev, W=W, b=b)
    stride, pad = _conv_hyperparameters(hparameters)
    _conv_output_shape(A_prev, W, b, stride, pad)
    Z = anyconv.conv_forward(A_prev, W, xp.reshape(b, (-1,)), stride=stride, padding=pad)
    return Z, (A_prev, W, b, hparameters)


def conv_backward(dZ: Array, cache: ConvCache) -> tuple[Array, Array, Array]:
    """Compute the gradients of a convolution.

    Parameters
    ----------
    dZ : array, shape (m, n_H, n_W, n_C)
        The gradient of the cost with respect to the output Z of `conv_forward`.
    cache : tuple
        ``(A_prev, W, b, hparameters)``, as `conv_forward` returned it.

    Returns
    -------
    dA_prev : array, shape (m, n_H_prev, n_W_prev, n_C_prev)
        Zero where no window reaches.
    dW : array, shape (f, f, n_C_prev, n_C)
        Summed over the batch, not averaged.
    db : array, shape (1, 1, 1, n_C)
        Likewise.

    Raises
    ------
    TypeError
        If something is not an array, or of another namespace or dtype than the rest.
    ValueError
        If `dZ` has not the shape of Z, or `cache` is not that of `conv_forward`.

    See Also
    --------
    anyconv.conv_backward : More options, and each gradient alone.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv.stepbystep import conv_backward, conv_forward
    >>> A_prev, W, b = np.ones((1, 4, 4, 1)), np.ones((2, 2, 1, 1)), np.zeros((1, 1, 1, 1))
    >>> Z, cache = conv_forward(A_prev, W, b, {"pad": 0, "stride": 2})
    >>> dA_prev, dW, db = conv_backward(np.asarray([1.0, 2.0, 3.0, 4.0]).reshape(Z.shape), cache)
    >>> dA_prev[0, :, :, 0]
    array([[1., 1., 2., 2.],
           [1., 1., 2., 2.],
           [3., 3., 4., 4.],
           [3., 3., 4., 4.]])
    >>> dW[:, :, 0, 0], db
    (array([[10., 10.],
           [10., 10.]]), array([[[[10.]]]]))
    """
    A_prev, W, b, hparameters = unpacked(cache, "conv_forward", ("A_prev", "W", "b", "hparameters"))
    xp = floating_namespace(dZ=dZ, A_prev=A_prev, W=W, b=b)
    stride, pad = _conv_hyperparameters(hparameters)
    shape = _conv_output_shape(A_prev, W, b, stride, pad)
    check_shape("dZ", dZ.shape, shape, "the shape of Z")
    dA_prev, dW, db = anyconv.conv_backward(dZ, A_prev, W, stride=stride, padding=pad)
    return dA_prev, dW, xp.reshape(db, b.shape)


def _conv_hyperparameters(hparameters: Hyperparameters) -> tuple[int, int]:
    """Return the stride and the padding."""
    stride = hyperparameter(hparameters, "stride", minimum=1)
    return stride, hyperparameter(hparameters, "pad", minimum=0)


def _conv_output_shape(A_prev: Array, W: Array, b: Array, stride: int, pad: int) -> Shape:
    """Return the shape of Z, once the shapes of the arguments fit together."""
    m, *size, channels = four_sizes("A_prev", A_prev, "(m, n_H_prev, n_W_prev, n_C_prev)")
    *kernel, inputs, filters = four_sizes("W", W, "(f, f, n_C_prev, n_C)", least=1)
    if inputs != channels:
        raise ValueError(
            f"`W` must have the {channels} channels of `A_prev` as its third axis, "
            f"got shape {tuple(W.shape)}"
        )
    check_shape("b", b.shape, (1, 1, 1, filters), "the shape (1, 1, 1, n_C)")
    return m, *output_size("W", size, kernel, stride, pad), filters
