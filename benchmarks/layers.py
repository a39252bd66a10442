"""Convolutions of well-known networks: anyconv against PyTorch and JAX, forward, dx and dw.

    python benchmarks/layers.py [--backend numpy|cupy|torch|jax] [--dtype float32] [--threads 2]
        [--layers PATTERN] [--maps forward,dx,dw] [--algorithms auto,gemm,taps,winograd,fft]
        [--peers torch,jax] [--output FILE.json] [--plot FILE.png]

All candidates run in turn in one process, on the same device, threads and precision (no TF32), and
each result is checked against the others'. PyTorch is given both of its memory layouts and judged
by the faster. `ratio` is the best peer's time over that of `auto`: more than one means that we are
faster. `peak` is the share of this machine's measured matrix product, counting the multiply-adds of
the plain sum, so that an algorithm with fewer may exceed one.
"""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _backends import Backend, choose
from _common import finish, geometric_mean, measure, parser, relative_error, threads
from _layers import LAYERS, Layer
from _peaks import copy_bandwidth, matmul_rate
from _peers import Runner, conv_runners, peers
from _tables import Shown, dots, error, mebibytes, ratio, seconds, share, show

import anyconv

MAPS = {"forward": "forward", "dx": "input", "dw": "weight"}  # the words of `plan_conv`
ALGORITHMS = ("auto", "gemm", "taps", "winograd", "fft")
TOLERANCES = {"float16": 1e-2, "bfloat16": 5e-2, "float32": 2e-5, "float64": 1e-11}


def our_function(layer: Layer, operation: str, algorithm: str) -> Callable[..., Any]:
    """A function of (x, w, dy) on the public names."""
    options = {**layer.options, "algorithm": algorithm}
    return {
        "forward": lambda x, w, dy: anyconv.conv_forward(x, w, **options),
        "dx": lambda x, w, dy: anyconv.conv_backward_input(dy, w, layer.x_shape, **options),
        "dw": lambda x, w, dy: anyconv.conv_backward_weight(dy, x, layer.w_shape, **options),
    }[operation]


def our_runners(
    backend: Backend,
    layer: Layer,
    operation: str,
    arrays: dict[str, np.ndarray],
    dtype: str,
    algorithms: list[str],
) -> tuple[dict[str, Runner], dict[str, str]]:
    """A runner for each algorithm that can do the layer, and why the others can't."""
    given = tuple(backend.asarray(arrays[name], dtype) for name in ("x", "w", "dy"))
    runners, refusals = {}, {}
    for algorithm in algorithms:
        function = backend.compiled(our_function(layer, operation, algorithm))
        try:
            backend.wait(function(*given))
        except ValueError as refusal:
            if algorithm == "auto":
                raise
            refusals[algorithm] = str(refusal)
            continue
        runners[algorithm] = Runner(partial(function, *given), backend.wait, backend.to_numpy)
    return runners, refusals


def drawn(layer: Layer) -> dict[str, np.ndarray]:
    """Random x, w and dy."""
    rng = np.random.default_rng(0)
    shapes = {"x": layer.x_shape, "w": layer.w_shape, "dy": layer.y_shape}
    return {n: rng.standard_normal(s, dtype=np.float32) for n, s in shapes.items()}


