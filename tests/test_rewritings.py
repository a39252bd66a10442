"""Strides and neighbours as channels, dilation as images: one convolution by way of another."""

import tracemalloc

import array_api_compat.numpy
import numpy as np
import oracle
import peers
import pytest
from hypothesis import assume, given
from strategies import conv_cases, conv_transpose_cases, inner, normal, relative_error, run_cases
from strategies import whole as whole_numbers

import anyconv
from anyconv import (
    conv_backward,
    conv_backward_input,
    conv_backward_weight,
    conv_forward,
    conv_transpose_backward,
    conv_transpose_forward,
    plan_conv,
)
from anyconv._arguments._conv import conv_call, conv_options
from anyconv._compiled import why_no_compiled_loops
from anyconv._execution import _by_jobs
from anyconv._plans import _planner as planner
from anyconv._rewritings import Neighbours, Plain

OPERATIONS = ("forward", "input", "weight")
NAMES = ("y", "dx", "dw", "db")
ALEXNET = (16, 224, 224, 3), (11, 11, 3, 64), {"stride": 4, "padding": 2}
RESNET = (8, 224, 224, 3), (7, 7, 3, 64), {"stride": 2, "padding": 3}
COURSE = (64, 64, 64, 3), (4, 4, 3, 8), {"padding": "same"}
DEEPLAB = (8, 28, 28, 256), (3, 3, 256, 256), {"dilation": 2, "padding": 2}


KINDS = (Plain, Neighbours)
every_kind = pytest.mark.parametrize("kind", KINDS, ids=["plain", "neighbours"])


@pytest.fixture(params=KINDS, ids=["plain", "neighbours"])
def always(monkeypatch, request):
    """Every problem that can be is rewritten in one way, large or small, dear or cheap."""
    monkeypatch.setattr(planner, "WORTH_REWRITING", 0)
    monkeypatch.setattr(planner, "WORTH_A_TRANSFORM", 0)
    kind = request.param
    monkeypatch.setattr(kind, "worth", lambda self, algorithm: float("inf"))

    def only(problem, _):
        rewriting = kind.of(problem)
        return [rewriting] if rewriting else []

    monkeypatch.setattr(planner, "rewritings_of", only)
    planner.make_plan.cache_clear()
    yield monkeypatch
    planner.make_plan.cache_clear()


@pytest.fixture
def always_exact(always):
    """And solved without rounding on whole numbers."""
    always.setattr(planner, "ALGORITHM_NAMES", ("gemm", "taps"))


def problem_of(case):
    """The problem of a case, transposed or not padded with zeros included."""
    names = ("stride", "padding", "dilation", "groups", "padding_mode", "layout")
    options = {name: case.options[name] for name in names}
    call = conv_call(case.x_shape, case.w_shape, conv_options(**options, algorithm="auto"))
    return call.problem


def draw(shapes, dtype="float64"):
    rng = np.random.default_rng(0)
    return [whole_numbers(rng, shape, dtype) for shape in shapes]


