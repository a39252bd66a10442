"""The arguments of convolution, from what the caller wrote to a frozen call."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

from anyconv._arguments._common import (
    LAYOUTS,
    PADDING_MODES,
    PaddingSpec,
    check_outputs,
    check_padding_mode,
    check_sizes,
    padding_pairs,
    padding_spec,
)
from anyconv._checks import Numbers, choice, integer, numbers, per_axis
from anyconv._geometry import (
    Pairs,
    Problem,
    WindowGeometry,
    effective_kernel_size,
    output_size,
)
from anyconv._layout import join_shape, split_shape, split_weight_shape
from anyconv._typing import Shape

ALGORITHMS = ("auto", "gemm", "taps", "winograd", "fft")


class ConvOptions(NamedTuple):
    """The options of a convolution, checked and hashable; always in this order."""

    stride: Numbers
    padding: PaddingSpec
    dilation: Numbers
    groups: int
    padding_mode: str
    layout: str
    algorithm: str


def conv_options(
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
    padding_mode: Any,
    layout: Any,
    algorithm: Any,
) -> ConvOptions:
    """The options as the caller wrote them, checked as far as no shape is needed."""
    return ConvOptions(
        numbers("stride", stride, minimum=1),
        padding_spec(padding),
        numbers("dilation", dilation, minimum=1),
        integer("groups", groups, minimum=1),
        choice("padding_mode", padding_mode, PADDING_MODES),
        choice("layout", layout, LAYOUTS),
        choice("algorithm", algorithm, ALGORITHMS),
    )


@dataclass(frozen=True)
class ConvCall:
    """One convolution as the caller sees it: its shapes, and the problem to be solved.

    `nonzero_padding` is applied to x beforehand, where cells beside it are not zeros; the problem
    then has none.
    """

    problem: Problem
    nonzero_padding: Pairs | None
    padding_mode: str
    layout: str
    algorithm: str
    x_shape: Shape
    w_shape: Shape
    y_shape: Shape

    @property
    def rank(self) -> int:
        """The number of spatial axes."""
        return self.problem.geometry.rank

    def rebatched(self, batch: Shape) -> "ConvCall":
        """The same call on another batch."""
        known = len(self.problem.batch)
        return replace(
            self,
            problem=replace(self.problem, batch=batch),
            x_shape=(*batch, *self.x_shape[known:]),
            y_shape=(*batch, *self.y_shape[known:]),
        )

    @property
    def channels_axis(self) -> int:
        """Where the channels are, counted from the end."""
        return -1 if self.layout == "channels_last" else -self.rank - 1

    @property
    def batch(self) -> Shape:
        """The batch axes."""
        return self.problem.batch

    @property
    def spatial(self) -> Shape:
        """The spatial sizes of x before any padding."""
        return split_shape(self.x_shape, self.rank, self.layout)[1]


@lru_cache(maxsize=4096)
def conv_call(
    x_shape: Shape,
    w_shape: Shape,
    options: ConvOptions,
    x_name: str = "x",
    w_name: str = "w",
) -> ConvCall:
    """The checked call of a convolution; what was checked once is remembered."""
    stride, padding, dilation, groups, padding_mode, layout, algorithm = options
    kernel, group_channels, out_channels = _checked_weight(w_shape, layout, w_name)
    rank = len(kernel)
    batch, spatial, in_channels = _checked_input(x_shape, rank, layout, x_name, w_name)
    if in_channels % groups or out_channels % groups:
        raise ValueError(
            f"`groups` must divide the {in_channels} input and {out_channels} output channels, "
            f"got {groups}"
        )
    if group_channels * groups != in_channels:
        raise ValueError(
            f"`{w_name}` must have C_in / groups = {in_channels} / {groups} = "
            f"{in_channels // groups} input channels, got {group_channels} in shape {w_shape} "
            f"with `layout` {layout!r}"
        )
    strides = per_axis("stride", stride, rank)
    dilations = per_axis("dilation", dilation, rank)
    pairs = padding_pairs(padding, spatial, kernel, strides, dilations)
    check_padding_mode(padding_mode, spatial, pairs)
    output = tuple(
        output_size(*axis) for axis in zip(spatial, kernel, strides, dilations, pairs, strict=True)
    )
    check_outputs(x_name, output, spatial, kernel, dilations, pairs)
    nonzero_padding = None
    y_shape = join_shape(batch, output, out_channels, layout)
    if padding_mode != "zeros" and any(map(any, pairs)):
        nonzero_padding, pairs = pairs, ((0, 0),) * rank
        spatial = tuple(i + sum(pair) for i, pair in zip(spatial, nonzero_padding, strict=True))
    geometry = WindowGeometry(spatial, kernel, strides, dilations, pairs, output)
    problem = Problem(batch, geometry, groups, in_channels, out_channels)
    return ConvCall(
        problem, nonzero_padding, padding_mode, layout, algorithm, x_shape, w_shape, y_shape
    )


def _checked_weight(w_shape: Shape, layout: str, name: str) -> tuple[Shape, int, int]:
    """The kernel, C_in / groups and C_out of a weight that has all of them."""
    if len(w_shape) < 3:
        raise ValueError(
            f"`{name}` must have at least one spatial axis beside its two channels axes, "
            f"got shape {w_shape}"
        )
    check_sizes(name, w_shape, range(len(w_shape)))
    return split_weight_shape(w_shape, layout)


def _checked_input(
    x_shape: Shape, rank: int, layout: str, x_name: str, w_name: str
) -> tuple[Shape, Shape, int]:
    """The batch, the spatial sizes and the channels of an input that has all of them."""
    if len(x_shape) < rank + 1:
        raise ValueError(
            f"`{x_name}` must have the {rank} spatial axes of `{w_name}` and a channels axis, "
            f"at least {rank + 1} axes, got shape {x_shape}"
        )
    check_sizes(x_name, x_shape, range(-rank - 1, 0))
    return split_shape(x_shape, rank, layout)


class TransposeOptions(NamedTuple):
    """The options of a transposed convolution, checked and hashable; always in this order."""

    stride: Numbers
    padding: PaddingSpec
    output_padding: Numbers
    output_size: Numbers | None
    dilation: Numbers
    groups: int
    layout: str
    algorithm: str


def transpose_options(
    stride: Any,
    padding: Any,
    output_padding: Any,
    output_size: Any,
    dilation: Any,
    groups: Any,
    layout: Any,
    algorithm: Any,
) -> TransposeOptions:
    """The options as the caller wrote them, checked as far as no shape is needed."""
    return TransposeOptions(
        numbers("stride", stride, minimum=1),
        padding_spec(padding),
        numbers("output_padding", output_padding, minimum=0),
        None if output_size is None else numbers("output_size", output_size, minimum=1),
        numbers("dilation", dilation, minimum=1),
        integer("groups", groups, minimum=1),
        choice("layout", layout, LAYOUTS),
        choice("algorithm", algorithm, ALGORITHMS),
    )


@lru_cache(maxsize=4096)
def conv_transpose_call(x_shape: Shape, w_shape: Shape, options: TransposeOptions) -> ConvCall:
    """The convolution whose adjoint is wanted: its x is the caller's y, its y the caller's x."""
    stride, padding, output_padding, wanted_size, dilation, groups, layout, algorithm = options
    kernel, group_channels, in_channels = _checked_weight(w_shape, layout, "w")
    rank = len(kernel)
    batch, small, channels = _checked_input(x_shape, rank, layout, "x", "w")
    if channels != in_channels:
        raise ValueError(
            f"`w` must have the {channels} channels of `x` as its C_in, got {in_channels} in shape "
            f"{w_shape}: a transposed convolution takes the weight of the convolution whose "
            "adjoint it is"
        )
    if in_channels % groups:
        raise ValueError(f"`groups` must divide the {in_channels} input channels, got {groups}")
    strides = per_axis("stride", stride, rank)
    dilations = per_axis("dilation", dilation, rank)
    extra = per_axis("output_padding", output_padding, rank)
    for axis, (e, s, d) in enumerate(zip(extra, strides, dilations, strict=True)):
        if e >= max(s, d):
            raise ValueError(
                f"`output_padding` must be smaller than the stride {s} or the dilation {d} on "
                f"spatial axis {axis}, got {e}"
            )
    large, pairs = _transposed_sizes(small, kernel, strides, dilations, padding, extra)
    if wanted_size is not None:
        large = _wanted_sizes(
            per_axis("output_size", wanted_size, rank), large, extra, strides, dilations
        )
    for axis, size in enumerate(large):
        if size < 1:
            raise ValueError(
                f"`padding` {pairs[axis]} leaves no output on spatial axis {axis}: input "
                f"{small[axis]}, kernel {kernel[axis]}, stride {strides[axis]} and dilation "
                f"{dilations[axis]} give {size}"
            )
    geometry = WindowGeometry(large, kernel, strides, dilations, pairs, small)
    problem = Problem(batch, geometry, groups, group_channels * groups, in_channels)
    y_shape = join_shape(batch, large, group_channels * groups, layout)
    return ConvCall(problem, None, "zeros", layout, algorithm, y_shape, w_shape, x_shape)


def _transposed_sizes(
    small: Shape,
    kernel: Shape,
    stride: Shape,
    dilation: Shape,
    padding: PaddingSpec,
    extra: Shape,
) -> tuple[Shape, Pairs]:
    """The output of a transposed convolution, and the padding of the one it is adjoint to."""
    if padding in ("same", "same_lower"):
        # ONNX ConvTranspose: the output is input * stride, the total padding follows from it.
        large = tuple(i * s for i, s in zip(small, stride, strict=True))
        lower = padding == "same_lower"
        pairs = tuple(
            _split(max(effective_kernel_size(k, d) + e - s, 0), lower)
            for k, s, d, e in zip(kernel, stride, dilation, extra, strict=True)
        )
        return large, pairs
    pairs = padding_pairs(padding, small, kernel, stride, dilation)
    large = tuple(
        (i - 1) * s - before - after + effective_kernel_size(k, d) + e
        for i, k, s, d, (before, after), e in zip(
            small, kernel, stride, dilation, pairs, extra, strict=True
        )
    )
    return large, pairs


def _split(total: int, lower: bool) -> tuple[int, int]:
    small, large = total // 2, total - total // 2
    return (large, small) if lower else (small, large)


def _wanted_sizes(
    wanted: Shape, least: Shape, extra: Shape, stride: Shape, dilation: Shape
) -> Shape:
    """The output sizes asked for, which must be within reach of an output padding."""
    if any(extra):
        raise ValueError(
            f"`output_size` and `output_padding` exclude each other, got {wanted} and {extra}"
        )
    for axis, (size, low, s, d) in enumerate(zip(wanted, least, stride, dilation, strict=True)):
        if not low <= size < low + max(s, d):
            raise ValueError(
                f"`output_size` must be from {low} to {low + max(s, d) - 1} on spatial axis "
                f"{axis}, got {size}"
            )
    return wanted
