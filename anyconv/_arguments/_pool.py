"""The arguments of pooling and of windows, from what the caller wrote to a frozen call."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from anyconv._arguments._common import (
    LAYOUTS,
    PaddingSpec,
    check_outputs,
    check_sizes,
    known_shape,
    padding_pairs,
    padding_spec,
)
from anyconv._checks import Numbers, boolean, check_shape, choice, numbers, per_axis
from anyconv._geometry import WindowGeometry, _pooling_axes, output_size
from anyconv._geometry._axis_windows import AxisWindows
from anyconv._layout import join_shape, split_shape
from anyconv._typing import Array, Shape


@dataclass(frozen=True)
class PoolCall:
    """One pooling as the caller sees it: its shapes, and its windows axis by axis."""

    batch: Shape
    spatial: Shape
    output: Shape
    channels: int
    layout: str
    geometry: WindowGeometry | None

    @cached_property
    def axes(self) -> tuple[AxisWindows, ...]:
        """The windows of each axis."""
        if self.geometry is None:
            return _pooling_axes.adaptive(self.spatial, self.output)
        return _pooling_axes.regular(self.geometry)

    @cached_property
    def rank(self) -> int:
        """The number of spatial axes."""
        return len(self.spatial)

    @cached_property
    def x_shape(self) -> Shape:
        """The shape of the input."""
        return join_shape(self.batch, self.spatial, self.channels, self.layout)

    @cached_property
    def y_shape(self) -> Shape:
        """The shape of the output."""
        return join_shape(self.batch, self.output, self.channels, self.layout)

    def rebatched(self, batch: Shape) -> "PoolCall":
        """The same call on another batch."""
        return replace(self, batch=batch)


class PoolOptions(NamedTuple):
    """The windows of a pooling, checked and hashable; always in this order."""

    kernel_size: Numbers
    stride: Numbers | None
    padding: PaddingSpec
    dilation: Numbers
    ceil_mode: bool
    layout: str


def pool_options(
    kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: Any, layout: Any
) -> PoolOptions:
    """The options as the caller wrote them, checked as far as no shape is needed."""
    return PoolOptions(
        numbers("kernel_size", kernel_size, minimum=1),
        None if stride is None else numbers("stride", stride, minimum=1),
        padding_spec(padding),
        numbers("dilation", dilation, minimum=1),
        boolean("ceil_mode", ceil_mode),
        choice("layout", layout, LAYOUTS),
    )


def window_options(
    kernel_size: Any, stride: Any, padding: Any, dilation: Any, layout: Any
) -> PoolOptions:
    """The same for windows alone, which have a stride always and never hang over the end."""
    stride = numbers("stride", stride, minimum=1)
    return pool_options(kernel_size, stride, padding, dilation, False, layout)


@lru_cache(maxsize=256)
def pool_call(
    x_shape: Shape, options: PoolOptions, *, needs: str = "nothing", name: str = "x"
) -> PoolCall:
    """The checked call of pooling with a kernel; what was checked once is remembered."""
    kernel_size, stride, padding, dilation, ceil_mode, layout = options
    rank = spatial_rank("kernel_size", kernel_size, x_shape, name)
    batch, spatial, channels = split_shape(x_shape, rank, layout)
    kernel = per_axis("kernel_size", kernel_size, rank)
    strides = kernel if stride is None else per_axis("stride", stride, rank)
    dilations = per_axis("dilation", dilation, rank)
    pairs = padding_pairs(padding, spatial, kernel, strides, dilations)
    output = tuple(
        output_size(*axis, ceil_mode=ceil_mode)
        for axis in zip(spatial, kernel, strides, dilations, pairs, strict=True)
    )
    check_outputs(name, output, spatial, kernel, dilations, pairs)
    geometry = WindowGeometry(spatial, kernel, strides, dilations, pairs, output)
    call = PoolCall(batch, spatial, output, channels, layout, geometry)
    _check_windows(call, needs)
    return call


def _check_windows(call: PoolCall, needs: str) -> None:
    """Refuse windows that see nothing of what the reduction needs."""
    if needs == "nothing":
        return
    for axis, windows in enumerate(call.axes):
        counted = needs == "counted"
        if 0 in windows.distinct_counts(include_padding=counted):
            geometry = call.geometry
            empty = list(windows.counts(include_padding=counted)).index(0)
            where = "input and padding" if needs == "counted" else "input"
            raise ValueError(
                f"every window must see a cell of the {where}, but window {empty} of "
                f"spatial axis {axis} sees none: input {call.spatial[axis]}, kernel "
                f"{geometry.kernel[axis]}, stride {geometry.stride[axis]}, dilation "  # type: ignore[union-attr]
                f"{geometry.dilation[axis]}, `padding` {geometry.padding[axis]}"  # type: ignore[union-attr]
            )


def check_dy(dy: Array, call: PoolCall) -> None:
    """Refuse an output gradient that has not the output's shape."""
    check_shape("dy", known_shape("dy", dy), call.y_shape, "the shape of the output")


def adaptive_call(x_shape: Shape, output_size: Any, *, layout: Any, name: str = "x") -> PoolCall:
    """The checked call of pooling to a given output."""
    return _adaptive_call(
        x_shape,
        numbers("output_size", output_size, minimum=1),
        choice("layout", layout, LAYOUTS),
        name,
    )


@lru_cache(maxsize=256)
def _adaptive_call(x_shape: Shape, wanted: Numbers, layout: str, name: str) -> PoolCall:
    rank = spatial_rank("output_size", wanted, x_shape, name)
    batch, spatial, channels = split_shape(x_shape, rank, layout)
    output = per_axis("output_size", wanted, rank)
    return PoolCall(batch, spatial, output, channels, layout, None)


def spatial_rank(option: str, value: Any, x_shape: Shape, name: str) -> int:
    """How many spatial axes there are: as many as the option has entries, else all but two."""
    if isinstance(value, Sequence):
        rank, least = len(value), len(value) + 1
        if rank == 0:
            raise ValueError(f"`{option}` must have one entry or more, got none")
        meaning = f"the {rank} spatial axes of `{option}` and a channels axis"
    else:
        rank, least = max(len(x_shape) - 2, 1), 3
        meaning = f"a batch, a spatial and a channels axis where `{option}` is one number"
    if len(x_shape) < least:
        raise ValueError(
            f"`{name}` must have {meaning}, at least {least} axes, got shape {x_shape}"
        )
    check_sizes(name, x_shape, range(-rank - 1, 0))
    return rank
