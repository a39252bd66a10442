"""Time `anyconv.signal` against SigPy's own CPU code and `fftconvolve` looped over channels.

    python benchmarks/signals.py [--backend numpy|cupy] [--workers N] [--repeat 9] [--quick]

Complex64 work of SigPy's size: coil sensitivities in two and three dimensions, and a batch of
images under a small kernel, each with its two adjoints. The candidates run in turn in one process
after a warm-up; the table shows medians and ratios, the JSON file keeps them with the versions.
SigPy and SciPy run as their users run them, on one thread; `--workers 1` holds us to one as well.
On CuPy, SigPy's own code has no convolution any more, so `cupyx`'s `fftconvolve` stands alone.

(Not named signal.py: that would hide the standard library's module from every script here.)
"""

import argparse
import importlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import numpy as np

import anyconv
from anyconv import signal


class Row(NamedTuple):
    """One problem: the shapes that `signal.convolve` takes, and its mode."""

    name: str
    data: tuple[int, ...]
    filt: tuple[int, ...]
    mode: str
    multi_channel: bool


ROWS = (
    Row("2-d, 8 coils, 16²", (1, 271, 271), (8, 1, 16, 16), "valid", True),
    Row("2-d, 32 coils, 16²", (1, 271, 271), (32, 1, 16, 16), "valid", True),
    Row("3-d, 8 coils, 16³", (1, 79, 79, 79), (8, 1, 16, 16, 16), "valid", True),
    Row("16 images of 512², 7²", (16, 512, 512), (7, 7), "full", False),
)
OPERATIONS = ("convolve", "data adjoint", "filter adjoint")


def candidates(row: Row, operation: str, xp, fftconvolve, sigpy) -> dict[str, Callable]:
    """The same result by each library."""
    rng = np.random.default_rng(0)

    def normal(shape):
        real, imaginary = rng.standard_normal((2, *shape))
        return xp.asarray((real + 1j * imaginary).astype(np.complex64))

    data, filt = normal(row.data), normal(row.filt)
    output = normal(signal.convolve(data, filt, row.mode, None, row.multi_channel).shape)
    first, second, shape = {
        "convolve": (data, filt, ()),
        "data adjoint": (output, filt, (row.data,)),
        "filter adjoint": (output, data, (row.filt,)),
    }[operation]
    name = (
        "convolve"
        + "_" * (operation != "convolve")
        + operation.replace(" ", "_") * (operation != "convolve")
    )
    rest = (*shape, row.mode, None, row.multi_channel)
    found = {"anyconv": lambda: getattr(signal, name)(first, second, *rest)}
    if sigpy is not None:
        found["SigPy"] = lambda: getattr(sigpy, name)(first, second, *rest)
    found["fftconvolve"] = lambda: looped(
        fftconvolve, operation, row, first, second, (shape or ((),))[0], xp
    )
    return found


def looped(fftconvolve, operation: str, row: Row, first, second, shape, xp):
    """`fftconvolve` of one channel at a time, as its user would write it."""
    ndim = len(row.filt) - 2 * row.multi_channel
    axes = tuple(range(-ndim, 0))
    if operation == "convolve":
        if not row.multi_channel:
            return xp.stack([fftconvolve(image, second, row.mode) for image in first])
        return xp.stack([fftconvolve(first[0], filt[0], row.mode) for filt in second])
    # The adjoints convolve with the conjugated, flipped other factor.
    mirrored = xp.conj(xp.flip(second, axis=axes))
    if operation == "data adjoint":
        mode = "valid" if row.mode == "full" else "full"
        if not row.multi_channel:
            return xp.stack([fftconvolve(image, mirrored, mode) for image in first])
        channels = zip(first, mirrored[:, 0], strict=True)
        return sum(fftconvolve(image, filt, mode) for image, filt in channels)[None]
    if not row.multi_channel:
        images = zip(first, mirrored, strict=True)
        return sum(fftconvolve(image, other, "valid") for image, other in images)
    return xp.reshape(
        xp.stack([fftconvolve(image, mirrored[0], "valid") for image in first]), shape
    )


