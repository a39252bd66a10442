"""The checks let right layers pass and catch wrong ones, with a text that says what is wrong."""

import doctest
from typing import NamedTuple

import numpy as np
import pytest

import anyconv
from anyconv import testing
from anyconv.testing import AdjointCheck, GradientCheck, check_adjoint, check_gradients

DTYPES = ["float32", "float64", "complex64", "complex128"]


def drawn(xp, *shape, dtype="float64", seed=0, whole=False):
    generator = np.random.default_rng(seed)

    def draw():
        if whole:
            return generator.integers(-4, 5, size=shape).astype(float)
        return generator.normal(size=shape)

    return xp.asarray(draw() + 1j * draw() if dtype.startswith("complex") else draw(), dtype)


class Product:
    """The matrix product x w with its adjoints, in whatever namespace."""

    def __init__(self, xp):
        self.xp = xp.namespace

    def adjoint(self, a):
        complex_ = self.xp.isdtype(a.dtype, "complex floating")
        return self.xp.matrix_transpose(self.xp.conj(a) if complex_ else a)

    def forward(self, x, w):
        return x @ w

    def backward(self, dy, x, w):
        return dy @ self.adjoint(w), self.adjoint(x) @ dy


# ---- Adjoints


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_adjoint_passes(xp, dtype):
    product = Product(xp)
    w = drawn(xp, 4, 5, dtype=dtype)
    check = check_adjoint(
        lambda x: x @ w, lambda y: y @ product.adjoint(w), drawn(xp, 3, 4, dtype=dtype)
    )
    assert isinstance(check, AdjointCheck)
    assert check.relative_error < (1e-15 if dtype in ("float64", "complex128") else 1e-6)
    assert check.forward_side == pytest.approx(check.adjoint_side, rel=1e-5)
    assert isinstance(check.forward_side, complex if dtype.startswith("complex") else float)


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_adjoint_passes_exactly_on_whole_numbers(xp, dtype):
    product = Product(xp)
    w = drawn(xp, 4, 5, dtype=dtype, whole=True)
    x, y = (drawn(xp, 3, n, dtype=dtype, seed=n, whole=True) for n in (4, 5))
    for given in (y, None):
        check = check_adjoint(
            lambda x: x @ w, lambda y: y @ product.adjoint(w), x, given, exact=True
        )
        assert check.relative_error == 0
        assert check.forward_side == check.adjoint_side != 0


def test_the_inner_products_are_numpys(xp):
    x, y = drawn(xp, 6, dtype="complex128"), drawn(xp, 6, dtype="complex128", seed=1)
    check = check_adjoint(lambda x: 2j * x, lambda y: -2j * y, x, y)
    expected = np.vdot(2j * xp.to_numpy(x), xp.to_numpy(y))
    assert check.forward_side == pytest.approx(expected, rel=1e-14)


WRONG_ADJOINTS = {
    "sign": (lambda y, w, xp: -(y * xp.conj(w)), "the sign is wrong"),
    "conjugate": (lambda y, w, xp: y * w, "it is the transpose: the adjoint of a complex map"),
    "factor": (lambda y, w, xp: 2 * y * xp.conj(w), "is not the adjoint"),
    "off by one": (lambda y, w, xp: xp.roll(y * xp.conj(w), 1), "is not the adjoint"),
    "not a number": (lambda y, w, xp: y * xp.conj(w) * float("nan"), "relative error nan"),
}


@pytest.mark.parametrize("wrong", WRONG_ADJOINTS)
def test_a_wrong_adjoint_is_caught(xp, wrong):
    adjoint, text = WRONG_ADJOINTS[wrong]
    x, w = (drawn(xp, 6, dtype="complex128", seed=seed) for seed in (0, 1))
    with pytest.raises(AssertionError, match=text) as caught:
        check_adjoint(lambda x: x * w, lambda y: adjoint(y, w, xp.namespace), x)
    assert str(caught.value).startswith("`adjoint` is not the adjoint of `forward`:\n")
    others = {hint for _, hint in WRONG_ADJOINTS.values()} - {text, "is not the adjoint"}
    assert not any(hint in str(caught.value) for hint in others - {"relative error nan"})


