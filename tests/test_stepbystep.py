"""The notebook's functions give the notebook's numbers, and what its loops give elsewhere."""

import doctest
import json
from pathlib import Path

import numpy as np
import pytest

from anyconv import stepbystep
from anyconv.stepbystep import (
    conv_backward,
    conv_forward,
    conv_single_step,
    create_mask_from_window,
    distribute_value,
    pool_backward,
    pool_forward,
    zero_pad,
)

VALUES = json.loads((Path(__file__).parent / "notebook_values.json").read_text())

# (shape of A_prev, shape of W, pad, stride) of each edition's convolution cell
CONVOLUTIONS = {
    "conv_v1_2017": ((10, 4, 4, 3), (2, 2, 3, 8), 2, 1),
    "conv_v2": ((10, 4, 4, 3), (2, 2, 3, 8), 2, 2),
    "conv_v2a": ((10, 5, 7, 4), (3, 3, 4, 8), 1, 2),
    "conv_2021": ((2, 5, 7, 4), (3, 3, 4, 8), 1, 2),
}
# (shape of A_prev, f, stride) of each edition's pooling cell
POOLS = {
    "pool_v1_2017": ((2, 4, 4, 3), 4, 1),
    "pool_v2": ((2, 4, 4, 3), 3, 2),
    "pool_v2a_2021_case1": ((2, 5, 5, 3), 3, 1),
    "pool_v2a_2021_case2": ((2, 5, 5, 3), 3, 2),
}


def drawn(*shapes):
    """What `np.random.seed(1)` and one `randn` for each shape give."""
    generator = np.random.RandomState(1)
    return [generator.randn(*shape) for shape in shapes]


def assert_full(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=0)


def assert_printed(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=6e-9)


def convolved(xp, A_prev, W, b, hparameters):
    """Z, computed under the backend's checks."""
    return xp.call(lambda *arrays: conv_forward(*arrays, hparameters)[0], A_prev, W, b)


def convolved_back(xp, dZ, A_prev, W, b, hparameters):
    """(dA_prev, dW, db), computed under the backend's checks."""
    return xp.call(
        lambda dZ, A_prev, W, b: conv_backward(dZ, (A_prev, W, b, hparameters)), dZ, A_prev, W, b
    )


def pooled(xp, A_prev, hparameters, mode):
    """A, computed under the backend's checks."""
    return xp.call(lambda A_prev: pool_forward(A_prev, hparameters, mode)[0], A_prev)


def pooled_back(xp, dA, A_prev, hparameters, mode):
    """dA_prev, computed under the backend's checks."""
    return xp.call(lambda dA, A_prev: pool_backward(dA, (A_prev, hparameters), mode), dA, A_prev)


# ---- The notebook's values


@pytest.mark.parametrize("pad", [2, 3])
def test_zero_pad_gives_the_notebooks_values(xp, pad):
    (X,) = drawn((4, 3, 3, 2))
    padded = xp.to_numpy(xp.call(zero_pad, xp.asarray(X), pad))
    assert list(padded.shape) == VALUES["zero_pad"][f"shape_pad{pad}"]
    np.testing.assert_array_equal(padded[1, 1 + pad, pad:-pad], VALUES["zero_pad"]["x11"])
    np.testing.assert_array_equal(padded[:, pad:-pad, pad:-pad], X)
    assert np.abs(padded).sum() == np.abs(X).sum()  # nothing but zeros around


def test_one_step_gives_the_notebooks_value(xp):
    arrays = [xp.asarray(array) for array in drawn((4, 4, 3), (4, 4, 3), (1, 1, 1))]
    Z = xp.call(conv_single_step, *arrays)
    assert Z.shape == ()
    assert_full(xp.to_numpy(Z), VALUES["conv_single_step"]["Z"])


@pytest.mark.parametrize("edition", CONVOLUTIONS)
def test_convolution_gives_the_notebooks_values(xp, edition):
    shape, kernel, pad, stride = CONVOLUTIONS[edition]
    arrays = [xp.asarray(array) for array in drawn(shape, kernel, (1, 1, 1, kernel[-1]))]
    Z = xp.to_numpy(convolved(xp, *arrays, {"pad": pad, "stride": stride}))
    expected = VALUES[edition]
    assert list(Z.shape) == expected["Z_shape"]
    assert_full(Z.mean(), expected["Z_mean"])
    if edition == "conv_2021":
        assert_full(Z, expected["Z"])
        assert_full(Z[0, 2, 1], expected["Z021"])
    else:
        assert_full(Z[3, 2, 1], expected["Z321"])


