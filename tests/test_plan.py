"""Plans: what they say, what they choose, that they keep their limits and cover every output."""

import math
import subprocess
import sys

import backends
import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from measuring import SMALL_CHANGE, peak
from strategies import normal

import anyconv
from anyconv import (
    conv_backward_input,
    conv_backward_weight,
    conv_forward,
    conv_transpose_forward,
    plan_conv,
)
from anyconv._algorithms import _gemm_direct as gemm_direct
from anyconv._algorithms._on_cells import OnCells
from anyconv._geometry import AxisLoop

ALGORITHMS = ("gemm", "taps", "winograd", "fft")
OPERATIONS = ("forward", "input", "weight")
NAMESPACES = {  # the names that users write, and the module behind each
    "numpy": "numpy",
    "array-api-strict": "array_api_strict",
    "torch": "torch",
    "cupy": "cupy",
    "jax": "jax.numpy",
    "dask": "dask.array",
}
LAYER = (8, 56, 56, 64), (3, 3, 64, 64)  # one of ResNet-50's
DTYPE_BYTES = {"float32": 4, "float64": 8, "complex64": 8, "complex128": 16}


def rows(plan):
    """The table of a plan: the words on the left to those on the right."""
    return dict(line.split("  ", 1) for line in str(plan).splitlines())


# --- what a plan says


@pytest.mark.parametrize("name", NAMESPACES)
def test_every_namespace_by_name_and_by_module(name):
    try:
        backend = backends.load(name)
    except backends.Absent as absent:
        pytest.skip(str(absent))
    word = NAMESPACES[name].partition(".")[0]
    plan = plan_conv(*LAYER, dtype="float32", namespace=word)
    assert {"dask": "numpy"}.get(word, word) in rows(plan)["arrays"]  # Dask's blocks are NumPy's
    assert "float32" in rows(plan)["arrays"]
    for module in (backend.namespace, sys.modules[NAMESPACES[name]]):
        assert plan_conv(*LAYER, dtype="float32", namespace=module) == plan
    dtype = backend.dtype("float32")
    assert plan_conv(*LAYER, dtype=dtype, namespace=backend.namespace) == plan


def test_a_device_has_its_own_costs():
    """A plan for a GPU is made without one."""
    pytest.importorskip("torch")
    plan = plan_conv(*LAYER, dtype="float32", namespace="torch")
    assert plan.traits.runs == "eager"
    assert plan_conv(*LAYER, dtype="float32", namespace="torch", device="cpu") == plan
    on_gpu = plan_conv(*LAYER, dtype="float32", namespace="torch", device="cuda:0")
    assert on_gpu.traits.runs == "gpu"
    assert on_gpu.reason != plan.reason


def test_a_device_is_taken_as_the_library_has_it():
    torch = pytest.importorskip("torch")
    by_name = plan_conv(*LAYER, dtype="float32", namespace=torch, device="cuda")
    assert plan_conv(*LAYER, dtype="float32", namespace=torch, device=torch.device("cuda")) == (
        by_name
    )
    x = torch.ones(1)
    assert plan_conv(*LAYER, dtype="float32", namespace=torch, device=x.device) == plan_conv(
        *LAYER, dtype="float32", namespace=torch
    )
    assert plan_conv(*LAYER, dtype="float32", device="cpu") == plan_conv(*LAYER, dtype="float32")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_table(operation):
    """Each number by a formula of its own."""
    options = {"stride": (2, 1), "padding": ((1, 2), 0), "dilation": (1, 2), "groups": 2}
    options["padding"] = ((1, 2), (0, 1))
    plan = plan_conv(
        (2, 3, 20, 17, 4),
        (3, 2, 2, 6),
        dtype="complex64",
        operation=operation,
        algorithm="gemm",
        **options,
    )
    output = oracle.windows(
        (20, 17), (3, 2), **{k: v for k, v in options.items() if k != "groups"}
    ).output
    images, outputs = 2 * 3, math.prod(output)
    table = {name: value.strip() for name, value in rows(plan).items()}
    assert list(table) == [
        "operation",
        "algorithm",
        "arrays",
        "output shape",
        "multiply-adds",
        "bytes moved",
        "workspace",
        "chunks",
    ]
    assert table["operation"] == operation
    assert table["algorithm"].startswith("gemm (")
    assert table["arrays"] == "numpy complex64"
    assert table["output shape"] == str((2, 3, *output, 6))
    assert table["multiply-adds"] == f"{images * outputs * (3 * 2) * 2 * 6:,}"
    elements = images * 20 * 17 * 4 + images * outputs * 6 + 3 * 2 * 2 * 6
    assert table["bytes moved"] == f"{elements * 8:,}"
    assert table["workspace"] == f"{plan.workspace:,} bytes"
    blocks = sum(len(leaf.blocks) for leaf in plan.leaves)
    assert table["chunks"] == f"{blocks}, {plan.workers} at a time"


