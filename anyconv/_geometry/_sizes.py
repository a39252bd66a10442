"""Whole numbers only: the sizes, windows and paddings of convolution and pooling.

Nothing in this file knows an array.

    output = floor((input + before + after - effective_kernel) / stride) + 1
    effective_kernel = dilation * (kernel - 1) + 1

Sizes are those of Dumoulin and Visin, "A guide to convolution arithmetic", arXiv:1603.07285.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import gcd, prod

from anyconv._typing import Shape

Pairs = tuple[tuple[int, int], ...]


def effective_kernel_size(kernel: int, dilation: int) -> int:
    """The inputs that a window spans, holes included."""
    return dilation * (kernel - 1) + 1


def output_size(
    size: int,
    kernel: int,
    stride: int,
    dilation: int,
    padding: tuple[int, int],
    *,
    ceil_mode: bool = False,
) -> int:
    """The number of windows along one axis; below one where none fits."""
    before, after = padding
    room = size + before + after - effective_kernel_size(kernel, dilation)
    if not ceil_mode:
        return room // stride + 1
    # A window that would start beyond the input and the padding before it is dropped.
    return min(-(-room // stride) + 1, -(-(size + before) // stride))


def same_padding(
    size: int, kernel: int, stride: int, dilation: int, *, lower: bool
) -> tuple[int, int]:
    """The padding for which output = ceil(input / stride); the odd cell after, or before."""
    windows = -(-size // stride)
    total = max((windows - 1) * stride + effective_kernel_size(kernel, dilation) - size, 0)
    small, large = total // 2, total - total // 2
    return (large, small) if lower else (small, large)


@dataclass(frozen=True)
class Windows:
    """Windows cut from an input that they cover exactly, without padding.

    One entry an axis. `input` is `(output - 1) * stride + effective_kernel`.
    """

    kernel: Shape
    stride: Shape
    dilation: Shape
    output: Shape

    @cached_property
    def input(self) -> Shape:
        """The cells from the first tap of the first window to the last tap of the last."""
        return tuple(
            (o - 1) * s + effective_kernel_size(k, d)
            for k, s, d, o in zip(self.kernel, self.stride, self.dilation, self.output, strict=True)
        )

    @cached_property
    def taps(self) -> int:
        """Positions in the kernel."""
        return prod(self.kernel)

    @cached_property
    def is_pointwise(self) -> bool:
        """Whether every window is one cell and every cell a window."""
        return self.taps == 1 and all(s == 1 for s in self.stride)

    @cached_property
    def tap_slices(self) -> tuple[tuple[slice, ...], ...]:
        """For each tap in row-major order, the inputs under it, one for each window."""
        return tuple(
            tuple(
                slice(d * t, d * t + s * (o - 1) + 1, s)
                for t, s, d, o in zip(tap, self.stride, self.dilation, self.output, strict=True)
            )
            for tap in product(*map(range, self.kernel))
        )

    @cached_property
    def window_slices(self) -> tuple[tuple[slice, ...], ...]:
        """For each window in row-major order, the inputs under it, one for each tap."""
        return tuple(
            tuple(
                slice(s * o, s * o + d * (k - 1) + 1, d)
                for o, k, s, d in zip(place, self.kernel, self.stride, self.dilation, strict=True)
            )
            for place in product(*map(range, self.output))
        )

    def axis(self, axis: int) -> "Windows":
        """The windows along one axis alone."""
        return Windows(
            (self.kernel[axis],), (self.stride[axis],), (self.dilation[axis],), (self.output[axis],)
        )


@dataclass(frozen=True)
class WindowGeometry:
    """Windows over a padded input: what pooling, `unfold` and convolution share.

    `padding` holds `(before, after)` an axis; a negative one crops. With `ceil_mode` the last
    window may hang over the padded input.
    """

    input: Shape
    kernel: Shape
    stride: Shape
    dilation: Shape
    padding: Pairs
    output: Shape

    @property
    def rank(self) -> int:
        """The number of spatial axes."""
        return len(self.input)

    @cached_property
    def windows(self) -> Windows:
        """The same windows over exactly the cells that they cover."""
        return Windows(self.kernel, self.stride, self.dilation, self.output)

    @cached_property
    def covered(self) -> tuple[tuple[int, int], ...]:
        """The first and one past the last cell that the windows cover, counted in the input."""
        return tuple(
            (-before, size - before)
            for size, (before, _) in zip(self.windows.input, self.padding, strict=True)
        )

    @cached_property
    def is_padded(self) -> bool:
        """Whether any window leaves the input."""
        return any(
            start < 0 or stop > size
            for (start, stop), size in zip(self.covered, self.input, strict=True)
        )


@dataclass(frozen=True)
class Problem:
    """All sizes of one convolution `x -> y`, whichever of its maps is wanted."""

    batch: Shape
    geometry: WindowGeometry
    groups: int
    in_channels: int
    out_channels: int

    @cached_property
    def images(self) -> int:
        """The product of the batch axes."""
        return prod(self.batch)

    @cached_property
    def x_shape(self) -> Shape:
        """The canonical shape of the input, `(n, *input, c)`."""
        return (self.images, *self.geometry.input, self.in_channels)

    @cached_property
    def y_shape(self) -> Shape:
        """That of the output, `(n, *output, k)`."""
        return (self.images, *self.geometry.output, self.out_channels)

    @cached_property
    def w_shape(self) -> Shape:
        """That of the weight, `(*kernel, c / groups, k)`."""
        return (*self.geometry.kernel, self.in_channels // self.groups, self.out_channels)

    @cached_property
    def multiply_adds(self) -> int:
        """Multiplications of the direct sum, which all three maps share."""
        return self.images * prod(self.geometry.output) * prod(self.w_shape)

    @cached_property
    def is_thin(self) -> bool:
        """Whether every group has a single input or a single output channel."""
        return self.groups in (self.in_channels, self.out_channels)

    @cached_property
    def is_depthwise(self) -> bool:
        """Whether each input channel is convolved by itself; one alone, with one output."""
        return self.groups == self.in_channels and (self.groups > 1 or self.out_channels == 1)


@dataclass(frozen=True)
class Phase:
    """The inputs `first, first + stride, ...` of one axis and the taps that reach them.

    `taps` lists positions in the kernel, `dilation` their distance in outputs, and `start` the
    output that lies under the last of them for the first input.
    """

    first: int
    count: int
    taps: range
    dilation: int
    start: int


def phases(geometry: WindowGeometry, axis: int) -> Iterator[Phase]:
    """The input gradient of one axis as `stride` convolutions of stride one.

    Input i meets output o through tap t where `i + before = stride * o + dilation * t`. The inputs
    `i = first + stride * q` of one phase share their taps: those with `dilation * t = first +
    before` modulo the stride, every `stride / gcd`-th one.
    """
    stride, dilation = geometry.stride[axis], geometry.dilation[axis]
    before = geometry.padding[axis][0]
    common = gcd(stride, dilation)
    step = stride // common
    for first in range(min(stride, geometry.input[axis])):
        count = -(-(geometry.input[axis] - first) // stride)
        tap = next(
            (t for t in range(step) if (first + before - dilation * t) % stride == 0),
            geometry.kernel[axis],
        )
        taps = range(tap, geometry.kernel[axis], step)
        start = (first + before - dilation * taps[-1]) // stride if taps else 0
        yield Phase(first, count, taps, dilation // common, start)


@dataclass(frozen=True)
class Segment:
    """A run of padded cells and the run `start:stop` of input cells it repeats.

    `kind` is `"copy"`, `"flip"` (the run read backwards), `"repeat"` (one cell, `count` times) or
    `"zeros"` (no cell at all).
    """

    kind: str
    start: int
    stop: int
    count: int


def padding_segments(size: int, before: int, after: int, mode: str) -> tuple[Segment, ...]:
    """One padded axis as runs of input cells: `1234` -> `32 1234 32` for `"reflect"`."""
    whole = Segment("copy", 0, size, size)
    runs: tuple[Segment, ...]
    match mode:
        case "zeros":
            runs = (Segment("zeros", 0, 0, before), whole, Segment("zeros", 0, 0, after))
        case "replicate":
            first = Segment("repeat", 0, 1, before)
            last = Segment("repeat", size - 1, size, after)
            runs = (first, whole, last)
        case "reflect":
            left = Segment("flip", 1, 1 + before, before)
            right = Segment("flip", size - 1 - after, size - 1, after)
            runs = (left, whole, right)
        case _:
            left_turns, left_rest = divmod(before, size)
            right_turns, right_rest = divmod(after, size)
            runs = (
                Segment("copy", size - left_rest, size, left_rest),
                *(whole,) * (left_turns + 1 + right_turns),
                Segment("copy", 0, right_rest, right_rest),
            )
    return tuple(run for run in runs if run.count)


def adaptive_window(size: int, windows: int, index: int) -> tuple[int, int]:
    """One window `[floor(j*size/windows), ceil((j+1)*size/windows))` of adaptive pooling."""
    return index * size // windows, -(-(index + 1) * size // windows)
