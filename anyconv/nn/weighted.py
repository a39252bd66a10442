"""The layers with a weight: convolution, transposed convolution and the dense product."""

from collections.abc import Sequence
from math import prod
from typing import Any, get_args

import numpy as np

import anyconv
from anyconv._checks import checked_shape, choice, integer, is_sequence
from anyconv._namespace import array_namespace, common_namespace
from anyconv._typing import Array, Layout, Padding, PaddingMode

from .initializers import Initializer, glorot_uniform, he_normal
from .layer import Layer


class Conv(Layer):
    """Convolution (cross-correlation) over any number of spatial axes.

    Parameters
    ----------
    in_channels, out_channels : int
        C_in and C_out.
    kernel_size : int or sequence of int
        One size per spatial axis; an int means two spatial axes of that size.
    stride, padding, dilation, groups, padding_mode, layout
        As in `anyconv.conv_forward`.
    bias : bool
        Whether to add a bias; leave it out before `BatchNorm`.
    initializer : callable
        `he_normal` (the default), `glorot_uniform` or one like them.
    rng : numpy.random.Generator or int, optional
        Where the first weights are drawn from.

    Raises
    ------
    TypeError
        If a size is no whole number.
    ValueError
        If a size is below one, or `groups` does not divide the channels.

    Notes
    -----
    ``parameters["w"]`` has shape ``(*kernel, C_in/groups, C_out)``, or with channels first
    ``(C_out, C_in/groups, *kernel)``; ``parameters["b"]`` has shape ``(C_out,)``.

    See Also
    --------
    ConvTranspose, anyconv.conv_forward

    Examples
    --------
    >>> import numpy as np
    >>> conv = Conv(3, 8, 4, padding="same", rng=0)
    >>> conv.forward(np.zeros((2, 64, 64, 3), dtype=np.float32)).shape
    (2, 64, 64, 8)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        *,
        stride: int | Sequence[int] = 1,
        padding: Padding = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        padding_mode: PaddingMode = "zeros",
        layout: Layout = "channels_last",
        bias: bool = True,
        initializer: Initializer = he_normal,
        rng: np.random.Generator | int | None = None,
    ) -> None:
        super().__init__()
        self.options: dict[str, Any] = {
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "groups": groups,
            "padding_mode": padding_mode,
            "layout": layout,
        }
        in_channels, out_channels = _checked_channels(in_channels, out_channels)
        w = _first_weight(in_channels, out_channels, kernel_size, groups, layout, initializer, rng)
        self.parameters = {"w": w}
        if bias:
            self.parameters["b"] = np.zeros(out_channels, dtype=np.float32)

    def forward(self, x: Array, *, training: bool = False) -> Array:
        """Return ``anyconv.conv_forward(x, w, b)``."""
        w, b = self.parameters["w"], self.parameters.get("b")
        return self._remember(x, anyconv.conv_forward(x, w, b, **self.options))

    def backward(self, dy: Array, *, input_gradient: bool = True) -> Array:
        """Set the gradients of weight and bias, return the input's."""
        x, w = self._recall(dy), self.parameters["w"]
        self.gradients = {"w": anyconv.conv_backward_weight(dy, x, w.shape, **self.options)}
        if "b" in self.parameters:
            # With one batch axis, which the bias's gradient needs where the channels are first.
            image = dy.shape[1 - w.ndim :]
            rows = array_namespace(dy=dy).reshape(dy, (prod(dy.shape[: 1 - w.ndim]), *image))
            self.gradients["b"] = anyconv.conv_backward_bias(rows, layout=self.options["layout"])
        if not input_gradient:
            return None
        return anyconv.conv_backward_input(dy, w, x.shape, **self.options)


class ConvTranspose(Layer):
    """Transposed convolution, the adjoint of a convolution from C_out to C_in channels.

    Parameters
    ----------
    in_channels, out_channels : int
        C_in and C_out of this layer.
    kernel_size : int or sequence of int
        One size per spatial axis; an int means two spatial axes of that size.
    stride, padding, output_padding, output_size, dilation, groups, layout
        As in `anyconv.conv_transpose_forward`.
    bias, initializer, rng
        As in `Conv`.

    Raises
    ------
    TypeError
        If a size is no whole number.
    ValueError
        If a size is below one, or `groups` does not divide the channels.

    Notes
    -----
    ``parameters["w"]`` has the shape of the weight of the convolution whose adjoint this is:
    ``(*kernel, C_out/groups, C_in)``, or with channels first ``(C_in, C_out/groups, *kernel)``.

    See Also
    --------
    Conv, anyconv.conv_transpose_forward

    Examples
    --------
    >>> import numpy as np
    >>> up = ConvTranspose(16, 8, 2, stride=2, rng=0)
    >>> up.forward(np.zeros((1, 5, 5, 16), dtype=np.float32)).shape
    (1, 10, 10, 8)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        *,
        stride: int | Sequence[int] = 1,
        padding: Padding = 0,
        output_padding: int | Sequence[int] = 0,
        output_size: int | Sequence[int] | None = None,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        layout: Layout = "channels_last",
        bias: bool = True,
        initializer: Initializer = he_normal,
        rng: np.random.Generator | int | None = None,
    ) -> None:
        super().__init__()
        self.options: dict[str, Any] = {
            "stride": stride,
            "padding": padding,
            "output_padding": output_padding,
            "output_size": output_size,
            "dilation": dilation,
            "groups": groups,
            "layout": layout,
        }
        in_channels, out_channels = _checked_channels(in_channels, out_channels)
        # The weight is that of the convolution which maps this layer's output to its input.
        w = _first_weight(out_channels, in_channels, kernel_size, groups, layout, initializer, rng)
        self.parameters = {"w": w}
        if bias:
            self.parameters["b"] = np.zeros(out_channels, dtype=np.float32)

    def forward(self, x: Array, *, training: bool = False) -> Array:
        """Return ``anyconv.conv_transpose_forward(x, w, b)``."""
        w, b = self.parameters["w"], self.parameters.get("b")
        return self._remember(x, anyconv.conv_transpose_forward(x, w, b, **self.options))

    def backward(self, dy: Array, *, input_gradient: bool = True) -> Array:
        """Set the gradients of weight and bias, return the input's."""
        x, w = self._recall(dy), self.parameters["w"]
        dx, dw, db = anyconv.conv_transpose_backward(dy, x, w, **self.options)
        self.gradients = {"w": dw}
        if "b" in self.parameters:
            self.gradients["b"] = db
        return dx if input_gradient else None