def test_reasons_name_what_was_weighed():
    auto = rows(plan_conv(*LAYER, dtype="float32", padding=1))["algorithm"]
    assert all(f"{name} " in auto for name in ALGORITHMS)
    assert auto.count(" ms") == 4
    assert "as asked" in rows(plan_conv(*LAYER, dtype="float32", algorithm="taps"))["algorithm"]


def test_the_same_arguments_give_the_same_plan():
    """The very same object, so that planning costs a look-up; another one where limits differ."""
    for operation in OPERATIONS:
        plan = plan_conv(*LAYER, dtype="float32", padding=1, operation=operation)
        again = plan_conv(*LAYER, dtype="float32", padding="same", operation=operation)
        assert again is plan
        with anyconv.options(workspace_bytes=2**22):
            smaller = plan_conv(*LAYER, dtype="float32", padding=1, operation=operation)
        assert smaller.workspace <= 2**22
        assert plan_conv(*LAYER, dtype="float32", padding=1, operation=operation) is plan


def test_plans_do_not_depend_on_the_process():
    code = (
        "from anyconv import options, plan_conv\n"
        "for operation in ('forward', 'input', 'weight'):\n"
        "    with options(workspace_bytes=2**24, workers=2):\n"
        "        print(plan_conv((2, 31, 29, 16), (5, 3, 16, 24), dtype='float32', padding=1,\n"
        "                        operation=operation))"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    }
    here = []
    with anyconv.options(workspace_bytes=2**24, workers=2):
        for operation in OPERATIONS:
            options = {"dtype": "float32", "padding": 1, "operation": operation}
            here.append(str(plan_conv((2, 31, 29, 16), (5, 3, 16, 24), **options)))
    assert texts == {"\n".join(here) + "\n"}


def test_layouts_have_the_same_plan():
    last = plan_conv((2, 9, 8, 4), (3, 3, 4, 6), dtype="float64", stride=2)
    options = {"stride": 2, "layout": "channels_first"}
    first = plan_conv((2, 4, 9, 8), (6, 4, 3, 3), dtype="float64", **options)
    assert (first.algorithm, first.workspace) == (last.algorithm, last.workspace)
    assert len(first.blocks) == len(last.blocks)


# --- what a plan chooses


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    ("x_shape", "w_shape"),
    [
        ((1, 8, 8, 3), (3, 3, 3, 8)),
        ((8, 32, 32, 3), (5, 5, 3, 16)),
        ((16, 28, 28, 8), (3, 3, 8, 8)),
        ((4, 1000, 4), (9, 4, 4)),
        ((1, 12, 12, 12, 4), (3, 3, 3, 4, 4)),
    ],
)
def test_small_problems_are_not_transformed(x_shape, w_shape, operation):
    """Under 2**24 multiply-adds, where nothing is won."""
    plan = plan_conv(x_shape, w_shape, dtype="float32", padding="same", operation=operation)
    assert plan.problem.multiply_adds < 2**24
    assert plan.algorithm in ("gemm", "taps")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_is_worth_a_transform(operation):
    """Where the product is many times as long, in arithmetic, as that of the transform."""
    small = plan_conv(
        (8, 56, 56, 128), (3, 3, 128, 128), dtype="float32", padding=1, operation=operation
    )
    assert small.algorithm == "winograd"
    large = plan_conv(
        (2, 256, 256, 16), (31, 31, 16, 16), dtype="float32", padding=15, operation=operation
    )
    assert large.algorithm == "fft"
    strided = plan_conv(
        (8, 56, 56, 128), (1, 1, 128, 128), dtype="float32", stride=2, operation=operation
    )
    assert strided.algorithm in ("gemm", "taps")