def test_exactly_means_exactly():
    x, y = np.asarray([2.0**30, 1.0]), np.asarray([2.0**10, 1.0])
    almost = np.asarray([1.0, 2.0])  # one in 2**40 is off
    with pytest.raises(AssertionError, match=r"1099511627777\n.*1099511627778\n.*tolerated 0$"):
        check_adjoint(lambda x: x, lambda y: y * almost, x, y, exact=True)
    assert check_adjoint(lambda x: x, lambda y: y * almost, x, y, rtol=1e-9).relative_error > 0


def test_a_tolerance_can_be_given():
    x = np.asarray([1.0, 2.0])
    check_adjoint(lambda x: x, lambda y: 1.01 * y, x, x, rtol=0.02)
    with pytest.raises(AssertionError, match=r"relative error 0\.0099, tolerated 0\.005"):
        check_adjoint(lambda x: x, lambda y: 1.01 * y, x, x, rtol=0.005)
    with pytest.raises(AssertionError, match=r"tolerated 2\.2e-14"):
        check_adjoint(lambda x: x, lambda y: 1.01 * y, x, x)


@pytest.mark.parametrize(
    ("adjoint", "x", "y", "kind", "text"),
    [
        (lambda y: y[1:], np.ones(3), None, AssertionError, "shape of `x`, (3,), got (2,)"),
        (lambda y: y, np.ones(3), np.ones(4), ValueError, "`forward(x)`, (3,), got (4,)"),
        (lambda y: (y, None), np.ones(3), None, TypeError, "`adjoint(y)` must be an array, got tu"),
        (lambda y: y, [1.0], None, TypeError, "`x` must be an array, got list"),
        (lambda y: y, np.ones(3), [1.0], TypeError, "`y` must be an array, got list"),
    ],
)
def test_what_cannot_be_compared_is_told(adjoint, x, y, kind, text):
    with pytest.raises(kind) as raised:
        check_adjoint(lambda x: x, adjoint, x, y)
    assert text in str(raised.value)


@pytest.mark.parametrize(
    ("x", "y", "text"),
    [
        (np.asarray([0.5]), np.asarray([2.0]), "`exact` needs whole numbers in `x`, got others"),
        (np.asarray([2.0]), np.asarray([0.5j]), "`exact` needs whole numbers in `y`, got others"),
        (np.asarray([2.0**30]), np.asarray([2.0**30]), "`exact` needs inner products below 2**53"),
    ],
)
def test_exactness_is_refused_where_sums_round(x, y, text):
    with pytest.raises(ValueError) as raised:
        check_adjoint(lambda x: x, lambda y: y, x, y, exact=True)
    assert text in str(raised.value)


def test_maps_of_integers_have_adjoints(xp):
    x = xp.asarray(np.arange(6), "int64")
    check = check_adjoint(lambda x: x[1:], lambda y: xp.namespace.concat([0 * y[:1], y]), x)
    assert check.relative_error == 0


# ---- Gradients


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_pass(xp, dtype):
    product = Product(xp)
    x, w = drawn(xp, 3, 4, dtype=dtype), drawn(xp, 4, 5, dtype=dtype, seed=1)
    checks = check_gradients(product.forward, product.backward, x, w)
    assert [check.argument for check in checks] == ["x", "w"]
    for check in checks:
        assert isinstance(check, GradientCheck)
        assert check.relative_error < (1e-8 if dtype in ("float64", "complex128") else 1e-6)
        assert check.numerical == pytest.approx(check.analytical, rel=1e-4) and check.numerical


def test_gradients_of_what_is_not_linear_pass(xp):
    check_gradients(
        lambda x: xp.namespace.sin(x) * x,
        lambda dy, x: dy * (xp.namespace.cos(x) * x + xp.namespace.sin(x)),
        drawn(xp, 5, 3),
    )


