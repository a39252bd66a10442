"""Convolution against PyTorch, SciPy, JAX and plain loops, and by its laws."""

import numpy as np
import oracle
import peers
import pytest
from strategies import (
    LAYOUTS,
    MODES,
    conv_cases,
    inner,
    normal,
    positive,
    relative_error,
    run_cases,
    whole,
)

import anyconv
from anyconv import (
    conv_backward,
    conv_backward_bias,
    conv_backward_input,
    conv_backward_weight,
    conv_forward,
)

EXACT = ("gemm", "taps")  # no arithmetic but sums of products
TRANSFORMED = ("winograd", "fft")
NAMES = ("y", "dx", "dw", "db")


def computed(xp, case, arrays, **more):
    """y, dx, dw, db of this package, as NumPy arrays."""
    x, w, b, dy = (None if a is None else xp.asarray(a) for a in arrays.values())
    options = {**case.options, **more}
    y = xp.call(conv_forward, x, w, b, **options)
    assert y.shape == dy.shape
    gradients = xp.call(conv_backward, dy, x, w, **options)
    assert gradients._fields == ("dx", "dw", "db")
    return [xp.to_numpy(array) for array in (y, *gradients)]


def expected(case, arrays):
    """The same by PyTorch in double precision, or by loops where PyTorch lacks the case."""
    arrays = {name: None if a is None else a.astype(np.float64) for name, a in arrays.items()}
    if peers.has_conv(case):
        return peers.conv(case, arrays)
    x, w, b, dy = arrays.values()
    y = oracle.conv_forward(x, w, b, **case.options)
    return (y, *oracle.conv_backward(dy, x, w, **case.options))


def assert_close(actual, wanted, bound):
    for name, mine, other in zip(NAMES, actual, wanted, strict=True):
        assert relative_error(mine, other) <= bound, name


@pytest.mark.parametrize(
    ("dtype", "values", "bound"), [("float64", normal, 1e-12), ("float32", positive, 2e-6)]
)
def test_forward_and_gradients_agree_with_pytorch_and_loops(xp, dtype, values, bound):
    def check(case):
        arrays = case.arrays(values, dtype)
        assert_close(computed(xp, case, arrays), expected(case, arrays), bound)

    run_cases(xp, conv_cases(), check)


@pytest.mark.parametrize("algorithm", EXACT)
def test_every_algorithm_is_exact_on_whole_numbers(xp, algorithm):
    def check(case):
        arrays = case.arrays(whole, "float64")
        actual = computed(xp, case, arrays, algorithm=algorithm)
        x, w, b, dy = arrays.values()
        y = oracle.conv_forward(x, w, b, **case.options)
        wanted = (y, *oracle.conv_backward(dy, x, w, **case.options))
        for name, mine, other in zip(NAMES, actual, wanted, strict=True):
            np.testing.assert_array_equal(mine, other, name)

    run_cases(xp, conv_cases(), check)


@pytest.mark.parametrize("algorithm", TRANSFORMED)
@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-12), ("complex128", 1e-12)])
def test_transforms_agree_with_loops_or_refuse(xp, dtype, bound, algorithm):
    def check(case):
        arrays = case.arrays(normal, dtype)
        try:
            actual = computed(xp, case, arrays, algorithm=algorithm)
        except ValueError as error:
            assert f"`algorithm` {algorithm!r} cannot do this" in str(error)  # noqa: PT017
            return
        x, w, b, dy = arrays.values()
        y = oracle.conv_forward(x, w, b, **case.options)
        assert_close(actual, (y, *oracle.conv_backward(dy, x, w, **case.options)), bound)

    run_cases(xp, conv_cases(), check)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("algorithm", [*EXACT, *TRANSFORMED])
