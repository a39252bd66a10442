"""Chunks within the workspace, workers, threads: how a call is carried out never shows in it."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import oracle
import pytest
from measuring import SMALL_CHANGE, peak
from strategies import conv_cases, normal, relative_error, run_cases, whole

import anyconv
import anyconv._compiled._numba as compiled_mod
from anyconv import _traits as traits
from anyconv import conv_backward, conv_backward_input, conv_backward_weight, conv_forward
from anyconv._execution import _workers as workers_mod
from anyconv._execution._workers import share
from anyconv._plans import _planner as planner

EXACT = ("gemm", "taps")


@pytest.mark.parametrize(
    ("algorithm", "groups"), [("gemm", 1), ("gemm", 2), ("taps", 1), ("taps", 4)]
)
def test_small_workspaces_give_equal_results(xp, algorithm, groups):
    """From one chunk to one row at a time; on whole numbers the sums are equal to the last bit."""
    rng = np.random.default_rng(0)
    x, w, b = whole(rng, (3, 11, 10, 4)), whole(rng, (3, 2, 4 // groups, 8)), whole(rng, (8,))
    options = {"stride": (2, 1), "padding": ((1, 2), (0, 1)), "groups": groups}
    wanted = oracle.conv_forward(x, w, b, **options)
    dy = whole(rng, wanted.shape)
    gradients = oracle.conv_backward(dy, x, w, **options)
    data, weight, bias, gradient = (xp.asarray(array) for array in (x, w, b, dy))
    workspaces = (16_000, 40_000, 200_000, 2**28)
    for workspace_bytes in workspaces[:1] if xp.name.startswith("jax") else workspaces:
        with anyconv.options(workspace_bytes=workspace_bytes):
            y = xp.call(conv_forward, data, weight, bias, algorithm=algorithm, **options)
            actual = xp.call(conv_backward, gradient, data, weight, algorithm=algorithm, **options)
        np.testing.assert_array_equal(xp.to_numpy(y), wanted)
        for mine, other in zip(actual, gradients, strict=True):
            np.testing.assert_array_equal(xp.to_numpy(mine), other)


@pytest.mark.parametrize("algorithm", EXACT)
def test_any_case_in_chunks(np_backend, algorithm):
    """Random cases in the least workspace that the call will take."""

    def check(case):
        arrays = case.arrays(whole, "float64")
        x, w, b, dy = arrays.values()
        run = {**case.options, "algorithm": algorithm}
        for workspace_bytes in (2**k for k in range(6, 30, 2)):
            try:
                with anyconv.options(workspace_bytes=workspace_bytes):
                    y = np_backend.call(conv_forward, x, w, b, **run)
                    gradients = np_backend.call(conv_backward, dy, x, w, **run)
            except ValueError as error:
                assert "`workspace_bytes` must be at least" in str(error)  # noqa: PT017
                continue
            break
        np.testing.assert_array_equal(y, oracle.conv_forward(x, w, b, **case.options))
        wanted = oracle.conv_backward(dy, x, w, **case.options)
        for mine, other in zip(gradients, wanted, strict=True):
            np.testing.assert_array_equal(mine, other)

    run_cases(np_backend, conv_cases(), check)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_any_number_of_workers_gives_equal_results(np_backend, workers):
    """Large enough a call to be shared out."""
    rng = np.random.default_rng(0)
    x, w = whole(rng, (6, 40, 40, 16)), whole(rng, (3, 3, 16, 32))
    with anyconv.options(workers=1):
        y = np_backend.call(conv_forward, x, w, padding=1)
        gradients = np_backend.call(conv_backward, y, x, w, padding=1)
    with anyconv.options(workers=workers):
        again = np_backend.call(conv_forward, x, w, padding=1)
        back = np_backend.call(conv_backward, y, x, w, padding=1)
    np.testing.assert_array_equal(again, y)
    for mine, other in zip(back, gradients, strict=True):
        np.testing.assert_array_equal(mine, other)


PEAK = """
import resource, sys
import numpy as np
import anyconv

rng = np.random.default_rng(0)
x = rng.standard_normal((1, 768, 1024, 128), dtype=np.float32)
w = rng.standard_normal((7, 7, 128, 64), dtype=np.float32)
anyconv.conv_forward(x[:, :16, :16], w, padding=3, algorithm="gemm")  # libraries and threads

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # kilobytes on Linux

