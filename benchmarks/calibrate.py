"""What the planner's cost model must know of a machine: rates of products, bytes, runs and calls.

    python benchmarks/calibrate.py [--backend numpy|cupy|torch] [--dtype float32] [--threads 2]
        [--quick] [--output FILE.json]

Measured on the backend itself: multiply-adds in a second of matrix products from thin to square,
alone and in batches; bytes in a second of what surrounds them; copies of long and of short runs of
neighbours; transforms; and what a call costs that computes nothing. One thread on NumPy, as one
worker sees it, beside all threads. Prints the figures, and the constants of `anyconv/_costs.py`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
from _backends import Array, Backend, choose
from _common import finish, measure, parser, threads
from _peaks import copy_bandwidth, product_rate
from _tables import seconds, show

from anyconv._algorithms._fft_sizes import Kind, steps
from anyconv._compiled import compiled_spectrum, why_no_compiled_loops

# rows, inner size, columns: outputs x (taps * channels in) x channels out of common layers
PRODUCTS = (
    (128, 64, 64),
    (128, 576, 64),
    (1024, 27, 32),
    (1024, 64, 64),
    (1024, 576, 64),
    (1024, 1152, 128),
    (4096, 64, 256),
    (4096, 1152, 128),
    (4096, 512, 2048),
)
# batches of small products: the points of Winograd tiles, the frequencies of a transform
BATCHED = ((16, 196, 64, 64), (36, 196, 64, 64), (36, 49, 256, 256), (2112, 8, 64, 64))
ITEM_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
SMALL, LARGE = 2**15, 2**24  # elements: within a core's cache, beyond all caches
SIDE, THIN = 512, (4, 16, 64)  # a product whose other two sides are long, and its third
RUNS = (4, 8, 16, 32, 256)  # elements copied between two jumps


def products(backend: Backend, dtype: str, repeat: int, few: slice) -> list[dict[str, Any]]:
    rows = []
    for m, k, n in PRODUCTS[few]:
        rate = product_rate(backend, dtype, m, k, n, repeat)
        rows.append({"what": f"({m}, {k}) @ ({k}, {n})", "kind": "product", "rate": rate})
    rng = np.random.default_rng(0)
    for batch, m, k, n in BATCHED[few]:
        shapes = ((batch, m, k), (batch, k, n))
        a, b = (backend.asarray(rng.standard_normal(shape), dtype) for shape in shapes)
        taken = _seconds(backend, backend.xp.matmul, (a, b), repeat)
        rate = batch * m * k * n / taken
        what = f"({batch}, {m}, {k}) @ ({batch}, {k}, {n})"
        rows.append({"what": what, "kind": "batched product", "rate": rate})
    return rows


def passes(backend: Backend, dtype: str, repeat: int, few: slice) -> list[dict[str, Any]]:
    """Bytes in a second, read and written, of what surrounds the products."""
    xp, rng, rows = backend.xp, np.random.default_rng(0), []
    item = ITEM_BYTES[dtype]
    for where, elements in (("in cache", SMALL), ("in memory", LARGE))[few]:
        side = int((elements // 32) ** 0.5)
        x = backend.asarray(rng.standard_normal((side, side, 32)), dtype)
        w = backend.asarray(rng.standard_normal(32), dtype)
        size = side * side * 32 * item
        cases: list[tuple[str, Callable[..., Any], tuple[Array, ...], int]] = [
            ("copy", lambda x: xp.asarray(x, copy=True), (x,), 2),
            ("strided copy", lambda x: xp.asarray(x[1:-1, 1:-1, :], copy=True), (x,), 2),
            ("sum", lambda x, y: x + y, (x, x), 3),
            ("product with a weight a channel", lambda x, w: x * w, (x, w), 2),
        ]
        for name, function, arrays, crossings in cases:
            taken = _seconds(backend, function, arrays, repeat)
            rate = crossings * size / taken
            rows.append({"what": f"{name}, {where}", "kind": name, "where": where, "rate": rate})
    return rows


def thin(backend: Backend, dtype: str, repeat: int, few: slice) -> list[dict[str, Any]]:
    """Products with one short side."""
    rows = []
    for place, side in enumerate(("rows", "inner", "columns")):
        for size in (*THIN[few], SIDE):
            sizes = [SIDE] * 3
            sizes[place] = size
            rate = product_rate(backend, dtype, *sizes, repeat)
            rows.append({"what": f"{side} {size}", "kind": "thin", "size": size, "rate": rate})
    return rows


def runs(backend: Backend, dtype: str, repeat: int) -> list[dict[str, Any]]:
    """Seconds of copying the first cells of each row, as an unfolding or a slab does."""
    rows, rng = [], np.random.default_rng(0)
    for length in RUNS:
        count = (LARGE if backend.on_gpu else 4 * SMALL) // (2 * length)
        x = backend.asarray(rng.standard_normal((count, 2 * length)), dtype)
        taken = _seconds(
            backend, lambda x, n=length: backend.xp.asarray(x[:, :n], copy=True), (x,), repeat
        )
        row = {"what": f"{count} runs of {length}", "kind": "runs", "seconds": taken}
        rows.append(row | {"count": count, "length": length})
    return rows


def transforms(backend: Backend, dtype: str, repeat: int, few: slice) -> list[dict[str, Any]]:
    """Steps in a second, as the cost model counts them, of real transforms over two axes."""
    if dtype in ("float16", "bfloat16"):
        return []
    rows = []
    rng = np.random.default_rng(0)
    for size in (64, 96, 144, 288)[few]:
        count = max(2**18 // size**2, 1)
        x = backend.asarray(rng.standard_normal((count, size, size)), dtype)
        taken = _seconds(
            backend, lambda x: backend.xp.fft.rfftn(x, axes=(1, 2), norm="ortho"), (x,), repeat
        )
        done = count * steps((size, size), (size, size), Kind(is_complex=False, compiles=False)) / 2
        what = f"{count} of {size}x{size}"
        rows.append({"what": what, "kind": "transform", "rate": float(done / taken)})
        if backend.name != "numpy" or why_no_compiled_loops() is not None:
            continue

        def in_loops(x: Array, cells: slice = slice(0, size, 1), size: int = size) -> Array:
            x = compiled_spectrum(x, 2, cells, size, half=True)
            return compiled_spectrum(x, 1, cells, size, half=False)

        row = {"what": f"{what} in loops", "kind": "transform in loops"}
        rows.append(row | {"rate": float(done / _seconds(backend, in_loops, (x,), repeat))})
    return rows


def overhead(backend: Backend, dtype: str, repeat: int) -> list[dict[str, Any]]:
    """Seconds of a call that computes next to nothing."""
    x = backend.asarray(np.ones((4, 4)), dtype)
    cases: dict[str, Callable[..., Any]] = {
        "x + x": lambda x: x + x,
        "x @ x": lambda x: x @ x,
        "reshape": lambda x: backend.xp.reshape(x, (2, 8)),
    }
    return [
        {"what": name, "kind": "call", "seconds": _seconds(backend, function, (x,), repeat)}
        for name, function in cases.items()
    ]


def _seconds(
    backend: Backend, function: Callable[..., Any], arrays: tuple[Array, ...], repeat: int
) -> float:
    run = backend.compiled(function)
    taken = measure({"it": lambda: run(*arrays)}, wait=backend.wait, repeat=repeat)
    return taken["it"].median


def constants(rows: list[dict[str, Any]], item: int) -> dict[str, float]:
    """The numbers of `anyconv._costs`, in nanoseconds, and the sizes at which a side halves a rate.

    Copying c runs of r elements takes `2 c r item byte + c run`; both come from a least-squares fit
    in which each measurement counts by its relative error.
    """
    best = max(row["rate"] for row in rows if row["kind"] in ("product", "thin"))
    measured = [row for row in rows if row["kind"] == "runs"]
    design = np.array(
        [
            (2 * r["count"] * r["length"] * item / r["seconds"], r["count"] / r["seconds"])
            for r in measured
        ]
    )
    byte, run = np.linalg.lstsq(design, np.ones(len(measured)), rcond=None)[0]
    calls = [row["seconds"] for row in rows if row["kind"] == "call"]
    rates = [row["rate"] for row in rows if row["kind"] == "transform"]
    found = {
        "multiply": 1e9 / best,
        "byte": 1e9 * float(byte),
        "run": 1e9 * max(float(run), 0.0),
        "call": 1e9 * max(calls),
        "step": 1e9 / statistics.median(rates) if rates else math.nan,
    }
    for side in ("rows", "inner", "columns"):
        of_side = [r for r in rows if r["kind"] == "thin" and r["what"].startswith(side)]
        full = max(row["rate"] for row in of_side)
        halves = [r["size"] * (full / r["rate"] - 1) for r in of_side if r["size"] != SIDE]
        found[f"half_{side}"] = float(np.median(halves))
    return found


def main() -> int:
    command = parser(__doc__)
    command.add_argument("--backend", default="numpy", help="the arrays that are used")
    command.add_argument("--dtype", default="float32", help="their dtype")
    command.add_argument("--quick", action="store_true", help="two sizes of each only")
    options = command.parse_args()
    few = slice(0, 2) if options.quick else slice(None)
    found: dict[str, Any] = {}
    tables = []
    with threads(options.threads) as count:
        backend = choose(options.backend)
        for used in dict.fromkeys((1, count) if backend.name == "numpy" else (count,)):
            with threads(used):
                rows = [
                    *products(backend, options.dtype, options.repeat, few),
                    *passes(backend, options.dtype, options.repeat, few),
                    *thin(backend, options.dtype, options.repeat, few),
                    *runs(backend, options.dtype, options.repeat),
                    *transforms(backend, options.dtype, options.repeat, few),
                    *overhead(backend, options.dtype, options.repeat),
                ]
                bandwidth = copy_bandwidth(backend, used, 64 if options.quick else 256)
                rows.append({"what": "copy, in memory, all threads", "kind": "copy"})
                rows[-1]["rate"] = bandwidth
            table = show(
                f"{backend.name}, {options.dtype}, {used} threads",
                ["what", "kind", "rate"],
                [[row["what"], row["kind"], _rate(row)] for row in rows],
                left=2,
            )
            tables.append(table)
            found[str(used)] = {
                "rows": rows,
                "constants": constants(rows, ITEM_BYTES[options.dtype]),
            }
        for used, entry in found.items():
            values = {name: f"{value:.3g}" for name, value in entry["constants"].items()}
            rates = ", ".join(
                f"{name}={values[name]}" for name in ("multiply", "byte", "run", "call", "step")
            )
            halves = ", ".join(f"{n} {values[f'half_{n}']}" for n in ("rows", "inner", "columns"))
            print(f"# {backend.name}, {options.dtype}, threads: {used}\nRates({rates})")
            print(f"# a product is half as fast at {halves}")
        every = [{"threads": int(n), **row} for n, entry in found.items() for row in entry["rows"]]
        sums = {n: entry["constants"] for n, entry in found.items()}
        finish("calibrate", options, count, every, {"constants": sums}, tables=tables)
    return 0


def _rate(row: dict[str, Any]) -> str:
    if "seconds" in row:
        return seconds(row["seconds"])
    units = dict.fromkeys(("product", "batched product", "thin"), "G multiply-adds/s")
    units |= dict.fromkeys(("transform", "transform in loops"), "G steps/s")
    unit = units.get(row["kind"], "GB/s")
    return f"{row['rate'] / 1e9:.2f} {unit}"


if __name__ == "__main__":
    raise SystemExit(main())