def test_what_every_algorithm_can_do(xp, algorithm, layout):
    """Stride and dilation of one, three taps, groups: refused by none."""
    last = layout == "channels_last"
    rng = np.random.default_rng(0)
    x, w = normal(rng, (2, 9, 7, 4)), normal(rng, (3, 3, 2, 6))
    arrays = (x, w) if last else (np.moveaxis(x, -1, 1), w.transpose(3, 2, 0, 1))
    options = {"padding": ((1, 2), (0, 1)), "groups": 2, "layout": layout}
    y = oracle.conv_forward(*arrays, **options)
    dy = normal(rng, y.shape)
    wanted = y, *oracle.conv_backward(dy, *arrays, **options)
    data, weight, gradient = (xp.asarray(array) for array in (*arrays, dy))
    y = xp.call(conv_forward, data, weight, algorithm=algorithm, **options)
    found = y, *xp.call(conv_backward, gradient, data, weight, algorithm=algorithm, **options)
    assert_close([xp.to_numpy(array) for array in found], wanted, 1e-12)


@pytest.mark.parametrize("algorithm", EXACT)
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_gradients_are_the_adjoints_exactly(xp, dtype, algorithm):
    """<y, dy> = <x, dx> = <w, dw>, on whole numbers and Gaussian integers, without tolerance."""

    def check(case):
        arrays = case.arrays(whole, dtype) | {"b": None}
        y, dx, dw, db = computed(xp, case, arrays, algorithm=algorithm)
        x, w, _, dy = arrays.values()
        assert inner(y, dy) == inner(x, dx) == inner(w, dw)
        assert inner(np.ones_like(db), db) == dy.sum()

    run_cases(xp, conv_cases(), check)


def test_parts_are_the_whole(xp):
    def check(case):
        arrays = case.arrays(whole, "float64")
        x, w, _, dy = (None if a is None else xp.asarray(a) for a in arrays.values())
        dx, dw, db = xp.call(conv_backward, dy, x, w, **case.options)
        pairs = [
            (dx, xp.call(conv_backward_input, dy, w, x.shape, **case.options)),
            (dw, xp.call(conv_backward_weight, dy, x, w.shape, **case.options)),
        ]
        # Nothing but one batch axis tells where the channels are when they come first.
        if case.layout == "channels_last" or len(case.batch) == 1:
            pairs.append((db, xp.call(conv_backward_bias, dy, layout=case.layout)))
        for wholly, part in pairs:
            np.testing.assert_allclose(xp.to_numpy(part), xp.to_numpy(wholly), atol=1e-12)

    run_cases(xp, conv_cases(), check)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_agrees_with_loops(xp, dtype, layout):
    options = {"stride": 2, "padding": ((1, 2), (0, 3)), "groups": 2, "layout": layout}
    last = layout == "channels_last"
    rng = np.random.default_rng(0)
    x = normal(rng, (2, 6, 7, 4) if last else (2, 4, 6, 7), "complex128")
    w = normal(rng, (3, 2, 2, 6) if last else (6, 2, 3, 2), "complex128")
    wanted = oracle.conv_forward(x, w, **options)
    dy = normal(rng, wanted.shape, "complex128")
    bound = {"complex64": 2e-6, "complex128": 1e-13}[dtype]
    data, weight, gradient = (xp.asarray(a, dtype) for a in (x, w, dy))
    y = xp.call(conv_forward, data, weight, **options)
    assert relative_error(xp.to_numpy(y), wanted) <= bound
    gradients = xp.call(conv_backward, gradient, data, weight, **options)
    for mine, other in zip(gradients, oracle.conv_backward(dy, x, w, **options), strict=True):
        assert relative_error(xp.to_numpy(mine), other) <= bound


@pytest.mark.parametrize("axes", [1, 2, 3, 4])
@pytest.mark.parametrize("mode", ["valid", "same", "full"])
def test_one_channel_agrees_with_scipy(np_backend, axes, mode):
    signal = pytest.importorskip("scipy.signal")
    rng = np.random.default_rng(axes)
    x, w = normal(rng, (5,) * axes), normal(rng, (3,) * axes)
    y = np_backend.call(conv_forward, x[..., None], w[..., None, None], padding=mode)
    np.testing.assert_allclose(y[..., 0], signal.correlate(x, w, mode, method="direct"), atol=1e-12)


