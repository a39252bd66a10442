"""`fft` along all axes but the last: its maps, convolutions by it, and when it is chosen."""

import array_api_compat.numpy
import numpy as np
import oracle
import pytest
from measuring import SMALL_CHANGE, peak
from strategies import conv_cases, inner, normal, relative_error, run_cases, whole

import anyconv
from anyconv import conv_backward, conv_backward_weight, conv_forward, plan_conv
from anyconv._algorithms import _fft_rows as rows_mod
from anyconv._algorithms import _on_cells as cells_mod
from anyconv._algorithms._fft_rows import RowFft
from anyconv._algorithms._fft_sizes import NEIGHBOURS
from anyconv._algorithms._fft_sizes import _rows_of as rows_of
from anyconv._geometry import Problem, WindowGeometry
from anyconv._plans import _planner as planner
from anyconv._traits import traits_of_dtype

CASES = {
    "plain": {"kernel": (3, 4), "output": (9, 14)},
    "one channel": {"kernel": (5, 3), "output": (40, 33), "c": 1, "k": 1},
    "strided": {"kernel": (3, 4), "output": (6, 9), "stride": 2},
    "dilated": {"kernel": (2, 3), "output": (7, 8), "dilation": 3, "c": 1},
    "both": {"kernel": (3, 3), "output": (7, 5), "stride": 3, "dilation": 2},
    "3-d": {"kernel": (3, 2, 3), "output": (4, 5, 6), "c": 1, "k": 2},
    "short rows": {"kernel": (4, 3), "output": (50, 1), "k": 1},
}
every_case = pytest.mark.parametrize("case", CASES)


def problem_of(kernel, output, *, stride=1, dilation=1, c=2, k=3):
    axes = len(kernel)
    stride, dilation = (stride,) * axes, (dilation,) * axes
    size = tuple(
        (o - 1) * s + d * (n - 1) + 1
        for o, s, d, n in zip(output, stride, dilation, kernel, strict=True)
    )
    geometry = WindowGeometry(size, kernel, stride, dilation, ((0, 0),) * axes, output)
    return Problem((2,), geometry, 1, c, k)


@pytest.fixture
def by_rows(monkeypatch):
    """`fft` is `RowFft` wherever that can be."""

    def can_be(problem, operation, traits):
        return problem.geometry.rank > 1 and problem.groups == 1

    monkeypatch.setattr(rows_mod, "rows_are_cheaper", can_be)
    monkeypatch.setattr(cells_mod, "multiplies_windows", lambda: False)
    planner.make_plan.cache_clear()
    yield
    planner.make_plan.cache_clear()


@every_case
def test_the_three_maps_and_their_adjoints(np_backend, case):
    """<B x, d> = <x, B* d>, <G w, g> = <w, G* g>, <A m, y> = <m, A* y>, and those of products."""
    xp, rng, problem = np_backend.namespace, np.random.default_rng(0), problem_of(**CASES[case])
    geometry, c, k = problem.geometry, problem.in_channels, problem.out_channels
    traits = traits_of_dtype(array_api_compat.numpy, np.dtype("complex128"), None)
    made = RowFft.create(problem, geometry.output, traits)
    x = normal(rng, (2, *made.reach, c), "complex128")
    w = normal(rng, (*geometry.kernel, c, k), "complex128")
    y = normal(rng, (2, *geometry.output, k), "complex128")
    (data,), (weight,), m = (
        made.data(x, xp=xp),
        made.weight(w, xp=xp),
        made.output_adjoint(y, xp=xp),
    )
    d, g, n = (normal(rng, a.shape, "complex128") for a in (data, weight, m))
    assert inner(data, d) == pytest.approx(inner(x, made.data_adjoint([d], 2, xp=xp)))
    assert inner(weight, g) == pytest.approx(inner(w, made.weight_adjoint([g], xp=xp)))
    assert inner(n, m) == pytest.approx(inner(made.output(n, 2, xp=xp), y))
    (factor,) = made.factors([weight], xp=xp)
    product = inner(made.multiply(d, factor, xp=xp), n)
    assert product == pytest.approx(inner(d, made.multiply_adjoint_data(n, factor, xp=xp)))
    assert product == pytest.approx(inner(weight, made.multiply_adjoint_weight(d, n, xp=xp)))


