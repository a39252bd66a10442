"""Matrix products of NumPy in pieces: equal to the whole, and cut only where that pays."""

from math import prod

import numpy as np
import pytest
from strategies import whole

import anyconv
from anyconv import plan_conv
from anyconv._namespace import _pieces as pieces_mod
from anyconv._namespace import _products as products_mod
from anyconv._namespace import array_namespace, matmul
from anyconv._plans import _planner as planner
from anyconv._plans._block_sizes import MOST_SUMMED_ROWS


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
