"""Convolution and correlation against SciPy, their adjoints against the identity."""

import tracemalloc
from itertools import product

import numpy as np
import pytest
import scipy.signal

from anyconv import options, plan_conv, signal
from anyconv.testing import check_adjoint

DTYPES = ("float32", "float64", "complex64", "complex128")
MODES = ("full", "valid", "same")

# batch, m, n, strides: odd and even, a filter of size one, strides that leave cells unread
SHAPES = {
    1: ((2, 3), (11,), (4,), (3,)),
    2: ((2,), (7, 8), (3, 4), (1, 2)),
    3: ((), (5, 6, 4), (2, 3, 1), (2, 1, 3)),
    4: ((2,), (4, 3, 5, 4), (2, 3, 2, 2), (1, 2, 2, 1)),
}
CASES = [
    pytest.param(d, mode, strided, multi_channel, id=f"{d}d-{mode}-{name}{'-channels' * channels}")
    for d, mode, (strided, name), channels in product(
        SHAPES, MODES, [(False, "dense"), (True, "strided")], [False, True]
    )
    for multi_channel in [channels]
]

# Once for each number of axes and each mode, the rest in turn: for the libraries that compile.
A_DOZEN = [
    pytest.param(
        ("convolve", "correlate")[i % 2],
        d,
        mode,
        i // 2 % 2 == 0,
        (i + i // 4) % 2 == 0,
        id=f"{d}d-{mode}",
    )
    for i, (d, mode) in enumerate(product(SHAPES, MODES))
]

FUNCTIONS = {
    "convolve": (
        signal.convolve,
        signal.convolve_data_adjoint,
        signal.convolve_filter_adjoint,
        scipy.signal.convolve,
    ),
    "correlate": (
        signal.correlate,
        signal.correlate_data_adjoint,
        signal.correlate_filter_adjoint,
        scipy.signal.correlate,
    ),
}


def whole_numbers(shape, seed, dtype="complex128"):
    """Numbers whose sums of products are exact in any floating dtype."""
    rng = np.random.default_rng(seed)
    real, imaginary = rng.integers(-4, 5, (2, *shape))
    return (real + 1j * imaginary if "complex" in dtype else real).astype(dtype)


def normal(shape, seed):
    real, imaginary = np.random.default_rng(seed).standard_normal((2, *shape))
    return real + 1j * imaginary


def shapes(d, strided, multi_channel):
    batch, m, n, strides = SHAPES[d]
    data, filt = (*batch, *(3,) * multi_channel, *m), (*(2, 3) * multi_channel, *n)
    return data, filt, strides if strided else None


def by_scipy(function, data, filt, mode, strides, multi_channel, method="direct"):
    """The definition, on SciPy's function of one channel of one image."""
    ndim = filt.ndim - 2 * multi_channel
    if not multi_channel:
        data = np.expand_dims(data, -ndim - 1)
        filt = filt[None, None]
    batch = data.shape[: -ndim - 1]
    every = tuple(slice(None, None, stride) for stride in strides or (1,) * ndim)
    images = [
        [
            sum(function(x, w, mode, method) for x, w in zip(channels, weights, strict=True))[every]
            for weights in filt
        ]
        for channels in data.reshape(-1, *data.shape[len(batch) :])
    ]
    output = np.asarray(images)
    output = output.reshape(*batch, *output.shape[1:])
    return output if multi_channel else np.squeeze(output, -ndim - 1)


@pytest.mark.parametrize(("name", "d", "mode", "strided", "multi_channel"), A_DOZEN)
def test_equals_scipy_exactly_on_whole_numbers(xp, name, d, mode, strided, multi_channel):
    ours, *_, theirs = FUNCTIONS[name]
    data_shape, filt_shape, strides = shapes(d, strided, multi_channel)
    data, filt = whole_numbers(data_shape, 0), whole_numbers(filt_shape, 1)

    output = xp.call(
        ours, xp.asarray(data), xp.asarray(filt), mode, strides, multi_channel, algorithm="gemm"
    )

    expected = by_scipy(theirs, data, filt, mode, strides, multi_channel)
    np.testing.assert_array_equal(xp.to_numpy(output), expected, strict=True)


@pytest.mark.parametrize("method", ["direct", "fft"])
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(("d", "mode", "strided", "multi_channel"), CASES)
def test_equals_scipy_by_the_planner_s_choice(
    np_backend, name, method, d, mode, strided, multi_channel
):
    ours, *_, theirs = FUNCTIONS[name]
    data_shape, filt_shape, strides = shapes(d, strided, multi_channel)
    data, filt = normal(data_shape, 0), normal(filt_shape, 1)

    output = np_backend.call(ours, data, filt, mode, strides, multi_channel)

    expected = by_scipy(theirs, data, filt, mode, strides, multi_channel, method)
    np.testing.assert_allclose(output, expected, rtol=1e-12, atol=1e-12, strict=True)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(("m", "n"), [(16, 5), (16, 6), (15, 6), (15, 5), (3, 8), (4, 9)])
def test_same_is_centred_as_scipy_centres_it(np_backend, name, m, n):
    ours, *_, theirs = FUNCTIONS[name]
    data, filt = whole_numbers((m,), 0), whole_numbers((n,), 1)
    output = np_backend.call(ours, data, filt, "same", algorithm="gemm")
    np.testing.assert_allclose(output, theirs(data, filt, "same", "fft"), atol=1e-12)


@pytest.mark.parametrize(("name", "d", "mode", "strided", "multi_channel"), A_DOZEN)
def test_adjoints_satisfy_the_identity_exactly(xp, name, d, mode, strided, multi_channel):
    check_both_adjoints(
        xp, name, d, mode, strided, multi_channel, whole_numbers, {"algorithm": "gemm"}, exact=True
    )


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(("d", "mode", "strided", "multi_channel"), CASES)
def test_adjoints_satisfy_the_identity_by_the_planner_s_choice(
    np_backend, name, d, mode, strided, multi_channel
):
    check_both_adjoints(
        np_backend, name, d, mode, strided, multi_channel, lambda s, i: normal(s, i), {}, rtol=1e-12
    )


def check_both_adjoints(xp, name, d, mode, strided, multi_channel, draw, options, **tolerance):
    forward, data_adjoint, filter_adjoint, _ = FUNCTIONS[name]
    data_shape, filt_shape, strides = shapes(d, strided, multi_channel)
    rest = (mode, strides, multi_channel)
    data, filt = xp.asarray(draw(data_shape, 0)), xp.asarray(draw(filt_shape, 1))
    output = xp.asarray(draw(forward(data, filt, *rest).shape, 2))

    check_adjoint(
        lambda x: xp.call(forward, x, filt, *rest, **options),
        lambda y: xp.call(data_adjoint, y, filt, data_shape, *rest, **options),
        data,
        output,
        **tolerance,
    )

    # Correlation is antilinear in its filter: its conjugate is the linear map.
    conj = xp.namespace.conj if name == "correlate" else lambda x: x
    check_adjoint(
        lambda w: (
            conj(xp.call(forward, data, w, *rest, **options))
            if name == "correlate"
            else xp.call(forward, data, w, *rest, **options)
        ),
        lambda y: xp.call(filter_adjoint, conj(y), data, filt_shape, *rest, **options),
        filt,
        output,
        **tolerance,
    )


@pytest.mark.parametrize(("first", "second"), list(product(DTYPES, DTYPES)))
def test_dtypes_are_promoted_by_the_standard(xp, first, second):
    forward, data_adjoint, filter_adjoint, theirs = FUNCTIONS["convolve"]
    expected = np.result_type(first, second)
    data, filt = whole_numbers((2, 9), 0, first), whole_numbers((4,), 1, second)
    output, other_data = whole_numbers((2, 12), 2, first), whole_numbers((2, 9), 3, second)

    y = forward(xp.asarray(data), xp.asarray(filt), algorithm="gemm")
    dx = data_adjoint(xp.asarray(output), xp.asarray(filt), (2, 9), algorithm="gemm")
    df = filter_adjoint(xp.asarray(output), xp.asarray(other_data), (4,), algorithm="gemm")

    assert [xp.dtype_name(array) for array in (y, dx, df)] == [str(expected)] * 3
    np.testing.assert_array_equal(xp.to_numpy(y), by_scipy(theirs, data, filt, "full", None, False))


def test_a_batch_may_be_empty(np_backend):
    data, filt = np.zeros((0, 9)), np.ones(4)
    output = np_backend.call(signal.convolve, data, filt)
    assert output.shape == (0, 12)
    assert np_backend.call(signal.convolve_data_adjoint, output, filt, (0, 9)).shape == (0, 9)
    filter_adjoint = np_backend.call(signal.convolve_filter_adjoint, output, data, (4,))
    np.testing.assert_array_equal(filter_adjoint, np.zeros(4))


@pytest.mark.parametrize("operation", ["convolve", "data_adjoint", "filter_adjoint"])
def test_memory_stays_within_the_workspace(operation):
    data_shape, filt_shape = (1, 143, 143), (8, 1, 16, 16)
    data, filt = (
        normal(data_shape, 0).astype("complex64"),
        normal(filt_shape, 1).astype("complex64"),
    )
    output = normal((8, 128, 128), 2).astype("complex64")
    rest = ("valid", None, True)
    call = {
        "convolve": lambda: signal.convolve(data, filt, *rest),
        "data_adjoint": lambda: signal.convolve_data_adjoint(output, filt, data_shape, *rest),
        "filter_adjoint": lambda: signal.convolve_filter_adjoint(output, data, filt_shape, *rest),
    }[operation]
    limit = 4 * 2**20  # all windows at once would take 32 MiB
    with options(workspace_bytes=limit):
        call()  # what a first call keeps for the next is not its workspace
        tracemalloc.start()
        result = call()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak - result.nbytes <= limit


def test_a_large_kernel_on_a_volume_is_planned_within_the_workspace():
    # Its unfolded windows would be 512 GiB.
    with options(workspace_bytes=2**28):
        plan = plan_conv(
            (1, 271, 271, 271),
            (8, 1, 16, 16, 16),
            dtype="complex64",
            layout="channels_first",
            namespace="numpy",
        )
    assert plan.workspace <= 2**28


def test_strides_may_be_one_number_or_numpy_s(np_backend):
    data, filt = whole_numbers((7, 8), 0), whole_numbers((2, 3), 1)
    expected = signal.convolve(data, filt, strides=(2, 2))
    np.testing.assert_array_equal(signal.convolve(data, filt, strides=2), expected)
    np.testing.assert_array_equal(signal.convolve(data, filt, strides=np.array([2, 2])), expected)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            (np.ones(3), np.ones(4), "valid"),
            ValueError,
            "in mode 'valid' `filt` must fit into `data`, got 4 on 3 along spatial axis 0",
        ),
        (
            (np.ones(3), np.ones(4), "wrap"),
            ValueError,
            "`mode` must be one of 'full', 'valid', 'same', got",
        ),
        (
            (np.ones((3, 3)), np.ones((2, 2)), "full", (1,)),
            ValueError,
            r"`strides` must be one number or one for each of the 2 spatial axes, got 1: \(1,\)",
        ),
        ((np.ones(3), np.ones(2), "full", 0), ValueError, "`strides` must be at least 1, got 0"),
        (
            (np.ones((4, 9)), np.ones((2, 3, 5)), "full", None, True),
            ValueError,
            r"`filt` must have the 4 channels of `data`, got 3 \(`data` \(4, 9\)",
        ),
        (
            (np.ones(9), np.ones((2, 5)), "full", None, True),
            ValueError,
            r"`filt` must have the shape \(c_o, c_i, n_1, ..., n_D\) with D at least 1, got",
        ),
        (
            (np.ones(9), np.ones((2, 1, 5)), "full", None, True),
            ValueError,
            r"`data` must have 1 spatial axes after its channels, as `filt` \(2, 1, 5\) has, got",
        ),
        ((np.ones(9), np.ones((2, 5))), ValueError, "`data` must have 2 spatial axes, as `filt`"),
        (
            (np.ones((2, 0)), np.ones(1)),
            ValueError,
            r"`data` must not be empty along its signal axes, got \(2, 0\)",
        ),
        (
            (np.ones(9, dtype=np.int64), np.ones(3)),
            TypeError,
            "`data` must be of a floating or complex dtype, got int64; convert it first",
        ),
        (([1.0, 2.0], np.ones(3)), TypeError, "`data` must be an array, got list"),
        ((np.ones(3), np.ones(2), None), TypeError, "`mode` must be one of .*, got None"),
        ((np.ones(3), np.ones(2), "full", 1.5), TypeError, "`strides` .* whole number .* got 1.5"),
        ((np.ones(3), np.ones(2), "full", "2"), TypeError, "`strides` .* whole number .* got '2'"),
        ((np.ones(3), np.ones(2), "full", True), TypeError, "`strides` .* got True"),
        ((np.ones(3), np.ones(2), "full", (2.0,)), TypeError, r"`strides` .* got 2\.0"),
        ((np.ones(3), np.ones(2), "full", None, "yes"), TypeError, "`multi_channel` .* got 'yes'"),
        ((np.ones(3), np.ones(2), "full", None, 2), TypeError, "`multi_channel` .* got 2"),
    ],
)
def test_errors_name_the_argument_and_the_numbers(arguments, error, message):
    with pytest.raises(error, match=message):
        signal.convolve(*arguments)


