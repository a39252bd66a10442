"""Plans that prepare all data before any weights, and products cut into pieces: only faster."""

from math import prod

import numpy as np
import pytest
from measuring import SMALL_CHANGE, peak
from strategies import normal, relative_error, whole

import anyconv
from anyconv import conv_backward_input, conv_backward_weight, conv_forward, plan_conv
from anyconv._namespace import _pieces as pieces_mod
from anyconv._namespace import _products as products_mod
from anyconv._namespace import array_namespace, matmul
from anyconv._plans import _planner as planner
from anyconv._plans._block_sizes import MOST_SUMMED_ROWS

# Many weights and little data, with sizes that no part or block divides.
CASES = {
    "winograd": ("winograd", (3, 9, 10, 150), (3, 3, 150, 300), "float64"),
    "winograd, single": ("winograd", (5, 13, 9, 200), (3, 3, 200, 470), "float32"),
    "fft": ("fft", (2, 14, 15, 90), (7, 7, 90, 131), "float64"),
    "fft, complex": ("fft", (2, 14, 15, 90), (7, 7, 90, 131), "complex64"),
    "fft, a row": ("fft", (3, 300, 130), (31, 130, 140), "float64"),
    "winograd, half": ("winograd", (3, 9, 10, 200), (3, 3, 200, 470), "float16"),
}


def arrays(name):
    algorithm, x_shape, w_shape, dtype = CASES[name]
    rng = np.random.default_rng(0)
    dy_shape = (*x_shape[:-1], w_shape[-1])
    x, w, b, dy = (normal(rng, s, dtype) for s in (x_shape, w_shape, w_shape[-1:], dy_shape))
    return algorithm, x, w, b, dy


def holding(x, w, algorithm, operation, workers):
    with anyconv.options(workers=workers, compiled=False):
        plan = plan_conv(
            x.shape,
            w.shape,
            dtype=str(x.dtype),
            padding="same",
            algorithm=algorithm,
            operation=operation,
        )
    return all(leaf.holds_data for leaf in plan.leaves)


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("name", CASES)
def test_all_three_maps(name, workers):
    algorithm, x, w, b, dy = arrays(name)
    for operation in ("forward", "input", "weight"):
        assert holding(x, w, algorithm, operation, workers)
    run = {"padding": "same", "algorithm": algorithm}
    with anyconv.options(workers=workers, compiled=False):
        results = (
            conv_forward(x, w, b, **run),
            conv_backward_input(dy, w, x.shape, **run),
            conv_backward_weight(dy, x, w.shape, **run),
        )
    wide = "complex128" if x.dtype.kind == "c" else "float64"
    x, w, b, dy = (array.astype(wide) for array in (x, w, b, dy))
    plain = {"padding": "same", "algorithm": "gemm"}
    wanted = (
        conv_forward(x, w, b, **plain),
        conv_backward_input(dy, w, x.shape, **plain),
        conv_backward_weight(dy, x, w.shape, **plain),
    )
    tolerance = {"float64": 1e-12, "float16": 1e-3}.get(str(results[0].dtype), 2e-5)
    for mine, other in zip(results, wanted, strict=True):
        assert relative_error(mine, other) < tolerance


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", CASES)
def test_their_workspace(name, workers):
    algorithm, x, w, b, dy = arrays(name)
    run = {"padding": "same", "algorithm": algorithm}
    calls = {
        "forward": lambda: conv_forward(x, w, b, **run),
        "input": lambda: conv_backward_input(dy, w, x.shape, **run),
        "weight": lambda: conv_backward_weight(dy, x, w.shape, **run),
    }
    for operation, call in calls.items():
        with anyconv.options(workers=workers):
            plan = plan_conv(x.shape, w.shape, dtype=str(x.dtype), operation=operation, **run)
            assert peak(call) <= plan.workspace + SMALL_CHANGE, operation


def test_an_empty_batch():
    """No block, but all the weights."""
    x, w = np.zeros((0, 9, 10, 200), "float32"), np.ones((3, 3, 200, 470), "float32")
    run = {"padding": "same", "algorithm": "winograd"}
    y = conv_forward(x, w, **run)
    assert y.shape == (0, 9, 10, 470)
    np.testing.assert_array_equal(conv_backward_weight(y, x, w.shape, **run), np.zeros_like(w))


