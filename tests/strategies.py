"""Random calls: shapes and options that the documentation allows, drawn by hypothesis.

A case holds sizes and options; its arrays are drawn from a seed, so that a failing case prints
short and shrinks fast. `run_cases` runs a check on as many cases as a backend can afford.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import oracle
from backends import Backend
from hypothesis import assume, given, settings
from hypothesis import strategies as st

Index = tuple[int, ...]

EXAMPLES = int(os.environ.get("ANYCONV_EXAMPLES", "60"))
MODES = ("zeros", "reflect", "replicate", "circular")
LAYOUTS = ("channels_last", "channels_first")
LARGEST = {1: (12, 5), 2: (7, 4), 3: (4, 3), 4: (3, 2)}  # axes: (spare input, kernel)


def run_cases(xp: Backend, cases: st.SearchStrategy[Any], check: Callable[[Any], None]) -> None:
    """Run a check on random cases: `ANYCONV_EXAMPLES` on a fast backend, fewer on a slow one."""

    @settings(max_examples=max(2, round(EXAMPLES * xp.weight)))
    @given(cases)
    def run(case: Any) -> None:
        check(case)

    run()


# --- values


def normal(rng: np.random.Generator, shape: Index, dtype: str = "float64") -> np.ndarray:
    """Gaussian values; of either part for complex dtypes."""
    values = rng.standard_normal(shape)
    if dtype.startswith("complex"):
        values = values + 1j * rng.standard_normal(shape)
    return values.astype(dtype)


def positive(rng: np.random.Generator, shape: Index, dtype: str = "float32") -> np.ndarray:
    """Values whose sums don't cancel, so that the relative error measures the arithmetic."""
    return rng.uniform(0.5, 1.5, shape).astype(dtype)


def whole(rng: np.random.Generator, shape: Index, dtype: str = "float64") -> np.ndarray:
    """Small whole numbers (Gaussian integers for complex), on which sums are exact."""
    values = rng.integers(-4, 5, shape)
    if dtype.startswith("complex"):
        return (values + 1j * rng.integers(-4, 5, shape)).astype(dtype)
    return values.astype(dtype)


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    """The Frobenius norm of the difference over that of what was expected."""
    assert actual.shape == expected.shape, f"{actual.shape} != {expected.shape}"
    difference = np.linalg.norm((actual - expected).ravel())
    scale = np.linalg.norm(expected.ravel())
    return float(difference / scale if scale else difference)


def inner(a: np.ndarray, b: np.ndarray) -> complex:
    """<a, b>, the left one conjugated."""
    return np.vdot(a, b)


# --- cases


@dataclass(frozen=True)
class Case:
    """Sizes, options and the seed of the values."""

    batch: Index
    input: Index
    kernel: Index
    layout: str
    seed: int
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.options["layout"] = self.layout

    @property
    def axes(self) -> int:
        return len(self.kernel)

    @property
    def rng(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)

    def data_shape(self, spatial: Index, channels: int) -> Index:
        """The shape of an input or an output in this case's layout."""
        if self.layout == "channels_last":
            return (*self.batch, *spatial, channels)
        return (*self.batch, channels, *spatial)

    @property
    def windows(self) -> oracle.Windows:
        """The windows of the options, by the oracle."""
        names = ("stride", "padding", "dilation", "ceil_mode")
        options = {name: self.options[name] for name in names if name in self.options}
        if options.get("stride", 1) is None:
            options["stride"] = self.kernel
        return oracle.windows(self.input, self.kernel, **options)


