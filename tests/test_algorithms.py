"""Each algorithm's three maps and their adjoints, and every algorithm against every other."""

from fractions import Fraction

import array_api_compat.numpy
import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import inner, normal, relative_error, whole

from anyconv import conv_backward, conv_backward_weight, conv_forward
from anyconv._algorithms import ALGORITHM_NAMES, algorithm_named
from anyconv._algorithms import _toom_cook as toom_cook
from anyconv._geometry import Problem, WindowGeometry
from anyconv._traits import traits_of_dtype

EXACT = ("gemm", "taps")
DTYPES = ("float64", "complex128")


def made(name, kernel, output, *, stride=1, dilation=1, groups=1, c=2, k=3, is_complex=False):
    """An algorithm for one block of two images, and the shapes of its x, w and y."""
    axes = len(kernel)
    stride, dilation = (stride,) * axes, (dilation,) * axes
    size = tuple(
        (o - 1) * s + d * (n - 1) + 1
        for o, s, d, n in zip(output, stride, dilation, kernel, strict=True)
    )
    geometry = WindowGeometry(size, kernel, stride, dilation, ((0, 0),) * axes, output)
    problem = Problem((2,), geometry, groups, groups * c, groups * k)
    dtype = "complex128" if is_complex else "float64"
    traits = traits_of_dtype(array_api_compat.numpy, np.dtype(dtype), None)
    chosen = algorithm_named(name, problem, "forward", traits)
    assert chosen.refusal(problem) is None
    algorithm = chosen.create(problem, output, traits)
    return (
        algorithm,
        (2, *algorithm.reach, groups * c),
        (*kernel, c, groups * k),
        (2, *output, groups * k),
    )


# What each algorithm says it can do: one axis to three, odd sizes, groups, depthwise.
CASES = {
    "1-d": {"kernel": (3,), "output": (7,)},
    "1-d even": {"kernel": (4,), "output": (9,), "groups": 2},
    "2-d": {"kernel": (3, 3), "output": (5, 7)},
    "2-d flat": {"kernel": (1, 5), "output": (3, 4), "groups": 3},
    "depthwise": {"kernel": (3, 2), "output": (4, 5), "groups": 4, "c": 1, "k": 1},
    "depthwise, many": {"kernel": (2, 3), "output": (4, 3), "groups": 3, "c": 1, "k": 2},
    "3-d": {"kernel": (3, 2, 3), "output": (3, 4, 2)},
}
BEYOND_WINOGRAD = {
    "strided": {"kernel": (3, 4), "output": (4, 3), "stride": 2},
    "dilated": {"kernel": (3,), "output": (6,), "dilation": 3},
    "both": {"kernel": (2, 3), "output": (3, 4), "stride": 3, "dilation": 2, "groups": 2},
    "long": {"kernel": (61,), "output": (40,), "c": 1, "k": 2},  # by the library's transform
    "long, both": {"kernel": (20, 3), "output": (9, 5), "stride": 2, "dilation": 3},
}
ALL = [
    *((name, case, CASES[case]) for name in ALGORITHM_NAMES for case in CASES),
    *(
        (name, case, BEYOND_WINOGRAD[case])
        for name in ALGORITHM_NAMES
        if name != "winograd"
        for case in BEYOND_WINOGRAD
    ),
]
every_case = pytest.mark.parametrize(
    ("name", "sizes"),
    [(name, sizes) for name, _, sizes in ALL],
    ids=[f"{name}-{case}" for name, case, _ in ALL],
)