def test_the_caches_are_the_notebooks():
    A_prev, W, b = drawn((10, 4, 4, 3), (2, 2, 3, 8), (1, 1, 1, 8))
    hparameters = {"pad": 2, "stride": 2}
    _, cache = conv_forward(A_prev, W, b, hparameters)
    assert all(
        part is given for part, given in zip(cache, (A_prev, W, b, hparameters), strict=True)
    )
    np.testing.assert_array_equal(cache[0][1, 2, 3], VALUES["conv_v2"]["cache0_123"])
    hparameters = {"f": 2, "stride": 2}
    _, cache = pool_forward(A_prev, hparameters)
    assert cache[0] is A_prev and cache[1] is hparameters and len(cache) == 2


@pytest.mark.parametrize("edition", ["conv_v1_2017", "conv_v2"])
def test_gradients_give_the_notebooks_values(xp, edition):
    shape, kernel, pad, stride = CONVOLUTIONS[edition]
    arrays = [xp.asarray(array) for array in drawn(shape, kernel, (1, 1, 1, kernel[-1]))]
    hparameters = {"pad": pad, "stride": stride}
    Z = convolved(xp, *arrays, hparameters)
    dA, dW, db = (xp.to_numpy(part) for part in convolved_back(xp, Z, *arrays, hparameters))
    expected = VALUES[edition]
    assert dA.shape == shape and db.shape == (1, 1, 1, kernel[-1])
    assert_full(dA.mean(), expected["dA_mean"])
    assert_full((dA**2).sum(), expected["dA_sumsq"])
    assert_full(dW.mean(), expected["dW_mean"])
    assert_full(dW, expected["dW"])
    assert_full(db.mean(), expected["db_mean"])
    assert_full(db[0, 0, 0], expected["db"])


@pytest.mark.parametrize("mode", ["max", "average"])
@pytest.mark.parametrize("edition", POOLS)
def test_pooling_gives_the_notebooks_values(xp, edition, mode):
    shape, f, stride = POOLS[edition]
    A = pooled(xp, xp.asarray(drawn(shape)[0]), {"f": f, "stride": stride}, mode)
    assert A.shape == np.shape(VALUES[edition][mode])
    assert_full(xp.to_numpy(A), VALUES[edition][mode])


# dA_prev[1, 1] as every edition prints it
POOL_BACKWARD_PRINTED = {
    "max": [[0, 0], [5.05844394, -1.68282702], [0, 0]],
    "average": [[0.08485462, 0.2787552], [1.26461098, -0.25749373], [1.17975636, -0.53624893]],
}


@pytest.mark.parametrize("mode", ["max", "average"])
def test_the_gradient_of_pooling_gives_the_notebooks_values(xp, mode):
    A_prev, dA = drawn((5, 5, 3, 2), (5, 4, 2, 2))
    assert_full(dA.mean(), VALUES["pool_backward"]["dA_mean"])
    hparameters = {"f": 2, "stride": 1}
    dA_prev = xp.to_numpy(pooled_back(xp, xp.asarray(dA), xp.asarray(A_prev), hparameters, mode))
    assert_full(dA_prev, VALUES["pool_backward"][mode])
    assert_printed(dA_prev[1, 1], POOL_BACKWARD_PRINTED[mode])


def test_the_mask_is_the_notebooks(xp):
    (x,) = drawn((2, 3))
    np.testing.assert_array_equal(x, VALUES["mask"]["x"])
    mask = create_mask_from_window(xp.asarray(x))
    assert xp.owns(mask)
    np.testing.assert_array_equal(xp.to_numpy(mask), VALUES["mask"]["mask"])


def test_a_distributed_value_is_the_notebooks(xp):
    share = xp.call(distribute_value, xp.asarray(2.0), (2, 2))
    np.testing.assert_array_equal(xp.to_numpy(share), [[0.5, 0.5], [0.5, 0.5]])