@pytest.mark.parametrize("word", ["SAME", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_padding_words_agree_with_jax(np_backend, axes, word):
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    rng = np.random.default_rng(axes)
    for size, kernel, stride, dilation in [(7, 2, 2, 1), (6, 4, 1, 2), (5, 3, 3, 1), (8, 1, 3, 1)]:
        x, w = normal(rng, (2, *[size] * axes, 4)), normal(rng, (*[kernel] * axes, 2, 6))
        if word == "VALID" and dilation * (kernel - 1) >= size:
            continue
        letters = "XYZ"[:axes]
        theirs = jax.lax.conv_general_dilated(
            x,
            w,
            (stride,) * axes,
            word,
            rhs_dilation=(dilation,) * axes,
            dimension_numbers=(f"N{letters}C", f"{letters}IO", f"N{letters}C"),
            feature_group_count=2,
        )
        options = {"stride": stride, "dilation": dilation, "groups": 2, "padding": word.lower()}
        y = np_backend.call(conv_forward, x, w, **options)
        assert relative_error(y, np.asarray(theirs)) <= 1e-13


def test_the_kernel_is_not_flipped(xp):
    x, w = xp.asarray(np.array([[1.0], [10], [100]])), xp.asarray(np.array([[[1.0]], [[2.0]]]))
    np.testing.assert_array_equal(xp.to_numpy(xp.call(conv_forward, x, w)), [[21.0], [210]])


@pytest.mark.parametrize(
    ("padding", "wanted"),
    [("valid", [3, 5]), ("same", [3, 5, 3]), ("same_lower", [1, 3, 5]), ("full", [1, 3, 5, 3])],
)
def test_padding_words(np_backend, padding, wanted):
    x, w = np.array([[1.0], [2], [3]]), np.ones((2, 1, 1))
    y = np_backend.call(conv_forward, x, w, padding=padding)
    np.testing.assert_array_equal(y[:, 0], wanted)


@pytest.mark.parametrize(
    ("mode", "wanted"),
    [
        ("zeros", [0, 0, 1, 2, 3, 4, 0, 0]),
        ("reflect", [3, 2, 1, 2, 3, 4, 3, 2]),
        ("replicate", [1, 1, 1, 2, 3, 4, 4, 4]),
        ("circular", [3, 4, 1, 2, 3, 4, 1, 2]),
    ],
)
def test_padding_modes(xp, mode, wanted):
    x, w = xp.asarray(np.array([[1.0], [2], [3], [4]])), xp.asarray(np.ones((1, 1, 1)))
    y = xp.call(conv_forward, x, w, padding=2, padding_mode=mode)
    np.testing.assert_array_equal(xp.to_numpy(y)[:, 0], wanted)


@pytest.mark.parametrize("mode", ["replicate", "circular"])
def test_padding_may_exceed_input_and_kernel(xp, mode):
    rng = np.random.default_rng(0)
    x, w = whole(rng, (3, 2)), whole(rng, (2, 2, 1))
    options = {"padding": ((7, 8),), "padding_mode": mode, "stride": 2}
    y = xp.call(conv_forward, xp.asarray(x), xp.asarray(w), **options)
    np.testing.assert_array_equal(xp.to_numpy(y), oracle.conv_forward(x, w, **options))


def test_inputs_that_no_window_reaches_get_no_gradient(xp):
    x, w = np.ones((1, 8, 1)), np.ones((2, 1, 1))
    y = xp.call(conv_forward, xp.asarray(x), xp.asarray(w), stride=3)  # windows at 0, 3, 6
    dy = xp.asarray(np.ones(y.shape))
    dx = xp.call(conv_backward_input, dy, xp.asarray(w), x.shape, stride=3)
    np.testing.assert_array_equal(xp.to_numpy(dx)[0, :, 0], [1, 1, 0, 1, 1, 0, 1, 1])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("multiplier", [1, 3])
def test_depthwise(xp, layout, multiplier):
    rng = np.random.default_rng(0)
    last = layout == "channels_last"
    x = whole(rng, (2, 6, 5, 4) if last else (2, 4, 6, 5))
    w = whole(rng, (3, 2, 1, 4 * multiplier) if last else (4 * multiplier, 1, 3, 2))
    options = {"groups": 4, "padding": 1, "layout": layout}
    y = xp.call(conv_forward, xp.asarray(x), xp.asarray(w), **options)
    np.testing.assert_array_equal(xp.to_numpy(y), oracle.conv_forward(x, w, **options))
    dy = whole(rng, y.shape)
    gradients = xp.call(conv_backward, xp.asarray(dy), xp.asarray(x), xp.asarray(w), **options)
    for mine, other in zip(gradients, oracle.conv_backward(dy, x, w, **options), strict=True):
        np.testing.assert_array_equal(xp.to_numpy(mine), other)


@pytest.mark.parametrize("stride", [2, 3, (1, 2), (2, 1)])
def test_strided_depthwise(xp, stride):
    """The phases of dx are written between one another, rows joined with their channels or not."""
    rng = np.random.default_rng(0)
    x, w = whole(rng, (3, 9, 8, 4)), whole(rng, (3, 3, 1, 4))
    options = {"groups": 4, "padding": ((1, 2), (0, 1)), "stride": stride}
    dy = whole(rng, oracle.conv_forward(x, w, **options).shape)
    gradients = xp.call(conv_backward, xp.asarray(dy), xp.asarray(x), xp.asarray(w), **options)
    for mine, other in zip(gradients, oracle.conv_backward(dy, x, w, **options), strict=True):
        np.testing.assert_array_equal(xp.to_numpy(mine), other)


@pytest.mark.parametrize("axes", [5])
def test_more_axes_than_anyone_needs(np_backend, axes):
    rng = np.random.default_rng(0)
    x, w = whole(rng, (*[3] * axes, 2)), whole(rng, (*[2] * axes, 2, 3))
    y = np_backend.call(conv_forward, x, w, padding="same")
    np.testing.assert_array_equal(y, oracle.conv_forward(x, w, padding="same"))


# --- dtypes


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "complex64"])
def test_results_keep_the_dtype(xp, dtype):
    """`call` compares the dtypes; the values are whole, so exact in all of them."""
    if not xp.has(dtype):
        pytest.skip(f"{xp.name} has no {dtype}")
    rng = np.random.default_rng(0)
    x, w, b = whole(rng, (2, 5, 4, 3)), whole(rng, (2, 2, 3, 2)), whole(rng, (2,))
    wanted = oracle.conv_forward(x, w, b, padding="same")
    dy = whole(rng, wanted.shape)
    x_, w_, b_, dy_ = (xp.asarray(array, dtype) for array in (x, w, b, dy))
    y = xp.call(conv_forward, x_, w_, b_, padding="same")
    np.testing.assert_array_equal(xp.to_numpy(y), xp.to_numpy(xp.asarray(wanted, dtype)))
    gradients = xp.call(conv_backward, dy_, x_, w_, padding="same")
    for mine, other in zip(gradients, oracle.conv_backward(dy, x, w, padding="same"), strict=True):
        np.testing.assert_array_equal(xp.to_numpy(mine), xp.to_numpy(xp.asarray(other, dtype)))


