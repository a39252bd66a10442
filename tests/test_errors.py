"""Every misuse that we could think of: its kind of error and the text that goes with it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import backends
import numpy as np
import pytest

import anyconv

X, W, B = np.ones((2, 6, 7, 4)), np.ones((3, 3, 4, 8)), np.ones(8)
DY = np.ones((2, 4, 5, 8))
IMAGE = np.ones((2, 6, 6, 3))


class Misuse(NamedTuple):
    """A call, and the parts that its message must have."""

    call: Callable[[], Any]
    error: type[Exception]
    parts: tuple[str, ...]


def wrong(call, error, *parts):
    return Misuse(call, error, parts)


def conv(x=X, w=W, b=None, **options):
    return lambda: anyconv.conv_forward(x, w, b, **options)


def backward(dy=DY, x=X, w=W, **options):
    return lambda: anyconv.conv_backward(dy, x, w, **options)


def transpose(x=DY, w=W, b=None, **options):
    return lambda: anyconv.conv_transpose_forward(x, w, b, **options)


def max_pool(x=IMAGE, kernel_size=2, **options):
    return lambda: anyconv.max_pool_forward(x, kernel_size, **options)


def avg_pool(x=IMAGE, kernel_size=2, **options):
    return lambda: anyconv.avg_pool_forward(x, kernel_size, **options)


def lp_pool(x=IMAGE, kernel_size=2, **options):
    return lambda: anyconv.lp_pool_forward(x, kernel_size, **options)


KINDS = {
    "x is a list": wrong(conv(x=[[1.0]]), TypeError, "`x` must be an array, got list"),
    "w is a list": wrong(conv(w=[[1.0]]), TypeError, "`w` must be an array, got list"),
    "b is a number": wrong(conv(b=1.0), TypeError, "`b` must be an array, got float"),
    "x is None": wrong(conv(x=None), TypeError, "`x` must be an array, got NoneType"),
    "w is None": wrong(conv(w=None), TypeError, "`w` must be an array, got NoneType"),
    "dtypes of x and w": wrong(
        conv(w=W.astype("float32")), TypeError, "dtype", "`x`", "float64", "`w`", "float32"
    ),
    "dtype of b": wrong(
        conv(b=B.astype("float32")), TypeError, "dtype", "`x`", "`w`", "float64", "`b`", "float32"
    ),
    "real and complex": wrong(
        conv(w=W.astype("complex128")), TypeError, "dtype", "float64", "complex128"
    ),
    "dtype of dy": wrong(
        backward(dy=DY.astype("float32")), TypeError, "dtype", "`dy`", "float32", "`x`", "float64"
    ),
    "uint8 image": wrong(
        conv(x=X.astype("uint8"), w=W.astype("uint8")),
        TypeError,
        "floating and complex dtypes",
        "uint8",
        "astype",
    ),
    "bool image": wrong(conv(x=X > 0, w=W > 0), TypeError, "bool", "astype"),
    "int64 gradient": wrong(
        backward(dy=DY.astype(int), x=X.astype(int), w=W.astype(int)), TypeError, "int64", "astype"
    ),
    "int average": wrong(avg_pool(IMAGE.astype("int32")), TypeError, "int32", "astype"),
    "int Lp": wrong(lp_pool(IMAGE.astype("int32")), TypeError, "int32", "astype"),
    "int adaptive average": wrong(
        lambda: anyconv.adaptive_avg_pool_forward(IMAGE.astype("int32"), 2), TypeError, "int32"
    ),
    "complex maximum": wrong(max_pool(IMAGE.astype("complex128")), TypeError, "`x`", "complex128"),
    "complex adaptive maximum": wrong(
        lambda: anyconv.adaptive_max_pool_forward(IMAGE.astype("complex128"), 2),
        TypeError,
        "complex128",
    ),
    "bool maximum": wrong(max_pool(IMAGE > 0), TypeError, "`x`", "bool"),
    "pool of a list": wrong(max_pool([[1.0]]), TypeError, "`x` must be an array, got list"),
    "folded truths": wrong(
        lambda: anyconv.fold(np.ones((2, 5, 5, 2, 2, 3), bool), 6, 2),
        TypeError,
        "`windows` of bool",
    ),
    "padded truths": wrong(
        lambda: anyconv.pad_backward(np.ones((2, 8, 8, 3), bool), (2, 6, 6, 3), 1),
        TypeError,
        "`dy` of bool",
    ),
    "float indices": wrong(
        lambda: anyconv.max_unpool_forward(IMAGE, IMAGE, (12, 12)),
        TypeError,
        "`indices`",
        "float64",
    ),
}

SHAPES = {
    "w without a spatial axis": wrong(conv(w=np.ones((4, 8))), ValueError, "`w`", "(4, 8)"),
    "w of one axis": wrong(conv(w=np.ones(4)), ValueError, "`w`", "(4,)"),
    "x of too few axes": wrong(conv(x=np.ones((7, 4))), ValueError, "`x`", "(7, 4)"),
    "channels": wrong(
        conv(x=np.ones((2, 6, 7, 5))),
        ValueError,
        "`w` must have C_in / groups = 5 / 1 = 5 input channels, got 4 in shape (3, 3, 4, 8)",
    ),
    "channels of groups": wrong(
        conv(groups=2), ValueError, "`w` must have C_in / groups = 4 / 2 = 2 input channels, got 4"
    ),
    "channels first": wrong(
        conv(layout="channels_first"), ValueError, "`w` must have", "= 6 input channels, got 3"
    ),
    "groups and inputs": wrong(
        conv(x=np.ones((2, 6, 6, 6)), w=np.ones((3, 3, 1, 8)), groups=4),
        ValueError,
        "`groups` must divide the 6 input and 8 output channels, got 4",
    ),
    "groups and outputs": wrong(
        conv(x=np.ones((2, 6, 6, 4)), w=np.ones((3, 3, 1, 6)), groups=4),
        ValueError,
        "`groups` must divide the 4 input and 6 output channels, got 4",
    ),
    "kernel larger than input": wrong(
        conv(w=np.ones((3, 8, 4, 8))), ValueError, "axis 1", "8", "7 + 0 + 0 = 7"
    ),
    "dilated kernel larger than padded input": wrong(
        conv(dilation=(4, 1), padding=((1, 1), (0, 0))),
        ValueError,
        "axis 0",
        "4 * (3 - 1) + 1 = 9",
        "6 + 1 + 1 = 8",
    ),
    "no input channels": wrong(
        conv(x=np.ones((2, 6, 7, 0)), w=np.ones((3, 3, 0, 8))), ValueError, "channels", "zero"
    ),
    "no output channels": wrong(conv(w=np.ones((3, 3, 4, 0))), ValueError, "`w`", "zero"),
    "empty kernel": wrong(conv(w=np.ones((0, 3, 4, 8))), ValueError, "`w`", "zero", "(0, 3, 4, 8)"),
    "empty spatial axis": wrong(
        conv(x=np.ones((2, 0, 7, 4)), padding=2), ValueError, "`x`", "zero", "(2, 0, 7, 4)"
    ),
    "bias of another length": wrong(conv(b=np.ones(7)), ValueError, "`b`", "(8,)", "(7,)"),
    "bias of two axes": wrong(conv(b=np.ones((1, 8))), ValueError, "`b`", "(8,)", "(1, 8)"),
    "dy of another shape": wrong(
        backward(dy=np.ones((2, 4, 4, 8))), ValueError, "`dy`", "(2, 4, 5, 8)", "(2, 4, 4, 8)"
    ),
    "dy without its stride": wrong(
        backward(stride=2), ValueError, "`dy`", "(2, 2, 3, 8)", "(2, 4, 5, 8)"
    ),
    "dy in the other layout": wrong(
        backward(dy=np.ones((2, 8, 4, 5))), ValueError, "`dy`", "(2, 4, 5, 8)", "(2, 8, 4, 5)"
    ),
    "input_shape of another batch": wrong(
        lambda: anyconv.conv_backward_input(DY, W, (3, 6, 7, 4)),
        ValueError,
        "`dy`",
        "(3, 4, 5, 8)",
        "(2, 4, 5, 8)",
    ),
    "input_shape of other channels": wrong(
        lambda: anyconv.conv_backward_input(DY, W, (2, 6, 7, 5)), ValueError, "`w`", "5", "4"
    ),
    "input_shape too short": wrong(
        lambda: anyconv.conv_backward_input(DY, W, (6, 7)), ValueError, "`input_shape`", "(6, 7)"
    ),
    "input_shape is a number": wrong(
        lambda: anyconv.conv_backward_input(DY, W, 6), TypeError, "`input_shape`", "sequence", "6"
    ),
    "input_shape with a fraction": wrong(
        lambda: anyconv.conv_backward_input(DY, W, (2, 6.0, 7, 4)),
        TypeError,
        "`input_shape`",
        "whole number",
        "6.0",
    ),
    "weight_shape of another kernel": wrong(
        lambda: anyconv.conv_backward_weight(DY, X, (2, 3, 4, 8)),
        ValueError,
        "`dy`",
        "(2, 5, 5, 8)",
        "(2, 4, 5, 8)",
    ),
    "weight_shape too short": wrong(
        lambda: anyconv.conv_backward_weight(DY, X, (4, 8)), ValueError, "`weight_shape`", "(4, 8)"
    ),
    "bias gradient without channels": wrong(
        lambda: anyconv.conv_backward_bias(np.ones((2, 3, 0))), ValueError, "`dy`", "(2, 3, 0)"
    ),
    "bias gradient without a spatial axis": wrong(
        lambda: anyconv.conv_backward_bias(np.ones(3)), ValueError, "`dy`", "spatial", "(3,)"
    ),
    "input_shape smaller than the kernel": wrong(
        lambda: anyconv.conv_backward_input(DY, W, (2, 2, 7, 4)),
        ValueError,
        "`input_shape` is too small on spatial axis 0",
        "2 + 0 + 0 = 2",
    ),
    "pooled input_shape smaller than the kernel": wrong(
        lambda: anyconv.avg_pool_backward(np.ones((2, 3, 3, 3)), (2, 6, 6, 3), 7),
        ValueError,
        "`input_shape` is too small on spatial axis 0",
    ),
    "pooled axes that x lacks": wrong(
        max_pool(np.ones((6, 3)), (2, 2)), ValueError, "`x`", "(6, 3)"
    ),
    "pooled dy": wrong(
        lambda: anyconv.max_pool_backward(np.ones((2, 3, 2, 3)), IMAGE, 2),
        ValueError,
        "`dy`",
        "(2, 3, 3, 3)",
        "(2, 3, 2, 3)",
    ),
    "averaged dy": wrong(
        lambda: anyconv.avg_pool_backward(np.ones((2, 3, 2, 3)), IMAGE.shape, 2),
        ValueError,
        "`dy`",
        "(2, 3, 3, 3)",
        "(2, 3, 2, 3)",
    ),
    "Lp dy": wrong(
        lambda: anyconv.lp_pool_backward(np.ones((2, 3, 2, 3)), IMAGE, 2),
        ValueError,
        "`dy`",
        "(2, 3, 3, 3)",
        "(2, 3, 2, 3)",
    ),
    "adaptive dy": wrong(
        lambda: anyconv.adaptive_avg_pool_backward(np.ones((2, 3, 2, 3)), IMAGE.shape, 3),
        ValueError,
        "`dy`",
        "(2, 3, 3, 3)",
        "(2, 3, 2, 3)",
    ),
    "adaptive maximum dy": wrong(
        lambda: anyconv.adaptive_max_pool_backward(np.ones((2, 3, 2, 3)), IMAGE, 3),
        ValueError,
        "`dy`",
        "(2, 3, 3, 3)",
        "(2, 3, 2, 3)",
    ),
    "window larger than input": wrong(
        max_pool(kernel_size=7), ValueError, "axis 0", "7", "6 + 0 + 0 = 6"
    ),
    "empty pooled axis": wrong(
        max_pool(np.ones((2, 0, 6, 3)), padding=1), ValueError, "`x`", "zero"
    ),
    "pool without channels": wrong(max_pool(np.ones((2, 6, 6, 0))), ValueError, "`x`", "zero"),
    "indices of another shape": wrong(
        lambda: anyconv.max_unpool_forward(IMAGE, np.ones((2, 6, 6, 4), int), (12, 12)),
        ValueError,
        "`indices`",
        "(2, 6, 6, 3)",
        "(2, 6, 6, 4)",
    ),
    "gradients of another batch": wrong(
        lambda: anyconv.max_unpool_backward(np.ones((3, 12, 12, 3)), np.ones((2, 6, 6, 3), int)),
        ValueError,
        "`indices` must have the batch axes and channels of `dx`, (3,) and 3",
        "(2, 6, 6, 3)",
    ),
    "gradients without a batch axis": wrong(
        lambda: anyconv.max_unpool_backward(np.ones((12, 12, 3)), np.ones((6, 6, 3), int)),
        ValueError,
        "`indices` must have the batch axes and channels of `dx`, (12,) and 3",
        "(6, 6, 3)",
        "`output_size`, the sequence that `max_unpool_forward` had, says how many axes",
    ),
    "gradients of one spatial axis without a batch axis": wrong(
        lambda: anyconv.max_unpool_backward(np.ones((12, 3)), np.ones((6, 3), int)),
        ValueError,
        "`dx` must have a batch, a spatial and a channels axis where no `output_size` is given",
        "(12, 3)",
    ),
    "indices of no axis": wrong(
        lambda: anyconv.max_unpool_backward(IMAGE, np.asarray(2)), ValueError, "`indices`", "()"
    ),
    "indices of nothing": wrong(
        lambda: anyconv.max_unpool_backward(IMAGE, np.ones((2, 0, 3, 3), int)),
        ValueError,
        "`indices`",
        "(2, 0, 3, 3)",
    ),
    "unpooled size of another array": wrong(
        lambda: anyconv.max_unpool_backward(IMAGE, np.ones((2, 3, 3, 3), int), output_size=(7, 6)),
        ValueError,
        "`output_size` must be the (6, 6) of `dx`, got (7, 6)",
    ),
    "windows of no kernel": wrong(
        lambda: anyconv.fold(np.ones((2, 5, 5, 2, 2, 3)), 6, ()),
        ValueError,
        "`kernel_size` must have one entry or more",
    ),
    "windows without channels": wrong(
        lambda: anyconv.fold(np.ones((2, 5, 5, 2, 2, 0)), 6, 2),
        ValueError,
        "`windows`",
        "(2, 5, 5, 2, 2, 0)",
    ),
    "windows larger than their input": wrong(
        lambda: anyconv.fold(np.ones((2, 5, 5, 2, 2, 3)), 6, (8, 8)),
        ValueError,
        "`output_size` is too small on spatial axis 0",
    ),
    "windows of another kernel": wrong(
        lambda: anyconv.fold(np.ones((2, 5, 5, 2, 3, 3)), (6, 6), (2, 2)),
        ValueError,
        "`windows`",
        "(2, 5, 5, 2, 2, 3)",
        "(2, 5, 5, 2, 3, 3)",
    ),
    "windows of another output": wrong(
        lambda: anyconv.fold(np.ones((2, 5, 5, 2, 2, 3)), (7, 6), (2, 2)),
        ValueError,
        "`windows`",
        "(2, 6, 5, 2, 2, 3)",
        "(2, 5, 5, 2, 2, 3)",
    ),
    "padded dy": wrong(
        lambda: anyconv.pad_backward(np.ones((2, 7, 8, 3)), IMAGE.shape, 1),
        ValueError,
        "`dy`",
        "(2, 8, 8, 3)",
        "(2, 7, 8, 3)",
    ),
    "a stride past all sizes": wrong(conv(stride=2**70), ValueError, "`stride`", str(2**40)),
    "a mask of x": wrong(conv(x=np.ma.ones((2, 6, 7, 6))), TypeError, "`x`", "mask", "filled"),
    "a mask of b": wrong(conv(b=np.ma.ones(8)), TypeError, "`b`", "mask"),
    "windows of objects": wrong(
        lambda: anyconv.unfold(np.full((3, 1), None), (2,)), TypeError, "`unfold`", "`x`", "object"
    ),
    "padded words": wrong(
        lambda: anyconv.pad(np.full((1, 3, 1), "a"), 1), TypeError, "`pad`", "`x`", "<U1"
    ),
    "unpooled objects": wrong(
        lambda: anyconv.max_unpool_forward(
            np.full((1, 2, 1), None), np.zeros((1, 2, 1), dtype=int), (4,)
        ),
        TypeError,
        "`y`",
        "object",
    ),
    "a fold to no axis": wrong(
        lambda: anyconv.fold(np.ones((1, 2, 2, 1)), (), 2), ValueError, "`output_size`", "none"
    ),
    "transposed channels": wrong(
        transpose(x=np.ones((2, 4, 5, 7))), ValueError, "`w`", "`x`", "7", "8"
    ),
    "transposed output below one": wrong(
        transpose(x=np.ones((2, 1, 5, 8)), padding=3), ValueError, "axis 0", "3"
    ),
    "transposed bias": wrong(transpose(b=np.ones(8)), ValueError, "`b`", "(4,)", "(8,)"),
    "transposed dy": wrong(
        lambda: anyconv.conv_transpose_backward(np.ones((2, 6, 6, 4)), DY, W),
        ValueError,
        "`dy`",
        "(2, 6, 7, 4)",
        "(2, 6, 6, 4)",
    ),
}

OPTIONS = {
    "padding word": wrong(
        conv(padding="sane"),
        ValueError,
        "`padding`",
        "'valid', 'full', 'same', 'same_lower'",
        "'sane'",
    ),
    "padding in capitals": wrong(conv(padding="SAME"), ValueError, "`padding`", "'SAME'"),
    "negative padding": wrong(conv(padding=-1), ValueError, "`padding` must be at least 0, got -1"),
    "negative padding after": wrong(
        conv(padding=((1, 1), (0, -2))), ValueError, "`padding` must be at least 0, got -2"
    ),
    "fractional padding": wrong(
        conv(padding=0.5), TypeError, "`padding` must be a whole number, got 0.5"
    ),
    "padding is a bool": wrong(
        conv(padding=True), TypeError, "`padding` must be a whole number, got True"
    ),
    "padding is None": wrong(conv(padding=None), TypeError, "`padding`", "got None"),
    "padding of one axis": wrong(
        conv(padding=(1,)), ValueError, "`padding`", "2 spatial axes", "(1,)"
    ),
    "padding of three axes": wrong(
        conv(padding=(1, 1, 1)), ValueError, "`padding`", "2 spatial axes", "got 3", "(1, 1, 1)"
    ),
    "padding of one pair": wrong(
        conv(padding=((1, 1),)), ValueError, "`padding`", "2 spatial axes"
    ),
    "padding of triples": wrong(
        conv(padding=((1, 1, 1), (1, 1, 1))),
        ValueError,
        "`padding`",
        "(before, after)",
        "(1, 1, 1)",
    ),
    "padding of words": wrong(conv(padding=("same", "same")), TypeError, "`padding`", "'same'"),
    "padding of numbers and pairs": wrong(
        conv(padding=(1, (1, 1))), ValueError, "`padding`", "(before, after)", "(1, (1, 1))"
    ),
    "padding is bytes": wrong(conv(padding=b"same"), TypeError, "`padding`", "b'same'"),
    "padding mode": wrong(
        conv(padding_mode="mirror"),
        ValueError,
        "`padding_mode`",
        "'zeros', 'reflect', 'replicate', 'circular'",
        "'mirror'",
    ),
    "padding mode is a number": wrong(conv(padding_mode=0), TypeError, "`padding_mode`", "got 0"),
    "reflection beyond the input": wrong(
        conv(padding=((0, 6), (0, 0)), padding_mode="reflect"),
        ValueError,
        "`padding`",
        "smaller than the input",
        "(0, 6)",
        "axis 0",
        "6",
    ),
    "layout word": wrong(
        conv(layout="NHWC"), ValueError, "`layout`", "'channels_last', 'channels_first'", "'NHWC'"
    ),
    "layout is None": wrong(conv(layout=None), TypeError, "`layout`", "got None"),
    "algorithm word": wrong(
        conv(algorithm="fastest"),
        ValueError,
        "`algorithm`",
        "'auto'",
        "'gemm'",
        "'taps'",
        "'fastest'",
    ),
    "algorithm is None": wrong(conv(algorithm=None), TypeError, "`algorithm`", "got None"),
    "zero groups": wrong(conv(groups=0), ValueError, "`groups` must be at least 1, got 0"),
    "groups is a bool": wrong(
        conv(groups=True), TypeError, "`groups` must be a whole number, got True"
    ),
    "fractional groups": wrong(
        conv(groups=1.0), TypeError, "`groups` must be a whole number, got 1.0"
    ),
    "groups is a tuple": wrong(conv(groups=(1, 1)), TypeError, "`groups`", "(1, 1)"),
    "zero kernel": wrong(
        max_pool(kernel_size=0), ValueError, "`kernel_size` must be at least 1, got 0"
    ),
    "kernel is a bool": wrong(max_pool(kernel_size=True), TypeError, "`kernel_size`", "got True"),
    "kernel is a word": wrong(max_pool(kernel_size="2"), TypeError, "`kernel_size`", "'2'"),
    "kernel is None": wrong(max_pool(kernel_size=None), TypeError, "`kernel_size`", "None"),
    "kernel of no axis": wrong(
        max_pool(kernel_size=()), ValueError, "`kernel_size` must have one entry or more, got none"
    ),
    "pool stride of one axis": wrong(
        max_pool(stride=(1,)), ValueError, "`stride`", "2 spatial axes", "(1,)"
    ),
    "zero pool stride": wrong(avg_pool(stride=0), ValueError, "`stride` must be at least 1, got 0"),
    "ceil_mode is a number": wrong(max_pool(ceil_mode=1), TypeError, "`ceil_mode`", "got 1"),
    "return_indices is a word": wrong(
        max_pool(return_indices="no"), TypeError, "`return_indices`", "'no'"
    ),
    "count_include_pad is None": wrong(
        avg_pool(count_include_pad=None), TypeError, "`count_include_pad`", "None"
    ),
    "ties": wrong(
        lambda: anyconv.max_pool_backward(np.ones((2, 3, 3, 3)), IMAGE, 2, ties="last"),
        ValueError,
        "`ties`",
        "'first', 'all', 'split'",
        "'last'",
    ),
    "window wholly before the input": wrong(
        max_pool(kernel_size=2, padding=2), ValueError, "axis 0", "padding"
    ),
    "window wholly after the input": wrong(
        max_pool(kernel_size=(1, 2), stride=1, padding=((0, 0), (0, 2))), ValueError, "axis 1"
    ),
    "window that steps over the input": wrong(
        max_pool(np.ones((1, 1)), (2,), padding=1, dilation=2), ValueError, "axis 0"
    ),
    "average of nothing": wrong(
        avg_pool(kernel_size=2, padding=2, count_include_pad=False), ValueError, "axis 0"
    ),
    "p is zero": wrong(lp_pool(p=0), ValueError, "`p`", "0"),
    "p is negative": wrong(lp_pool(p=-2), ValueError, "`p`", "-2"),
    "p is not a number": wrong(lp_pool(p=float("nan")), ValueError, "`p`", "nan"),
    "p is a word": wrong(lp_pool(p="2"), TypeError, "`p`", "'2'"),
    "p is a bool": wrong(lp_pool(p=True), TypeError, "`p`", "True"),
    "adaptive output of zero": wrong(
        lambda: anyconv.adaptive_avg_pool_forward(IMAGE, (0, 2)),
        ValueError,
        "`output_size` must be at least 1, got 0",
    ),
    "adaptive output of no axis": wrong(
        lambda: anyconv.adaptive_max_pool_forward(IMAGE, ()),
        ValueError,
        "`output_size` must have one entry or more",
    ),
    "adaptive output is a fraction": wrong(
        lambda: anyconv.adaptive_max_pool_forward(IMAGE, 2.0), TypeError, "`output_size`", "2.0"
    ),
    "unpooled size of zero": wrong(
        lambda: anyconv.max_unpool_forward(IMAGE, IMAGE.astype(int), (0, 12)),
        ValueError,
        "`output_size`",
        "0",
    ),
    "unfold kernel": wrong(
        lambda: anyconv.unfold(IMAGE, (7, 1)), ValueError, "axis 0", "7", "6 + 0 + 0 = 6"
    ),
    "fold size": wrong(
        lambda: anyconv.fold(np.ones((2, 5, 5, 2, 2, 3)), (6,), (2, 2)),
        ValueError,
        "`output_size`",
        "(6,)",
    ),
    "negative pad": wrong(
        lambda: anyconv.pad(IMAGE, ((0, -1), (0, 0))), ValueError, "`padding` must be at least 0"
    ),
    "pad by a kernel's word": wrong(
        lambda: anyconv.pad(IMAGE, "same"), (TypeError, ValueError), "`padding`", "'same'"
    ),
    "pad mode": wrong(lambda: anyconv.pad(IMAGE, 1, mode="edge"), ValueError, "`mode`", "'edge'"),
    "pad reflects beyond": wrong(
        lambda: anyconv.pad(IMAGE, 6, mode="reflect"), ValueError, "`padding`", "(6, 6)", "axis 0"
    ),
    "output padding": wrong(
        transpose(stride=2, output_padding=2),
        ValueError,
        "`output_padding`",
        "smaller than the stride 2 or the dilation 1 on spatial axis 0, got 2",
    ),
    "output padding of one axis": wrong(
        transpose(stride=2, output_padding=(0, 1, 0)),
        ValueError,
        "`output_padding`",
        "2 spatial axes",
    ),
    "negative output padding": wrong(
        transpose(output_padding=-1), ValueError, "`output_padding` must be at least 0, got -1"
    ),
    "output size too small": wrong(
        transpose(stride=2, output_size=(8, 11)), ValueError, "`output_size`", "8", "9", "10"
    ),
    "output size too large": wrong(
        transpose(stride=2, output_size=(11, 11)), ValueError, "`output_size`", "11", "9", "10"
    ),
    "output size of one axis": wrong(
        transpose(stride=2, output_size=(9,)), ValueError, "`output_size`", "(9,)"
    ),
    "no workspace": wrong(
        lambda: anyconv.options(workspace_bytes=0).__enter__(),
        ValueError,
        "`workspace_bytes` must be at least 1, got 0",
    ),
    "fractional workspace": wrong(
        lambda: anyconv.options(workspace_bytes=1e9).__enter__(),
        TypeError,
        "`workspace_bytes` must be a whole number, got 1000000000.0",
    ),
    "no workers": wrong(
        lambda: anyconv.options(workers=0).__enter__(),
        ValueError,
        "`workers` must be at least 1, got 0",
    ),
    "workers is a bool": wrong(
        lambda: anyconv.options(workers=True).__enter__(), TypeError, "`workers`", "True"
    ),
    "workspace too small for one row": wrong(
        lambda: _within(1, conv()), ValueError, "`workspace_bytes`", "got 1"
    ),
}


def _within(workspace_bytes, call):
    with anyconv.options(workspace_bytes=workspace_bytes):
        return call()


def _stepping():
    """Stride and dilation: one positive whole number, or one for each axis."""
    for name in ("stride", "dilation"):
        yield f"zero {name}", conv(**{name: 0}), ValueError, f"`{name}` must be at least 1, got 0"
        yield f"negative {name}", conv(**{name: -2}), ValueError, "at least 1, got -2"
        yield f"{name} with a zero", conv(**{name: (1, 0)}), ValueError, f"`{name}`", "got 0"
        yield f"fractional {name}", conv(**{name: 1.5}), TypeError, f"`{name}`", "got 1.5"
        yield f"whole float {name}", conv(**{name: 2.0}), TypeError, f"`{name}`", "got 2.0"
        yield f"{name} is a bool", conv(**{name: True}), TypeError, f"`{name}`", "got True"
        yield f"{name} is a word", conv(**{name: "2"}), TypeError, f"`{name}`", "got '2'"
        yield f"{name} is None", conv(**{name: None}), TypeError, f"`{name}`", "got None"
        yield f"{name} of one axis", conv(**{name: (2,)}), ValueError, f"`{name}`", "got 1: (2,)"
        three = conv(**{name: (1, 2, 1)})
        yield f"{name} of three axes", three, ValueError, f"`{name}`", "2 spatial axes", "(1, 2, 1)"


STEPPING = {name: wrong(*misuse) for name, *misuse in _stepping()}


def planned(**options):
    return lambda: anyconv.plan_conv(X.shape, W.shape, **{"dtype": "float64"} | options)


PLANS = {
    "no dtype": wrong(planned(dtype=None), TypeError, "`dtype` must be a dtype of numpy, got None"),
    "a type of Python's": wrong(
        planned(dtype=float), TypeError, "`dtype` must be a dtype", "float"
    ),
    "a word that is no dtype": wrong(
        planned(dtype="matmul"), ValueError, "`dtype` must be a dtype of numpy, got 'matmul'"
    ),
    "integers": wrong(
        planned(dtype="int32"), TypeError, "`dtype` must be floating or complex", "'int32'"
    ),
    "an unknown library": wrong(
        planned(namespace="tensorflow"), ValueError, "`namespace` must be one of", "'tensorflow'"
    ),
    "an unknown device": wrong(
        planned(device="warp"), ValueError, "`device` must start with cpu, cuda", "'warp'"
    ),
    "a device of another library": wrong(
        planned(device="cuda"), ValueError, "`device` must be one that numpy has, got 'cuda'"
    ),
    "a number for a device": wrong(planned(device=0), TypeError, "`device`", "got 0"),
    "an unknown operation": wrong(planned(operation="dx"), ValueError, "`operation`", "'dx'"),
    "arrays in place of shapes": wrong(
        lambda: anyconv.plan_conv(X, W, dtype="float64"),
        TypeError,
        "`x_shape` must be a sequence of whole numbers, got a value of type ndarray",
    ),
}
MISUSES = KINDS | SHAPES | OPTIONS | STEPPING | PLANS


@pytest.mark.parametrize("misuse", MISUSES.values(), ids=MISUSES)
def test_misuse_is_refused_with_its_reason(misuse):
    with pytest.raises((TypeError, ValueError)) as caught:
        misuse.call()
    text = str(caught.value)
    assert all(part in text for part in misuse.parts), text
    assert isinstance(caught.value, misuse.error), f"{type(caught.value).__name__}: {text}"
    assert "`" in text, f"no argument is named: {text}"


def test_namespaces_are_not_mixed():
    strict = pytest.importorskip("array_api_strict")
    with pytest.raises(TypeError, match=r"namespace.*`x`.*numpy.*`w`.*array_api_strict"):
        anyconv.conv_forward(X, strict.asarray(W))
    with pytest.raises(TypeError, match=r"namespace.*`x`.*array_api_strict.*`b`.*numpy"):
        anyconv.conv_forward(strict.asarray(X), strict.asarray(W), B)
    with pytest.raises(TypeError, match=r"namespace.*`dy`.*numpy.*`x`.*array_api_strict"):
        anyconv.max_pool_backward(np.ones((2, 3, 3, 3)), strict.asarray(IMAGE), 2)
    with pytest.raises(TypeError, match=r"namespace.*numpy.*`indices`.*array_api_strict"):
        anyconv.max_unpool_forward(IMAGE, strict.asarray(IMAGE.astype(int)), (12, 12))


def test_devices_are_not_mixed():
    strict = pytest.importorskip("array_api_strict")
    other = strict.asarray(W, device=strict.Device("device1"))
    with pytest.raises(ValueError, match=r"device.*`x`.*CPU_DEVICE.*`w`.*device1"):
        anyconv.conv_forward(strict.asarray(X), other)
    dy = strict.asarray(np.ones((2, 3, 3, 3)), device=strict.Device("device1"))
    with pytest.raises(ValueError, match=r"device.*`dy`.*device1.*`x`.*CPU_DEVICE"):
        anyconv.max_pool_backward(dy, strict.asarray(IMAGE), 2)


@pytest.mark.parametrize("function", ["conv", "max_pool", "avg_pool", "unfold", "pad"])
def test_dask_arrays_of_unknown_size_are_refused(function):
    da = pytest.importorskip("dask.array")
    flat = da.from_array(np.arange(12.0), chunks=4)
    x = flat[flat > 3][:, None]
    calls = {
        "conv": lambda: anyconv.conv_forward(x, da.ones((3, 1, 1))),
        "max_pool": lambda: anyconv.max_pool_forward(x, (2,)),
        "avg_pool": lambda: anyconv.avg_pool_forward(x, (2,)),
        "unfold": lambda: anyconv.unfold(x, (2,)),
        "pad": lambda: anyconv.pad(x, ((1, 1),)),
    }
    with pytest.raises(ValueError, match=r"`x` has an unknown size.*compute_chunk_sizes"):
        calls[function]()


def test_a_bias_of_unknown_size_is_refused():
    da = pytest.importorskip("dask.array")
    b = da.from_array(B, chunks=1)
    with pytest.raises(ValueError, match=r"`b` has an unknown size.*compute_chunk_sizes"):
        anyconv.conv_forward(da.from_array(X), da.from_array(W), b[b > -9])


def test_the_gradient_of_a_bias_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"`dy` .*no spatial axis of size zero, .*\(3, 0, 2\)"):
        anyconv.conv_backward_bias(np.ones((3, 0, 2)))
    with pytest.raises(ValueError, match=r"`dy` .*no spatial axis of size zero"):
        anyconv.conv_backward_bias(np.ones((3, 2, 0)), layout="channels_first")


def test_an_algorithm_that_cannot_is_refused_at_once(xp):
    """Before a lazy array is computed, too."""
    x, w = xp.asarray(X), xp.asarray(W)
    with pytest.raises(ValueError, match=r"`algorithm` 'winograd' cannot .* stride"):
        xp.call(anyconv.conv_forward, x, w, stride=2, algorithm="winograd")


def test_errors_are_the_same_everywhere(xp):
    """Shapes are known before values, under `jax.jit` and on Dask too."""
    x, w = xp.asarray(X), xp.asarray(np.ones((3, 8, 4, 8)))
    with pytest.raises(ValueError, match=r"`x` .* spatial axis 1: .* 8 .*7 \+ 0 \+ 0 = 7"):
        xp.call(anyconv.conv_forward, x, w)
    with pytest.raises(TypeError, match=r"floating and complex dtypes.*uint8"):
        xp.call(anyconv.conv_forward, xp.asarray(X, "uint8"), xp.asarray(W, "uint8"))


def test_numpy_whole_numbers_are_whole_numbers(np_backend):
    """A size taken from an array is as good as a literal."""
    plain = anyconv.conv_forward(X, W, stride=2, padding=(1, 2), groups=1)
    options = {"stride": np.int64(2), "padding": (np.int32(1), np.uint8(2)), "groups": np.int64(1)}
    np.testing.assert_array_equal(np_backend.call(anyconv.conv_forward, X, W, **options), plain)
    lists = anyconv.conv_forward(X, W, stride=[2, 2], padding=[[1, 1], [2, 2]])
    np.testing.assert_array_equal(lists, plain)


@pytest.mark.parametrize("name", backends.NAMES)
def test_requiring_an_absent_backend_fails(name, monkeypatch):
    """`ANYCONV_REQUIRE` knows every id, and no other."""
    monkeypatch.setenv("ANYCONV_REQUIRE", f"numpy, {name}")
    assert backends.required_names() == {"numpy", name}
    monkeypatch.setenv("ANYCONV_REQUIRE", f"{name}s")
    with pytest.raises(ValueError, match=rf"names \['{name}s'\]"):
        backends.required_names()


def test_without_fourier_transforms_other_algorithms_are_chosen(monkeypatch):
    """The standard leaves `fft` open; a library may lack it."""
    strict = pytest.importorskip("array_api_strict")
    before = strict.get_array_api_strict_flags()["enabled_extensions"]
    anyconv._traits._traits.cache_clear()
    strict.set_array_api_strict_flags(enabled_extensions=())
    try:
        x, w = strict.ones((2, 3000, 2)), strict.ones((300, 2, 3))
        assert float(anyconv.conv_forward(x, w)[0, 0, 0]) == 600.0
        with pytest.raises(ValueError, match="`algorithm` 'fft' needs Fourier transforms"):
            anyconv.conv_forward(x, w, algorithm="fft")
    finally:
        strict.set_array_api_strict_flags(enabled_extensions=before)
        anyconv._traits._traits.cache_clear()


def test_a_word_for_the_padding_of_pad():
    with pytest.raises(ValueError, match="`padding` must be numbers where there is no kernel"):
        anyconv.pad(np.ones((4, 4, 1)), "2")


@pytest.mark.filterwarnings("ignore")  # PyTorch's of its own prototypes
@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda torch, x: x.to_sparse(), "`x` must be a dense tensor, got torch.sparse_coo"),
        (lambda torch, x: torch.nested.nested_tensor([x, x]), "`x` must be a dense tensor, got n"),
        (lambda torch, x: x.to(torch.complex32), "convolution takes floating and complex dtypes"),
    ],
)
def test_tensors_that_torch_has_few_functions_for(change, text):
    torch = pytest.importorskip("torch")
    x, w = torch.ones((5, 5, 4)), torch.ones((3, 3, 4, 8))
    given = change(torch, x)
    with pytest.raises(TypeError, match=text):
        anyconv.conv_forward(given, w if given.dtype == x.dtype else w.to(given.dtype))


def test_keys_of_random_numbers_are_no_numbers():
    jax = pytest.importorskip("jax")
    keys = jax.random.split(jax.random.key(0), 25).reshape(5, 5, 1)
    with pytest.raises(TypeError, match="`x`"):
        anyconv.max_pool_forward(keys, 2)


def test_masked_blocks_of_dask_are_refused_at_once():
    da = pytest.importorskip("dask.array")
    x = da.ma.masked_less(da.ones((2, 5, 5, 4), chunks=1), 0)
    with pytest.raises(TypeError, match="`x` must have no mask"):
        anyconv.conv_forward(x, da.ones((3, 3, 4, 8)))
