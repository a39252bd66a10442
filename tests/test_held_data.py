"""Plans that prepare all data before any weights: only faster."""

import numpy as np
import pytest
from measuring import SMALL_CHANGE, peak
from strategies import normal, relative_error

import anyconv
from anyconv import conv_backward_input, conv_backward_weight, conv_forward, plan_conv

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