REFUSED = {
    "stride": ((9, 9, 4), (3, 3, 4, 4), {"stride": 2}, "it needs stride 1, not (2, 2)"),
    "dilation": ((9, 9, 4), (3, 3, 4, 4), {"dilation": (1, 2)}, "dilation 1, not (1, 2)"),
    "one tap": ((9, 9, 4), (1, 1, 4, 4), {}, "taps, not (1, 1)"),
    "long kernel": ((9, 9, 4), (3, 7, 4, 4), {}, "taps, not (3, 7)"),
    "four axes": ((4,) * 5, (2, 2, 2, 2, 4, 4), {}, "one to three spatial axes, not 4"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_an_algorithm_that_cannot_do_a_case_says_so(case, xp):
    x_shape, w_shape, options, reason = case
    wanted = f"`algorithm` 'winograd' cannot do this convolution: {reason}"
    parts = wanted.partition(": ")[::2]
    calls = [
        lambda: plan_conv(x_shape, w_shape, dtype="float32", algorithm="winograd", **options),
        lambda: xp.call(
            conv_forward,
            xp.asarray(np.ones(x_shape)),
            xp.asarray(np.ones(w_shape)),
            algorithm="winograd",
            **options,
        ),
    ]
    if xp.lazy:
        calls.pop()  # planned when it is computed, block by block
    for call in calls:
        with pytest.raises(ValueError) as caught:
            call()
        assert all(part in str(caught.value) for part in parts), str(caught.value)
    assert plan_conv(x_shape, w_shape, dtype="float32", **options).algorithm != "winograd"


def test_an_unknown_algorithm_is_refused_with_those_that_are():
    with pytest.raises(ValueError, match=r"`algorithm`.*'gemm'.*'taps'.*'winograd'.*'fft'"):
        plan_conv(*LAYER, dtype="float32", algorithm="direct")


# --- what a plan keeps to


@st.composite
def requests(draw):
    """A call of `plan_conv`, with limits; only sizes, so they may be large."""
    axes = draw(st.integers(1, 3))
    spare, longest = {1: (2000, 70), 2: (50, 17), 3: (12, 5)}[axes]

    def one_each(low, high):
        return draw(st.tuples(*[st.integers(low, high)] * axes))

    kernel, stride, dilation = one_each(1, longest), one_each(1, 4), one_each(1, 3)
    algorithm = draw(st.sampled_from(("auto", *ALGORITHMS)))
    if algorithm == "winograd":
        kernel = tuple(2 + n % 4 for n in kernel)
        stride = dilation = (1,) * axes
    groups = draw(st.sampled_from([1, 1, 2, 5]))
    c, k = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    size = tuple(
        d * (n - 1) + 1 + extra
        for n, d, extra in zip(kernel, dilation, one_each(0, spare), strict=True)
    )
    batch = draw(st.sampled_from([(), (0,), (1,), (6,), (2, 3)]))
    call = {
        "x_shape": (*batch, *size, groups * c),
        "w_shape": (*kernel, c, groups * k),
        "dtype": draw(st.sampled_from(sorted(DTYPE_BYTES))),
        "stride": stride,
        "dilation": dilation,
        "padding": tuple((draw(st.integers(0, n)), draw(st.integers(0, n))) for n in kernel),
        "groups": groups,
        "padding_mode": draw(st.sampled_from(["zeros", "zeros", "replicate", "circular"])),
        "algorithm": algorithm,
        "operation": draw(st.sampled_from(OPERATIONS)),
    }
    limits = {
        "workspace_bytes": 2 ** draw(st.integers(12, 28)),
        "workers": draw(st.integers(1, 4)),
    }
    return call, limits


def planned(call, limits, **more):
    """The plan of a request, or None where the workspace holds none, after a look at the error."""
    with anyconv.options(**limits):
        try:
            return plan_conv(**call, **more)
        except ValueError as error:
            text = str(error)
    assert "`workspace_bytes` must be at least " in text, text
    assert f"got {limits['workspace_bytes']:,}" in text
    name = "taps" if call["algorithm"] == "auto" else call["algorithm"]
    assert f"algorithm {name!r}" in text
    assert _number_after("at least ", text) > limits["workspace_bytes"]
    return None


def _number_after(words, text):
    return int(text.partition(words)[2].partition(" ")[0].replace(",", ""))


@given(requests())
def test_no_plan_exceeds_its_workspace(request):
    call, limits = request
    plan = planned(call, limits)
    if plan is None:
        return
    assert 0 <= plan.workspace <= limits["workspace_bytes"]
    assert 1 <= plan.workers <= limits["workers"]
    assert call["algorithm"] in ("auto", plan.algorithm)
    for step in plan.phases:
        assert step.plan.workspace <= plan.workspace


@given(requests())
def test_what_a_refusal_asks_for_is_enough(request):
    call, limits = request
    with anyconv.options(**limits):
        try:
            plan_conv(**call)
            return
        except ValueError as error:
            needed = _number_after("at least ", str(error))
    while planned(call, {"workspace_bytes": needed, "workers": 1}) is None:
        # A strided gradient is several convolutions, each of which may ask in its turn.
        with anyconv.options(workspace_bytes=needed), pytest.raises(ValueError) as caught:
            plan_conv(**call)
        assert _number_after("at least ", str(caught.value)) > needed
        needed = _number_after("at least ", str(caught.value))


def covered_once(plan):
    """Whether blocks and their slabs are those of the windows, each output in one block."""
    geometry = plan.problem.geometry
    shape = (plan.problem.images, *geometry.output, plan.problem.out_channels)
    counts = np.zeros(shape, dtype=np.int64)
    for block in plan.blocks:
        counts[block.outputs] += 1
        channels = slice(None) if plan.holds_data else plan.channels[block.part]
        assert block.outputs[-1] == channels
        boxes = block.outputs[1 : 1 + geometry.rank]
        assert block.images == block.outputs[0]
        axes = (geometry.kernel, geometry.stride, geometry.dilation, geometry.padding)
        axes = zip(boxes, block.slab, geometry.input, *axes, strict=True)
        for box, (start, stop), size, k, s, d, (before, _) in axes:
            first, last = box.start * s - before, (box.stop - 1) * s - before + d * (k - 1)
            if isinstance(block.algorithm, OnCells):  # which sees cells of the input alone
                first, last = min(max(first, 0), size), min(last, size - 1)
            assert start == first
            assert stop > last
    np.testing.assert_array_equal(counts, np.ones_like(counts))


@given(requests())
def test_blocks_cover_every_output_once(request):
    plan = planned(*request)
    if plan is None:
        return
    for leaf in plan.leaves:
        covered_once(leaf)
    counts = np.zeros(plan.problem.geometry.input, dtype=np.int64)
    for step in plan.phases:
        strides = zip(step.phases, plan.problem.geometry.stride, strict=True)
        cells = counts[tuple(slice(phase.first, None, s) for phase, s in strides)]
        assert cells.shape == step.plan.problem.geometry.output
        cells += 1
    assert counts.max() <= 1  # a cell that no window reaches is zero, and in no step


@given(requests())
def test_traced_calls_are_one_block(request):
    pytest.importorskip("jax")
    call, limits = request
    call = call | {"dtype": "float32"}
    with anyconv.options(**limits):
        plan = plan_conv(**call, namespace="jax")
    for leaf in plan.leaves:
        assert len(leaf.blocks) == 1
        covered_once(leaf)


@given(requests())
def test_products_are_written_in_place_only_into_contiguous_rows(request):
    plan = planned(*request)
    if plan is None:
        return
    for leaf in plan.leaves:
        if leaf.writes_in_place and leaf.template.writes_into == "rows":
            p = leaf.problem
            y = np.empty((p.images, *p.geometry.output, p.out_channels), dtype=np.int8)
            assert all(y[block.outputs].flags.c_contiguous for block in leaf.blocks)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_auto_falls_back_to_taps_where_windows_do_not_fit(operation):
    """Unfolded, one window of 512 taps may exceed a workspace that one tap's inputs fit in."""
    call = {"x_shape": (4000, 4), "w_shape": (512, 4, 1), "dtype": "float64"}
    call["operation"] = operation
    fallen = 0
    for workspace_bytes in range(2**14, 2**17, 2**11):
        limits = {"workspace_bytes": workspace_bytes, "workers": 1}
        only_taps = (
            planned(call | {"algorithm": "taps"}, limits) is not None
            and planned(call | {"algorithm": "gemm"}, limits) is None
        )
        if only_taps:
            plan = planned(call | {"algorithm": "auto"}, limits)
            assert plan.algorithm == "taps"
            fallen += 1
    assert fallen
    assert plan_conv(**call).algorithm == "gemm"


@pytest.mark.parametrize("algorithm", ["auto", *ALGORITHMS])
def test_too_small_a_workspace_is_refused_by_name(algorithm, np_backend):
    x, w = np.ones((40, 4)), np.ones((5, 4, 1))
    name = "taps" if algorithm == "auto" else algorithm
    text = rf"`workspace_bytes` must be at least [\d,]+ for the algorithm '{name}' .* got 100"
    with anyconv.options(workspace_bytes=100):
        with pytest.raises(ValueError, match=text):
            plan_conv(x.shape, w.shape, dtype="float64", algorithm=algorithm)
        with pytest.raises(ValueError, match=text):
            np_backend.call(conv_forward, x, w, algorithm=algorithm)


# --- what a call takes


def arrays(x_shape, w_shape, dtype, options):
    """x, w and dy."""
    rng = np.random.default_rng(0)
    x, w = normal(rng, x_shape, dtype), normal(rng, w_shape, dtype)
    return x, w, normal(rng, conv_forward(x, w, **options).shape, dtype)


MEASURED_DTYPES = ("float32", "complex64", "float16")
MEASURED = {
    "3x3": ((4, 40, 40, 16), (3, 3, 16, 32), {"padding": 1}),
    "3x3 stride 2": ((4, 41, 40, 16), (3, 3, 16, 32), {"padding": 1, "stride": 2}),
    "5x5 in groups": ((4, 40, 40, 16), (5, 5, 4, 16), {"padding": 2, "groups": 4}),
    "depthwise": ((4, 40, 40, 16), (3, 3, 1, 32), {"padding": 1, "groups": 16}),
    "1x1": ((4, 40, 40, 16), (1, 1, 16, 32), {}),
    "11x11 stride 4": ((4, 64, 64, 3), (11, 11, 3, 16), {"stride": 4, "padding": 2}),
    "16x16 one channel": ((1, 143, 143, 1), (16, 16, 1, 8), {}),
    "15x15": ((2, 60, 60, 16), (15, 15, 16, 16), {"padding": 7}),
    "7x7 stride 5 in groups": ((4, 61, 60, 8), (7, 7, 4, 16), {"stride": 5, "groups": 2}),
    "3x3 reflected": ((6, 40, 40, 16), (3, 3, 16, 32), {"padding": 1, "padding_mode": "reflect"}),
    "1x1 replicated": (
        (7, 33, 30, 16),
        (1, 1, 16, 32),
        {"padding": 3, "padding_mode": "replicate"},
    ),
    "3x3 around, stride 2": (
        (5, 41, 40, 16),
        (3, 3, 16, 16),
        {"padding": 2, "stride": 2, "padding_mode": "circular"},
    ),
    "1-d": ((4, 4000, 8), (9, 8, 8), {"dilation": 3}),
    "3-d": ((1, 20, 20, 20, 8), (3, 3, 3, 8, 16), {"padding": 1}),
}


@pytest.mark.parametrize("dtype", MEASURED_DTYPES)
@pytest.mark.parametrize("name", MEASURED)
def test_measured_peaks_stay_within_the_plan(name, dtype):
    x_shape, w_shape, options = MEASURED[name]
    x, w, dy = arrays(x_shape, w_shape, dtype, options)
    exceeding = []
    for algorithm in ALGORITHMS:
        for workspace_bytes, workers in [(2**20, 1), (2**22, 2)]:
            run = {**options, "algorithm": algorithm}
            calls = {
                "forward": lambda run=run: conv_forward(x, w, **run),
                "input": lambda run=run: conv_backward_input(dy, w, x_shape, **run),
                "weight": lambda run=run: conv_backward_weight(dy, x, w_shape, **run),
            }
            for operation, call in calls.items():
                limits = {"workspace_bytes": workspace_bytes, "workers": workers}
                with anyconv.options(**limits):
                    try:
                        plan = plan_conv(x_shape, w_shape, dtype=dtype, operation=operation, **run)
                    except ValueError:
                        continue  # refused, or too much for the workspace
                    held = peak(call)
                if held > plan.workspace + SMALL_CHANGE:
                    exceeding.append((algorithm, operation, limits, plan.workspace, held))
    assert not exceeding


def test_the_peak_of_a_transposed_convolution():
    rng = np.random.default_rng(0)
    x, w = normal(rng, (4, 30, 30, 32), "float32"), normal(rng, (4, 4, 16, 32), "float32")
    with anyconv.options(workspace_bytes=2**20):
        assert peak(lambda: conv_transpose_forward(x, w, stride=2)) <= 2**20 + SMALL_CHANGE


@pytest.mark.parametrize(("images", "workers"), [(18, 1), (19, 2), (38, 3), (2**12, 16)])
def test_workers_are_as_many_as_have_enough_to_do(images, workers):
    """Of a third of a million multiply-adds an image; six millions are worth a worker."""
    with anyconv.options(workers=16, compiled=False):
        plan = plan_conv((images, 8, 8, 32), (3, 3, 32, 32), dtype="float32", algorithm="gemm")
    assert plan.workers == workers


@given(
    st.builds(
        AxisLoop,
        st.integers(1, 60),
        st.integers(1, 9),
        st.integers(1, 6),
        st.integers(1, 5),
        st.integers(-50, 20),
        st.integers(1, 40),
    )
)
def test_few_outputs_tell_the_taps_of_all(axis):
    all_of_them = [gemm_direct._span(axis, output) for output in range(axis.outputs)]
    assert gemm_direct._spans(axis) == set(all_of_them)
    on_cells = [
        axis.stride * o + axis.dilation * k + axis.start
        for o in range(axis.outputs)
        for k in range(axis.taps)
    ]
    count = sum(0 <= cell < axis.cells for cell in on_cells)
    assert gemm_direct._taps_on_cells(axis) == count


@pytest.mark.parametrize("operation", OPERATIONS)
def test_plans_of_many_windows_are_soon_made(operation):
    """Nothing is gone through window by window: these would take minutes."""
    sizes = {"x_shape": (1, 8, 8, 3), "w_shape": (3, 3, 3, 4), "padding": 10**8}
    plan = plan_conv(**sizes, dtype="float32", operation=operation)
    assert plan.problem.geometry.output == (2 * 10**8 + 6,) * 2
