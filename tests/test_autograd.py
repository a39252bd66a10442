"""PyTorch differentiates our forward functions, and finds the gradients that our own give.

Nothing that it saved for a gradient may be overwritten, though arrays are written in place.
"""

from functools import partial

import numpy as np
import pytest
from strategies import normal

import anyconv

torch = pytest.importorskip("torch")


def draw(*shape):
    """Values all of which differ, so that every window has one maximum."""
    rng = np.random.default_rng(0)
    values = rng.permutation(int(np.prod(shape))).reshape(shape) / np.prod(shape) + 0.5
    return torch.asarray(values)


def check(forward, backward, *arrays):
    """`forward(*arrays)`, differentiated by PyTorch, and `backward(dy)`, its gradients by ours."""
    leaves = [x.clone().requires_grad_() for x in arrays]
    y = forward(*leaves)
    dy = torch.asarray(normal(np.random.default_rng(1), tuple(y.shape)))
    found = torch.autograd.grad(y, leaves, dy)
    for theirs, ours in zip(found, backward(dy), strict=True):
        torch.testing.assert_close(theirs, ours, rtol=1e-10, atol=1e-12)


WINDOWS = [
    (1, {}),
    (2, {}),
    (3, {}),
    (3, {"stride": 2, "padding": 1}),
    (3, {"stride": 1, "padding": 2, "ceil_mode": True}),
    (4, {"stride": 1, "dilation": 2, "padding": 3}),
    (40, {"padding": 20}),  # long windows, one by one
    (40, {"stride": 1, "padding": 35}),  # more of them than taps
    (40, {"stride": 40, "ceil_mode": True, "padding": ((0, 30), (0, 30))}),
]


@pytest.mark.parametrize(("kernel", "options"), WINDOWS)
@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_pooling(kernel, options, layout):
    x = draw(2, 13, 12, 3) if layout == "channels_last" else draw(2, 3, 13, 12)
    options = {**options, "layout": layout}
    forward = partial(anyconv.max_pool_forward, kernel_size=kernel, **options)
    backward = partial(anyconv.max_pool_backward, x=x, kernel_size=kernel, **options)
    check(forward, lambda dy: [backward(dy)], x)
    averaged = {**options, "count_include_pad": False}
    forward = partial(anyconv.avg_pool_forward, kernel_size=kernel, **averaged)
    check(forward, lambda dy: [anyconv.avg_pool_backward(dy, x.shape, kernel, **averaged)], x)
    for p in (1, 2, 3):
        forward = partial(anyconv.lp_pool_forward, kernel_size=kernel, p=p, **options)
        check(forward, lambda dy, p=p: [anyconv.lp_pool_backward(dy, x, kernel, p=p, **options)], x)


@pytest.mark.parametrize("output", [1, 2, 3, 5, (4, 6), 20])
@pytest.mark.parametrize("sizes", [(6, 12), (13, 100)])
def test_adaptive_pooling(output, sizes):
    x = draw(2, *sizes, 3)
    check(
        partial(anyconv.adaptive_max_pool_forward, output_size=output),
        lambda dy: [anyconv.adaptive_max_pool_backward(dy, x, output)],
        x,
    )
    check(
        partial(anyconv.adaptive_avg_pool_forward, output_size=output),
        lambda dy: [anyconv.adaptive_avg_pool_backward(dy, x.shape, output)],
        x,
    )


def test_the_rows_of_large_images(monkeypatch):
    """Images in turn are written where they belong."""
    x = draw(3, 9, 9, 2)
    with anyconv.options(workspace_bytes=1):
        check(
            partial(anyconv.max_pool_forward, kernel_size=3, stride=2),
            lambda dy: [anyconv.max_pool_backward(dy, x, 3, stride=2)],
            x,
        )


@pytest.mark.parametrize("algorithm", ["auto", "gemm", "taps", "winograd", "fft"])
@pytest.mark.parametrize(
    "options",
    [{"padding": 1}, {"stride": 2, "padding": 1}, {"padding": 2, "padding_mode": "reflect"}],
)
def test_convolution(algorithm, options):
    if algorithm == "winograd" and "stride" in options:
        pytest.skip("Winograd's algorithm has stride 1")
    options = {**options, "algorithm": algorithm}
    x, w, b = draw(2, 9, 8, 4), draw(3, 3, 4, 6), draw(6)
    check(
        partial(anyconv.conv_forward, **options),
        lambda dy: anyconv.conv_backward(dy, x, w, **options),
        x,
        w,
        b,
    )


