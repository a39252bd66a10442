"""How exact each algorithm is: relative error against float64, for each dtype.

    python benchmarks/accuracy.py [--backend numpy|cupy|torch|jax] [--dtypes float16,float32]
        [--layers PATTERN] [--output FILE.json]

Inputs are drawn in the dtype under test, so that what is measured is the algorithm's rounding, not
that of the inputs. The reference is `gemm` in float64 on the same backend. The error is the
Frobenius norm of the difference over the reference's; `times gemm` compares with what plain sums
lose. Batches are cut to one image: errors do not depend on them, but for dw, where they only
lengthen the sums.
"""

from __future__ import annotations

import fnmatch
import time
from dataclasses import replace
from typing import Any

import numpy as np
from _backends import Backend, choose
from _common import finish, geometric_mean, parser, relative_error, threads
from _layers import LAYERS, Layer
from _tables import error, show
from layers import MAPS, our_function

ALGORITHMS = ("gemm", "taps", "winograd", "fft", "auto")


def measured(layer: Layer, backend: Backend, dtypes: list[str]) -> list[dict[str, Any]]:
    """A row for each map, dtype and algorithm that can do the layer."""
    rng = np.random.default_rng(0)
    shapes = (layer.x_shape, layer.w_shape, layer.y_shape)
    drawn = [rng.standard_normal(shape) for shape in shapes]
    rows = []
    for dtype in dtypes:
        given = [backend.asarray(array, dtype) for array in drawn]
        exact = [backend.asarray(_widened(backend.to_numpy(a)), "float64") for a in given]
        for operation in MAPS:
            expected = backend.to_numpy(our_function(layer, operation, "gemm")(*exact))
            for algorithm in ALGORITHMS:
                try:
                    result = our_function(layer, operation, algorithm)(*given)
                except ValueError:
                    continue
                value = relative_error(_widened(backend.to_numpy(result)), expected)
                rows.append(
                    {
                        "layer": layer.name,
                        "map": operation,
                        "dtype": dtype,
                        "algorithm": algorithm,
                        "error": value,
                    }
                )
    return rows


def _widened(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64)


def grouped(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and largest error of each algorithm, map and dtype, and the most it is over gemm's."""
    gemm = {
        (row["layer"], row["map"], row["dtype"]): row["error"]
        for row in rows
        if row["algorithm"] == "gemm"
    }
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["dtype"], row["map"], row["algorithm"]), []).append(row)
    found = []
    for (dtype, operation, algorithm), members in groups.items():
        errors = [row["error"] for row in members]
        worst = max(members, key=lambda row: row["error"])
        over = [
            row["error"] / base
            for row in members
            if (base := gemm.get((row["layer"], row["map"], row["dtype"])))
        ]
        found.append(
            {
                "dtype": dtype,
                "map": operation,
                "algorithm": algorithm,
                "layers": len(members),
                "mean": geometric_mean([e for e in errors if e > 0]) if any(errors) else 0.0,
                "largest": worst["error"],
                "worst_layer": worst["layer"],
                "times_gemm": max(over, default=None),
            }
        )
    return found


def main() -> int:
    command = parser(__doc__)
    command.add_argument("--backend", default="numpy", help="the arrays that are used")
    command.add_argument("--dtypes", default="float16,float32", help="dtypes to measure")
    command.add_argument("--layers", default="*", help="pattern of families or layer names")
    command.add_argument("--within", type=float, help="seconds after which no layer is begun")
    options = command.parse_args()
    layers = dict.fromkeys(
        replace(layer, n=1)
        for layer in LAYERS
        if any(fnmatch.fnmatch(text, options.layers) for text in (layer.family, layer.name))
    )
    if not layers:
        command.error(f"--layers {options.layers!r} matches nothing")
    with threads(options.threads) as count:
        backend = choose(options.backend)
        rows: list[dict[str, Any]] = []
        started = time.monotonic()
        for layer in layers:
            if options.within and time.monotonic() - started > options.within:
                print(f"stopped before {layer.name}: {options.within:g} s are over")
                break
            rows += measured(layer, backend, options.dtypes.split(","))
            print(layer.name, flush=True)
        groups = grouped(rows)
        table = show(
            f"Relative error against float64 on {backend.name}",
            ["dtype", "map", "algorithm", "worst layer", "layers", "mean", "largest", "times gemm"],
            [
                [
                    group["dtype"],
                    group["map"],
                    group["algorithm"],
                    group["worst_layer"],
                    str(group["layers"]),
                    error(group["mean"]),
                    error(group["largest"]),
                    f"{group['times_gemm']:.1f}" if group["times_gemm"] else "-",
                ]
                for group in groups
            ],
            left=4,
        )
        finish("accuracy", options, count, rows, {"groups": groups}, tables=[table])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