def test_the_gradient_of_a_real_argument_is_real(xp):
    z = drawn(xp, 5, dtype="complex128")
    x = drawn(xp, 5, seed=1)

    def gradient(dy, x):
        return dy * xp.namespace.conj(z)

    def forward(x):
        return xp.namespace.astype(x, z.dtype) * z

    check_gradients(forward, lambda dy, x: xp.namespace.real(gradient(dy, x)), x)
    with pytest.raises(AssertionError, match="gradient of `x` must be real as `x` is, got "):
        check_gradients(forward, gradient, x)


WRONG_GRADIENTS = {
    "sign": (lambda dw, dy, xp: -dw, ": it is -1 times what it should be"),
    "factor": (lambda dw, dy, xp: 3 * dw, ": it is 3 times what it should be"),
    "mean for sum": (lambda dw, dy, xp: dw / 8, ": it is 0.125 times what it should be"),
    "nothing": (lambda dw, dy, xp: 0 * dw, ": it is 0 times what it should be"),
    "conjugate": (lambda dw, dy, xp: xp.conj(dw), ": it is the conjugate of what it should be"),
    "off by one": (lambda dw, dy, xp: xp.roll(dw, 1, axis=0), ""),
    "one element": (lambda dw, dy, xp: dw + xp.eye(4, 5, dtype=dw.dtype, device=dw.device), ""),
    "not a number": (lambda dw, dy, xp: dw * float("nan"), ""),
}


@pytest.mark.parametrize("wrong", WRONG_GRADIENTS)
def test_a_wrong_gradient_is_caught_and_named(wrong):
    xp = np
    spoilt, diagnosis = WRONG_GRADIENTS[wrong]
    generator = np.random.default_rng(0)
    x, w = (
        generator.normal(size=shape) + 1j * generator.normal(size=shape)
        for shape in [(8, 4), (4, 5)]
    )

    def backward(dy, x, w):
        return dy @ w.conj().T, spoilt(x.conj().T @ dy, dy, xp)

    with pytest.raises(AssertionError) as caught:
        check_gradients(lambda x, w: x @ w, backward, x, w)
    heading, right, numbers, verdict = str(caught.value).splitlines()
    assert heading == "`backward` does not agree with finite differences of `forward`:"
    assert right.startswith("  x: numerical ") and numbers.startswith("  w: numerical ")
    assert "relative error" in numbers and numbers.endswith("tolerated 1e-06")
    assert verdict == "    <- wrong" + diagnosis
    assert ("relative error nan" in numbers) == (wrong == "not a number")


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_wrong_gradient_is_caught_everywhere(xp, dtype):
    product = Product(xp)
    x, w = drawn(xp, 3, 4, dtype=dtype), drawn(xp, 4, 5, dtype=dtype, seed=1)

    def backward(dy, x, w):
        dx, dw = product.backward(dy, x, w)
        return xp.namespace.flip(dx, axis=0), dw

    with pytest.raises(AssertionError, match=r"x: numerical .*\n    <- wrong\n  w: numerical .*$"):
        check_gradients(product.forward, backward, x, w)


def test_a_missing_conjugate_is_caught_everywhere(xp):
    x, w = (drawn(xp, 7, dtype="complex64", seed=seed) for seed in (0, 1))
    with pytest.raises(AssertionError, match="wrong") as caught:
        check_gradients(lambda x: x * w, lambda dy, x: dy * w, x)
    assert "tolerated 1.2e-05" in str(caught.value)


def test_a_small_error_in_one_element_of_many_is_caught():
    x = np.random.default_rng(0).normal(size=(100, 100))
    spot = np.zeros_like(x)
    spot[17, 3] = 1e-2
    with pytest.raises(AssertionError, match=r"<- wrong$"):
        check_gradients(lambda x: x**2, lambda dy, x: 2 * x * dy + spot, x)