def shapes(problem):
    """Those of x, w and y."""
    p = problem
    return (
        (p.images, *p.geometry.input, p.in_channels),
        (*p.geometry.kernel, p.in_channels // p.groups, p.out_channels),
        (p.images, *p.geometry.output, p.out_channels),
    )


# --- the maps


@given(conv_cases())
def test_the_plain_problem_is_plain(case):
    problem = problem_of(case)
    rewriting = Plain.of(problem)
    steps = list(zip(problem.geometry.stride, problem.geometry.dilation, strict=True))
    if set(steps) == {(1, 1)} or any(s % d and d % s for s, d in steps):
        assert rewriting is None
    else:
        plain = rewriting.inner
        assert set(plain.geometry.stride) == set(plain.geometry.dilation) == {1}
        assert plain.geometry.windows.input == plain.geometry.input
        assert not plain.geometry.is_padded
        assert plain.multiply_adds >= problem.multiply_adds
        assert Plain.of(plain) is None


@given(conv_cases())
def test_neighbours_are_the_windows_of_one(case):
    problem = problem_of(case)
    rewriting = Neighbours.of(problem)
    assume(rewriting is not None)
    g, inner, m = problem.geometry, rewriting.inner.geometry, rewriting.count
    assert inner.output[-1] == -(-g.output[-1] // m)
    if g.output[-1] % m == 0:
        assert inner.windows.input == g.windows.input
    assert rewriting.inner.out_channels == m * problem.out_channels


@pytest.mark.parametrize(("columns", "count"), [(1, 4), (8, 4), (9, 2), (16, 2), (17, None)])
def test_how_many_neighbours(columns, count):
    for groups in (1, 2):
        options = {"stride": 2, "padding": 0, "dilation": 1, "groups": groups}
        shapes = (1, 40, 2 * groups), (3, 2, columns * groups)
        rest = {"padding_mode": "zeros", "layout": "channels_last", "algorithm": "auto"}
        call = conv_call(*shapes, conv_options(**options, **rest))
        found = Neighbours.of(call.problem)
        assert (found.count if found else None) == count


@every_kind
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_three_maps_and_their_adjoints(xp, kind, dtype):
    """<Ax, y> = <x, A*y>, exactly, as they only move whole numbers."""

    def check(case):
        problem = problem_of(case)
        rewriting = kind.of(problem)
        assume(rewriting is not None)
        maps = (
            (rewriting.data, rewriting.data_adjoint),
            (rewriting.weight, rewriting.weight_adjoint),
            (rewriting.output_adjoint, rewriting.output),
        )
        sizes = zip(shapes(problem), shapes(rewriting.inner), strict=True)
        for (there, back), (near, far) in zip(maps, sizes, strict=True):
            x, y = draw((near, far), dtype)
            moved = np.asarray(xp.to_numpy(there(xp.asarray(x), xp=xp.namespace)))
            returned = np.asarray(xp.to_numpy(back(xp.asarray(y), xp=xp.namespace)))
            assert moved.shape == far
            assert returned.shape == near
            assert inner(moved, y) == inner(x, returned)

    if xp.lazy:
        pytest.skip("its blocks are NumPy's")
    run_cases(xp, conv_cases(), check)


@every_kind
def test_the_other_problem_has_the_same_solution(np_backend, kind):
    """Forward, with a bias, by plain loops on both sides."""

    def check(case):
        problem = problem_of(case)
        rewriting = kind.of(problem)
        assume(rewriting is not None)
        x, w, _ = draw(shapes(problem))
        b, xp = draw([(problem.out_channels,)])[0], np_backend.namespace
        data, weight = rewriting.data(x, xp=xp), rewriting.weight(w, xp=xp)
        y = looped(rewriting.inner, data, weight, rewriting.bias(b, xp=xp))
        np.testing.assert_array_equal(rewriting.output(y, xp=xp), looped(problem, x, w, b))

    run_cases(np_backend, conv_cases(), check)


def looped(problem, x, w, b):
    """The oracle's output; it has no padding below zero, so perhaps a window too many."""
    g = problem.geometry
    padding = tuple((before, max(after, 0)) for before, after in g.padding)
    options = {"stride": g.stride, "padding": padding, "dilation": g.dilation}
    y = oracle.conv_forward(x, w, b, groups=problem.groups, **options)
    return y[(slice(None), *(slice(0, o) for o in g.output))]


# --- whole calls


def called(xp, forward, backward, arrays, options):
    """y, dx, dw, db as NumPy arrays."""
    x, w, b, dy = (None if a is None else xp.asarray(a) for a in arrays.values())
    y = xp.call(forward, x, w, b, **options)
    gradients = xp.call(backward, dy, x, w, **options)
    return [xp.to_numpy(array) for array in (y, *gradients)]


@pytest.mark.usefixtures("always_exact")
def test_rewritten_calls_are_exact_on_whole_numbers(xp):
    def check(case):
        arrays = case.arrays(whole_numbers, "complex128")
        x, w, b, dy = arrays.values()
        y = oracle.conv_forward(x, w, b, **case.options)
        wanted = y, *oracle.conv_backward(dy, x, w, **case.options)
        found = called(xp, conv_forward, conv_backward, arrays, case.options)
        for name, mine, other in zip(NAMES, found, wanted, strict=True):
            np.testing.assert_array_equal(mine, other, name)

    run_cases(xp, conv_cases(), check)


@peers.needs_torch
@pytest.mark.usefixtures("always")
def test_rewritten_calls_agree_with_gemm_and_pytorch(np_backend):
    def check(case):
        arrays = case.arrays(normal, "float64")
        found = called(np_backend, conv_forward, conv_backward, arrays, case.options)
        gemm = {**case.options, "algorithm": "gemm"}
        others = [called(np_backend, conv_forward, conv_backward, arrays, gemm)]
        if peers.has_conv(case):
            others.append(peers.conv(case, arrays))
        for wanted in others:
            for name, mine, other in zip(NAMES, found, wanted, strict=True):
                assert relative_error(mine, other) <= 1e-12, name

    run_cases(np_backend, conv_cases(), check)


@pytest.mark.usefixtures("always_exact")
def test_rewritten_transposed_calls_are_exact_on_whole_numbers(xp):
    def check(case):
        arrays = case.arrays(whole_numbers, "float64")
        gemm = {**case.options, "algorithm": "gemm"}
        functions = conv_transpose_forward, conv_transpose_backward
        wanted = called(xp, *functions, arrays, gemm)
        found = called(xp, *functions, arrays, case.options)
        for name, mine, other in zip(NAMES, found, wanted, strict=True):
            np.testing.assert_array_equal(mine, other, name)

    run_cases(xp, conv_transpose_cases(), check)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("options", [{"stride": 2}, {"dilation": (2, 1)}, {"groups": 2}])
def test_half_precision_and_empty_batches(xp, options):
    if xp.name.startswith("jax") and options != {"stride": 2}:
        pytest.skip("each new shape is compiled anew")
    x, w = draw([(2, 9, 12, 4), (3, 3, 4 // options.get("groups", 1), 6)])
    y = oracle.conv_forward(x, w, None, **options)
    wanted = y, *oracle.conv_backward(y / 64, x, w, **options)
    for dtype in ("float16", "bfloat16"):
        if xp.has(dtype):
            arrays = [xp.asarray(array, dtype) for array in (x, w, y / 64)]
            found = xp.call(conv_forward, *arrays[:2], **options)
            gradients = xp.call(conv_backward, arrays[2], *arrays[:2], **options)
            bound = 1e-3 if dtype == "float16" else 8e-3
            for mine, other in zip((found, *gradients), wanted, strict=True):
                assert relative_error(xp.to_numpy(mine).astype("float64"), other) <= bound
    empty, dy = xp.asarray(x[:0]), xp.asarray(y[:0])
    assert xp.call(conv_forward, empty, xp.asarray(w), **options).shape == (0, *y.shape[1:])
    gradients = xp.call(conv_backward, dy, empty, xp.asarray(w), **options)
    assert gradients.dx.shape == (0, *x.shape[1:])
    np.testing.assert_array_equal(xp.to_numpy(gradients.dw), np.zeros_like(w))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_half_precision_is_not_added(dtype):
    """The shares of neighbours in a weight's gradient are rounded before they are added."""
    x_shape, w_shape, sizes = COURSE
    for operation in ("forward", "weight"):
        plan = plan_conv(x_shape, w_shape, dtype=dtype, operation=operation, **sizes)
        kept = dtype == "float16" and operation == "weight"
        assert ("neighbours" in plan.reason) != kept


@pytest.mark.usefixtures("always")
def test_results_keep_no_larger_array_alive():
    """Where more cells were rearranged than there are, the result is cut out of them."""
    x, w = draw([(2, 9, 15, 4), (3, 3, 4, 6)], "float32")
    for options in ({"stride": 2}, {"dilation": 2}, {"stride": 3}, {}):
        y = conv_forward(x, w, **options)
        for array in (y, *conv_backward(y, x, w, **options)):
            base = array if array.base is None else array.base
            assert array.flags.c_contiguous
            assert base.nbytes == array.nbytes


# --- the plan


@pytest.fixture
def narrow(monkeypatch):
    """The rates of one kind of processor, whichever runs the tests."""
    monkeypatch.setattr(planner, "has_wide_products", lambda: False)
    planner.make_plan.cache_clear()
    yield
    planner.make_plan.cache_clear()


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.usefixtures("narrow")
def test_what_is_rewritten_and_what_the_plan_says(operation):
    options = {"dtype": "float32", "operation": operation}
    x_shape, w_shape, sizes = ALEXNET
    with anyconv.options(workers=1, compiled=False):
        if operation != "weight":  # whose products are long as they stand
            plan = plan_conv(x_shape, w_shape, **options, **sizes)
            assert plan.algorithm == "winograd"
            assert plan.output_shape == (16, 55, 55, 64)
            assert "16 phases as channels; " in plan.reason
            assert " as it stands " in plan.reason
            table = dict(line.split("  ", 1) for line in str(plan).splitlines())
            assert table["algorithm"].strip() == f"winograd ({plan.reason})"
            assert table["operation"].strip() == operation
            assert table["multiply-adds"].strip() == f"{16 * 55 * 55 * 11 * 11 * 3 * 64:,}"
            assert table["chunks"].strip() == f"{len(plan.leaves[0].blocks)}, 1 at a time"
        x_shape, w_shape, sizes = DEEPLAB
        plan = plan_conv(x_shape, w_shape, **options, **sizes)
        assert "4 phases as images; " in plan.reason
        assert plan.algorithm == "winograd"
        x_shape, w_shape, sizes = RESNET  # whose windows are long enough for a product
        plan = plan_conv(x_shape, w_shape, **options, **sizes)
        assert ("phases as channels" in plan.reason) == (operation == "input")
        x_shape, w_shape, sizes = COURSE
        plan = plan_conv(x_shape, w_shape, **options, **sizes)
        assert "4 neighbours as channels; " in plan.reason
        assert plan.algorithm == "gemm"


def test_one_small_image_is_rewritten_and_a_tiny_one_is_not():
    """Well below the size at which a transform is thought of."""
    with anyconv.options(compiled=False):
        small = plan_conv((1, 128, 128, 1), (3, 3, 1, 8), dtype="float32", padding=1)
        tiny = plan_conv((1, 16, 16, 1), (3, 3, 1, 8), dtype="float32", padding=1)
    assert small.problem.multiply_adds < planner.WORTH_A_TRANSFORM
    assert "neighbours as channels; " in small.reason
    assert "neighbours" not in tiny.reason


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("algorithm", ["gemm", "taps", "fft"])
@pytest.mark.usefixtures("always")
def test_an_algorithm_asked_for_by_name_has_the_problem_as_it_stands(algorithm, operation):
    x_shape, w_shape, sizes = ALEXNET
    run = {"dtype": "float32", "operation": operation, "algorithm": algorithm}
    plan = plan_conv(x_shape, w_shape, **run, **sizes)
    assert " as channels" not in plan.reason


@pytest.mark.parametrize("operation", OPERATIONS)
def test_small_problems_are_not_rewritten(operation):
    plan = plan_conv((1, 64, 64, 3), (11, 11, 3, 8), dtype="float32", stride=4, operation=operation)
    assert plan.problem.multiply_adds < 2**24
    assert "phases as" not in plan.reason


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("dtype", ["float32", "complex64", "float16"])
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize(
    "options",
    [
        {"stride": 2, "padding": 1},
        {"stride": 4, "padding": ((2, 1), (0, 5))},
        {"stride": 3},
        {"dilation": 2, "padding": 2},
        {"dilation": 3},
        {"stride": 4, "dilation": 2},
        {},
        {"padding": 1},
    ],
)
def test_rewritten_calls_stay_within_their_plan(options, groups, dtype):
    """The bytes held at once are at most what the plan says, which the limit holds."""
    x_shape, w_shape = (4, 61, 60, 8), (5, 5, 8 // groups, 16)
    rng = np.random.default_rng(0)
    x, w = normal(rng, x_shape, dtype), normal(rng, w_shape, dtype)
    options = {**options, "groups": groups}
    dy = conv_forward(x, w, **options)
    calls = {
        "forward": lambda: conv_forward(x, w, **options),
        "input": lambda: conv_backward_input(dy, w, x_shape, **options),
        "weight": lambda: conv_backward_weight(dy, x, w_shape, **options),
    }
    exceeding = []
    for workspace_bytes in (2**19, 2**21, 2**23, 2**25):
        for operation, call in calls.items():
            with anyconv.options(workspace_bytes=workspace_bytes, workers=1):
                plan = plan_conv(x_shape, w_shape, dtype=dtype, operation=operation, **options)
                assert plan.workspace <= workspace_bytes
                call()
                tracemalloc.start()
                held = -call().nbytes + tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
            if held > plan.workspace + 2**15:
                exceeding.append((operation, workspace_bytes, plan.workspace, held, plan.reason))
    assert not exceeding
    forward = plan_conv(x_shape, w_shape, dtype=dtype, **options)
    assert bool(forward.inner) == bool(planner.rewritings_of(forward.problem, "forward"))


@pytest.mark.parametrize("operation", ["forward", "input"])
@pytest.mark.usefixtures("narrow")
def test_what_does_not_fit_is_not_rewritten(operation):
    """The rearranged input alone takes 10 MB."""
    x_shape, w_shape, sizes = ALEXNET
    for namespace in ("numpy", "array_api_strict"):
        rewritten = []
        for workspace_bytes in (2**22, 2**23, 2**24, 2**26, 2**28):
            with anyconv.options(workspace_bytes=workspace_bytes, compiled=False):
                run = {"dtype": "float32", "operation": operation, "namespace": namespace}
                plan = plan_conv(x_shape, w_shape, **run, **sizes)
            assert plan.workspace <= workspace_bytes
            rewritten.append("phases as" in plan.reason)
        assert rewritten == sorted(rewritten)
        assert rewritten[0] is rewritten[1] is False
        assert rewritten[-1] is True


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("x_shape", "w_shape", "options"),
    [
        ((3, 13, 14, 2), (5, 4, 2, 3), {"stride": (2, 3), "padding": ((1, 0), (2, 5))}),
        ((3, 13, 14, 2), (2, 1, 2, 3), {"stride": 3}),  # cells that no window sees
        ((1, 40, 5), (11, 5, 2), {"stride": 4, "padding": 9}),
        ((2, 5, 6, 7, 3), (3, 3, 3, 3, 2), {"stride": 2, "padding": 1}),
    ],
)
def test_compiled_loops_unfold_what_a_rewriting_would_and_fold_it_back(
    x_shape, w_shape, options, workers
):
    why_not = why_no_compiled_loops()
    if why_not is not None:
        pytest.skip(f"no Numba: {why_not}")
    xp = array_api_compat.numpy
    rewriting = plain_of(x_shape, w_shape, **options)
    with anyconv.options(workers=workers):
        plan = plan_conv(x_shape, w_shape, dtype="float64", **options)
    rng = np.random.default_rng(0)
    x = rng.integers(-8, 9, x_shape).astype(np.float64)
    u = _by_jobs.unfolded(plan, rewriting, x, xp=xp)
    np.testing.assert_array_equal(u, rewriting.data(x, xp=xp))
    back = _by_jobs.folded(plan, rewriting, u, xp=xp)
    np.testing.assert_array_equal(back, rewriting.data_adjoint(u, xp=xp))


def test_only_phases_that_are_channels_are_unfolded():
    assert plain_of((2, 12, 12, 4), (3, 3, 4, 4), stride=2).windows
    assert plain_of((2, 12, 12, 4), (3, 3, 4, 4), dilation=2).windows is None
    assert plain_of((2, 12, 12, 4), (3, 3, 2, 4), stride=2, groups=2).windows is None


def plain_of(x_shape, w_shape, **options):
    defaults = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "padding_mode": "zeros"}
    options = {**defaults, "layout": "channels_last", "algorithm": "auto", **options}
    return Plain.of(conv_call(x_shape, w_shape, conv_options(**options)).problem)
