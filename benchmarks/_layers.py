"""The convolutions and pools that are measured: well-known networks, and cases beyond them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any, Literal

Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    """One convolution, channels last: `n x input x c_in -> c_out`, without bias."""

    family: str
    n: int
    input: Sizes
    c_in: int
    c_out: int
    kernel: Sizes
    stride: int = 1
    padding: int | Literal["same"] = 0
    dilation: int = 1
    groups: int = 1

    @property
    def name(self) -> str:
        parts = [
            f"{self.n}x{_by(self.input)}x{self.c_in}->{self.c_out}",
            _by(self.kernel) if len(self.kernel) > 1 else f"k{self.kernel[0]}",
            f"s{self.stride}" if self.stride > 1 else "",
            "same" if self.padding == "same" else f"p{self.padding}" if self.padding else "",
            f"d{self.dilation}" if self.dilation > 1 else "",
            "depthwise" if self.groups > 1 else "",
        ]
        return " ".join(filter(None, parts))

    @property
    def pads(self) -> tuple[tuple[int, int], ...]:
        """The zeros before and after each axis; SAME puts the odd one after."""
        if self.padding != "same":
            return ((self.padding, self.padding),) * len(self.input)
        pairs = []
        for i, k in zip(self.input, self.kernel, strict=True):
            total = max(
                (-(-i // self.stride) - 1) * self.stride + self.dilation * (k - 1) + 1 - i, 0
            )
            pairs.append((total // 2, total - total // 2))
        return tuple(pairs)

    @property
    def output(self) -> Sizes:
        return tuple(
            (i + sum(pair) - self.dilation * (k - 1) - 1) // self.stride + 1
            for i, k, pair in zip(self.input, self.kernel, self.pads, strict=True)
        )

    @property
    def x_shape(self) -> Sizes:
        return (self.n, *self.input, self.c_in)

    @property
    def w_shape(self) -> Sizes:
        return (*self.kernel, self.c_in // self.groups, self.c_out)

    @property
    def y_shape(self) -> Sizes:
        return (self.n, *self.output, self.c_out)

    @property
    def multiply_adds(self) -> int:
        return prod(self.y_shape) * prod(self.kernel) * self.c_in // self.groups

    @property
    def is_large(self) -> bool:
        """Whether the kernel is 9x9 or larger."""
        return len(self.kernel) > 1 and min(self.kernel) >= 9

    @property
    def options(self) -> dict[str, Any]:
        """The options of `anyconv.conv_forward`."""
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }

    def scaled(self, factor: int) -> Layer:
        """The same layer on so many times the images."""
        return replace(self, n=self.n * factor)


@dataclass(frozen=True)
class Pool:
    """One pooling layer, channels last, square in image, window and stride."""

    kind: Literal["max", "avg"]
    n: int
    size: int
    channels: int
    kernel: int
    stride: int
    padding: int = 0

    @property
    def name(self) -> str:
        padding = f" p{self.padding}" if self.padding else ""
        image = _by((self.n, self.size, self.size, self.channels))
        return f"{self.kind} {image} {self.kernel}x{self.kernel} s{self.stride}{padding}"

    @property
    def x_shape(self) -> Sizes:
        return (self.n, self.size, self.size, self.channels)

    @property
    def y_shape(self) -> Sizes:
        output = (self.size + 2 * self.padding - self.kernel) // self.stride + 1
        return (self.n, output, output, self.channels)

    @property
    def options(self) -> dict[str, int]:
        return {"stride": self.stride, "padding": self.padding}

    def scaled(self, factor: int) -> Pool:
        return replace(self, n=self.n * factor)


def _by(sizes: Sizes) -> str:
    return "x".join(map(str, sizes))


def _square(family: str, n: int, *rows: tuple[int, ...]) -> tuple[Layer, ...]:
    """Layers of square images and kernels from (size, c_in, c_out, kernel, stride, padding)."""
    return tuple(
        Layer(family, n, (size, size), c_in, c_out, (k, k), stride, padding)
        for size, c_in, c_out, k, stride, padding in rows
    )


def _depthwise(family: str, n: int, size: int, c: int, k: int, stride: int = 1) -> Layer:
    return Layer(family, n, (size, size), c, c, (k, k), stride, padding=k // 2, groups=c)


# He et al., arXiv:1512.03385, table 1. Version 1.5 strides in the 3x3 convolution of a stage's
# first block, not in the 1x1 before it. A shape that occurs several times stands here once.
RESNET50 = _square(
    "ResNet-50",
    8,
    (224, 3, 64, 7, 2, 3),
    # stage 1: three blocks of 64, 64, 256; the first block's shortcut is 64->256 as well
    (56, 64, 64, 1, 1, 0),
    (56, 64, 64, 3, 1, 1),
    (56, 64, 256, 1, 1, 0),
    (56, 256, 64, 1, 1, 0),
    # stage 2: four blocks of 128, 128, 512
    (56, 256, 128, 1, 1, 0),
    (56, 128, 128, 3, 2, 1),
    (28, 128, 512, 1, 1, 0),
    (56, 256, 512, 1, 2, 0),  # shortcut
    (28, 512, 128, 1, 1, 0),
    (28, 128, 128, 3, 1, 1),
    # stage 3: six blocks of 256, 256, 1024
    (28, 512, 256, 1, 1, 0),
    (28, 256, 256, 3, 2, 1),
    (14, 256, 1024, 1, 1, 0),
    (28, 512, 1024, 1, 2, 0),  # shortcut
    (14, 1024, 256, 1, 1, 0),
    (14, 256, 256, 3, 1, 1),
    # stage 4: three blocks of 512, 512, 2048
    (14, 1024, 512, 1, 1, 0),
    (14, 512, 512, 3, 2, 1),
    (7, 512, 2048, 1, 1, 0),
    (14, 1024, 2048, 1, 2, 0),  # shortcut
    (7, 2048, 512, 1, 1, 0),
    (7, 512, 512, 3, 1, 1),
)

# Simonyan and Zisserman, arXiv:1409.1556, table 1, column E: sixteen layers, nine of them distinct.
VGG_E = _square(
    "VGG-E",
    2,
    (224, 3, 64, 3, 1, 1),
    (224, 64, 64, 3, 1, 1),
    (112, 64, 128, 3, 1, 1),
    (112, 128, 128, 3, 1, 1),
    (56, 128, 256, 3, 1, 1),
    (56, 256, 256, 3, 1, 1),
    (28, 256, 512, 3, 1, 1),
    (28, 512, 512, 3, 1, 1),
    (14, 512, 512, 3, 1, 1),
)

GOOGLENET = _square(
    "GoogLeNet",
    16,
    (28, 192, 32, 5, 1, 2),
    (14, 512, 48, 5, 1, 2),
    (28, 192, 64, 1, 1, 0),
)

ALEXNET = _square("AlexNet", 16, (224, 3, 64, 11, 4, 2), (27, 64, 192, 5, 1, 2))

LARGE = (
    *_square("large kernels", 16, (64, 64, 128, 9, 1, 0), (16, 128, 128, 7, 1, 0)),
    _depthwise("large kernels", 2, 256, 16, 31),
)

# Howard et al., arXiv:1704.04861, table 1.
MOBILENET = (
    _depthwise("MobileNet depthwise", 8, 112, 32, 3),
    _depthwise("MobileNet depthwise", 8, 56, 128, 3),
    _depthwise("MobileNet depthwise", 8, 28, 256, 3, stride=2),
    _depthwise("MobileNet depthwise", 8, 14, 512, 3),
)

ONE_AXIS = (
    *(Layer("one axis", 8, (16000,), 32, 32, (2,), dilation=d) for d in (1, 16, 512)),
    Layer("one axis", 8, (64000,), 1, 16, (1024,)),
)

THREE_AXES = (Layer("three axes", 1, (54, 62, 62), 64, 128, (3, 3, 3)),)

# The course's network on SIGNS: 4x4 to 8 channels, pooled 8/8, 2x2 to 16 channels, all SAME.
COURSE = (
    Layer("course", 64, (64, 64), 3, 8, (4, 4), padding="same"),
    Layer("course", 64, (8, 8), 8, 16, (2, 2), padding="same"),
)

LAYERS = (
    *(RESNET50 + VGG_E + GOOGLENET + ALEXNET),
    *(LARGE + MOBILENET + ONE_AXIS + THREE_AXES + COURSE),
)

POOLS = (
    Pool("max", 8, 112, 64, 3, 2, 1),
    Pool("max", 8, 56, 256, 2, 2),
    Pool("avg", 8, 7, 2048, 7, 7),
    Pool("max", 8, 28, 192, 3, 1, 1),
    Pool("max", 8, 64, 8, 8, 8),
)