@pytest.mark.parametrize("algorithm", ["auto", *EXACT])
@pytest.mark.parametrize(("dtype", "big"), [("float16", 2048), ("bfloat16", 256)])
def test_half_precision_is_accumulated_in_single(xp, dtype, big, algorithm):
    """In half precision big + 1 is big: 1 + big + 1 is big + 2 only where sums are wider."""
    if not xp.has(dtype):
        pytest.skip(f"{xp.name} has no {dtype}")
    row = np.array([1.0, big, 1.0])
    ones, three = xp.asarray(np.ones((3, 1)), dtype), xp.asarray(row[:, None], dtype)
    weight, weights = (xp.asarray(a[:, None, None], dtype) for a in (np.ones(3), row))
    channels = xp.asarray(row[None, :], dtype), xp.asarray(np.ones((1, 3, 1)), dtype)
    bias = xp.asarray(np.ones(1), dtype)
    one = xp.asarray(np.ones((1, 1, 1)), dtype)
    named = {"algorithm": algorithm}
    results = {
        "taps": xp.call(conv_forward, three, weight, **named),
        "channels": xp.call(conv_forward, *channels, **named),
        "bias": xp.call(
            conv_forward, xp.asarray([[1.0], [big]], dtype), weight[:2, ...], bias, **named
        ),
        "dx": xp.call(conv_backward_input, ones, weights, (5, 1), **named)[2:3, ...],
        "dw": xp.call(conv_backward_weight, three, ones, one.shape, **named),
        "db": xp.call(conv_backward_bias, three),
    }
    for name, result in results.items():
        assert xp.to_numpy(result).item() == big + 2, name