def test_a_gradient_of_zero_is_right_where_nothing_changes():
    w = np.random.default_rng(0).normal(size=(4, 3))
    x = np.random.default_rng(1).normal(size=(2, 4))
    centred = check_gradients(  # a bias before subtracting the mean does nothing
        lambda x, b: (x @ w + b) - np.mean(x @ w + b, axis=0),
        lambda dy, x, b: ((dy - dy.mean(axis=0)) @ w.T, np.zeros(3)),
        x,
        np.ones(3),
    )
    assert abs(centred[1].numerical) < 1e-7


HIDDEN = {
    "zero for one": (lambda x: x + 1e10, lambda dy, x: 0 * dy),
    "right, for all one can tell": (lambda x: x + 1e10, lambda dy, x: dy),
    "nothing left of the step": (lambda x: x + 1e20, lambda dy, x: 0 * dy),
    "twice a small one": (lambda x: 1 + 1e-10 * x, lambda dy, x: 2e-10 * dy),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_what_rounding_hides_does_not_pass(name, xp):
    forward, backward = HIDDEN[name]
    with pytest.raises(ValueError) as caught:
        check_gradients(forward, backward, drawn(xp, 3))
    heading, numbers, reason = str(caught.value).splitlines()
    assert heading == (
        "finite differences cannot tell whether `backward` is right, `forward` rounds by as much "
        "as it changes: take a larger `step` than 1e-06, or smaller numbers:"
    )
    assert numbers.startswith("  x: numerical ")
    assert reason.startswith("    <- hidden by rounding, which may add ")


def test_a_larger_step_shows_what_rounding_hid(xp):
    x = drawn(xp, 3)
    check_gradients(lambda x: x + 1e10, lambda dy, x: dy, x, step=1.0)
    with pytest.raises(AssertionError, match="it is 0 times what it should be"):
        check_gradients(lambda x: x + 1e10, lambda dy, x: 0 * dy, x, step=1.0)


def test_large_numbers_are_stepped_through_in_proportion():
    x = 1e6 * np.random.default_rng(0).normal(size=50)
    assert check_gradients(lambda x: x**2, lambda dy, x: 2 * x * dy, x)[0].relative_error < 1e-8


def test_errors_are_measured_by_the_norm_of_the_gradient():
    norms = []

    def backward(dy):
        norms.append(np.linalg.norm(1.01 * dy))
        return 1.01 * dy

    x = np.random.default_rng(0).normal(size=50)
    for seed in range(5):
        (check,) = check_gradients(lambda x: x, backward, x, seed=seed, rtol=0.1)
        scale = max(abs(check.numerical), abs(check.analytical), norms[-1])
        difference = abs(check.numerical - check.analytical)
        assert check.relative_error == pytest.approx(difference / scale, rel=1e-12)


def test_the_differences_are_taken_in_double_precision(xp):
    kinds = []

    def forward(x):
        kinds.append(xp.dtype_name(x))
        return x * x

    def backward(dy, x):
        assert xp.dtype_name(dy) == xp.dtype_name(x) == "float32"
        return 2 * x * dy

    check_gradients(forward, backward, drawn(xp, 5, dtype="float32"), directions=3)
    assert kinds == ["float32"] + ["float64"] * 6


def test_the_message_of_a_single_direction_does_not_guess_a_factor():
    with pytest.raises(AssertionError, match=r"<- wrong$"):
        check_gradients(lambda x: x, lambda dy: -dy, np.ones(3), directions=1)


# ---- How layers look


class Gradients(NamedTuple):
    dx: object
    dw: object
    db: object


def affine(x, w, b, *, scale=1.0):
    return scale * (x @ w + b)


AFFINE = tuple(np.random.default_rng(0).normal(size=shape) for shape in [(2, 3), (3, 4), (4,)])
BACKWARDS = {
    "without the bias": lambda dy, x, w: Gradients(dy @ w.T, x.T @ dy, dy.sum(axis=0)),
    "with all": lambda dy, x, w, b: [dy @ w.T, x.T @ dy, dy.sum(axis=0)],
    "with options in place": lambda dy, x, w, step=1: (dy @ w.T, x.T @ dy, dy[::step].sum(axis=0)),
    "with a star": lambda dy, *arrays: (dy @ arrays[1].T, arrays[0].T @ dy, dy.sum(axis=0)),
    "not all": lambda dy, x, w: (dy @ w.T, None, dy.sum(axis=0)),
}


@pytest.mark.parametrize("backward", BACKWARDS)
def test_a_backward_is_handed_what_it_requires(backward):
    checks = check_gradients(affine, BACKWARDS[backward], *AFFINE)
    expected = ["x", "b"] if backward == "not all" else ["x", "w", "b"]
    assert [check.argument for check in checks] == expected


def test_a_layer_may_keep_what_it_needs():
    class Square:
        def forward(self, x):
            self.x = x
            return x**2

        def backward(self, dy):
            return 2 * self.x * dy

    layer = Square()
    assert check_gradients(layer.forward, layer.backward, np.arange(1.0, 5.0))


def test_options_go_to_both():
    def backward(dy, x, w, *, scale):
        return tuple(scale * part for part in BACKWARDS["without the bias"](dy, x, w))

    check_gradients(affine, backward, *AFFINE, options={"scale": 3.0})


def test_builtin_functions_can_be_checked():
    check = check_gradients(np.exp, lambda dy, x: dy * np.exp(x), np.arange(3.0))
    assert check[0].argument in ("x", "arrays[0]")


def test_labels_are_handed_on():
    labels = np.asarray([2, 0])
    checks = check_gradients(
        lambda x, labels: x[np.arange(2), labels] ** 2,
        lambda dy, x, labels: (
            np.where(np.arange(3) == labels[:, None], 2 * x * dy[:, None], 0.0),
            None,
        ),
        np.arange(6.0).reshape(2, 3),
        labels,
    )
    assert [check.argument for check in checks] == ["x"]


X = np.ones((2, 3))
MISTAKES = {
    "shape": (
        lambda: check_gradients(lambda x: x, lambda dy: dy.T, X),
        AssertionError,
        "the gradient of `x` must have its shape, (2, 3), got (3, 2)",
    ),
    "too many": (
        lambda: check_gradients(lambda x: x, lambda dy: (dy, dy), X),
        ValueError,
        "`backward` must return one gradient for each of the 1 arrays (None where there is none to "
        "check), got 2",
    ),
    "nothing": (
        lambda: check_gradients(lambda x: x, lambda dy: None, X),
        ValueError,
        "`backward` gave None for every array that can be varied: nothing checked",
    ),
    "only integers": (
        lambda: check_gradients(lambda x: x, lambda dy: dy, np.arange(3)),
        TypeError,
        "`arrays` must hold at least one real or complex array, got none to vary",
    ),
    "no arrays": (
        lambda: check_gradients(lambda: X, lambda dy: dy),
        TypeError,
        "`arrays` must hold at least one array, got none",
    ),
    "a list": (
        lambda: check_gradients(lambda x: x, lambda dy: dy, [1.0]),
        TypeError,
        "`x` must be an array, got list",
    ),
    "a cache": (
        lambda: check_gradients(lambda x: (x, "cache"), lambda dy: dy, X),
        TypeError,
        "`forward(...)` must be an array, got tuple",
    ),
    "a number": (
        lambda: check_gradients(lambda x: x, lambda dy: 1.0, X),
        TypeError,
        "`gradient of x` must be an array, got float",
    ),
    "no directions": (
        lambda: check_gradients(lambda x: x, lambda dy: dy, X, directions=0),
        ValueError,
        "`directions` must be at least 1, got 0",
    ),
    "a tolerance below zero": (
        lambda: check_gradients(lambda x: x, lambda dy: dy, X, rtol=-1),
        ValueError,
        "`rtol` must be at least 0, got -1",
    ),
    "a word for a tolerance": (
        lambda: check_adjoint(lambda x: x, lambda y: y, X, rtol="small"),
        TypeError,
        "`rtol` must be a number, got 'small'",
    ),
    "a seed below zero": (
        lambda: check_adjoint(lambda x: x, lambda y: y, X, seed=-1),
        ValueError,
        "`seed` must be at least 0, got -1",
    ),
    "no function": (
        lambda: check_adjoint(X, lambda y: y, X),
        TypeError,
        "`forward` must be callable, got",
    ),
    "no backward": (
        lambda: check_gradients(lambda x: x, None, X),
        TypeError,
        "`backward` must be callable, got None",
    ),
    "options without names": (
        lambda: check_gradients(lambda x: x, lambda dy: dy, X, options=[1]),
        TypeError,
        "`options` must be a mapping, got [1]",
    ),
    "arrays of two libraries": (
        lambda: check_adjoint(lambda x: x, lambda y: y, X, [1.0]),
        TypeError,
        "`y` must be an array, got list",
    ),
    "no step": (
        lambda: check_gradients(lambda x: x, lambda dy: dy, X, step=0.0),
        ValueError,
        "`step` must be positive and finite, got 0.0",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told(mistake):
    call, kind, text = MISTAKES[mistake]
    with pytest.raises(kind) as raised:
        call()
    assert text in str(raised.value)


@pytest.fixture
def single_precision_jax():
    jax = pytest.importorskip("jax")
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", False)
    yield jax.numpy
    jax.config.update("jax_enable_x64", before)


def test_a_namespace_without_double_precision_is_refused(single_precision_jax):
    x = single_precision_jax.ones(3, dtype="float32")
    assert check_adjoint(lambda x: 2 * x, lambda y: 2 * y, x).relative_error < 1e-6
    with pytest.raises(ValueError, match=r"finite differences need float64.*jax_enable_x64"):
        check_gradients(lambda x: 2 * x, lambda dy: 2 * dy, x)


# ---- The package's own layers, as its users would check theirs


def test_convolution_passes(xp):
    shapes = [(2, 5, 6, 4), (3, 2, 2, 6), (6,)]
    arrays = [drawn(xp, *shape, dtype="complex128", seed=i) for i, shape in enumerate(shapes)]
    options = {"stride": (2, 1), "padding": 1, "groups": 2}
    check_gradients(anyconv.conv_forward, anyconv.conv_backward, *arrays, options=options)


def test_convolution_and_its_input_gradient_are_adjoint_exactly(xp):
    w = drawn(xp, 3, 3, 2, 4, whole=True)
    check_adjoint(
        lambda x: anyconv.conv_forward(x, w, stride=2),
        lambda y: anyconv.conv_backward_input(y, w, (2, 6, 7, 2), stride=2),
        drawn(xp, 2, 6, 7, 2, whole=True),
        exact=True,
    )


def test_max_pooling_passes(xp):
    x = np.random.default_rng(0).permutation(2 * 5 * 6 * 3).reshape(2, 5, 6, 3) / 10
    check_gradients(
        anyconv.max_pool_forward,
        anyconv.max_pool_backward,
        xp.asarray(x),
        options={"kernel_size": (2, 3), "stride": 1, "padding": 1},
    )


def test_average_pooling_passes(xp):
    x = drawn(xp, 2, 5, 6, 3)
    check_adjoint(
        lambda x: anyconv.avg_pool_forward(x, 2),
        lambda y: anyconv.avg_pool_backward(y, x.shape, 2),
        x,
    )


@pytest.mark.parametrize("name", testing.__all__)
def test_every_public_docstring_has_examples_that_run(name):
    thing = getattr(testing, name)
    (documented,) = doctest.DocTestFinder(recurse=False).find(thing, name, globs={})
    assert documented.examples, f"{name} has no example"
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    assert doctest.DocTestRunner(optionflags=flags).run(documented).failed == 0