@pytest.mark.parametrize(
    ("shape", "error", "message"),
    [
        (None, TypeError, "`data_shape` must be a sequence of whole numbers, got None"),
        (5, TypeError, "`data_shape` must be a sequence of whole numbers, got 5"),
        ((5.0,), TypeError, r"`data_shape` must be a whole number, got 5\.0"),
        ((-1, 5), ValueError, "`data_shape` must be at least 0, got -1"),
    ],
)
def test_a_shape_is_whole_numbers(shape, error, message):
    with pytest.raises(error, match=message):
        signal.convolve_data_adjoint(np.ones(7), np.ones(3), shape)
    with pytest.raises(error, match=message.replace("data", "filt")):
        signal.convolve_filter_adjoint(np.ones(7), np.ones(3), shape)


@pytest.mark.parametrize(
    ("function", "other", "shape"),
    [
        (signal.convolve_data_adjoint, np.ones(3), (9,)),
        (signal.convolve_filter_adjoint, np.ones(9), (3,)),
        (signal.correlate_data_adjoint, np.ones(3), (9,)),
        (signal.correlate_filter_adjoint, np.ones(9), (3,)),
    ],
)
def test_adjoints_check_the_shape_of_the_output(function, other, shape):
    message = (
        r"`output` must have the shape \(6,\) that data \(9,\) and filter \(3,\) give, got \(7,\)"
    )
    with pytest.raises(ValueError, match=message):
        function(np.ones(7), other, shape, strides=2)
