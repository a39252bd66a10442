"""Padding that is not zeros: images in turn, the same numbers, and what plans say of it."""

import numpy as np
import oracle
import pytest
from strategies import LAYOUTS, normal, whole

import anyconv
from anyconv import conv_backward, conv_backward_weight, conv_forward, plan_conv

MODES = ("reflect", "replicate", "circular")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("mode", MODES)
def test_turns_give_equal_results(xp, mode, layout):
    """From all images at once to one; on whole numbers the sums are equal to the last bit."""
    rng = np.random.default_rng(0)
    x, w, b = whole(rng, (5, 11, 10, 4)), whole(rng, (3, 2, 2, 8)), whole(rng, (8,))
    if layout == "channels_first":
        x, w = np.moveaxis(x, -1, 1).copy(), np.transpose(w, (3, 2, 0, 1)).copy()
    options = {"stride": (2, 1), "padding": ((1, 2), (0, 1)), "groups": 2, "padding_mode": mode}
    options["layout"] = layout
    wanted = oracle.conv_forward(x, w, b, **options)
    dy = whole(rng, wanted.shape)
    gradients = oracle.conv_backward(dy, x, w, **options)
    data, weight, bias, gradient = (xp.asarray(array) for array in (x, w, b, dy))
    limits = (26_000, 2**28)
    for workspace_bytes in limits[:1] if xp.name.startswith("jax") else limits:
        with anyconv.options(workspace_bytes=workspace_bytes):
            y = xp.call(conv_forward, data, weight, bias, **options)
            actual = xp.call(conv_backward, gradient, data, weight, **options)
        np.testing.assert_array_equal(xp.to_numpy(y), wanted)
        for mine, other in zip(actual, gradients, strict=True):
            np.testing.assert_array_equal(xp.to_numpy(mine), other)


@pytest.mark.parametrize("operation", ["forward", "input", "weight"])
def test_plans_count_the_padded_images(operation):
    call = {"x_shape": (8, 64, 64, 16), "w_shape": (3, 3, 16, 16), "dtype": "float64"}
    call |= {"padding": 1, "operation": operation}
    zeros = plan_conv(**call)
    padded = plan_conv(**call, padding_mode="reflect")
    image = 66 * 66 * 16 * 8
    bare = plan_conv(**call | {"x_shape": (8, 66, 66, 16), "padding": 0})
    assert padded.algorithm == bare.algorithm
    assert padded.workspace >= bare.workspace + 8 * image
    assert padded.output_shape == zeros.output_shape
    assert not padded.turns
    with anyconv.options(workspace_bytes=6 * 2**20):
        turned = plan_conv(**call, padding_mode="reflect")
    sizes = [turn.problem.images for turn in turned.turns]
    assert sum(sizes) == 8 > len(sizes) > 1
    assert sizes[0] * image < turned.workspace <= 6 * 2**20
    assert f"{sizes[0]} padded images at a time" in turned.reason
    assert sum(len(leaf.blocks) for leaf in turned.leaves) >= len(sizes)
    assert turned.output_shape == zeros.output_shape


@pytest.mark.parametrize("operation", ["forward", "input", "weight"])
def test_what_a_refusal_asks_for_is_enough(operation):
    call = {"x_shape": (3, 30, 30, 8), "w_shape": (3, 3, 8, 8), "dtype": "float32", "padding": 1}
    call |= {"padding_mode": "circular", "operation": operation}
    text = r"`workspace_bytes` must be at least [\d,]+ for the algorithm .*, padding included, got"
    with (
        anyconv.options(workspace_bytes=20_000, workers=1),
        pytest.raises(ValueError, match=text) as caught,
    ):
        plan_conv(**call)
    needed = int(str(caught.value).partition("at least ")[2].partition(" ")[0].replace(",", ""))
    with anyconv.options(workspace_bytes=needed, workers=1):
        assert plan_conv(**call).workspace <= needed


def test_gradients_hold_no_padding(np_backend):
    x = np.ones((2, 6, 6, 3))
    w = np.ones((3, 3, 3, 4))
    options = {"padding": 1, "padding_mode": "reflect"}
    dx = conv_backward(conv_forward(x, w, **options), x, w, **options).dx
    assert dx.flags.c_contiguous
    assert dx.base is None or dx.base.nbytes == dx.nbytes


def test_sums_of_turns_in_half_precision_are_kept_in_single(np_backend):
    """Terms that half precision would lose beside the first."""
    x = np.ones((40, 8, 8, 16), np.float16)
    x[0] = 32
    w, options = np.zeros((1, 1, 16, 1), np.float16), {"padding": 1, "padding_mode": "replicate"}
    dy = np.ones((40, 10, 10, 1), np.float16)
    dy[1:] = 1 / 128
    with anyconv.options(workspace_bytes=2**15, workers=1):
        plan = plan_conv(x.shape, w.shape, dtype="float16", operation="weight", **options)
        dw = conv_backward_weight(dy, x, w.shape, **options)
    assert len(plan.turns) == 40
    wanted = np.float16(32 * 100 + 39 * 100 / 128)
    np.testing.assert_array_equal(dw, np.full(w.shape, wanted))


@pytest.mark.parametrize("mode", MODES)
def test_turns_are_as_exact_as_one(np_backend, mode):
    rng = np.random.default_rng(0)
    x, w = normal(rng, (7, 30, 29, 8), "float32"), normal(rng, (3, 3, 8, 8), "float32")
    options = {"padding": 2, "padding_mode": mode}
    dy = conv_forward(x, w, **options)
    wanted = conv_backward(dy, x, w, **options)
    with anyconv.options(workspace_bytes=2**19):
        np.testing.assert_allclose(conv_forward(x, w, **options), dy, rtol=1e-4, atol=1e-4)
        found = conv_backward(dy, x, w, **options)
    for mine, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-3 * np.abs(other).max())


@pytest.mark.parametrize("workspace", [2**24, 2**10])
def test_gradients_in_half_precision_are_folded_in_single(np_backend, workspace):
    """What padding adds up may pass float16's range before it comes back to it."""
    w = np_backend.asarray(np.full((1, 1, 1), 256.0), "float16")
    dy = np.asarray([[256.0, 1.0, -256.0, 1.0]] * 9)[..., None]
    with anyconv.options(workspace_bytes=workspace):
        dx = np_backend.call(
            anyconv.conv_backward_input,
            np_backend.asarray(dy, "float16"),
            w,
            (9, 2, 1),
            padding=1,
            padding_mode="circular",
        )
    assert str(np_backend.to_numpy(dx).dtype) == "float16"
    np.testing.assert_array_equal(np_backend.to_numpy(dx), [[[512.0], [0.0]]] * 9)