def test_half_precision_sums_may_pass_its_range(xp):
    if not xp.has("float16"):
        pytest.skip(f"{xp.name} has no float16")
    x = xp.asarray(np.array([[300.0], [300.0]]), "float16")
    w = xp.asarray(np.array([300.0, -300.0])[:, None, None], "float16")
    for algorithm in ("auto", *EXACT):
        y = xp.call(conv_forward, x, w, algorithm=algorithm)
        assert xp.to_numpy(y).item() == 0  # 90000 - 90000, where float16 ends at 65504
    dy = xp.asarray(np.full((2, 1, 1), 300.0), "float16")
    x = xp.asarray(np.array([300.0, -300.0])[:, None, None], "float16")  # on Dask a block each
    dw = xp.call(conv_backward_weight, dy, x, (1, 1, 1))
    assert xp.to_numpy(dw).item() == 0


# --- edges


@pytest.mark.parametrize(
    ("algorithm", "mode", "layout"),
    [
        *((algorithm, "zeros", layout) for algorithm in ("auto", *EXACT) for layout in LAYOUTS),
        *(("auto", mode, "channels_last") for mode in MODES[1:]),
    ],
)
def test_empty_batches(xp, algorithm, mode, layout):
    last = layout == "channels_last"
    x = xp.asarray(np.zeros((0, 2, 6, 5, 4) if last else (0, 2, 4, 6, 5)))
    w = xp.asarray(np.ones((3, 2, 2, 6) if last else (6, 2, 3, 2)))
    b = xp.asarray(np.ones(6))
    options = {"groups": 2, "padding": 1, "padding_mode": mode, "layout": layout}
    options["algorithm"] = algorithm
    y = xp.call(conv_forward, x, w, b, **options)
    assert y.shape == (0, 2, 6, 6, 6)
    dx, dw, db = xp.call(conv_backward, y, x, w, **options)
    assert dx.shape == x.shape
    np.testing.assert_array_equal(xp.to_numpy(dw), np.zeros(w.shape))
    np.testing.assert_array_equal(xp.to_numpy(db), np.zeros(6))


def test_no_batch_axis_and_many_are_the_same(xp):
    rng = np.random.default_rng(0)
    x, w = whole(rng, (2, 1, 3, 6, 5, 2)), xp.asarray(whole(rng, (3, 2, 2, 4)))
    y = xp.to_numpy(xp.call(conv_forward, xp.asarray(x), w))
    for batch in np.ndindex(2, 1, 3):
        single = xp.call(conv_forward, xp.asarray(x[batch]), w)
        np.testing.assert_array_equal(xp.to_numpy(single), y[batch])


def test_layouts_are_the_same_numbers(xp):
    rng = np.random.default_rng(0)
    x, w = whole(rng, (2, 6, 5, 4)), whole(rng, (3, 2, 2, 6))
    options = {"stride": (2, 1), "padding": (1, 0), "groups": 2}
    last = xp.call(conv_forward, xp.asarray(x), xp.asarray(w), **options)
    first = xp.call(
        conv_forward,
        xp.asarray(np.moveaxis(x, -1, 1)),
        xp.asarray(w.transpose(3, 2, 0, 1)),
        layout="channels_first",
        **options,
    )
    np.testing.assert_array_equal(np.moveaxis(xp.to_numpy(first), 1, -1), xp.to_numpy(last))


