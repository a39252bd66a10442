"""SigPy on anyconv: its checks of linear operators, its apps, and nothing else changed."""

import pickle
import sys
import warnings

import numpy as np
import pytest

from anyconv import signal
from anyconv.signal import sigpy as integration

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # CuPy warns about a missing NCCL when SigPy asks for it
    sigpy = pytest.importorskip("sigpy", reason="SigPy is not installed")
    mri = pytest.importorskip("sigpy.mri")

DTYPES = ("float32", "float64", "complex64", "complex128")
NAMES = ("convolve", "convolve_data_adjoint", "convolve_filter_adjoint")

# data, filter, strides, multi_channel: those of SigPy's own tests, and a batch
SHAPES = [
    ((3, 4), (2, 3), None, False),
    ((5, 3, 4), (2, 3), (2, 1), False),
    ((4, 3, 4), (1, 4, 2, 3), None, True),
    ((1, 3, 4), (4, 1, 2, 3), None, True),
    ((2, 3, 4), (4, 2, 2, 3), None, True),
    ((2, 3, 4), (4, 2, 2, 3), (2, 2), True),
    ((3, 2, 6), (4, 2, 3), (3,), True),
]


@pytest.fixture
def installed():
    integration.install()
    yield
    integration.uninstall()


@pytest.fixture(params=["cpu", "gpu"])
def device(request):
    if request.param == "gpu":
        cupy = pytest.importorskip("cupy")
        try:
            cupy.zeros(1)
        except Exception as error:
            pytest.skip(f"CuPy can't allocate: {error}")
        return sigpy.Device(0)
    return sigpy.cpu_device


def randn(shape, dtype, device):
    return sigpy.randn(shape, dtype=np.dtype(dtype), device=device)


def operators(data_shape, filt_shape, mode, strides, multi_channel, dtype, device):
    options = {"mode": mode, "strides": strides, "multi_channel": multi_channel}
    filt = randn(filt_shape, dtype, device)
    data = randn(data_shape, dtype, device)
    return [
        sigpy.linop.ConvolveData(data_shape, filt, **options),
        sigpy.linop.ConvolveFilter(filt_shape, data, **options),
    ]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", ["full", "valid"])
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_operators_pass_sigpy_s_checks(installed, device, shapes, mode, dtype):
    data_shape, filt_shape, strides, multi_channel = shapes
    tolerance = 1e-5 if dtype in ("float32", "complex64") else 1e-12
    for operator in operators(data_shape, filt_shape, mode, strides, multi_channel, dtype, device):
        for linop in (operator, operator.H):
            check_linear(linop, dtype, device, tolerance)
            check_adjoint(linop, dtype, device, tolerance)
            check_pickles(linop, dtype, device)
        check_normal(operator, dtype, device, tolerance)


def check_linear(linop, dtype, device, tolerance):
    a = randn([1], dtype, device)
    x, y = randn(linop.ishape, dtype, device), randn(linop.ishape, dtype, device)
    assert_close(linop(a * x + y), a * linop(x) + linop(y), tolerance)


def check_adjoint(linop, dtype, device, tolerance):
    x, y = randn(linop.ishape, dtype, device), randn(linop.oshape, dtype, device)
    xp = device.xp
    with device:
        assert_close(xp.vdot(linop(x), y), xp.vdot(x, linop.H(y)), tolerance)


def check_normal(linop, dtype, device, tolerance):
    x = randn(linop.ishape, dtype, device)
    assert_close(linop.N(x), linop.H(linop(x)), tolerance)


def check_pickles(linop, dtype, device):
    x = randn(linop.ishape, dtype, device)
    again = pickle.loads(pickle.dumps(linop))
    np.testing.assert_array_equal(sigpy.to_device(again(x)), sigpy.to_device(linop(x)))