def pairing(name, shape, algorithm):
    """The inner product of a map's far side.

    Of the half spectrum of a real array each frequency stands for its conjugate too, but for those
    that are their own; so it counts twice (Parseval), and real parts are compared.
    """
    if name != "fft" or algorithm.is_complex or algorithm.points not in shape:
        return inner
    axis = next(axis for axis in (0, -1, 1) if shape[axis] == algorithm.points)
    *_, last = algorithm.sizes
    half = last // 2 + 1
    twice = np.array([1 + (0 < f < (last + 1) // 2) for f in range(half)])
    weights = np.broadcast_to(twice, (algorithm.points // half, half)).reshape(-1)
    after = len(shape) - 1 - axis % len(shape)
    weights = weights.reshape(-1, *(1,) * after)
    return lambda a, b: np.vdot(a, weights * b).real


def spectrum(name, algorithm, terms, rng, dtype):
    """Values of the far side like `terms`: for a half spectrum, ones that a real array may have."""
    if name == "fft" and not algorithm.is_complex:
        return None
    kind = "complex128" if np.iscomplexobj(terms[0]) else dtype
    return [whole(rng, term.shape, kind) for term in terms]


def assert_adjoint(name, algorithm, near, there, far, back):
    """<A near, far> = <near, A* far>, exactly where nothing is rounded."""
    left = sum(pairing(name, a.shape, algorithm)(a, b) for a, b in zip(there, far, strict=True))
    right = inner(near, back)
    if name in EXACT:
        assert left == right
    else:
        scale = np.linalg.norm(near) * np.linalg.norm(back)
        assert abs(left - right) <= 1e-12 * scale


@every_case
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_three_maps_and_their_adjoints(np_backend, name, sizes, dtype):
    """<B x, d> = <x, B* d>, <G w, g> = <w, G* g>, <A m, y> = <m, A* y>."""
    xp, rng = np_backend.namespace, np.random.default_rng(0)
    is_complex = dtype.startswith("complex")
    algorithm, *shapes = made(name, **sizes, is_complex=is_complex)
    x, w, y = (whole(rng, shape, dtype) for shape in shapes)
    other_x, other_w, other_y = (whole(rng, shape, dtype) for shape in shapes)

    data = list(algorithm.data(x, xp=xp))
    far = spectrum(name, algorithm, data, rng, dtype) or list(algorithm.data(other_x, xp=xp))
    assert_adjoint(name, algorithm, x, data, far, algorithm.data_adjoint(far, 2, xp=xp))

    weight = list(algorithm.weight(w, xp=xp))
    far = spectrum(name, algorithm, weight, rng, dtype) or list(algorithm.weight(other_w, xp=xp))
    assert_adjoint(name, algorithm, w, weight, far, algorithm.weight_adjoint(far, xp=xp))

    points = algorithm.output_adjoint(y, xp=xp)
    far = (
        spectrum(name, algorithm, [points], rng, dtype)
        or [algorithm.output_adjoint(other_y, xp=xp)]
    )  # fmt: skip
    assert_adjoint(name, algorithm, y, [points], far, algorithm.output(far[0], 2, xp=xp))


@every_case
@pytest.mark.parametrize("dtype", DTYPES)
def test_all_algorithms_agree(xp, name, sizes, dtype):
    """Through the public functions, with padding and a bias, against plain loops."""
    bound = 0.0 if name in EXACT else 1e-13
    if xp.name.startswith("jax") and sizes not in (CASES["2-d"], BEYOND_WINOGRAD["both"]):
        pytest.skip("each new shape is compiled anew")
    rng = np.random.default_rng(0)
    _, x_shape, w_shape, _ = made("gemm", **sizes)
    x, w, b = (
        whole(rng, x_shape, dtype),
        whole(rng, w_shape, dtype),
        whole(rng, w_shape[-1:], dtype),
    )
    options = {key: sizes[key] for key in ("stride", "dilation", "groups") if key in sizes}
    options["padding"] = tuple((1, 2) for _ in sizes["kernel"])
    y = oracle.conv_forward(x, w, b, **options)
    dy = whole(rng, y.shape, dtype)
    wanted = y, *oracle.conv_backward(dy, x, w, **options)
    data, weight, bias, gradient = (xp.asarray(array) for array in (x, w, b, dy))
    found = (
        xp.call(conv_forward, data, weight, bias, algorithm=name, **options),
        *xp.call(conv_backward, gradient, data, weight, algorithm=name, **options),
    )
    for mine, other in zip(found, wanted, strict=True):
        assert relative_error(xp.to_numpy(mine), other) <= bound


# --- the matrices of minimal filtering


def fractions_of(outputs, taps):
    """The three matrices before they are rounded, seen through the file's own last step."""
    exact = []
    rounded, toom_cook._rounded = toom_cook._rounded, lambda matrix: exact.append(matrix) or matrix
    try:
        toom_cook.matrices.__wrapped__(outputs, taps)
    finally:
        toom_cook._rounded = rounded
    return exact


SIZES = [(m, r) for m in range(1, 6) for r in range(2, 6) if m + r - 1 <= toom_cook.MOST_PRODUCTS]


def product(matrix, vector):
    return [sum(map(Fraction.__mul__, row, vector), Fraction(0)) for row in matrix]


@pytest.mark.parametrize(("outputs", "taps"), SIZES)
def test_minimal_filtering_is_exact_in_fractions(outputs, taps):
    """A^T [ (G g) * (B^T d) ] is the correlation, for every pair of unit vectors, so for all."""
    data, weight, output = fractions_of(outputs, taps)
    inputs = outputs + taps - 1
    assert [len(data), len(weight), len(output)] == [inputs, inputs, outputs]
    for i in range(inputs):
        for t in range(taps):
            d = [Fraction(int(j == i)) for j in range(inputs)]
            g = [Fraction(int(j == t)) for j in range(taps)]
            points = list(map(Fraction.__mul__, product(weight, g), product(data, d)))
            assert product(output, points) == [int(i == o + t) for o in range(outputs)]


@pytest.mark.parametrize(("outputs", "taps"), SIZES)
def test_rounded_matrices_are_those_fractions(outputs, taps):
    for exact, rounded in zip(
        fractions_of(outputs, taps), toom_cook.matrices(outputs, taps), strict=True
    ):
        assert rounded == tuple(tuple(map(float, row)) for row in exact)


# --- rounding


@pytest.mark.parametrize("channels", [16, 64, 256])
@pytest.mark.parametrize("name", ["winograd", "fft"])
def test_single_precision_is_at_most_ten_times_as_rough_as_gemm(np_backend, name, channels):
    """Frobenius norms, against double precision, of the output and both gradients."""
    rng = np.random.default_rng(channels)
    x, w = normal(rng, (2, 14, 14, channels)), normal(rng, (3, 3, channels, channels))
    dy = normal(rng, x.shape)
    wide = conv_forward(x, w, padding=1), *conv_backward(dy, x, w, padding=1)
    x, w, dy = (array.astype("float32") for array in (x, w, dy))

    def errors(algorithm):
        run = {"padding": 1, "algorithm": algorithm}
        found = (
            np_backend.call(conv_forward, x, w, **run),
            *np_backend.call(conv_backward, dy, x, w, **run),
        )
        return [relative_error(a, b) for a, b in zip(found, wide, strict=True)][:3]

    for mine, plain in zip(errors(name), errors("gemm"), strict=True):
        assert plain / 10 < mine <= 10 * plain


@settings(max_examples=30)
@given(st.integers(1, 4), st.integers(1, 30), st.integers(1, 3), st.integers(1, 3))
def test_fourier_transforms_of_any_length(kernel, output, stride, dilation):
    """Every tile and every transform size that a cost may choose, on whole numbers."""
    rng = np.random.default_rng(kernel * output)
    size = (output - 1) * stride + dilation * (kernel - 1) + 1
    x, w = whole(rng, (1, size, 2)), whole(rng, (kernel, 2, 3))
    options = {"stride": stride, "dilation": dilation}
    y = conv_forward(x, w, algorithm="fft", **options)
    np.testing.assert_array_equal(np.rint(y), oracle.conv_forward(x, w, **options))


def test_a_sum_of_many_keeps_its_digits():
    """A weight gradient of one channel is a sum over all outputs; rows are cut before they drift.

    On NumPy, whose product of a row by a column may add one after the other.
    """
    rng = np.random.default_rng(0)
    x = rng.uniform(0.5, 1.5, (1, 200_000, 1)).astype("float32")
    dy = rng.uniform(0.5, 1.5, (1, 199_998, 1)).astype("float32")
    wanted = conv_backward_weight(dy.astype("float64"), x.astype("float64"), (3, 1, 1))
    for algorithm in EXACT:
        dw = conv_backward_weight(dy, x, (3, 1, 1), algorithm=algorithm)
        assert relative_error(dw, wanted) <= 5e-7  # 1.3e-6 in one sum
