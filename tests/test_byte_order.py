"""NumPy's arrays of the other byte order: results keep it, and are those of the processor's own."""

import numpy as np
import pytest

import anyconv

INPUT = (2, 24, 23, 4)
RNG = np.random.default_rng(0)


def drawn(shape):
    return RNG.integers(-4, 5, shape).astype("float64")


X, W, B = drawn(INPUT), drawn((3, 3, 4, 6)), drawn((6,))
DY, SMALL = drawn((2, 22, 21, 6)), drawn((2, 12, 11, 4))
PLACES = anyconv.max_pool_forward(X, 2, return_indices=True)[1]
PADDED = drawn((2, 28, 27, 4))

# Each call, the arrays that it is given, and the kinds of numbers that it takes.
CALLS = {
    "conv": (lambda x, w, b: anyconv.conv_forward(x, w, b), (X, W, B), "fc"),
    "conv fft": (lambda x, w: anyconv.conv_forward(x, w, algorithm="fft"), (X, W), "fc"),
    "conv winograd": (lambda x, w: anyconv.conv_forward(x, w, algorithm="winograd"), (X, W), "fc"),
    "conv gradients": (lambda dy, x, w: tuple(anyconv.conv_backward(dy, x, w)), (DY, X, W), "fc"),
    "bias": (lambda dy: anyconv.conv_backward_bias(dy), (DY,), "fc"),
    "bias of channels first": (
        lambda dy: anyconv.conv_backward_bias(dy, layout="channels_first"),
        (DY,),
        "fc",
    ),
    "transpose": (lambda x, w, b: anyconv.conv_transpose_forward(x, w, b), (DY, W, B[:4]), "fc"),
    "transpose gradients": (
        lambda dy, x, w: tuple(anyconv.conv_transpose_backward(dy, x, w)),
        (X, DY, W),
        "fc",
    ),
    "max": (lambda x: anyconv.max_pool_forward(x, 2), (X,), "fi"),
    "max gradient": (lambda dy, x: anyconv.max_pool_backward(dy, x, 2), (SMALL, X), "fi"),
    "unpool": (lambda y: anyconv.max_unpool_forward(y, PLACES, (24, 23)), (SMALL,), "fci"),
    "unpool gradient": (lambda dx: anyconv.max_unpool_backward(dx, PLACES), (X,), "fci"),
    "average": (lambda x: anyconv.avg_pool_forward(x, 2), (X,), "fc"),
    "average gradient": (lambda dy: anyconv.avg_pool_backward(dy, INPUT, 2), (SMALL,), "fc"),
    "lp": (lambda x: anyconv.lp_pool_forward(x, 2), (X,), "f"),
    "lp gradient": (lambda dy, x: anyconv.lp_pool_backward(dy, x, 2), (SMALL, X), "f"),
    "adaptive": (lambda x: anyconv.adaptive_avg_pool_forward(x, 5), (X,), "fc"),
    "unfold": (lambda x: anyconv.unfold(x, 2), (X,), "fci"),
    "pad": (lambda x: anyconv.pad(x, 2, mode="reflect"), (X,), "fci"),
    **{
        f"pad gradient {mode}": (
            lambda dy, mode=mode: anyconv.pad_backward(dy, INPUT, 2, mode=mode),
            (PADDED,),
            "fci",
        )
        for mode in ("zeros", "reflect", "replicate", "circular")
    },
}


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "int32"])
@pytest.mark.parametrize("name", CALLS)
def test_the_other_byte_order(name, dtype):
    call, arrays, kinds = CALLS[name]
    if np.dtype(dtype).kind not in kinds:
        pytest.skip(f"{name} does not take {dtype}")
    own = [array.astype(dtype) for array in arrays]
    other = [array.astype(array.dtype.newbyteorder()) for array in own]
    found, wanted = call(*other), call(*own)
    if not isinstance(found, tuple):
        found, wanted = (found,), (wanted,)
    for mine, its in zip(found, wanted, strict=True):
        assert mine.dtype == other[0].dtype != its.dtype
        np.testing.assert_allclose(mine, its, rtol=1e-5, atol=1e-4)
    for array, before in zip(other, arrays, strict=True):
        np.testing.assert_array_equal(array, before)