def assert_close(actual, desired, tolerance):
    np.testing.assert_allclose(
        sigpy.to_device(actual), sigpy.to_device(desired), rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", ["full", "valid"])
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_results_and_dtypes_are_sigpy_s_own(shapes, mode, dtype):
    data_shape, filt_shape, strides, multi_channel = shapes
    by_sigpy, ours = [], []
    for results, prepare in (by_sigpy, integration.uninstall), (ours, integration.install):
        np.random.seed(0)
        prepare()
        for linop in operators(
            data_shape, filt_shape, mode, strides, multi_channel, dtype, sigpy.cpu_device
        ):
            results.append(linop(randn(linop.ishape, dtype, sigpy.cpu_device)))
            results.append(linop.H(randn(linop.oshape, dtype, sigpy.cpu_device)))
    integration.uninstall()

    tolerance = 1e-4 if dtype in ("float32", "complex64") else 1e-11
    for actual, desired in zip(ours, by_sigpy, strict=True):
        np.testing.assert_allclose(actual, desired, rtol=tolerance, atol=tolerance, strict=True)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("complex64", "complex128", "complex64"),  # as SigPy's own
        ("complex128", "float32", "complex128"),
        ("float32", "float64", "float32"),
        ("float32", "complex64", "complex64"),  # SigPy's own raises
    ],
)
def test_the_first_array_gives_the_dtype(installed, first, second, expected):
    data, filt = np.ones((2, 8), first), np.ones(3, second)
    assert sigpy.convolve(data=data, filt=filt, mode="valid").dtype == expected
    output = np.ones((2, 6), first)
    assert sigpy.convolve_data_adjoint(output, filt, [2, 8], "valid").dtype == expected
    data = np.ones((2, 8), second)
    assert sigpy.convolve_filter_adjoint(output, data, [3], mode="valid").dtype == expected


def test_jsense_recovers_the_coils(installed):
    maps = mri.birdcage_maps((4, 6, 6))
    kspace = sigpy.fft(maps * np.ones((6, 6)), axes=(-2, -1))
    app = mri.app.JsenseRecon(kspace, mps_ker_width=6, ksp_calib_width=6, show_pbar=False)
    np.testing.assert_allclose(app.run(), maps, rtol=1e-2, atol=1e-2)


def test_jsense_runs_on_the_gpu_too(installed):
    cupy = pytest.importorskip("cupy")
    try:
        cupy.zeros(1)
    except Exception as error:
        pytest.skip(f"CuPy can't allocate: {error}")
    maps = mri.birdcage_maps((4, 6, 6))
    kspace = sigpy.fft(maps * np.ones((6, 6)), axes=(-2, -1))
    app = mri.app.JsenseRecon(kspace, mps_ker_width=6, ksp_calib_width=6, device=0, show_pbar=False)
    np.testing.assert_allclose(app.run(), maps, rtol=1e-2, atol=1e-2)


def snapshot():
    return {
        (module_name, name): value
        for module_name, module in list(sys.modules.items())
        if module_name.partition(".")[0] == "sigpy" and module is not None
        for name, value in vars(module).items()
    }


def test_install_exchanges_three_functions_and_uninstall_restores_them():
    before = snapshot()

    integration.install()
    once = snapshot()
    integration.install()
    twice = snapshot()
    integration.uninstall()
    after = snapshot()
    integration.uninstall()

    changed = {key for key in before if once[key] is not before[key]}
    assert changed == {(module, name) for module in ("sigpy", "sigpy.conv") for name in NAMES}
    assert once.keys() == before.keys()
    assert all(twice[key] is once[key] for key in once)
    assert all(after[key] is before[key] for key in before)
    assert all(snapshot()[key] is before[key] for key in before)


def test_sigpy_s_functions_run_on_anyconv_once_installed(installed, monkeypatch):
    calls = []
    for name in NAMES:
        integration.uninstall()
        ours = getattr(signal, name)
        monkeypatch.setattr(
            signal, name, lambda *a, name=name, ours=ours: (calls.append(name), ours(*a))[1]
        )
    integration.install()
    operator = sigpy.linop.ConvolveData((8,), np.ones(3))
    operator.H(operator(np.ones(8)))
    sigpy.linop.ConvolveFilter((3,), np.ones(8)).H(np.ones(10))
    assert calls == list(NAMES)


def test_whole_number_dtypes_stay_with_sigpy(installed):
    output = sigpy.convolve(np.arange(5), np.arange(3))
    assert output.dtype == np.int64
    np.testing.assert_array_equal(output, np.convolve(np.arange(5), np.arange(3)))


def test_a_wrong_call_raises_as_sigpy_s(installed):
    with pytest.raises(TypeError, match="missing a required argument: 'filt'"):
        sigpy.convolve(np.ones(3))
    with pytest.raises(ValueError, match="`mode` must be"):
        sigpy.convolve(np.ones(3), np.ones(3), mode="wrap")


def test_without_sigpy_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sigpy", None)
    with pytest.raises(ImportError, match="pip install sigpy"):
        integration.install()
    with pytest.raises(ImportError, match="pip install sigpy"):
        integration.uninstall()