def compare(
    layer: Layer,
    operation: str,
    arrays: dict[str, np.ndarray],
    backend: Backend,
    others: dict[str, Backend],
    options: Any,
) -> dict[str, Any]:
    """Times, errors and the plan of one map of one layer."""
    algorithms = options.algorithms.split(",")
    ours, refusals = our_runners(backend, layer, operation, arrays, options.dtype, algorithms)
    theirs: dict[str, Runner] = {}
    for peer in others.values():
        theirs |= conv_runners(peer, layer, operation, arrays, options.dtype)

    runners = ours | theirs
    errors = agreement(runners, next(iter(theirs or ours)), summed=operation == "dw")
    wrong = {name: e for name, e in errors.items() if not e <= TOLERANCES[options.dtype]}
    timings = measure(
        {name: runner.run for name, runner in runners.items()},
        wait={name: runner.wait for name, runner in runners.items()},
        repeat=options.repeat,
        least_seconds=options.least_seconds,
    )
    medians = {name: timing.median for name, timing in timings.items()}
    plan = anyconv.plan_conv(
        layer.x_shape,
        layer.w_shape,
        dtype=options.dtype,
        namespace=backend.xp,
        operation=MAPS[operation],
        **layer.options,
    )
    return {
        "family": layer.family,
        "layer": layer.name,
        "map": operation,
        "is_large": layer.is_large,
        "multiply_adds": layer.multiply_adds,
        "seconds": medians,
        "spread": {name: timing.spread for name, timing in timings.items()},
        "errors": errors,
        "wrong": wrong,
        "refusals": refusals,
        "algorithm": plan.algorithm,
        "workspace": plan.workspace,
        **ratios(medians, list(ours), list(theirs)),
    }


def agreement(runners: dict[str, Runner], reference: str, *, summed: bool) -> dict[str, float]:
    """How far each result is from that of the reference: the first image, or the sum over all."""

    def values(runner: Runner) -> np.ndarray:
        result = runner.run()
        return runner.to_numpy(result if summed else result[:1]).astype(np.float32)

    expected = values(runners[reference])
    return {
        name: relative_error(values(runner), expected)
        for name, runner in runners.items()
        if name != reference
    }


def ratios(medians: dict[str, float], ours: list[str], theirs: list[str]) -> dict[str, Any]:
    """How `auto` (or the best of ours, where it was not run) stands to the others."""
    named = [name for name in ours if name != "auto"]
    mine = medians["auto"] if "auto" in ours else min(medians[name] for name in named)
    found: dict[str, Any] = {"mine": mine, "best_peer": None, "ratio": None, "choice": None}
    if theirs:
        found["best_peer"] = min(theirs, key=medians.__getitem__)
        found["ratio"] = medians[found["best_peer"]] / mine
    if named and "auto" in ours:
        found["choice"] = mine / min(medians[name] for name in named)
    return found


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Geometric means for each family and map, of the large kernels, and of everything."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["family"], []).append(row)
        if row["is_large"]:
            groups.setdefault("kernels >= 9x9", []).append(row)
    groups["kernels >= 9x9"] = groups.pop("kernels >= 9x9", [])
    groups["all"] = rows
    found = []
    for name, members in groups.items():
        for operation in MAPS:
            chosen = [row for row in members if row["map"] == operation]
            against = [row["ratio"] for row in chosen if row["ratio"]]
            if not chosen:
                continue
            choices = [row["choice"] for row in chosen if row["choice"]]
            found.append(
                {
                    "family": name,
                    "map": operation,
                    "layers": len(chosen),
                    "ratio": geometric_mean(against) if against else None,
                    "lowest": min(against) if against else None,
                    "peak": geometric_mean([row["peak"] for row in chosen]),
                    "well_chosen": (
                        sum(choice <= 1.15 for choice in choices) / len(choices)
                        if choices
                        else None
                    ),
                }
            )
    return found


def show_layers(rows: list[dict[str, Any]], algorithms: list[str]) -> Shown:
    """One line for each layer and map."""
    ran = {name for row in rows for name in row["seconds"]}
    columns = [*algorithms, *(n for n in ("torch first", "torch last", "jax") if n in ran)]
    return show(
        "Time of one call",
        ["layer", "map", "plan", *columns, "ratio", "peak", "workspace MiB", "largest error"],
        [
            [
                row["layer"],
                row["map"],
                row["algorithm"],
                *(seconds(row["seconds"].get(name)) for name in columns),
                ratio(row["ratio"]),
                share(row["peak"]),
                mebibytes(row["workspace"]),
                error(max(row["errors"].values(), default=None)),
            ]
            for row in rows
        ],
        left=3,
    )


