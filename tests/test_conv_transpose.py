"""Transposed convolution against PyTorch and loops, and as the adjoint that it is."""

import numpy as np
import oracle
import peers
import pytest
from strategies import (
    LAYOUTS,
    conv_transpose_cases,
    inner,
    normal,
    positive,
    relative_error,
    run_cases,
    whole,
)

from anyconv import conv_backward_input, conv_transpose_backward, conv_transpose_forward

EXACT = ("gemm", "taps")
NAMES = ("y", "dx", "dw", "db")


def computed(xp, case, arrays, **more):
    """y, dx, dw, db of this package, as NumPy arrays."""
    x, w, b, dy = (None if a is None else xp.asarray(a) for a in arrays.values())
    options = {**case.options, **more}
    y = xp.call(conv_transpose_forward, x, w, b, **options)
    assert y.shape == dy.shape
    gradients = xp.call(conv_transpose_backward, dy, x, w, **options)
    assert gradients._fields == ("dx", "dw", "db")
    return [xp.to_numpy(array) for array in (y, *gradients)]


def by_loops(case, arrays):
    x, w, b, dy = arrays.values()
    y = oracle.conv_transpose_forward(x, w, b, **case.options)
    return (y, *oracle.conv_transpose_backward(dy, x, w, **case.options))


@pytest.mark.parametrize(
    ("dtype", "values", "bound"), [("float64", normal, 1e-12), ("float32", positive, 2e-6)]
)
def test_forward_and_gradients_agree_with_pytorch_and_loops(xp, dtype, values, bound):
    def check(case):
        arrays = case.arrays(values, dtype)
        wide = {name: None if a is None else a.astype(np.float64) for name, a in arrays.items()}
        wanted = peers.conv(case, wide) if peers.has_conv(case) else by_loops(case, wide)
        for name, mine, other in zip(NAMES, computed(xp, case, arrays), wanted, strict=True):
            assert relative_error(mine, other) <= bound, name

    run_cases(xp, conv_transpose_cases(), check)


@pytest.mark.parametrize("algorithm", EXACT)
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_exact_on_whole_numbers_and_adjoint(xp, dtype, algorithm):
    """Equal to the loops; <y, dy> = <x, dx> = <w, dw> without tolerance (real parts for w)."""

    def check(case):
        arrays = case.arrays(whole, dtype) | {"b": None}
        actual = computed(xp, case, arrays, algorithm=algorithm)
        for name, mine, other in zip(NAMES, actual, by_loops(case, arrays), strict=True):
            np.testing.assert_array_equal(mine, other, name)
        y, dx, dw, _ = actual
        x, w, _, dy = arrays.values()
        assert inner(y, dy) == inner(x, dx)
        assert inner(y, dy).real == inner(w, dw).real  # y is linear in the conjugate of w

    run_cases(xp, conv_transpose_cases(), check)


def test_it_is_the_input_gradient_of_a_convolution(xp):
    rng = np.random.default_rng(0)
    x, w = whole(rng, (2, 5, 4, 6), "complex128"), whole(rng, (3, 2, 2, 6), "complex128")
    options = {"stride": (2, 3), "padding": ((1, 0), (0, 1)), "dilation": (1, 2), "groups": 2}
    x, w = xp.asarray(x), xp.asarray(w)
    y = xp.call(conv_transpose_forward, x, w, **options)
    same = xp.call(conv_backward_input, x, w, y.shape, **options)
    np.testing.assert_array_equal(xp.to_numpy(y), xp.to_numpy(same))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_sizes(np_backend, layout):
    """(input-1)*stride - before - after + dilation*(kernel-1) + output_padding + 1."""
    last = layout == "channels_last"
    x = np.ones((5, 6, 1) if last else (1, 5, 6))
    w = np.ones((3, 4, 1, 1) if last else (1, 1, 3, 4))

    def size(**options):
        y = np_backend.call(conv_transpose_forward, x, w, layout=layout, **options)
        return y.shape[:2] if last else y.shape[1:]

    assert size() == (7, 9)
    assert size(stride=2) == (11, 14)
    assert size(stride=(2, 3), padding=((1, 0), (2, 1)), output_padding=(1, 2)) == (11, 18)
    assert size(dilation=2, output_padding=1) == (10, 13)
    assert size(stride=2, output_size=(12, 15)) == (12, 15)
    assert size(stride=3, output_size=17, padding=((0, 0), (1, 2))) == (17, 17)
    for word in ("same", "same_lower"):
        assert size(stride=(2, 3), padding=word) == (10, 18)
        assert size(stride=(5, 1), padding=word) == (25, 6)
    assert size(padding="full") == (3, 3)


