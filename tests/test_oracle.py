"""The oracle against PyTorch, so that what the package is measured by is itself measured."""

import math

import numpy as np
import oracle
import peers
import pytest
from hypothesis import assume, given, settings
from strategies import (
    adaptive_cases,
    conv_cases,
    conv_transpose_cases,
    normal,
    pool_cases,
    relative_error,
)

pytestmark = peers.needs_torch


def agree(ours, theirs):
    for mine, other in zip(ours, theirs, strict=True):
        assert relative_error(mine, other) <= 1e-12  # a lone sum may cancel


@settings(max_examples=40)
@given(conv_cases())
def test_convolution(case):
    assume(peers.has_conv(case))
    arrays = case.arrays(normal, "float64")
    x, w, b, dy = arrays.values()
    y = oracle.conv_forward(x, w, b, **case.options)
    agree((y, *oracle.conv_backward(dy, x, w, **case.options)), peers.conv(case, arrays))


@settings(max_examples=40)
@given(conv_transpose_cases())
def test_transposed_convolution(case):
    assume(peers.has_conv(case))
    arrays = case.arrays(normal, "float64")
    x, w, b, dy = arrays.values()
    y = oracle.conv_transpose_forward(x, w, b, **case.options)
    agree((y, *oracle.conv_transpose_backward(dy, x, w, **case.options)), peers.conv(case, arrays))


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_complex_convolution(layout):
    rng = np.random.default_rng(0)
    x = normal(rng, (2, 5, 6, 4) if layout == "channels_last" else (2, 4, 5, 6), "complex128")
    w = normal(rng, (3, 2, 2, 6) if layout == "channels_last" else (6, 2, 3, 2), "complex128")
    options = {"stride": (2, 1), "padding": (1, 0), "groups": 2, "layout": layout}
    y = oracle.conv_forward(x, w, **options)
    dy = normal(rng, y.shape, "complex128")
    dx, dw, _ = oracle.conv_backward(dy, x, w, **options)
    torch = peers.torch
    data, weight = (torch.tensor(array, requires_grad=True) for array in (x, w))
    first = layout == "channels_first"
    result = torch.nn.functional.conv2d(
        data if first else data.movedim(-1, 1),
        weight if first else weight.permute(3, 2, 0, 1),
        stride=(2, 1),
        padding=(1, 0),
        groups=2,
    )
    result = result if first else result.movedim(1, -1)
    gradients = torch.autograd.grad(result, (data, weight), torch.tensor(dy))
    agree((y, dx, dw), [array.detach().numpy() for array in (result, *gradients)])


@settings(max_examples=40)
@given(pool_cases())
def test_max_pooling(case):
    assume(peers.has_pool(case, dilation=True))
    x, dy = normal(case.rng, case.x_shape), normal(case.rng, case.y_shape)
    y, indices = oracle.max_pool_forward(x, case.kernel, **case.options)
    dx = oracle.max_pool_backward(dy, x, case.kernel, **case.options)
    agree((y, indices, dx), peers.pool("max", case, x, dy))


@settings(max_examples=20)
@given(pool_cases())
def test_unpooling(case):
    cells, windows = math.prod(case.input), math.prod(case.windows.output)
    assume(windows <= cells)
    y = normal(case.rng, case.y_shape)
    planes = np.zeros((y.size // windows, cells), np.int64) + np.arange(cells)
    indices = case.rng.permuted(planes, axis=1)[:, :windows]  # no two the same
    indices = indices.reshape(*case.batch, case.channels, *case.windows.output)
    if case.layout == "channels_last":
        indices = np.moveaxis(indices, -1 - case.axes, -1)
    filled = oracle.max_unpool_forward(y, indices, case.input, layout=case.layout)
    np.testing.assert_array_equal(filled, peers.unpool(y, indices, case, case.input))


@settings(max_examples=40)
@given(pool_cases())
@pytest.mark.parametrize("count_include_pad", [True, False])
def test_average_pooling(count_include_pad, case):
    assume(peers.has_pool(case, dilation=False))
    x, dy = normal(case.rng, case.x_shape), normal(case.rng, case.y_shape)
    options = {**case.options, "count_include_pad": count_include_pad}
    y = oracle.avg_pool_forward(x, case.kernel, **options)
    dx = oracle.avg_pool_backward(dy, x.shape, case.kernel, **options)
    theirs = peers.pool("avg", case, x, dy, count_include_pad=count_include_pad)
    agree((y, dx), theirs)


@settings(max_examples=20)
@given(adaptive_cases())
def test_adaptive_pooling(case):
    assume(case.axes <= 3)
    x, dy = (
        normal(case.rng, case.x_shape),
        normal(case.rng, case.data_shape(case.kernel, case.channels)),
    )
    layout = {"layout": case.layout}
    y = oracle.adaptive_avg_pool_forward(x, case.kernel, **layout)
    dx = oracle.adaptive_avg_pool_backward(dy, x.shape, case.kernel, **layout)
    agree((y, dx), peers.adaptive_pool("avg", case, x, dy))
    y = oracle.adaptive_max_pool_forward(x, case.kernel, **layout)
    dx = oracle.adaptive_max_pool_backward(dy, x, case.kernel, **layout)
    agree((y, dx), peers.adaptive_pool("max", case, x, dy))


@pytest.mark.parametrize("p", [1, 2, 3, 2.5])
def test_lp_pooling(p):
    rng = np.random.default_rng(0)
    x = np.abs(normal(rng, (2, 3, 7, 6)))  # PyTorch's sum has no absolute value
    options = {"stride": (2, 1), "layout": "channels_first"}
    y = oracle.lp_pool_forward(x, (2, 3), p=p, **options)
    dy = normal(rng, y.shape)
    data = peers.torch.tensor(x, requires_grad=True)
    result = peers.torch.nn.functional.lp_pool2d(data, p, (2, 3), stride=(2, 1))
    (dx,) = peers.torch.autograd.grad(result, data, peers.torch.tensor(dy))
    mine = oracle.lp_pool_backward(dy, x, (2, 3), p=p, **options)
    assert relative_error(y, result.detach().numpy()) <= 1e-13
    assert relative_error(mine, dx.numpy()) <= 1e-12


def test_unfold_and_fold():
    rng = np.random.default_rng(0)
    x = normal(rng, (2, 3, 6, 5))
    options = {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2)}
    cut = oracle.unfold(x, (3, 2), layout="channels_first", **options)
    theirs = peers.torch.nn.functional.unfold(peers.torch.tensor(x), (3, 2), **options)
    np.testing.assert_array_equal(cut.reshape(theirs.shape), theirs.numpy())
    back = oracle.fold(cut, (6, 5), (3, 2), layout="channels_first", **options)
    again = peers.torch.nn.functional.fold(theirs, (6, 5), (3, 2), **options)
    assert relative_error(back, again.numpy()) <= 1e-14
    last = oracle.unfold(np.moveaxis(x, 1, -1), (3, 2), **options)
    np.testing.assert_array_equal(np.moveaxis(last, (-1, 3, 4), (1, 2, 3)), cut)
    np.testing.assert_array_equal(
        oracle.fold(last, (6, 5), (3, 2), **options), np.moveaxis(back, 1, -1)
    )


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_pad(mode):
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    theirs = peers.torch.nn.functional.pad(peers.torch.tensor(x), (4, 1, 0, 3), mode=mode)
    name = "zeros" if mode == "constant" else mode
    mine = oracle.pad(x, ((0, 3), (4, 1)), mode=name, layout="channels_first")
    np.testing.assert_array_equal(mine, theirs.numpy())