def show_summary(groups: list[dict[str, Any]]) -> Shown:
    return show(
        "Geometric means: best peer's time over ours",
        ["family", "map", "layers", "ratio", "lowest", "peak", "chosen within 15 %"],
        [
            [
                group["family"],
                group["map"],
                str(group["layers"]),
                ratio(group["ratio"]),
                ratio(group["lowest"]),
                share(group["peak"]),
                share(group["well_chosen"]),
            ]
            for group in groups
        ],
        left=2,
    )


def plot(path: Path, rows: list[dict[str, Any]], backend: Backend, dtype: str) -> None:
    groups: dict[str, dict[str, float]] = {}
    for row in rows:
        if row["ratio"]:
            groups.setdefault(row["layer"], {})[row["map"]] = row["ratio"]
    if groups:
        title = f"anyconv on {backend.name}, {dtype}, against the best of the native libraries"
        dots(path, title, groups, "times as fast (1: equal)")


def main() -> int:
    command = parser(__doc__)
    command.add_argument("--backend", default="numpy", help="the arrays that ours is given")
    command.add_argument("--dtype", default="float32", choices=TOLERANCES)
    command.add_argument("--layers", default="*", help="pattern of families or layer names")
    command.add_argument("--maps", default=",".join(MAPS), help="of forward, dx, dw")
    command.add_argument("--algorithms", default=",".join(ALGORITHMS), help="ours to run")
    command.add_argument("--peers", default="torch,jax", help="libraries to compare with")
    command.add_argument("--batch-factor", type=int, default=1, help="times the table's batch")
    command.add_argument("--least-seconds", type=float, default=0.02, help="of one sample")
    command.add_argument("--within", type=float, help="seconds after which no layer is begun")
    command.add_argument("--plot", type=Path, help="PNG file to draw")
    options = command.parse_args()
    if unknown := set(options.maps.split(",")) - set(MAPS):
        command.error(f"--maps knows {', '.join(MAPS)}, got {', '.join(sorted(unknown))}")

    chosen = [
        layer.scaled(options.batch_factor)
        for layer in LAYERS
        if any(fnmatch.fnmatch(text, options.layers) for text in (layer.family, layer.name))
    ]
    if not chosen:
        command.error(f"--layers {options.layers!r} matches nothing")
    with threads(options.threads) as count:
        backend = choose(options.backend)
        others = peers(options.peers, backend)
        rate = matmul_rate(backend, options.dtype)
        bandwidth = copy_bandwidth(backend, count)
        print(
            f"{backend.name}, {options.dtype}, {count} threads: matrix product "
            f"{2e-9 * rate:,.0f} GFLOP/s, copy {bandwidth / 1e9:.1f} GB/s"
        )
        rows: list[dict[str, Any]] = []
        failed: list[str] = []
        started = time.monotonic()
        for layer in chosen:
            if options.within and time.monotonic() - started > options.within:
                print(f"stopped before {layer.name}: {options.within:g} s are over")
                break
            arrays = drawn(layer)
            for operation in options.maps.split(","):
                try:
                    row = compare(layer, operation, arrays, backend, others, options)
                except Exception as failure:  # the other layers are worth having
                    failed.append(f"FAILED: {layer.name} {operation}: {failure!r}")
                    print(failed[-1], flush=True)
                    continue
                row["peak"] = layer.multiply_adds / row["mine"] / rate
                rows.append(row)
                best = f", ratio {row['ratio']:.2f}" if row["ratio"] else ""
                print(f"{layer.name} {operation}: {seconds(row['mine'])}{best}", flush=True)
                failed += [
                    f"DIFFERS: {layer.name} {operation}: {name} by {difference:.1e}"
                    for name, difference in row["wrong"].items()
                ]
        groups = summary(rows)
        tables = [show_layers(rows, options.algorithms.split(",")), show_summary(groups)]
        if options.plot:
            plot(options.plot, rows, backend, options.dtype)
        machine = {"multiply_adds_per_second": rate, "copied_bytes_per_second": bandwidth}
        summed = {"machine": machine, "groups": groups, "failed": failed}
        finish("layers", options, count, rows, summed, tables=tables)
    for line in failed:
        print(line)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