@dataclass(frozen=True)
class ConvCase(Case):
    """A convolution, or (`transposed`) the adjoint of one."""

    c_in: int = 1
    c_out: int = 1
    bias: bool = True
    transposed: bool = False

    @property
    def x_shape(self) -> Index:
        return self.data_shape(self.input, self.c_in)

    @property
    def w_shape(self) -> Index:
        rows, columns = (self.c_out, self.c_in) if self.transposed else (self.c_in, self.c_out)
        rows //= self.options["groups"]
        if self.layout == "channels_last":
            return (*self.kernel, rows, columns)
        return (columns, rows, *self.kernel)

    @property
    def output(self) -> Index:
        if not self.transposed:
            return self.windows.output
        if self.options.get("output_size") is not None:
            return self.options["output_size"]
        names = ("stride", "padding", "dilation", "output_padding")
        options = {name: self.options[name] for name in names if name in self.options}
        return oracle.conv_transpose_size(self.input, self.kernel, **options)[0]

    @property
    def y_shape(self) -> Index:
        return self.data_shape(self.output, self.c_out)

    def arrays(self, values: Callable[..., np.ndarray], dtype: str) -> dict[str, Any]:
        """x, w, b (or None) and dy."""
        rng = self.rng
        shapes = {"x": self.x_shape, "w": self.w_shape, "b": (self.c_out,), "dy": self.y_shape}
        made: dict[str, Any] = {name: values(rng, shape, dtype) for name, shape in shapes.items()}
        if not self.bias:
            made["b"] = None
        return made


def batches() -> st.SearchStrategy[Index]:
    """None to three batch axes."""
    return st.lists(st.integers(1, 3), max_size=3).map(tuple)


def per_axis(axes: int, low: int, high: int) -> st.SearchStrategy[Any]:
    """An int, or one for each spatial axis."""
    one = st.integers(low, high)
    return one | st.tuples(*[one] * axes)


def paddings(axes: int, largest: int, words: bool = True) -> st.SearchStrategy[Any]:
    """Every form of `padding`."""
    one = st.integers(0, largest)
    forms = per_axis(axes, 0, largest) | st.tuples(*[st.tuples(one, one)] * axes)
    if words:
        forms |= st.sampled_from(["valid", "same", "same_lower", "full"])
    return forms


def axis_counts() -> st.SearchStrategy[int]:
    return st.sampled_from([1, 2, 2, 2, 3, 3, 4])


def _input_size(draw: Any, kernel: Index, options: dict[str, Any], mode: str) -> Index:
    """An input that the windows fit in, and that the padding mode allows."""
    axes = len(kernel)
    names = ("stride", "padding", "dilation")
    spare = draw(st.tuples(*[st.integers(0, LARGEST[axes][0])] * axes))
    sizes = [1] * axes
    for axis in range(axes):
        while True:
            spots = oracle.windows(tuple(sizes), kernel, **{n: options[n] for n in names})
            reflected = mode != "reflect" or max(spots.padding[axis]) < sizes[axis]
            if spots.output[axis] >= 1 and reflected:
                break
            sizes[axis] += 1
        sizes[axis] += spare[axis]
    return tuple(sizes)


@st.composite
def conv_cases(draw: Any, modes: tuple[str, ...] = MODES) -> ConvCase:
    """Any convolution that the documentation allows, small."""
    axes = draw(axis_counts())
    largest = LARGEST[axes][1]
    kernel = draw(st.tuples(*[st.integers(1, largest)] * axes))
    groups, mode = draw(st.integers(1, 3)), draw(st.sampled_from(modes))
    options = {
        "stride": draw(per_axis(axes, 1, 3)),
        "padding": draw(paddings(axes, largest)),
        "dilation": draw(per_axis(axes, 1, 3 if axes < 3 else 2)),
        "groups": groups,
        "padding_mode": mode,
    }
    case = ConvCase(
        batch=draw(batches()),
        input=_input_size(draw, kernel, options, mode),
        kernel=kernel,
        layout=draw(st.sampled_from(LAYOUTS)),
        seed=draw(st.integers(0, 2**16)),
        options=options,
        c_in=groups * draw(st.integers(1, 3)),
        c_out=groups * draw(st.integers(1, 3)),
        bias=draw(st.booleans()),
    )
    spots = case.windows
    pairs = zip(spots.padding, spots.input, strict=True)
    assume(mode != "reflect" or all(max(pair) < i for pair, i in pairs))
    return case


