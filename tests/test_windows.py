"""Unfold and fold, pad and its adjoint: against loops, and by the adjoint identity."""

import numpy as np
import oracle
import pytest
from hypothesis import assume
from hypothesis import strategies as st
from strategies import LAYOUTS, MODES, inner, paddings, pool_cases, run_cases, whole

from anyconv import fold, pad, pad_backward, unfold
from anyconv._windows import slab


def test_unfold_and_fold_agree_with_loops_and_are_adjoint(xp):
    def check(case):
        x = whole(case.rng, case.x_shape)
        wanted = oracle.unfold(x, case.kernel, **case.options)
        windows = xp.call(unfold, xp.asarray(x), case.kernel, **case.options)
        np.testing.assert_array_equal(xp.to_numpy(windows), wanted)

        other = whole(case.rng, wanted.shape)
        folded = xp.call(fold, xp.asarray(other), case.input, case.kernel, **case.options)
        back = oracle.fold(other, case.input, case.kernel, **case.options)
        np.testing.assert_array_equal(xp.to_numpy(folded), back)
        assert inner(xp.to_numpy(windows), other) == inner(x, xp.to_numpy(folded))

    run_cases(xp, pool_cases(ceil_mode=False), check)


@st.composite
def pad_cases(draw):
    """Sizes of one to four axes, padding in any form but words, and a mode."""
    axes = draw(st.integers(1, 4))
    size = draw(st.tuples(*[st.integers(1, 4)] * axes))
    padding = draw(paddings(axes, 5, words=False))
    pairs = oracle.windows(size, (1,) * axes, padding=padding).padding
    mode = draw(st.sampled_from(MODES))
    fits = all(max(pair) < i for pair, i in zip(pairs, size, strict=True))
    assume(mode != "reflect" or fits)
    batch = draw(st.lists(st.integers(0, 2), max_size=2))
    layout = draw(st.sampled_from(LAYOUTS))
    channels = draw(st.integers(1, 3))
    shape = (*batch, *size, channels) if layout == "channels_last" else (*batch, channels, *size)
    form = pairs if isinstance(padding, int) else padding  # an int alone can't say which axes
    return shape, form, pairs, {"mode": mode, "layout": layout}


def test_pad_agrees_with_loops_and_its_adjoint(xp):
    def check(case):
        shape, padding, pairs, options = case
        rng = np.random.default_rng(0)
        x = whole(rng, shape)
        wanted = oracle.pad(x, pairs, **options)
        y = xp.call(pad, xp.asarray(x), padding, **options)
        np.testing.assert_array_equal(xp.to_numpy(y), wanted)

        dy = whole(rng, wanted.shape)
        dx = xp.call(pad_backward, xp.asarray(dy), shape, padding, **options)
        assert dx.shape == shape
        assert inner(wanted, dy) == inner(x, xp.to_numpy(dx))

    run_cases(xp, pad_cases(), check)


@pytest.mark.parametrize("mode", MODES)
def test_pad_is_exact_to_the_last_entry_of_its_matrix(np_backend, mode):
    """The matrix of `pad_backward` is the transpose of that of `pad`, column by column."""
    eye = np.eye(4)[..., None]  # (batch 4, input 4, 1)
    forward = np_backend.call(pad, eye, ((3, 2),), mode=mode)[..., 0]  # (4, 9)
    wide = np.eye(9)[..., None]
    backward = np_backend.call(pad_backward, wide, (9, 4, 1), ((3, 2),), mode=mode)[..., 0]
    np.testing.assert_array_equal(backward, forward.T)


def test_padding_as_an_int_leaves_the_batch_alone(np_backend):
    """An int pads every axis but the first and the channels, as an int kernel pools them."""
    assert np_backend.call(pad, np.ones((2, 3, 4, 5)), 1).shape == (2, 5, 6, 5)
    first = np_backend.call(pad, np.ones((2, 5, 3, 4)), 1, layout="channels_first")
    assert first.shape == (2, 5, 5, 6)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "float16", "bfloat16", "complex64"])
def test_dtypes_are_kept(xp, dtype):
    """Cutting and padding move numbers of any kind."""
    if not xp.has(dtype):
        pytest.skip(f"{xp.name} has no {dtype}")
    x = np.arange(24).reshape(1, 4, 3, 2)
    array = xp.asarray(x, dtype)
    padded = xp.call(pad, array, ((1, 2), (0, 1)), mode="reflect")
    wanted = oracle.pad(x, ((1, 2), (0, 1)), mode="reflect", layout="channels_last")
    np.testing.assert_array_equal(xp.to_numpy(padded), wanted)
    windows = xp.call(unfold, array, (2, 2), padding=1)
    np.testing.assert_array_equal(xp.to_numpy(windows), oracle.unfold(x, (2, 2), padding=1))


@pytest.mark.parametrize(("dtype", "big"), [("float16", 2048), ("bfloat16", 256)])
def test_half_precision_is_accumulated_in_single(xp, dtype, big):
    if not xp.has(dtype):
        pytest.skip(f"{xp.name} has no {dtype}")
    windows = np.zeros((3, 3, 1))
    windows[[0, 1, 2], [2, 1, 0]] = [[1], [big], [1]]  # all three upon input 2
    x = xp.call(fold, xp.asarray(windows, dtype), (5,), (3,))
    assert xp.to_numpy(x)[2, 0] == big + 2
    dy = xp.asarray(np.array([[1.0], [big], [1.0]]), dtype)
    dx = xp.call(pad_backward, dy, (1, 1), ((1, 1),), mode="replicate")
    assert xp.to_numpy(dx).item() == big + 2


def test_shapes_of_windows(np_backend):
    x = np.ones((2, 3, 7, 6, 5))
    assert np_backend.call(unfold, x, (3, 2)).shape == (2, 3, 5, 5, 3, 2, 5)
    assert np_backend.call(unfold, x[0], 3).shape == (3, 5, 4, 3, 3, 5)
    first = np_backend.call(unfold, x, (2, 2), layout="channels_first")
    assert first.shape == (2, 3, 7, 2, 2, 5, 4)
    windows = np_backend.call(unfold, x[0], 3, stride=2)
    assert np_backend.call(fold, windows, (7, 6), (3, 3), stride=2).shape == x[0].shape


@pytest.mark.parametrize("size", [4, 40])  # zeros in all of it first, or in its margins alone
def test_a_slab_holds_zeros_where_it_leaves_the_array(xp, size, monkeypatch):
    if xp.lazy:
        pytest.skip("its blocks are NumPy's")

    def empty(shape, **kind):  # memory that is new may hold zeros by chance
        return xp.namespace.full(shape, 7, **kind)

    monkeypatch.setattr(xp.namespace, "empty", empty)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, size, size, 16))
    around = np.pad(x, ((0, 0), (9, 9), (9, 9), (0, 0)))
    boxes = [
        ((-2, size + 3), (-1, size)),
        ((-5, 3), (size - 2, size + 4)),
        ((0, size), (0, size)),
        ((size + 1, size + 9), (-9, -1)),
    ]
    for box in boxes:
        (top, bottom), (left, right) = box
        cells = slab(xp.asarray(x), slice(1, 2), box, xp=xp.namespace)
        wanted = around[1:2, top + 9 : bottom + 9, left + 9 : right + 9]
        np.testing.assert_array_equal(xp.to_numpy(cells), wanted)