class Dense(Layer):
    """A matrix product and a bias: ``y = x @ w + b``.

    Parameters
    ----------
    inputs, outputs : int
        Sizes of a row of x and of y.
    bias : bool
        Whether to add a bias.
    initializer : callable
        `glorot_uniform` (the default), `he_normal` or one like them.
    rng : numpy.random.Generator or int, optional
        Where the first weights are drawn from.

    Raises
    ------
    TypeError
        If a size is no whole number; by `forward` if x has not the weight's namespace and dtype.
    ValueError
        If a size is below one; by `forward` if x has not the shape (m, inputs).

    Notes
    -----
    ``x (m, inputs)``, ``parameters["w"] (inputs, outputs)``, ``parameters["b"] (outputs,)``,
    ``y (m, outputs)``.

    Examples
    --------
    >>> import numpy as np
    >>> Dense(64, 6, rng=0).forward(np.zeros((10, 64), dtype=np.float32)).shape
    (10, 6)
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        bias: bool = True,
        initializer: Initializer = glorot_uniform,
        rng: np.random.Generator | int | None = None,
    ) -> None:
        super().__init__()
        sizes = integer("inputs", inputs, minimum=1), integer("outputs", outputs, minimum=1)
        w = initializer(np.random.default_rng(rng), sizes, fan_in=inputs, fan_out=outputs)
        self.parameters = {"w": w}
        if bias:
            self.parameters["b"] = np.zeros(outputs, dtype=np.float32)

    def forward(self, x: Array, *, training: bool = False) -> Array:
        """Return ``x @ w + b``."""
        w = self.parameters["w"]
        common_namespace(x=x, w=w)
        if x.ndim != 2 or x.shape[1] != w.shape[0]:
            raise ValueError(
                f"`x` must have shape (m, {w.shape[0]}) for this `Dense`, got {tuple(x.shape)}; "
                "`Flatten` goes before it"
            )
        y = x @ w  # (m, inputs) @ (inputs, outputs) -> (m, outputs)
        return self._remember(x, y + self.parameters["b"] if "b" in self.parameters else y)

    def backward(self, dy: Array, *, input_gradient: bool = True) -> Array:
        """Set the gradients of weight and bias, return the input's."""
        x = self._recall(dy)
        self.gradients = {"w": x.T @ dy}  # (inputs, m) @ (m, outputs) -> (inputs, outputs)
        if "b" in self.parameters:
            self.gradients["b"] = array_namespace(dy=dy).sum(dy, axis=0)
        return dy @ self.parameters["w"].T if input_gradient else None


def _checked_channels(in_channels: int, out_channels: int) -> tuple[int, int]:
    """Return the channels of a layer, whole numbers of at least one."""
    return (
        integer("in_channels", in_channels, minimum=1),
        integer("out_channels", out_channels, minimum=1),
    )


def _first_weight(
    in_channels: int,
    out_channels: int,
    kernel_size: int | Sequence[int],
    groups: int,
    layout: Layout,
    initializer: Initializer,
    rng: np.random.Generator | int | None,
) -> np.ndarray[Any, Any]:
    """Return first values of a convolution's weight, in the shape its layout asks for."""
    groups = integer("groups", groups, minimum=1)
    if in_channels % groups or out_channels % groups:
        raise ValueError(
            f"`groups` must divide the {in_channels} input and {out_channels} output channels, "
            f"got {groups}"
        )
    sizes = kernel_size if is_sequence(kernel_size) else (kernel_size, kernel_size)
    kernel = checked_shape("kernel_size", sizes, minimum=1)
    if not kernel:
        raise ValueError("`kernel_size` must have one entry or more, got none")
    channels = in_channels // groups
    last = choice("layout", layout, get_args(Layout)) == "channels_last"
    return initializer(
        np.random.default_rng(rng),
        (*kernel, channels, out_channels) if last else (out_channels, channels, *kernel),
        fan_in=channels * prod(kernel),
        fan_out=out_channels // groups * prod(kernel),
    )