@st.composite
def conv_transpose_cases(draw: Any) -> ConvCase:
    """Any transposed convolution that the documentation allows, small."""
    axes = draw(axis_counts())
    largest = LARGEST[axes][1]
    kernel = draw(st.tuples(*[st.integers(1, largest)] * axes))
    groups = draw(st.integers(1, 3))
    stride = draw(st.tuples(*[st.integers(1, 3)] * axes))
    dilation = draw(st.tuples(*[st.integers(1, 3 if axes < 3 else 2)] * axes))
    options = {
        "stride": stride,
        "padding": draw(paddings(axes, 2)),
        "dilation": dilation,
        "groups": groups,
    }
    size = draw(st.tuples(*[st.integers(1, 2 + 6 // axes)] * axes))
    if options["padding"] not in ("same", "same_lower"):
        room = zip(stride, dilation, strict=True)
        extra = draw(st.tuples(*[st.integers(0, max(s, d) - 1) for s, d in room]))
        if draw(st.booleans()):
            options["output_padding"] = extra
        else:
            fitting = tuple(e % s for e, s in zip(extra, stride, strict=True))
            options["output_size"] = oracle.conv_transpose_size(
                size, kernel, stride, options["padding"], dilation, fitting
            )[0]
    case = ConvCase(
        batch=draw(batches()),
        input=size,
        kernel=kernel,
        layout=draw(st.sampled_from(LAYOUTS)),
        seed=draw(st.integers(0, 2**16)),
        options=options,
        c_in=groups * draw(st.integers(1, 3)),
        c_out=groups * draw(st.integers(1, 3)),
        bias=draw(st.booleans()),
        transposed=True,
    )
    assume(min(case.output) >= 1)
    return case


@dataclass(frozen=True)
class PoolCase(Case):
    """A pooling, or an unfolding."""

    channels: int = 1

    @property
    def x_shape(self) -> Index:
        return self.data_shape(self.input, self.channels)

    @property
    def y_shape(self) -> Index:
        return self.data_shape(self.windows.output, self.channels)


@st.composite
def pool_cases(draw: Any, ceil_mode: bool = True) -> PoolCase:
    """Windows that each see an input, with every option of pooling."""
    axes = draw(axis_counts())
    largest = LARGEST[axes][1]
    kernel = draw(st.tuples(*[st.integers(1, largest)] * axes))
    stride = draw(st.none() | per_axis(axes, 1, 4)) if ceil_mode else draw(per_axis(axes, 1, 4))
    options = {
        "stride": kernel if stride is None else stride,
        "padding": draw(paddings(axes, largest - 1)),
        "dilation": draw(st.just(1) | per_axis(axes, 1, 2)),
    }
    size = _input_size(draw, kernel, options, "zeros")
    options["stride"] = stride
    if ceil_mode:
        options["ceil_mode"] = draw(st.booleans())
    case = PoolCase(
        batch=draw(batches()),
        input=size,
        kernel=kernel,
        layout=draw(st.sampled_from(LAYOUTS)),
        seed=draw(st.integers(0, 2**16)),
        options=options,
        channels=draw(st.integers(1, 3)),
    )
    assume(case.windows.valid)
    return case


@st.composite
def adaptive_cases(draw: Any) -> PoolCase:
    """An input and an output size, larger outputs than inputs included."""
    axes = draw(axis_counts())
    sizes = st.tuples(*[st.integers(1, LARGEST[axes][0])] * axes)
    return PoolCase(
        batch=draw(batches()),
        input=draw(sizes),
        kernel=draw(sizes),  # the output size: an adaptive pooling has no kernel
        layout=draw(st.sampled_from(LAYOUTS)),
        seed=draw(st.integers(0, 2**16)),
        channels=draw(st.integers(1, 3)),
    )