def test_views_and_orders_of_memory(np_backend):
    """Transposed, reversed, strided, Fortran-ordered and read-only arrays are as good as any."""
    rng = np.random.default_rng(0)
    x, w = whole(rng, (2, 6, 5, 4)), whole(rng, (3, 2, 4, 6))
    y = conv_forward(x, w)
    spread = np.zeros((2, 12, 10, 8))
    spread[:, ::2, 1::2, ::-2] = x
    read_only = x.copy()
    read_only.flags.writeable = False
    for same in (np.asfortranarray(x), spread[:, ::2, 1::2, ::-2], read_only):
        np.testing.assert_array_equal(np_backend.call(conv_forward, same, w), y)
    kernel = np.asfortranarray(w)
    np.testing.assert_array_equal(np_backend.call(conv_forward, x, kernel), y)
    strided = np.broadcast_to(x[:1], (3, 6, 5, 4))
    np.testing.assert_array_equal(np_backend.call(conv_forward, strided, w)[2], y[0])


def test_two_runs_are_equal(xp):
    rng = np.random.default_rng(0)
    arrays = normal(rng, (4, 17, 15, 8), "float32"), normal(rng, (3, 3, 8, 8), "float32")
    x, w = (xp.asarray(array) for array in arrays)
    for algorithm in ("auto", *EXACT):
        once, again = (
            xp.call(conv_forward, x, w, padding=1, algorithm=algorithm) for _ in range(2)
        )
        np.testing.assert_array_equal(xp.to_numpy(once), xp.to_numpy(again))
        once, again = (
            xp.call(conv_backward, y, x, w, padding=1, algorithm=algorithm) for y in (once, again)
        )
        for a, b in zip(once, again, strict=True):
            np.testing.assert_array_equal(xp.to_numpy(a), xp.to_numpy(b))


@pytest.mark.parametrize(
    "chunks", [(1, 2, 2, 1), (2, 6, 5, 2), (1, 6, (1, 4), 4), ((1, 1), (2, 3, 1), 5, (1, 3))]
)
def test_any_blocks_on_dask(chunks):
    """Blocks that cut the spatial axes and the channels too, never computed inside a call."""
    da = pytest.importorskip("dask.array")
    import backends

    dask = backends.load("dask")
    rng = np.random.default_rng(0)
    x, w = whole(rng, (2, 6, 5, 4)), whole(rng, (3, 2, 4, 6))
    options = {"padding": "same", "stride": (1, 2)}
    data, weight = da.from_array(x, chunks=chunks), da.from_array(w, chunks=(3, 1, 2, 3))
    y = dask.call(conv_forward, data, weight, **options)
    wanted = oracle.conv_forward(x, w, **options)
    np.testing.assert_array_equal(y.compute(), wanted)
    dy = whole(rng, wanted.shape)
    gradients = dask.call(conv_backward, da.from_array(dy, chunks=2), data, weight, **options)
    for mine, other in zip(gradients, oracle.conv_backward(dy, x, w, **options), strict=True):
        np.testing.assert_array_equal(mine.compute(), other)


def test_dask_computes_within_the_options_of_the_call():
    """Its blocks are computed after the call, in threads that know nothing of its options."""
    da = pytest.importorskip("dask.array")
    x = da.from_array(np.ones((2, 8, 8, 4)), chunks=(1, 8, 8, 4))
    w = da.from_array(np.ones((3, 3, 4, 8)))
    with anyconv.options(workspace_bytes=1):
        refused = conv_forward(x, w, algorithm="gemm")
    allowed = conv_forward(x, w, algorithm="gemm")
    with anyconv.options(workspace_bytes=1):
        assert float(allowed.sum().compute()) == 2 * 6 * 6 * 8 * 36
    with pytest.raises(ValueError, match="`workspace_bytes` must be at least"):
        refused.compute()