@pytest.fixture
def cut(monkeypatch):
    """Products are cut, whatever NumPy multiplies with here."""
    monkeypatch.setattr(pieces_mod, "has_wide_kernels", lambda: True)
    pieces_mod.pieces_of.cache_clear()
    pieces_mod.inner_pieces_of.cache_clear()
    yield
    pieces_mod.pieces_of.cache_clear()
    pieces_mod.inner_pieces_of.cache_clear()


@pytest.mark.parametrize(
    "sides",
    [
        (1, 4096, 256, 64),
        (1, 4097, 320, 33),
        (2, 501, 147, 127),
        (36, 99, 128, 128),
        (5, 56, 200, 256),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pieces_make_the_same_product(cut, sides, dtype):
    """To the last bit, of whole numbers; strided factors too, and into a given place."""
    n, rows, inner, columns = sides
    assert pieces_mod.pieces_of(rows, inner, columns)
    rng = np.random.default_rng(0)
    a, b = (whole(rng, s).astype(dtype) for s in ((n, rows, inner), (n, inner, columns)))
    xp, wanted = array_namespace(a=a), np.einsum("nij,njk->nik", a, b, optimize=True)
    turned = np.ascontiguousarray(b.swapaxes(-1, -2)).swapaxes(-1, -2)
    spread = np.repeat(a, 2, axis=1)[:, ::2]
    out = np.empty_like(wanted)
    assert matmul(a, b, out=out, xp=xp) is out
    for product in (out, matmul(a, b, xp=xp), matmul(spread, b, xp=xp), matmul(a, turned, xp=xp)):
        np.testing.assert_array_equal(product, wanted)


def test_small_long_and_wide_products_stay_whole(cut):
    for sides in ((100, 100, 100), (4096, 512, 64), (4096, 256, 256), (4096, 256, 8)):
        assert pieces_mod.pieces_of(*sides) is None


@pytest.mark.parametrize("sides", [(1, 27, 8192, 64), (1, 120, 1111, 65), (1, 64, 4001, 60)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pieces_are_added_up_to_the_same_product(cut, monkeypatch, sides, dtype):
    """To the last bit, of whole numbers; of a matrix with contiguous columns, strided too."""
    n, rows, inner, columns = sides
    assert 0 < pieces_mod.inner_pieces_of(rows, inner, columns) < inner
    rng = np.random.default_rng(0)
    a, b = (whole(rng, s).astype(dtype) for s in ((n, inner, rows), (n, inner, columns)))
    xp, wanted = array_namespace(a=a), np.einsum("nji,njk->nik", a, b, optimize=True)
    spread = np.repeat(b, 2, axis=1)[:, ::2]
    added = []
    monkeypatch.setattr(products_mod, "add_up_pieces", kept(products_mod.add_up_pieces, added))
    for left, right in ((a, b), (a, spread), (np.repeat(a, 2, axis=1)[:, ::2], b)):
        np.testing.assert_array_equal(matmul(left.mT, right, xp=xp), wanted)
    assert len(added) == 3
    out = np.empty_like(wanted)
    assert matmul(a.mT, b, out=out, xp=xp) is out
    np.testing.assert_array_equal(out, wanted)


def kept(function, calls):
    """The function, noted in `calls`."""

    def noted(*arguments, **options):
        calls.append(function)
        return function(*arguments, **options)

    return noted


def test_short_small_and_large_sums_stay_whole(cut):
    for sides in ((100, 100, 100), (9, 8192, 16), (128, 8192, 128)):
        assert pieces_mod.inner_pieces_of(*sides) is None


def test_sums_in_pieces_let_blocks_be_longer(cut):
    """A piece is summed as exactly as a short block."""
    sizes = {"dtype": "float32", "padding": 1, "operation": "weight", "namespace": "numpy"}
    shapes = (1, 512, 512, 4), (3, 3, 4, 32)
    planner.make_plan.cache_clear()
    with anyconv.options(compiled=False, workers=2):
        long, complex_ = (
            plan_conv(*shapes, algorithm="gemm", **sizes | {"dtype": dtype})
            for dtype in ("float32", "complex64")
        )
    planner.make_plan.cache_clear()
    assert prod(long.template.windows.output) > MOST_SUMMED_ROWS
    assert prod(complex_.template.windows.output) <= MOST_SUMMED_ROWS
