"""What a convolution would do, without doing it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from anyconv._arguments._conv import conv_call, conv_options
from anyconv._checks import checked_shape, choice
from anyconv._execution._padded import plan_call
from anyconv._namespace import dtype_of_name, is_kind, namespace_of_name
from anyconv._options import current_options
from anyconv._plans._plan import Plan
from anyconv._traits import traits_of_dtype
from anyconv._typing import Ints, Layout, Operation, Padding, PaddingMode


def plan_conv(
    x_shape: Sequence[int],
    w_shape: Sequence[int],
    *,
    dtype: Any,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
    layout: Layout = "channels_last",
    algorithm: str = "auto",
    namespace: Any = "numpy",
    device: Any = None,
    operation: Operation = "forward",
) -> Plan:
    """What a convolution of these sizes would run, and why, without running it.

    Parameters
    ----------
    x_shape, w_shape : sequence of int
        The shapes of the input and the weight.
    dtype : dtype or str
        The arrays' dtype, such as ``"float32"``.
    stride, padding, dilation, groups, padding_mode, layout, algorithm
        As in `conv_forward`.
    namespace : str or module
        The array library: ``"numpy"``, ``"cupy"``, ``"torch"``, ``"jax"``, ``"array_api_strict"``
        or its module.
    device : str or device, optional
        Where the arrays are, such as ``"cpu"`` or ``"cuda"``; the CPU unless given, CuPy's GPU.
        Nothing is asked of it: a machine without a GPU can plan for one.
    operation : {"forward", "input", "weight"}
        The output, or the gradient of the input or of the weight.

    Returns
    -------
    Plan
        With attributes such as `algorithm`, `workspace` (bytes) and `blocks`; its `str` is a small
        table.

    Raises
    ------
    TypeError, ValueError
        As `conv_forward`; and if the library is not installed.

    See Also
    --------
    options : the limits that a plan keeps to.

    References
    ----------
    The idea of a plan is FFTW's: M. Frigo, S. G. Johnson, "The design and implementation of FFTW3",
    2005.

    Examples
    --------
    >>> from anyconv import plan_conv
    >>> plan = plan_conv((8, 56, 56, 64), (1, 1, 64, 256), dtype="float32")
    >>> plan.algorithm
    'gemm'
    """
    xp = namespace_of_name(namespace)
    kind = dtype_of_name(dtype, xp=xp)
    if not is_kind(xp, kind, "real floating") and not is_kind(xp, kind, "complex floating"):
        raise TypeError(f"`dtype` must be floating or complex, as convolution is, got {dtype!r}")
    choice("operation", operation, ("forward", "input", "weight"))
    options = conv_options(stride, padding, dilation, groups, padding_mode, layout, algorithm)
    traits = traits_of_dtype(xp, kind, device)
    call = conv_call(
        checked_shape("x_shape", x_shape),
        checked_shape("w_shape", w_shape),
        options,
        x_name="x_shape",
        w_name="w_shape",
    )
    plan = plan_call(call, operation, traits, current_options())
    return plan if layout == "channels_last" else replace(plan, layout=layout)
