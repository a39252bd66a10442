"""`anyconv.signal` against SigPy's own CPU code, and `fftconvolve` looped over channels.

    python benchmarks/signals.py [--backend cupy] [--threads 1] [--algorithms] [--output FILE.json]

Complex64 work of SigPy's size: coil sensitivities in two and three dimensions, and a batch of
images under a small kernel, each with both adjoints. SigPy and SciPy run as their users run them,
on one thread; `--threads 1` holds us to one as well. SigPy has no convolution on CuPy any more, so
there `cupyx`'s `fftconvolve` is the only peer.

(Not named signal.py: that would hide the standard library's module from every script here.)
"""

from __future__ import annotations

import importlib
import sys
import tracemalloc
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from _backends import Absent, Backend, load
from _common import finish, geometric_mean, measure, parser, relative_error, threads
from _tables import error, mebibytes, ratio, seconds, show

from anyconv import signal

Array = Any
Runs = dict[str, Callable[[], Array]]


class Problem(NamedTuple):
    """The shapes that `signal.convolve` takes, and its mode."""

    name: str
    data: tuple[int, ...]
    filt: tuple[int, ...]
    mode: str
    multi_channel: bool

    @property
    def axes(self) -> tuple[int, ...]:
        return tuple(range(-(len(self.filt) - 2 * self.multi_channel), 0))


PROBLEMS = (
    Problem("256 x 256, 16 x 16, 8 coils", (1, 271, 271), (8, 1, 16, 16), "valid", True),
    Problem("256 x 256, 16 x 16, 32 coils", (1, 271, 271), (32, 1, 16, 16), "valid", True),
    Problem("64^3, 16^3, 8 coils", (1, 79, 79, 79), (8, 1, 16, 16, 16), "valid", True),
    Problem("16 of 512 x 512, 7 x 7", (16, 512, 512), (7, 7), "full", False),
)
OPERATIONS = ("convolve", "convolve_data_adjoint", "convolve_filter_adjoint")


def normal(shape: tuple[int, ...], seed: int) -> np.ndarray:
    real, imaginary = np.random.default_rng(seed).standard_normal((2, *shape))
    return (real + 1j * imaginary).astype(np.complex64)


def runs(
    problem: Problem,
    operation: str,
    backend: Backend,
    fftconvolve: Any,
    sigpy: Any,
    names: list[str],
) -> Runs:
    """One operation of a problem by each library, `names` being our algorithms."""
    mode = problem.mode
    arrays = {"data": normal(problem.data, 0), "filt": normal(problem.filt, 1)}
    output_shape = signal.convolve(**arrays, mode=mode, multi_channel=problem.multi_channel).shape
    arrays["output"] = normal(output_shape, 2)
    data, filt, output = (
        backend.asarray(arrays[n], "complex64") for n in ("data", "filt", "output")
    )
    first, second, shape = {
        "convolve": (data, filt, ()),
        "convolve_data_adjoint": (output, filt, (problem.data,)),
        "convolve_filter_adjoint": (output, data, (problem.filt,)),
    }[operation]
    rest = (first, second, *shape, mode, None, problem.multi_channel)
    made: Runs = {
        f"ours {name}": partial(getattr(signal, operation), *rest, algorithm=name) for name in names
    }
    if sigpy is not None:
        made["SigPy"] = partial(getattr(sigpy, operation), *rest)
    made["fftconvolve"] = partial(
        looped, fftconvolve, problem, operation, first, second, backend.xp
    )
    return made


def looped(
    fftconvolve: Any, problem: Problem, operation: str, first: Array, second: Array, xp: Any
) -> Array:
    """`fftconvolve` of one channel or image at a time, as its user would write it."""
    mode, channels = problem.mode, problem.multi_channel
    if operation == "convolve":
        if channels:
            return xp.stack([fftconvolve(first[0], filt[0], mode) for filt in second])
        return xp.stack([fftconvolve(image, second, mode) for image in first])
    # The adjoints convolve with the conjugated, flipped other factor.
    other = xp.conj(xp.flip(second, axis=problem.axes))
    if operation == "convolve_data_adjoint":
        mode = "full" if mode == "valid" else "valid"
        if channels:
            pairs = zip(first, other[:, 0, ...], strict=True)
            return sum(fftconvolve(image, filt, mode) for image, filt in pairs)[None, ...]
        return xp.stack([fftconvolve(image, other, mode) for image in first])
    if channels:
        filters = [fftconvolve(image, other[0, ...], "valid") for image in first]
        return xp.stack(filters)[:, None, ...]
    return sum(fftconvolve(*pair, "valid") for pair in zip(first, other, strict=True))


def workspace(run: Callable[[], Array]) -> int:
    """The peak of NumPy's memory during a call, less its result."""
    tracemalloc.start()
    result = run()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return max(0, peak - result.nbytes)


def peers(backend: Backend) -> tuple[Any, Any]:
    """`fftconvolve` for the backend's arrays, and SigPy where its own code still runs."""
    if backend.name == "cupy":
        return importlib.import_module("cupyx.scipy.signal").fftconvolve, None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what SigPy misses on a machine without a GPU
        return importlib.import_module("scipy.signal").fftconvolve, importlib.import_module("sigpy")


def main() -> int:
    command = parser(__doc__)
    command.add_argument("--backend", choices=("numpy", "cupy"), default="numpy")
    command.add_argument("--algorithms", action="store_true", help="each of ours, not only auto")
    command.add_argument("--forward", action="store_true", help="no adjoints")
    options = command.parse_args()
    try:
        backend = load(options.backend)
    except Absent as absent:
        print(f"{options.backend}: {absent}")
        return 1
    fftconvolve, sigpy = peers(backend)
    names = ["auto", *(["gemm", "taps", "fft"] if options.algorithms else [])]

    rows = []
    with threads(options.threads) as count:
        for problem in PROBLEMS:
            for operation in OPERATIONS[: 1 if options.forward else None]:
                made = runs(problem, operation, backend, fftconvolve, sigpy, names)
                timings = measure(made, wait=backend.wait, repeat=options.repeat)
                results = {name: backend.to_numpy(run()) for name, run in made.items()}
                medians = {name: timing.median for name, timing in timings.items()}
                rows.append(
                    {
                        **problem._asdict(),
                        "operation": operation,
                        "seconds": medians,
                        "spread": {name: timing.spread for name, timing in timings.items()},
                        "ratios": {n: s / medians["ours auto"] for n, s in medians.items()},
                        "error": relative_error(results["ours auto"], results["fftconvolve"]),
                        "workspace": workspace(made["ours auto"]) if sigpy else None,
                    }
                )
    names = list(rows[0]["seconds"])
    show(
        f"{backend.name}, complex64, {count} threads: time, and its ratio to ours (auto)",
        ["problem", "operation", *names, *(f"/ {name}" for name in names[1:]), "error", "MiB"],
        [
            [
                row["name"],
                row["operation"].removeprefix("convolve_").replace("_", " "),
                *(seconds(row["seconds"][name]) for name in names),
                *(ratio(row["ratios"][name]) for name in names[1:]),
                error(row["error"]),
                mebibytes(row["workspace"]),
            ]
            for row in rows
        ],
        left=2,
    )
    summary = {n: geometric_mean([row["ratios"][n] for row in rows]) for n in names[1:]}
    print("geometric means:", ", ".join(f"{name} {ratio(mean)}" for name, mean in summary.items()))
    finish("signals", options, count, rows, summary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