@every_case
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_all_three_convolutions(xp, by_rows, case, dtype):
    """With padding and a bias, in blocks of any size, against plain loops."""
    if xp.name.startswith("jax") and case not in ("plain", "3-d"):
        pytest.skip("each new shape is compiled anew")
    rng, problem = np.random.default_rng(0), problem_of(**CASES[case])
    geometry, c, k = problem.geometry, problem.in_channels, problem.out_channels
    x, w, b = (
        whole(rng, shape, dtype)
        for shape in ((2, *geometry.input, c), (*geometry.kernel, c, k), (k,))
    )
    options = {
        "stride": geometry.stride,
        "dilation": geometry.dilation,
        "padding": ((1, 2),) * geometry.rank,
    }
    y = oracle.conv_forward(x, w, b, **options)
    dy = whole(rng, y.shape, dtype)
    wanted = y, *oracle.conv_backward(dy, x, w, **options)
    data, weight, bias, gradient = (xp.asarray(array) for array in (x, w, b, dy))
    for workspace_bytes in (2**28,) if xp.name.startswith("jax") else (2**17, 2**19, 2**28):
        with anyconv.options(workspace_bytes=workspace_bytes):
            try:
                found = (
                    xp.call(conv_forward, data, weight, bias, algorithm="fft", **options),
                    *xp.call(conv_backward, gradient, data, weight, algorithm="fft", **options),
                )
            except ValueError as error:
                assert "`workspace_bytes` must be at least" in str(error)  # noqa: PT017
                assert workspace_bytes < 2**28
                continue
        for mine, other in zip(found, wanted, strict=True):
            assert relative_error(xp.to_numpy(mine), other) <= 1e-13


@pytest.mark.parametrize("count", NEIGHBOURS)
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_any_neighbours_have_one_window(np_backend, by_rows, monkeypatch, stride, count):
    """However many a cost would have chosen, and rows that they do not divide."""

    def made(problem, kind):
        return rows_of(problem, count, kind)

    monkeypatch.setattr(rows_mod, "cheapest_rows", made)
    rng = np.random.default_rng(0)
    x, w = whole(rng, (2, 31, 47, 2), "float64"), whole(rng, (4, 3, 2, 3), "float64")
    run = {"stride": stride, "padding": 1}
    y = oracle.conv_forward(x, w, **run)
    dy = whole(rng, y.shape, "float64")
    found = np_backend.call(conv_forward, x, w, algorithm="fft", **run)
    gradients = np_backend.call(conv_backward, dy, x, w, algorithm="fft", **run)
    np.testing.assert_array_equal(np.rint(found), y)
    for mine, other in zip(gradients, oracle.conv_backward(dy, x, w, **run), strict=True):
        np.testing.assert_array_equal(np.rint(mine), other)


def test_any_case(np_backend, by_rows):
    """Random cases, groups and one axis among them, which it leaves to others."""

    def check(case):
        x, w, b, dy = case.arrays(whole, "float64").values()
        y = np_backend.call(conv_forward, x, w, b, algorithm="fft", **case.options)
        gradients = np_backend.call(conv_backward, dy, x, w, algorithm="fft", **case.options)
        np.testing.assert_array_equal(np.rint(y), oracle.conv_forward(x, w, b, **case.options))
        wanted = oracle.conv_backward(dy, x, w, **case.options)
        for mine, other in zip(gradients, wanted, strict=True):
            np.testing.assert_array_equal(np.rint(mine), other)

    run_cases(np_backend, conv_cases(), check)


MEASURED = {
    "many small images": ((40, 12, 12, 1), (5, 5, 1, 4), {"padding": 2}),
    "one large image": ((1, 180, 150, 2), (9, 8, 2, 3), {"padding": 3}),
    "strided": ((3, 80, 90, 1), (7, 7, 1, 2), {"stride": 2}),
    "3-d": ((2, 20, 24, 22, 1), (4, 4, 4, 1, 2), {}),
}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "complex64", "float16"])
@pytest.mark.parametrize("name", MEASURED)
def test_their_workspace(by_rows, name, dtype, workers):
    x_shape, w_shape, options = MEASURED[name]
    run, rng = {**options, "algorithm": "fft"}, np.random.default_rng(0)
    x, w = normal(rng, x_shape, dtype), normal(rng, w_shape, dtype)
    dy = normal(rng, conv_forward(x, w, **run).shape, dtype)
    calls = {
        "forward": lambda: conv_forward(x, w, **run),
        "weight": lambda: conv_backward_weight(dy, x, w_shape, **run),
    }
    for workspace_bytes in (2**20, 2**28):
        for operation, call in calls.items():
            with anyconv.options(workspace_bytes=workspace_bytes, workers=workers):
                try:
                    plan = plan_conv(x_shape, w_shape, dtype=dtype, operation=operation, **run)
                except ValueError:
                    continue  # too much for the workspace
                assert isinstance(plan.leaves[0].template, RowFft)
                assert peak(call) <= plan.workspace + SMALL_CHANGE, operation


def test_images_under_a_small_kernel_are_transformed_along_one_axis():
    with anyconv.options(compiled=False):
        plan = plan_conv((16, 512, 512, 1), (7, 7, 1, 1), dtype="complex64", padding="full")
    assert isinstance(plan.leaves[0].template, RowFft)
    assert plan.leaves[0].template.neighbours > 1


def test_volumes_are_transformed_along_two_axes_but_for_the_gradient_of_the_data():
    shapes = (1, 79, 79, 79, 1), (16, 16, 16, 1, 8)
    with anyconv.options(compiled=False):
        plans = {
            operation: plan_conv(*shapes, dtype="complex64", operation=operation)
            for operation in ("forward", "input", "weight")
        }
    by_rows = {name: isinstance(plan.leaves[0].template, RowFft) for name, plan in plans.items()}
    assert by_rows == {"forward": True, "input": False, "weight": True}