def test_the_values_printed_in_2017_had_the_bias_in_every_product():
    a_slice, W, b = drawn((4, 4, 3), (4, 4, 3), (1, 1, 1))
    Z = conv_single_step(a_slice, W, b)
    assert_full(Z + 47 * b.item(), VALUES["conv_single_step"]["Z_v1_2017_wrong_bias_x48"])
    assert abs(Z - VALUES["conv_single_step"]["Z_v1_2017_wrong_bias_x48"]) > 16

    shape, kernel, pad, stride = CONVOLUTIONS["conv_v1_2017"]
    A_prev, W, b = drawn(shape, kernel, (1, 1, 1, 8))
    Z, _ = conv_forward(A_prev, W, b, {"pad": pad, "stride": stride})
    wrong = VALUES["conv_v1_2017_wrong_bias_x12"]
    assert_full((Z + 11 * b).mean(), wrong["Z_mean"])
    assert_full((Z + 11 * b)[3, 2, 1], wrong["Z321"])
    assert abs(Z.mean() - wrong["Z_mean"]) > 0.15


# ---- The notebook's loops, as a learner writes them


def loops_conv_forward(A_prev, W, b, pad, stride):
    f_H, f_W, _, n_C = W.shape
    A_pad = np.pad(A_prev, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    m, n_H_pad, n_W_pad, _ = A_pad.shape
    Z = np.zeros((m, (n_H_pad - f_H) // stride + 1, (n_W_pad - f_W) // stride + 1, n_C))
    for i, h, w, c in np.ndindex(Z.shape):
        window = A_pad[i, h * stride : h * stride + f_H, w * stride : w * stride + f_W]
        Z[i, h, w, c] = np.sum(window * W[..., c]) + b[0, 0, 0, c]
    return Z


def loops_conv_backward(dZ, A_prev, W, b, pad, stride):
    f_H, f_W, _, _ = W.shape
    A_pad = np.pad(A_prev, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    dA_pad, dW, db = np.zeros_like(A_pad), np.zeros_like(W), np.zeros_like(b)
    for i, h, w, c in np.ndindex(dZ.shape):
        window = (i, slice(h * stride, h * stride + f_H), slice(w * stride, w * stride + f_W))
        dA_pad[window] += W[..., c] * dZ[i, h, w, c]
        dW[..., c] += A_pad[window] * dZ[i, h, w, c]
        db[..., c] += dZ[i, h, w, c]
    _, n_H, n_W, _ = A_prev.shape
    return dA_pad[:, pad : pad + n_H, pad : pad + n_W], dW, db


def loops_pool(A_prev, f, stride, mode, dA=None):
    """A, or the gradient of A_prev where that of A is given."""
    m, n_H_prev, n_W_prev, n_C = A_prev.shape
    A = np.zeros((m, (n_H_prev - f) // stride + 1, (n_W_prev - f) // stride + 1, n_C))
    dA_prev = np.zeros_like(A_prev)
    for i, h, w, c in np.ndindex(A.shape):
        window = (
            i,
            slice(h * stride, h * stride + f),
            slice(w * stride, w * stride + f),
            c,
        )
        A[i, h, w, c] = A_prev[window].max() if mode == "max" else A_prev[window].mean()
        if dA is not None:
            mask = A_prev[window] == A_prev[window].max() if mode == "max" else 1 / f**2
            dA_prev[window] += mask * dA[i, h, w, c]
    return A if dA is None else dA_prev


SIZES = [  # (n_H, n_W, f_H, f_W, pad, stride)
    (5, 6, 3, 3, 0, 1),
    (5, 6, 3, 3, 0, 2),  # the stride does not divide: cells at the end that no window reaches
    (7, 4, 2, 2, 0, 3),
    (4, 5, 2, 2, 3, 2),  # more padding than kernel
    (6, 7, 2, 3, 1, 2),  # a kernel that is not square
    (3, 3, 3, 3, 0, 5),  # one window
    (4, 4, 1, 1, 0, 2),
]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_convolution_is_that_of_the_loops(xp, sizes):
    n_H, n_W, f_H, f_W, pad, stride = sizes
    given = drawn((2, n_H, n_W, 3), (f_H, f_W, 3, 4), (1, 1, 1, 4))
    arrays = [xp.asarray(array) for array in given]
    hparameters = {"stride": stride, "pad": pad}
    expected = loops_conv_forward(*given, pad, stride)
    Z = convolved(xp, *arrays, hparameters)
    np.testing.assert_allclose(xp.to_numpy(Z), expected, rtol=1e-12, atol=1e-13)
    dZ = np.random.default_rng(0).normal(size=expected.shape)
    found = convolved_back(xp, xp.asarray(dZ), *arrays, hparameters)
    for gradient, right in zip(found, loops_conv_backward(dZ, *given, pad, stride), strict=True):
        np.testing.assert_allclose(xp.to_numpy(gradient), right, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("mode", ["max", "average"])
@pytest.mark.parametrize("sizes", [(5, 6, 2, 1), (5, 7, 2, 3), (6, 5, 3, 2), (4, 4, 4, 9)], ids=str)
def test_pooling_is_that_of_the_loops_ties_and_all(xp, sizes, mode):
    n_H, n_W, f, stride = sizes
    generator = np.random.default_rng(0)
    A_prev = generator.integers(0, 3, size=(2, n_H, n_W, 3)).astype(float)  # many ties
    hparameters = {"stride": stride, "f": f}
    expected = loops_pool(A_prev, f, stride, mode)
    A = pooled(xp, xp.asarray(A_prev), hparameters, mode)
    np.testing.assert_allclose(xp.to_numpy(A), expected, rtol=1e-15)
    dA = generator.integers(-4, 5, size=expected.shape).astype(float)
    dA_prev = pooled_back(xp, xp.asarray(dA), xp.asarray(A_prev), hparameters, mode)
    right = loops_pool(A_prev, f, stride, mode, dA)
    np.testing.assert_allclose(xp.to_numpy(dA_prev), right, rtol=1e-14, atol=1e-14)


# ---- Where learners trip


def test_every_tie_gets_the_whole_gradient(xp):
    A_prev, dA = (
        np.asarray([[1.0, 3.0], [3.0, 2.0]]).reshape(1, 2, 2, 1),
        np.full((1, 1, 1, 1), 8.0),
    )
    dA_prev = pooled_back(xp, xp.asarray(dA), xp.asarray(A_prev), {"f": 2, "stride": 1}, "max")
    np.testing.assert_array_equal(xp.to_numpy(dA_prev)[0, :, :, 0], [[0, 8], [8, 0]])
    mask = create_mask_from_window(xp.asarray(A_prev[0, :, :, 0]))
    np.testing.assert_array_equal(xp.to_numpy(mask), [[False, True], [True, False]])


@pytest.mark.parametrize("one", [np.int64, np.int32, np.uint8, np.asarray])
def test_numpys_integers_are_integers(one):
    A_prev, W, b = drawn((2, 5, 5, 3), (2, 2, 3, 4), (1, 1, 1, 4))
    Z, cache = conv_forward(A_prev, W, b, {"stride": one(2), "pad": one(1)})
    assert Z.shape == (2, 3, 3, 4)
    assert conv_backward(Z, cache)[0].shape == A_prev.shape
    A, cache = pool_forward(A_prev, {"f": one(2), "stride": one(2)})
    assert A.shape == (2, 2, 2, 3) and type(A.shape[1]) is int
    assert pool_backward(A, cache).shape == A_prev.shape
    assert zero_pad(A_prev, one(2)).shape == (2, 9, 9, 3)
    assert distribute_value(1.0, (one(2), one(3))).shape == (2, 3)


def test_other_keys_are_left_alone():
    A_prev, W, b = drawn((2, 5, 5, 3), (2, 2, 3, 4), (1, 1, 1, 4))
    hparameters = {"stride": 1, "pad": 0, "f": 2, "learning_rate": 0.01}
    assert conv_forward(A_prev, W, b, hparameters)[0].shape == (2, 4, 4, 4)
    assert pool_forward(A_prev, hparameters)[0].shape == (2, 4, 4, 3)


@pytest.mark.parametrize("dtype", ["float32", "complex64", "complex128"])
def test_dtypes_are_kept(xp, dtype):
    A_prev, W, b = drawn((2, 5, 5, 3), (2, 2, 3, 4), (1, 1, 1, 4))
    arrays = [xp.asarray(array, dtype) for array in (A_prev, W, b)]
    hparameters = {"stride": 1, "pad": 0, "f": 2}
    Z = convolved(xp, *arrays, hparameters)
    expected = loops_conv_forward(A_prev, W, b, 0, 1)
    np.testing.assert_allclose(xp.to_numpy(Z), expected, rtol=1e-4, atol=1e-5)
    convolved_back(xp, Z, *arrays, hparameters)
    pooled(xp, arrays[0], hparameters, "average")
    xp.call(conv_single_step, arrays[0], arrays[0], xp.asarray(np.ones((1, 1, 1)), dtype))
    xp.call(distribute_value, xp.asarray(3.0, dtype), (2, 3))
    xp.call(zero_pad, arrays[0], 1)


def test_images_of_bytes_can_be_padded_and_their_maximum_taken(xp):
    X = np.random.default_rng(0).integers(0, 256, size=(2, 6, 6, 3)).astype(np.uint8)
    padded = xp.call(zero_pad, xp.asarray(X), 1)
    np.testing.assert_array_equal(xp.to_numpy(padded)[:, 1:-1, 1:-1], X)
    A = pooled(xp, xp.asarray(X), {"f": 2, "stride": 2}, "max")
    np.testing.assert_array_equal(xp.to_numpy(A), loops_pool(X, 2, 2, "max"))


def test_an_empty_batch_gives_an_empty_batch():
    A_prev, W, b = np.zeros((0, 5, 5, 3)), np.ones((2, 2, 3, 4)), np.ones((1, 1, 1, 4))
    Z, cache = conv_forward(A_prev, W, b, {"stride": 1, "pad": 0})
    dA_prev, dW, db = conv_backward(Z, cache)
    assert Z.shape == (0, 4, 4, 4) and dA_prev.shape == A_prev.shape
    assert not dW.any() and not db.any()


@pytest.mark.parametrize("number", [2, 2.0, np.int64(2), np.float32(2), np.asarray(2), [[2]]])
def test_numbers_of_any_kind_can_be_distributed(number):
    number = np.asarray(number) if isinstance(number, list) else number
    share = distribute_value(number, (4, 2))
    np.testing.assert_array_equal(share, np.full((4, 2), 0.25))
    share[0, 0] = 1  # an array of its own, not a view of one cell
    assert share[1, 1] == 0.25


def test_whole_numbers_can_be_distributed_everywhere(xp):
    share = distribute_value(xp.asarray(2, "int64"), (2, 2))
    assert xp.owns(share)
    np.testing.assert_array_equal(xp.to_numpy(share), np.full((2, 2), 0.5))


# ---- Mistakes


def conv(A_prev=(2, 5, 6, 3), W=(3, 3, 3, 4), b=(1, 1, 1, 4), **hparameters):
    arrays = [np.zeros(array) if isinstance(array, tuple) else array for array in (A_prev, W, b)]
    return conv_forward(*arrays, {"stride": 1, "pad": 0} | hparameters)


def pool(A_prev=(2, 5, 6, 3), mode="max", **hparameters):
    A_prev = np.zeros(A_prev) if isinstance(A_prev, tuple) else A_prev
    return pool_forward(A_prev, {"f": 2, "stride": 1} | hparameters, mode)


BYTES = np.zeros((2, 5, 6, 3), np.uint8)
SINGLE = np.zeros((2, 5, 6, 3), np.float32)

MISTAKES = {
    "bytes": (
        lambda: conv(A_prev=BYTES),
        TypeError,
        "`A_prev` must be floating or complex, got uint8; convert it first, images for example "
        "with xp.astype(A_prev, xp.float32) / 255",
    ),
    "bytes averaged": (
        lambda: pool(A_prev=BYTES, mode="average"),
        TypeError,
        "`A_prev` must be floating or complex, got uint8",
    ),
    "bytes in one step": (
        lambda: conv_single_step(BYTES[0], BYTES[0], np.ones((1, 1, 1))),
        TypeError,
        "`a_slice_prev` must be floating or complex, got uint8",
    ),
    "bytes in the backward pass": (
        lambda: pool_backward(np.zeros((2, 4, 5, 3)), (BYTES, {"f": 2, "stride": 1})),
        TypeError,
        "`A_prev` must be floating or complex, got uint8",
    ),
    "single and double": (
        lambda: conv(A_prev=SINGLE),
        TypeError,
        "must share one dtype: `A_prev` has float32, `W` has float64, `b` has float64",
    ),
    "a list": (lambda: conv(A_prev=[[1.0]]), TypeError, "`A_prev` must be an array, got list"),
    "a list to pad": (lambda: zero_pad([[1.0]], 1), TypeError, "`X` must be an array, got list"),
    "one image": (
        lambda: conv(A_prev=(5, 6, 3)),
        ValueError,
        "`A_prev` must have four axes, (m, n_H_prev, n_W_prev, n_C_prev), got shape (5, 6, 3)",
    ),
    "one image to pad": (
        lambda: zero_pad(np.zeros((5, 6, 3)), 1),
        ValueError,
        "`X` must have four axes, (m, n_H, n_W, n_C), got shape (5, 6, 3)",
    ),
    "one image to pool": (
        lambda: pool(A_prev=(5, 6, 3)),
        ValueError,
        "`A_prev` must have four axes, (m, n_H_prev, n_W_prev, n_C), got shape (5, 6, 3)",
    ),
    "one filter": (
        lambda: conv(W=(3, 3, 3)),
        ValueError,
        "`W` must have four axes, (f, f, n_C_prev, n_C), got shape (3, 3, 3)",
    ),
    "channels": (
        lambda: conv(W=(3, 3, 4, 3)),
        ValueError,
        "`W` must have the 3 channels of `A_prev` as its third axis, got shape (3, 3, 4, 3)",
    ),
    "flat bias": (
        lambda: conv(b=(4,)),
        ValueError,
        "`b` must have the shape (1, 1, 1, n_C), (1, 1, 1, 4), got (4,)",
    ),
    "kernel too large": (
        lambda: conv(W=(6, 6, 3, 4)),
        ValueError,
        "`W` must not be larger than the padded images: 6 cells do not fit into 5 + 2 * 0 = 5",
    ),
    "kernel too large for the padding": (
        lambda: conv(W=(3, 9, 3, 4), pad=1),
        ValueError,
        "`W` must not be larger than the padded images: 9 cells do not fit into 6 + 2 * 1 = 8",
    ),
    "window too large": (
        lambda: pool(f=6),
        ValueError,
        '`hparameters["f"]` must not be larger than the padded images: 6 cells do not fit into 5',
    ),
    "no stride": (
        lambda: conv_forward(*drawn((1, 4, 4, 1), (2, 2, 1, 1), (1, 1, 1, 1)), {"pad": 1}),
        ValueError,
        "`hparameters` must have the key 'stride', got ['pad']",
    ),
    "no pad": (
        lambda: conv_forward(*drawn((1, 4, 4, 1), (2, 2, 1, 1), (1, 1, 1, 1)), {"stride": 1}),
        ValueError,
        "`hparameters` must have the key 'pad', got ['stride']",
    ),
    "no f": (
        lambda: pool_forward(np.zeros((1, 4, 4, 1)), {"stride": 1}),
        ValueError,
        "`hparameters` must have the key 'f', got ['stride']",
    ),
    "no dict": (
        lambda: pool_forward(np.zeros((1, 4, 4, 1)), 2),
        TypeError,
        "`hparameters` must be a dict, got int",
    ),
    "stride zero": (
        lambda: conv(stride=0),
        ValueError,
        '`hparameters["stride"]` must be at least 1, got 0',
    ),
    "negative pad": (
        lambda: conv(pad=-1),
        ValueError,
        '`hparameters["pad"]` must be at least 0, got -1',
    ),
    "fractional stride": (
        lambda: conv(stride=1.5),
        TypeError,
        '`hparameters["stride"]` must be a whole number, got 1.5',
    ),
    "true stride": (
        lambda: pool(stride=True),
        TypeError,
        '`hparameters["stride"]` must be a whole number, got True',
    ),
    "negative zero_pad": (
        lambda: zero_pad(np.zeros((1, 2, 2, 1)), -1),
        ValueError,
        "`pad` must be at least 0, got -1",
    ),
    "mode": (
        lambda: pool(mode="mean"),
        ValueError,
        "`mode` must be 'max' or 'average', got 'mean'",
    ),
    "mode in the backward pass": (
        lambda: pool_backward(np.zeros((2, 4, 5, 3)), pool()[1], mode="avg"),
        ValueError,
        "`mode` must be 'max' or 'average', got 'avg'",
    ),
    "dZ": (
        lambda: conv_backward(np.zeros((2, 5, 6, 4)), conv()[1]),
        ValueError,
        "`dZ` must have the shape of Z, (2, 3, 4, 4), got (2, 5, 6, 4)",
    ),
    "dA": (
        lambda: pool_backward(np.zeros((2, 5, 6, 3)), pool()[1]),
        ValueError,
        "`dA` must have the shape of A, (2, 4, 5, 3), got (2, 5, 6, 3)",
    ),
    "the wrong cache": (
        lambda: conv_backward(np.zeros((2, 5, 6, 4)), pool()[1]),
        ValueError,
        "`cache` must be the (A_prev, W, b, hparameters) that `conv_forward` returned, got 2 parts",
    ),
    "no cache": (
        lambda: pool_backward(np.zeros((2, 5, 6, 4)), np.zeros((2, 5, 6, 4))),
        ValueError,
        "`cache` must be the (A_prev, hparameters) that `pool_forward` returned, got ndarray",
    ),
    "window and weights": (
        lambda: conv_single_step(*drawn((3, 3, 2), (2, 2, 2), (1, 1, 1))),
        ValueError,
        "`W` must have the shape of `a_slice_prev`, (3, 3, 2), got (2, 2, 2)",
    ),
    "many biases": (
        lambda: conv_single_step(*drawn((3, 3, 2), (3, 3, 2), (1, 1, 1, 8))),
        ValueError,
        "`b` must hold one number, shape (1, 1, 1), got shape (1, 1, 1, 8)",
    ),
    "an empty window": (
        lambda: create_mask_from_window(np.zeros((0, 2))),
        ValueError,
        "`x` must have at least one element, got shape (0, 2)",
    ),
    "many numbers": (
        lambda: distribute_value(np.zeros(2), (2, 2)),
        ValueError,
        "`dz` must hold one number, shape (), got shape (2,)",
    ),
    "no number": (
        lambda: distribute_value("2", (2, 2)),
        TypeError,
        "`dz` must be an array, got str",
    ),
    "a truth": (
        lambda: distribute_value(True, (2, 2)),
        TypeError,
        "`dz` must be an array, got bool",
    ),
    "a truth in an array": (
        lambda: distribute_value(np.asarray(True), (2, 2)),
        TypeError,
        "`dz` must be a number, got bool",
    ),
    "no shape": (
        lambda: distribute_value(2.0, 4),
        TypeError,
        "`shape` must be a sequence of whole numbers, got 4",
    ),
    "no kernel": (
        lambda: conv(W=(0, 0, 3, 4)),
        ValueError,
        "`W` must not be empty along (f, f, n_C_prev, n_C), got shape (0, 0, 3, 4)",
    ),
    "no rows": (
        lambda: zero_pad(np.zeros((2, 0, 4, 3)), 1),
        ValueError,
        "`X` must not be empty along (m, n_H, n_W, n_C), got shape (2, 0, 4, 3)",
    ),
    "the largest complex number": (
        lambda: pool_forward(np.zeros((1, 4, 4, 1), complex), {"f": 2, "stride": 2}),
        TypeError,
        "`A_prev` must be real for the maximum, got complex128",
    ),
    "the gradient of the largest complex number": (
        lambda: pool_backward(
            np.zeros((1, 2, 2, 1), complex),
            (np.zeros((1, 4, 4, 1), complex), {"f": 2, "stride": 2}),
        ),
        TypeError,
        "`A_prev` must be real for the maximum, got complex128",
    ),
    "no cells": (
        lambda: distribute_value(2.0, (2, 0)),
        ValueError,
        "`shape` must be at least 1, got 0",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told(mistake):
    call, kind, text = MISTAKES[mistake]
    with pytest.raises(kind) as raised:
        call()
    assert text in str(raised.value)


def test_arrays_of_two_libraries_or_devices_are_refused():
    strict = pytest.importorskip("array_api_strict")
    A_prev, W, b = drawn((2, 5, 5, 3), (2, 2, 3, 4), (1, 1, 1, 4))
    hparameters = {"stride": 1, "pad": 0}
    with pytest.raises(TypeError) as raised:
        conv_forward(A_prev, strict.asarray(W), b, hparameters)
    assert "must share one namespace: `A_prev` has numpy, `W` has a" in str(raised.value)
    here = [strict.asarray(array) for array in (A_prev, b)]
    elsewhere = strict.asarray(W, device=strict.Device("device1"))
    with pytest.raises(ValueError, match=r"must share one device: `A_prev` has .*, `W` has .*"):
        conv_forward(here[0], elsewhere, here[1], hparameters)


@pytest.mark.parametrize("name", stepbystep.__all__)
def test_every_public_docstring_has_examples_that_run(name):
    thing = getattr(stepbystep, name)
    (documented,) = doctest.DocTestFinder(recurse=False).find(thing, name, globs={})
    assert documented.examples, f"{name} has no example"
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    assert doctest.DocTestRunner(optionflags=flags).run(documented).failed == 0
