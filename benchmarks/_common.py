"""What every benchmark shares: measuring functions in turn, results and what explains them.

Two libraries are compared within one process, in turn, because a machine's speed changes from
minute to minute: only ratios of medians taken side by side mean anything.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

import anyconv

Run = Callable[[], Any]
Wait = Callable[[Any], Any]

ROOT = Path(__file__).resolve().parents[1]
_PACKAGES = (
    *("anyconv", "numpy", "array-api-compat", "array-api-extra", "array-api-strict", "torch"),
    *("jax", "jaxlib", "cupy-cuda12x", "cupy-cuda13x", "dask", "numba", "scipy", "sigpy"),
)


@dataclass(frozen=True)
class Timing:
    """Seconds for one call, measured several times."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """The distance between the quartiles, as a share of the median: how noisy it was."""
        if len(self.seconds) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return (high - low) / self.median


def measure(
    functions: Mapping[str, Run],
    *,
    wait: Wait | Mapping[str, Wait] = lambda result: result,
    repeat: int = 5,
    least_seconds: float = 0.02,
    patience: float = 5.0,
) -> dict[str, Timing]:
    """Time functions in turn, A B C A B C ..., after a warm-up of each.

    A short function is called until `least_seconds` have passed, and the mean of these calls is one
    sample. `wait` is called with the last result of a sample before the clock is read, to wait for
    what a GPU or a thread of another library has still to do; one for all, or one for each name. A
    function whose call takes longer than `patience`, in seconds, is sampled once. Before a sample
    it is called for a while: on a CPU the threads of OpenMP and of OpenBLAS spin after a call, on
    cores that the next function would have had.
    """
    settle = 0.0 if _accelerator() else SETTLE
    waits = wait if isinstance(wait, Mapping) else dict.fromkeys(functions, wait)
    calls: dict[str, int] = {}
    samples: dict[str, list[float]] = {name: [] for name in functions}
    for name, run in functions.items():
        for _ in range(2):  # the second is not slowed by compilers and allocators
            once = _sample(run, waits[name], 1)
        if once <= patience:
            calls[name] = max(1, math.ceil(least_seconds / max(once, 1e-7)))
        else:
            samples[name].append(once)
    for _ in range(repeat):
        for name, count in calls.items():
            run = functions[name]
            # The caches, and on a CPU the threads, are those of this function's own calls.
            end = time.perf_counter() + settle
            while _sample(run, waits[name], 1) and time.perf_counter() < end:
                pass
            samples[name].append(_sample(run, waits[name], count))
    return {name: Timing(tuple(taken)) for name, taken in samples.items()}


# Longer than OpenBLAS's threads spin, 2**26 cycles.
SETTLE = 0.04


def _sample(run: Run, wait: Wait, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        result = run()
    wait(result)
    return (time.perf_counter() - start) / calls


def geometric_mean(values: Sequence[float]) -> float:
    return math.exp(statistics.fmean(map(math.log, values))) if values else math.nan


def relative_error(values: np.ndarray, expected: np.ndarray) -> float:
    """The Frobenius norm of the difference, over that of what is expected."""
    values = values.astype(expected.dtype)
    return float(np.linalg.norm(values - expected) / (np.linalg.norm(expected) or 1.0))


@contextmanager
def threads(count: int | None) -> Iterator[int]:
    """Hold every library of this process to the same number of cores; None means all of them."""
    count = count or _usable_cores()
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else None
    with _affinity(count), threadpool_limits(count, user_api="blas"):
        if torch:
            torch.set_num_threads(count)
        try:
            with anyconv.options(workers=count):
                yield count
        finally:
            if torch:
                torch.set_num_threads(before)


@contextmanager
def _affinity(count: int) -> Iterator[None]:
    """Show this process so many cores, for libraries that ask the system, such as JAX."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(cores)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Environment:
    """Where, when and with what a benchmark ran."""

    date: str
    command: str
    commit: str
    processor: str
    accelerator: str
    threads: int
    system: str
    python: str
    versions: dict[str, str]
    products: str = ""  # the kernels that NumPy's matrix products use

    @classmethod
    def here(cls, threads: int) -> Environment:
        return cls(
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            command=_command(),
            commit=_commit(),
            processor=_processor(),
            accelerator=_accelerator(),
            threads=threads,
            system=platform.system(),
            python=platform.python_version(),
            versions=_versions(),
            products=_products(),
        )


@dataclass(frozen=True)
class Results:
    """One benchmark's rows, and the figures that sum them up."""

    benchmark: str
    environment: Environment
    settings: dict[str, Any]
    rows: list[dict[str, Any]]
    summary: dict[str, Any] = field(default_factory=dict)
    tables: list[Any] = field(default_factory=list)  # as they were shown

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Results:
        values = json.loads(path.read_text())
        return cls(**{**values, "environment": Environment(**values["environment"])})


def finish(
    benchmark: str,
    arguments: argparse.Namespace,
    count: int,
    rows: list[dict[str, Any]],
    summary: dict[str, Any] | None = None,
    tables: Sequence[Any] = (),
) -> None:
    """Write the results where `--output` asks for it, with the tables that `show` returned."""
    if arguments.output is None:
        return
    settings = {name: value for name, value in vars(arguments).items() if name != "output"}
    settings = {n: v.name if isinstance(v, Path) else v for n, v in settings.items()}
    here = Environment.here(count)
    results = Results(benchmark, here, settings, rows, summary or {}, list(tables))
    results.write(arguments.output)
    print(f"results: {arguments.output}")


def parser(description: str | None, *, repeat: int = 5) -> argparse.ArgumentParser:
    """The options that all benchmarks have."""
    if kernels := os.environ.get("OPENBLAS_CORETYPE"):
        # It binds NumPy's matrix products, but not the peers', who choose for the processor.
        print(
            f"OPENBLAS_CORETYPE={kernels} is set: NumPy's products may be slower", file=sys.stderr
        )
    made = argparse.ArgumentParser(
        description=(description or "").splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    made.add_argument("--repeat", type=int, default=repeat, help="samples of each function")
    made.add_argument("--threads", type=int, help="cores for each library, all if not given")
    made.add_argument("--output", type=Path, help="JSON file to write")
    return made


def _command() -> str:
    """The command as it can be typed in the repository: no path leads out of it."""
    script = Path(sys.argv[0]).name
    words = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]
    return shlex.join(["python", f"benchmarks/{script}", *words])


def _products() -> str:
    """The kernels that NumPy's matrix products use."""
    libraries = threadpool_info()
    return next((str(found["architecture"]) for found in libraries if "architecture" in found), "")


def _commit() -> str:
    """The commit, marked where the package has been changed since."""
    try:
        commit = _output("git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD")
        changed = _output("git", "-C", str(ROOT), "status", "--porcelain", "--", "anyconv")
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("ANYCONV_COMMIT", "unknown")  # a copy without its history
    return f"{commit} and changes" if changed else commit


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@cache
def _accelerator() -> str:
    try:
        listed = _output("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
    except (OSError, subprocess.CalledProcessError):
        return ""
    return listed.splitlines()[0] if listed else ""


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    if os.environ.get("NUMBA_DISABLE_JIT", "0") != "0":
        found["numba"] += ", switched off"
    return found | {"anyconv": anyconv.__version__}
