"""Lp pooling: the p-norm of each window, forward and backward."""

from functools import partial
from math import inf
from typing import Any

from anyconv._arguments._common import check_real_floating, known_shape
from anyconv._arguments._pool import PoolCall, check_dy, pool_call, pool_options
from anyconv._checks import number
from anyconv._execution._images import pooled, unpooled
from anyconv._execution._lazy_batch import over_batch
from anyconv._namespace import common_namespace, differentiates
from anyconv._pooling._by_axis import Axes, window_sum, window_sum_adjoint
from anyconv._pooling._in_loops import compiles, sums_at_once, sums_at_once_adjoint
from anyconv._typing import Array, Ints, Layout, Namespace, Padding


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
    options = pool_options(kernel_size, stride, padding, dilation, ceil_mode, layout)
    call = pool_call(known_shape("x", x), options)
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
    options = pool_options(kernel_size, stride, padding, dilation, ceil_mode, layout)
    call = pool_call(known_shape("x", x), options)
    check_dy(dy, call)
    kernel = partial(_norm_gradient, p=_exponent(p))
    return over_batch(kernel, call, [dy, x], [], call.x_shape, xp=xp)


def _norm(call: PoolCall, x: Array, *, p: float, xp: Namespace) -> Array:
    window_sums = sums_at_once if compiles(call, x, xp=xp) else window_sum

    def norm(x: Array, axes: Axes) -> Array:
        powers = window_sums(_power(x, p, xp=xp), axes, xp=xp)
        if p == 1:
            return powers
        # The root has no slope at zero, and no library that differentiates it finds one.
        is_zero = powers == 0 if differentiates(xp) else None
        if is_zero is not None:
            powers = xp.where(is_zero, xp.ones_like(powers), powers)
        y = xp.sqrt(powers) if p == 2 else powers ** (1 / p)
        return y if is_zero is None else xp.where(is_zero, xp.zeros_like(y), y)

    return pooled(norm, call, x, takes_out=False, xp=xp)


def _norm_gradient(call: PoolCall, dy: Array, x: Array, *, p: float, xp: Namespace) -> Array:
    at_once = compiles(call, x, xp=xp)
    window_sums = sums_at_once if at_once else window_sum
    adjoint = sums_at_once_adjoint if at_once else window_sum_adjoint

    def gradient(dy: Array, x: Array, axes: Axes) -> Array:
        powers = window_sums(_power(x, p, xp=xp), axes, xp=xp)
        is_zero = powers == 0
        one, zero = xp.ones_like(powers), xp.zeros_like(powers)
        scaled = dy * xp.where(is_zero, one, powers) ** (1 / p - 1)  # dy * y ** (1 - p)
        shares = adjoint(xp.where(is_zero, zero, scaled), axes, xp=xp)
        if p == 2:
            return shares * x
        size = xp.abs(x)
        slope = xp.where(size == 0, xp.ones_like(x), size) ** (p - 1)
        one = xp.ones_like(x)
        sign = xp.where(x > 0, one, xp.where(x < 0, -one, x))  # CuPy's own asks the GPU for NaN
        return shares * slope * sign

    return unpooled(gradient, call, dy, x, takes_out=False, passes=8, xp=xp)


def _power(x: Array, p: float, *, xp: Namespace) -> Array:
    if p == 2:
        return x * x
    size = xp.abs(x)
    if p >= 1 or not differentiates(xp):
        return size if p == 1 else size**p
    is_zero = size == 0  # where a power below one has no slope either
    power = xp.where(is_zero, xp.ones_like(size), size) ** p
    return xp.where(is_zero, xp.zeros_like(power), power)


def _exponent(p: Any) -> float:
    if not 0 < number("p", p) < inf:
        raise ValueError(f"`p` must be positive and finite, got {p!r}")
    return float(p)