before = peak()
y = anyconv.conv_forward(x, w, padding=3, algorithm="gemm")
assert y.shape == (1, 768, 1024, 64) and np.isfinite(y[0, ::97, ::101]).all()
corner = x[:, :7, :7], w
assert np.allclose(y[0, 3, 3], anyconv.conv_forward(*corner)[0, 0, 0], rtol=1e-4, atol=1e-2)
print(peak() - before - y.nbytes)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts kilobytes as Linux does")
def test_a_large_image_runs_within_a_gibibyte():
    """Unfolded whole, its windows would take 18 GiB."""
    result = subprocess.run(
        [sys.executable, "-c", PEAK], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) < 2**30


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize(
    ("c", "k", "groups"), [(1, 5, 1), (5, 1, 1), (4, 4, 4), (3, 6, 3), (6, 3, 3)]
)
@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_thin_convolutions_with_large_kernels(np_backend, dtype, c, k, groups, layout):
    """Lanes one by one, channels cut for workers, spectra of several tiles: against SciPy."""
    signal = pytest.importorskip("scipy.signal")
    rng = np.random.default_rng(0)
    x, w = normal(rng, (2, c, 150, 90), dtype), normal(rng, (k, c // groups, 40, 31), dtype)
    wanted = np.zeros((2, k, 111, 60), dtype)
    for i, o, j in np.ndindex(2, k, c // groups):
        data = x[i, o // (k // groups) * (c // groups) + j]
        wanted[i, o] += signal.correlate(data, np.conj(w[o, j]), mode="valid", method="fft")
    dy = normal(rng, wanted.shape, dtype)
    options = {"groups": groups, "layout": layout, "algorithm": "fft"}
    if layout == "channels_last":
        x, dy, wanted = (np.moveaxis(a, 1, -1) for a in (x, dy, wanted))
        w = np.transpose(w, (2, 3, 1, 0))
    results = []
    for workers in (1, 2):
        with anyconv.options(workers=workers):
            y = np_backend.call(conv_forward, x, w, np.zeros(k, dtype), **options)
            results.append((y, *np_backend.call(conv_backward, dy, x, w, **options)))
    assert relative_error(y, wanted) < 1e-13
    for name, one, other in zip(("y", "dx", "dw"), *results, strict=False):
        assert relative_error(one, other) < 1e-13, name
    for _, dx, dw, _ in results:
        assert abs(np.vdot(y, dy) - np.vdot(x, dx)) < 1e-12 * np.linalg.norm(x) * np.linalg.norm(dx)
        assert abs(np.vdot(y, dy) - np.vdot(w, dw)) < 1e-12 * np.linalg.norm(w) * np.linalg.norm(dw)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system keeps its cores")
def test_workers_take_a_core_each():
    """Where they take all cores that the caller has; whose own thread is left as it was."""
    before = os.sched_getaffinity(0)
    workers = len(before)
    if workers < 2:
        pytest.skip("a single core")
    for _ in range(2):  # a worker that has been put on a core is set free again
        *others, own = share(lambda _: os.sched_getaffinity(0), range(workers), workers)
        assert own == before
        if workers_mod._current_core() is not None:
            assert all(len(cores) == 1 for cores in others)
            assert len(set(map(min, others))) == workers - 1
        more = share(lambda _: os.sched_getaffinity(0), range(workers + 1), workers + 1)
        assert all(cores == before for cores in more)


def test_work_that_fails_in_a_worker_raises():
    def fail(items):
        if items[0] == 0:  # the share of a worker, not of the caller
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        share(fail, range(2), 2)


FORKED = """
import os, signal, numpy as np, anyconv
x, w = np.ones((8, 64, 64, 32), np.float32), np.ones((3, 3, 32, 32), np.float32)
def call():
    with anyconv.options(compiled=False, workers=2):
        assert np.allclose(anyconv.conv_forward(x, w), 288)
call()
child = os.fork()
if child == 0:
    signal.alarm(20)
    call()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
def test_a_process_that_was_forked_has_workers_of_its_own():
    done = subprocess.run(
        [sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_threads_at_once_with_options_of_their_own(np_backend):
    """Eight threads, eight workspaces, the results of one."""
    rng = np.random.default_rng(0)
    x, w = whole(rng, (4, 24, 24, 8)), whole(rng, (3, 3, 8, 16))
    y = conv_forward(x, w)
    gradients = conv_backward(y, x, w)
    start = threading.Barrier(8)

    def work(index):
        start.wait()
        workers = 1 + index % 3
        for _ in range(5):
            with anyconv.options(workspace_bytes=2 ** (18 + index), workers=workers) as limits:
                found = conv_forward(x, w), *conv_backward(y, x, w)
                assert (limits.workspace_bytes, limits.workers) == (2 ** (18 + index), workers)
        return found

    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(work, range(8)):
            for mine, other in zip(found, (y, *gradients), strict=True):
                np.testing.assert_array_equal(mine, other)


def test_options_nest_and_end():
    with anyconv.options() as outside:
        pass
    with anyconv.options(workspace_bytes=2**20), anyconv.options(workers=3) as inner:
        assert (inner.workspace_bytes, inner.workers) == (2**20, 3)
    with pytest.raises(ZeroDivisionError), anyconv.options(workspace_bytes=1):
        raise ZeroDivisionError
    with anyconv.options() as after:
        assert after == outside
    assert outside.workspace_bytes == 256 * 2**20  # the documented default


def test_algorithms_agree_on_real_sizes(np_backend):
    """Large enough for chunks and workers, in single precision."""
    rng = np.random.default_rng(0)
    x = normal(rng, (4, 33, 31, 24), "float32")
    w = normal(rng, (3, 3, 24, 40), "float32")
    one, other = (conv_forward(x, w, padding="same", stride=2, algorithm=name) for name in EXACT)
    assert relative_error(one, other) <= 1e-6
    dy = normal(rng, one.shape, "float32")
    gradients = [
        conv_backward(dy, x, w, padding="same", stride=2, algorithm=name) for name in EXACT
    ]
    for mine, theirs in zip(*gradients, strict=True):
        assert relative_error(mine, theirs) <= 2e-6


@pytest.fixture
def half_products(monkeypatch):
    """NumPy as a library whose products of half precision are summed in single, like CuPy."""

    def forget():
        traits._traits.cache_clear()
        planner.make_plan.cache_clear()

    monkeypatch.setattr(traits, "multiplies_half_in_float32", lambda xp: True)
    forget()
    yield
    forget()


@pytest.mark.usefixtures("half_products")
@pytest.mark.parametrize(
    ("operation", "algorithm", "images", "expected"),
    [
        ("forward", "gemm", 2, True),
        ("forward", "taps", 2, False),  # whose products are added
        ("forward", "winograd", 2, False),  # whose transforms would be rounded
        ("weight", "gemm", 2, True),
        ("weight", "gemm", 640, False),  # a sum of several blocks' shares
    ],
)
def test_half_precision_is_multiplied_as_it_is_where_a_product_alone_sums_it(
    operation, algorithm, images, expected
):
    shapes = (images, 16, 16, 4), (3, 3, 4, 8)
    asked = {"operation": operation, "algorithm": algorithm}
    plan = anyconv.plan_conv(*shapes, dtype="float16", **asked)
    assert plan.multiplies_as_given is expected
    assert anyconv.plan_conv(*shapes, dtype="float32", **asked).multiplies_as_given
    rng = np.random.default_rng(0)
    x, w = (normal(rng, shape, "float16") for shape in shapes)
    dy = normal(rng, (images, 14, 14, 8), "float16")
    call = {
        "forward": lambda x, w, dy: anyconv.conv_forward(x, w, algorithm=algorithm),
        "weight": lambda x, w, dy: anyconv.conv_backward_weight(
            dy, x, shapes[1], algorithm=algorithm
        ),
    }[operation]
    wanted = call(*(array.astype(np.float64) for array in (x, w, dy)))
    assert relative_error(call(x, w, dy), wanted) < 4e-4  # of half precision, a rounding or so


@pytest.mark.usefixtures("half_products")
def test_a_bias_is_added_to_sums_that_are_not_yet_rounded():
    """2048 + 1 is 2048 in half precision, 2048 + 1 + 1 is 2050."""
    x = np.asarray([[1.0], [2048.0]], dtype=np.float16)
    w, b = np.ones((2, 1, 1), dtype=np.float16), np.ones(1, dtype=np.float16)
    assert anyconv.conv_forward(x, w, algorithm="gemm").item() == 2048
    assert anyconv.conv_forward(x, w, b, algorithm="gemm").item() == 2050


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_views_that_a_product_would_copy_are_within_the_workspace(np_backend, dtype, compiled):
    """Of channels first, and of the cells that padding leaves, where nothing is unfolded."""
    if compiled and compiled_mod.why_no_compiled_loops() is not None:
        pytest.skip("Numba cannot be imported")
    rng = np.random.default_rng(7)
    first, square = whole(rng, (4, 16, 100, 100)).astype(dtype), whole(rng, (16, 16, 1, 1))
    dy, w = whole(rng, (4, 30_004, 4)).astype(dtype), whole(rng, (1, 5, 4)).astype(dtype)
    square = square.astype(dtype)
    calls = (
        lambda: conv_forward(first, square, layout="channels_first"),
        lambda: conv_backward_input(first, square, first.shape, layout="channels_first"),
        lambda: conv_backward_weight(first, first, square.shape, layout="channels_first"),
        lambda: conv_backward_input(dy, w, (4, 30_000, 5), padding=2, algorithm="gemm"),
    )
    for call in calls:
        with anyconv.options(workspace_bytes=2**19, workers=1, compiled=compiled):
            assert peak(call) <= 2**19 + SMALL_CHANGE