@pytest.mark.parametrize("groups", [2, 4])
def test_grouped_convolution(groups):
    x, w, b = draw(2, 9, 8, 4), draw(3, 3, 4 // groups, 4), draw(4)
    check(
        partial(anyconv.conv_forward, groups=groups, stride=2),
        lambda dy: anyconv.conv_backward(dy, x, w, groups=groups, stride=2),
        x,
        w,
        b,
    )


@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1, "output_padding": 1}])
def test_transposed_convolution(options):
    x, w, b = draw(2, 5, 6, 4), draw(3, 3, 3, 4), draw(3)
    check(
        partial(anyconv.conv_transpose_forward, **options),
        lambda dy: anyconv.conv_transpose_backward(dy, x, w, **options),
        x,
        w,
        b,
    )


@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1}, {"dilation": 2}])
def test_windows(options):
    x = draw(2, 9, 8, 3)
    unfold = partial(anyconv.unfold, kernel_size=3, **options)
    fold = partial(anyconv.fold, output_size=(9, 8), kernel_size=3, **options)
    check(unfold, lambda dy: [fold(dy)], x)
    check(fold, lambda dx: [unfold(dx)], unfold(x))


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_padding(mode):
    x, padding = draw(2, 6, 5, 3), ((2, 1), (0, 3))
    check(
        partial(anyconv.pad, padding=padding, mode=mode),
        lambda dy: [anyconv.pad_backward(dy, x.shape, padding, mode=mode)],
        x,
    )


def test_unpooling():
    y, indices = anyconv.max_pool_forward(draw(2, 6, 8, 3), 2, return_indices=True)
    check(
        lambda y: anyconv.max_unpool_forward(y, indices, (6, 8)),
        lambda dx: [anyconv.max_unpool_backward(dx, indices)],
        y,
    )


@pytest.mark.parametrize("p", [0.5, 1, 1.5, 2, 3])
def test_norms_of_windows_of_zeros_have_no_gradient(p):
    x = torch.zeros(1, 4, 6, 2, dtype=torch.float64)
    x[0, 0, 0, 0], x[0, 2, 3, 1], x[0, 3, 3, 1] = 3.0, -2.0, 1.0
    forward = partial(anyconv.lp_pool_forward, kernel_size=2, p=p)
    check(forward, lambda dy: [anyconv.lp_pool_backward(dy, x, 2, p=p)], x)


IMAGES, WEIGHT = (2, 12, 12, 4), (3, 3, 4, 8)


@pytest.mark.parametrize("algorithm", ["gemm", "taps", "winograd", "fft"])
def test_training_after_inference(algorithm):
    """What was kept for later calls in inference mode could not be differentiated by."""
    anyconv._namespace._values._kept_constant.cache_clear()
    x, w = draw(*IMAGES), draw(*WEIGHT)
    with torch.inference_mode():
        wanted = anyconv.conv_forward(x, w, algorithm=algorithm)
    w.requires_grad_()
    y = anyconv.conv_forward(x, w, algorithm=algorithm)
    y.sum().backward()
    torch.testing.assert_close(y.detach(), wanted.clone())
    assert w.grad.shape == w.shape


@pytest.mark.parametrize("fake_first", [True, False])
@pytest.mark.parametrize("algorithm", ["winograd", "fft"])
def test_fake_tensors_leave_nothing_behind(algorithm, fake_first):
    fakes = pytest.importorskip("torch._subclasses.fake_tensor")
    anyconv._namespace._values._kept_constant.cache_clear()
    x, w = draw(*IMAGES), draw(*WEIGHT)

    def fake():
        with fakes.FakeTensorMode() as mode:
            given = mode.from_tensor(x), mode.from_tensor(w)
            return anyconv.conv_forward(*given, algorithm=algorithm).shape

    shape = fake() if fake_first else None
    y = anyconv.conv_forward(x, w, algorithm=algorithm)
    assert type(y) is torch.Tensor
    assert (shape or fake()) == y.shape


@pytest.mark.parametrize("algorithm", ["gemm", "winograd"])
def test_autocast_takes_no_digits(algorithm):
    x, w = draw(*IMAGES).float(), draw(*WEIGHT).float()
    wanted = anyconv.conv_forward(x, w, algorithm=algorithm)
    dw = anyconv.conv_backward_weight(wanted, x, w.shape, algorithm=algorithm)
    db = anyconv.conv_backward_bias(wanted)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = anyconv.conv_forward(x, w, algorithm=algorithm)
        torch.testing.assert_close(y, wanted, rtol=0, atol=0)
        found = anyconv.conv_backward_weight(wanted, x, w.shape, algorithm=algorithm)
        torch.testing.assert_close(found, dw, rtol=0, atol=0)
        torch.testing.assert_close(anyconv.conv_backward_bias(wanted), db, rtol=0, atol=0)


def test_pad_backward_of_what_is_differentiated_warns_of_nothing(recwarn):
    dy = draw(8, 1).requires_grad_()
    dx = anyconv.pad_backward(dy, (4, 1), (2,), mode="reflect")
    dx.sum().backward()
    assert (dy.grad == 1).all()
    assert not recwarn.list
