"""Pooling layers of well-known networks: anyconv against PyTorch, forward and backward.

    python benchmarks/pools.py [--backend numpy|cupy|torch|jax] [--dtype float32] [--threads 2]
        [--batch-factor 1] [--output FILE.json]

PyTorch is given both of its memory layouts and judged by the faster. Its maximum keeps the winners
of the forward pass for the gradient; ours finds them again, and this is counted in our time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from _backends import Backend, choose
from _common import finish, geometric_mean, measure, parser, relative_error, threads
from _layers import POOLS, Pool
from _peers import Runner, peers, pool_runners
from _tables import error, ratio, seconds, show

import anyconv

MAPS = ("forward", "backward")
TOLERANCES = {"float16": 2e-3, "float32": 1e-6, "float64": 1e-12}


def our_function(pool: Pool, operation: str) -> Callable[..., Any]:
    """A function of (x, dy)."""
    kernel, options = (pool.kernel, pool.kernel), pool.options
    if operation == "forward":
        function = anyconv.max_pool_forward if pool.kind == "max" else anyconv.avg_pool_forward
        return lambda x, dy: function(x, kernel, **options)
    if pool.kind == "max":
        return lambda x, dy: anyconv.max_pool_backward(dy, x, kernel, **options)
    return lambda x, dy: anyconv.avg_pool_backward(dy, pool.x_shape, kernel, **options)


def compare(
    pool: Pool, operation: str, backend: Backend, others: dict[str, Backend], options: Any
) -> dict[str, Any]:
    """Times and errors of one map of one layer."""
    rng = np.random.default_rng(0)
    shapes = {"x": pool.x_shape, "dy": pool.y_shape}
    arrays = {n: rng.standard_normal(s, dtype=np.float32) for n, s in shapes.items()}
    given = tuple(backend.asarray(arrays[name], options.dtype) for name in ("x", "dy"))
    function = backend.compiled(our_function(pool, operation))
    runners = {"ours": Runner(partial(function, *given), backend.wait, backend.to_numpy)}
    for peer in others.values():
        runners |= pool_runners(peer, pool, operation, arrays, options.dtype)

    mine = runners["ours"].to_numpy(runners["ours"].run()).astype(np.float32)
    errors = {
        name: relative_error(mine, runner.to_numpy(runner.run()).astype(np.float32))
        for name, runner in runners.items()
        if name != "ours"
    }
    timings = measure(
        {name: runner.run for name, runner in runners.items()},
        wait={name: runner.wait for name, runner in runners.items()},
        repeat=options.repeat,
    )
    medians = {name: timing.median for name, timing in timings.items()}
    best = min((medians[name] for name in medians if name != "ours"), default=None)
    return {
        "pool": pool.name,
        "map": operation,
        "seconds": medians,
        "spread": {name: timing.spread for name, timing in timings.items()},
        "errors": errors,
        "ratio": best / medians["ours"] if best else None,
    }


def main() -> int:
    command = parser(__doc__)
    command.add_argument("--backend", default="numpy", help="the arrays that ours is given")
    command.add_argument("--dtype", default="float32", choices=TOLERANCES)
    command.add_argument("--batch-factor", type=int, default=1, help="times the table's batch")
    options = command.parse_args()
    with threads(options.threads) as count:
        backend = choose(options.backend)
        others = peers("torch", backend)
        rows = [
            compare(pool.scaled(options.batch_factor), operation, backend, others, options)
            for pool in POOLS
            for operation in MAPS
        ]
        names = list(dict.fromkeys(name for row in rows for name in row["seconds"]))
        table = show(
            f"Pooling on {backend.name}, {options.dtype}, {count} threads",
            ["pool", "map", *names, "ratio", "largest error"],
            [
                [
                    row["pool"],
                    row["map"],
                    *(seconds(row["seconds"].get(name)) for name in names),
                    ratio(row["ratio"]),
                    error(max(row["errors"].values(), default=None)),
                ]
                for row in rows
            ],
            left=2,
        )
        groups = []
        for operation in MAPS if others else ():
            values = [row["ratio"] for row in rows if row["map"] == operation]
            mean = geometric_mean(values)
            groups.append({"map": operation, "ratio": mean, "lowest": min(values)})
            print(f"{operation}: geometric mean {mean:.2f}, lowest {min(values):.2f}")
        finish("pools", options, count, rows, {"groups": groups}, tables=[table])
    limit = TOLERANCES[options.dtype]
    wrong = [row for row in rows if any(not e <= limit for e in row["errors"].values())]
    for row in wrong:
        print(f"DIFFERS: {row['pool']} {row['map']}: {row['errors']}")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