def medians(functions: dict[str, Callable], repeat: int, synchronize: Callable) -> dict[str, float]:
    """Milliseconds of each, measured in turn after a warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(repeat + 1):
        for name, function in functions.items():
            synchronize()
            started = time.perf_counter()
            function()
            synchronize()
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return {name: 1e3 * statistics.median(values) for name, values in seconds.items()}


def largest_difference(functions: dict[str, Callable]) -> float:
    """Between our result and each other's, over the largest value."""
    results = {name: function() for name, function in functions.items()}
    ours = results.pop("anyconv")
    return max(float(abs(ours - other).max() / abs(other).max()) for other in results.values())


def workspace(function: Callable) -> int:
    """The peak of NumPy's memory during a call, less its result, in bytes."""
    tracemalloc.start()
    result = function()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return max(0, peak - result.nbytes)


def environment(backend: str, workers: int | None) -> dict:
    """What a reader needs to judge the numbers, and to measure them again."""

    def installed(name: str) -> str | None:
        try:
            return version(name)
        except PackageNotFoundError:
            return None

    def output_of(*command: str) -> str:
        run = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent)
        return run.stdout.strip()

    device = platform.processor() or platform.machine()
    if backend == "cupy":
        cupy = importlib.import_module("cupy")
        device = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode()
    elif Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        device = next(
            (s.split(":")[1].strip() for s in lines if s.startswith("model name")), device
        )
    libraries = {name: installed(name) for name in ("numpy", "scipy", "sigpy", "cupy-cuda13x")}
    return {
        "command": " ".join(["python", "benchmarks/signals.py", *sys.argv[1:]]),
        "commit": output_of("git", "rev-parse", "HEAD"),
        "uncommitted": bool(output_of("git", "status", "--porcelain", "--", "../anyconv")),
        "date": time.strftime("%Y-%m-%d"),
        "backend": backend,
        "device": device,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "workers": workers or "default",
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "versions": {"anyconv": anyconv.__version__, **libraries},
    }


def show(measured: list[dict]) -> None:
    """The table on the terminal."""
    from rich.console import Console
    from rich.table import Table

    names = list(measured[0]["ms"])
    table = Table(title="complex64, milliseconds (medians)")
    table.add_column("problem", no_wrap=True)
    table.add_column("operation", no_wrap=True)
    for heading in (*names, *(f"× {name}" for name in names[1:]), "MiB"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in measured:
        times = [f"{row['ms'][name]:.1f}" for name in names]
        ratios = [f"{row['ratio'][name]:.1f}" for name in names[1:]]
        used = row["workspace_bytes"]
        mebibytes = "" if used is None else f"{used / 2**20:.1f}"
        table.add_row(row["problem"], row["operation"], *times, *ratios, mebibytes)
    console = Console()
    console.print(table)
    console.print("× SigPy: how many times longer SigPy takes. MiB: our workspace.")
    differences = [row["difference"] for row in measured]
    console.print(f"largest difference between the results: {max(differences):.0e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=("numpy", "cupy"), default="numpy")
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="only the convolutions, three turns")
    parser.add_argument("--output", type=Path, default=None)
    arguments = parser.parse_args()
    on_cpu = arguments.backend == "numpy"
    xp = importlib.import_module(arguments.backend)
    peers = importlib.import_module("scipy.signal" if on_cpu else "cupyx.scipy.signal")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what SigPy finds missing on a machine without a GPU
        sigpy = importlib.import_module("sigpy") if on_cpu else None
    synchronize = (lambda: None) if on_cpu else xp.cuda.Device().synchronize
    repeat = 3 if arguments.quick else arguments.repeat
    limit = anyconv.options(workers=arguments.workers) if arguments.workers else nullcontext()

    measured = []
    with limit:
        for row in ROWS:
            for operation in OPERATIONS[: 1 if arguments.quick else None]:
                functions = candidates(row, operation, xp, peers.fftconvolve, sigpy)
                ms = medians(functions, repeat, synchronize)
                measured.append(
                    {
                        "problem": row.name,
                        "operation": operation,
                        **{key: getattr(row, key) for key in ("data", "filt", "mode")},
                        "ms": ms,
                        "ratio": {name: ms[name] / ms["anyconv"] for name in ms},
                        "workspace_bytes": workspace(functions["anyconv"]) if on_cpu else None,
                        "difference": largest_difference(functions),
                    }
                )
    show(measured)
    results = {**environment(arguments.backend, arguments.workers), "rows": measured}
    default = Path(__file__).parent / "results" / f"signals-{arguments.backend}.json"
    path = arguments.output or default
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    print(f"results: {path}")


if __name__ == "__main__":
    main()