@pytest.mark.parametrize(
    ("padding", "wanted"), [("same", [1, 3, 2, 6]), ("same_lower", [3, 2, 6, 0])]
)
def test_same_drops_the_odd_one_at_the_end_or_the_start(np_backend, padding, wanted):
    """The full result is 1 3 2 6 0 by the stride of two and the kernel 1 3 0: one too many."""
    x, w = np.array([[1.0], [2.0]]), np.array([1.0, 3.0, 0.0])[:, None, None]
    y = np_backend.call(conv_transpose_forward, x, w, stride=2, padding=padding)
    np.testing.assert_array_equal(y[:, 0], wanted)


def test_empty_batch(xp):
    x, w = xp.asarray(np.zeros((0, 4, 4, 3))), xp.asarray(np.ones((2, 2, 5, 3)))
    y = xp.call(conv_transpose_forward, x, w, xp.asarray(np.ones(5)), stride=2)
    assert y.shape == (0, 8, 8, 5)
    dx, dw, db = xp.call(conv_transpose_backward, y, x, w, stride=2)
    assert dx.shape == x.shape
    np.testing.assert_array_equal(xp.to_numpy(dw), np.zeros(w.shape))
    np.testing.assert_array_equal(xp.to_numpy(db), np.zeros(5))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "complex64"])
def test_results_keep_the_dtype(xp, dtype):
    if not xp.has(dtype):
        pytest.skip(f"{xp.name} has no {dtype}")
    rng = np.random.default_rng(0)
    x, w = whole(rng, (2, 3, 4, 2)), whole(rng, (2, 2, 3, 2))
    wanted = oracle.conv_transpose_forward(x, w, stride=2, padding="same")
    data, weight = xp.asarray(x, dtype), xp.asarray(w, dtype)
    y = xp.call(conv_transpose_forward, data, weight, stride=2, padding="same")
    np.testing.assert_array_equal(xp.to_numpy(y), xp.to_numpy(xp.asarray(wanted, dtype)))


@pytest.mark.parametrize(("dtype", "big"), [("float16", 2048), ("bfloat16", 256)])
def test_half_precision_is_accumulated_in_single(xp, dtype, big):
    if not xp.has(dtype):
        pytest.skip(f"{xp.name} has no {dtype}")
    x = xp.asarray(np.array([[1.0], [big], [1.0]]), dtype)
    y = xp.call(conv_transpose_forward, x, xp.asarray(np.ones((3, 1, 1)), dtype))
    assert xp.to_numpy(y)[2, 0] == big + 2


@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"stride": 3}, {"algorithm": "taps"}])
def test_a_bias_is_added_before_half_precision_is_rounded(xp, options):
    """As in a convolution: 65536 - 1000 is a number of float16, 65536 is not."""
    if not xp.has("float16"):
        pytest.skip(f"{xp.name} has no float16")
    x, w = xp.asarray([[256.0], [0.0]], "float16"), xp.asarray([[[256.0]]], "float16")
    y = xp.call(conv_transpose_forward, x, w, xp.asarray([-1000.0], "float16"), **options)
    found = xp.to_numpy(y)[:, 0]
    assert found[0] == np.float16(65536 - 1000)
    np.testing.assert_array_equal(found[1:], np.full(found.size - 1, -1000.0))


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "complex64"])
@pytest.mark.parametrize(
    "options", [{}, {"stride": 2}, {"stride": 3}, {"stride": 2, "dilation": 3}]
)
def test_a_bias_is_in_every_output(xp, options, dtype, layout):
    """Also in those that no tap reaches."""
    if not xp.has(dtype):
        pytest.skip(f"{xp.name} has no {dtype}")
    rng = np.random.default_rng(2)
    x, w, b = whole(rng, (2, 6, 7, 8)), whole(rng, (3, 2, 5, 8)), whole(rng, (5,))
    wanted = oracle.conv_transpose_forward(x, w, **options) + b
    if layout == "channels_first":
        x, w, wanted = (np.moveaxis(a, -1, 1) for a in (x, np.moveaxis(w, 3, 0), wanted))
        w = np.moveaxis(w, -1, 1) if w.shape[1] != 5 else w
    x, w, b = (xp.asarray(a, dtype) for a in (x, w, b))
    y = xp.call(conv_transpose_forward, x, w, b, layout=layout, **options)
    np.testing.assert_array_equal(xp.to_numpy(y), wanted)
