"""Photographs through conv, pool, conv, pool, forward and backward, on every array library here.

    python benchmarks/signs.py [--images 120] [--backends numpy,cupy] [--output FILE.json]

The pictures are the test photographs of SIGNS, hands that show 0 to 5, from `../shared/signs`;
where these are not at hand, the digits that come with the project. The layers are those of the
course's network. For each library and dtype the table shows how far the result and every gradient
are from NumPy's in float64 (the Frobenius norm of the difference over that of the reference), how
many of the max pools' winners are others (two cells of a window may be equal but for rounding), and
the time of one pass forward and back.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _backends import NAMES, Absent, Backend, load
from _common import ROOT, finish, measure, parser, relative_error, threads
from _tables import error, seconds, show

import anyconv

Array = Any
SIGNS = ROOT.parent / "shared" / "signs" / "test_signs.h5"
DIGITS = ROOT / "data" / "digits.h5"
LIMITS = {"float32": 1e-5, "float64": 1e-12}
POOLS = ((8, 8), (4, 4))  # windows of the course's network, and their strides


class Network(NamedTuple):
    """Two layers' weights and biases, and the gradient that the chain's output is given."""

    w1: Array
    b1: Array
    w2: Array
    b2: Array
    dy: Array


class Outcome(NamedTuple):
    """The chain's result, its gradients, and the winners of both max pools."""

    y: Array
    dx: Array
    dw1: Array
    db1: Array
    dw2: Array
    db2: Array
    winners1: Array
    winners2: Array


def images(path: Path, count: int) -> np.ndarray:
    """The first photographs as float64 from 0 to 1: (count, height, width, channels)."""
    import h5py

    with h5py.File(path) as file:
        stored = file["test_set_x"]
        return stored[:count].astype(np.float64) / float(stored.attrs.get("maximum", 255))


def network(x: np.ndarray) -> Network:
    """The course's layers with random weights: 4x4 to 8 channels, 2x2 to 16."""
    rng = np.random.default_rng(0)
    pooled = x.shape[1:3]
    for window in POOLS:
        pooled = [-(-size // k) for size, k in zip(pooled, window, strict=True)]
    return Network(
        w1=rng.standard_normal((4, 4, x.shape[-1], 8)) * np.sqrt(2 / (16 * x.shape[-1])),
        b1=rng.standard_normal(8) * 0.1,
        w2=rng.standard_normal((2, 2, 8, 16)) * np.sqrt(2 / 32),
        b2=rng.standard_normal(16) * 0.1,
        dy=rng.standard_normal((len(x), *pooled, 16)),
    )


def chain(x: Array, w1: Array, b1: Array, w2: Array, b2: Array, dy: Array) -> Outcome:
    """Forward and backward; each backward gets what its forward got."""
    same = {"padding": "same"}
    z1 = anyconv.conv_forward(x, w1, b1, **same)
    pool1 = {"stride": POOLS[0], "padding": _same(z1, POOLS[0])}
    a1, winners1 = anyconv.max_pool_forward(z1, POOLS[0], return_indices=True, **pool1)
    z2 = anyconv.conv_forward(a1, w2, b2, **same)
    pool2 = {"stride": POOLS[1], "padding": _same(z2, POOLS[1])}
    y, winners2 = anyconv.max_pool_forward(z2, POOLS[1], return_indices=True, **pool2)

    dz2 = anyconv.max_pool_backward(dy, z2, POOLS[1], **pool2)
    da1, dw2, db2 = anyconv.conv_backward(dz2, a1, w2, **same)
    dz1 = anyconv.max_pool_backward(da1, z1, POOLS[0], **pool1)
    dx, dw1, db1 = anyconv.conv_backward(dz1, x, w1, **same)
    return Outcome(y, dx, dw1, db1, dw2, db2, winners1, winners2)


def _same(x: Array, window: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """The padding that rounds image sizes up to whole windows, the odd cell after."""
    lacking = (-size % k for size, k in zip(x.shape[1:3], window, strict=True))
    return tuple((cells // 2, cells - cells // 2) for cells in lacking)


def outcome(backend: Backend, x: np.ndarray, net: Network, dtype: str, repeat: int):
    """The chain's outcome as NumPy arrays, and the time that one run of it takes."""
    arrays = [backend.asarray(array, dtype) for array in (x, *net)]
    step = backend.compiled(chain)

    def run() -> Any:
        results = step(*arrays)
        if backend.name == "dask":
            import dask

            return dask.compute(*results)
        return results

    result = Outcome(*map(backend.to_numpy, run()))
    timing = measure({"chain": run}, wait=backend.wait, repeat=repeat)["chain"]
    return result, timing


def compare(result: Outcome, expected: Outcome) -> dict[str, Any]:
    """The errors of the result and the gradients; how many windows have another winner."""
    errors = {
        name: relative_error(getattr(result, name), getattr(expected, name))
        for name in Outcome._fields[:6]
    }
    others = sum(
        int((getattr(result, name) != getattr(expected, name)).sum())
        for name in Outcome._fields[6:]
    )
    windows = expected.winners1.size + expected.winners2.size
    return {"errors": errors, "other_winners": others, "windows": windows}


def main() -> int:
    command = parser(__doc__)
    default = SIGNS if SIGNS.exists() else DIGITS
    command.add_argument("--data", type=Path, default=default, help="file with test_set_x")
    command.add_argument("--images", type=int, default=120, help="photographs to take")
    command.add_argument("--backends", default=",".join(NAMES), help="libraries to run")
    options = command.parse_args()

    path = options.data
    x = images(path, options.images)
    net = network(x)
    print(f"{len(x)} images of shape {x.shape[1:]} from {path.name}")
    expected = chain(x, *net)
    rows = []
    with threads(options.threads) as count:
        for name in options.backends.split(","):
            try:
                backend = load(name)
            except Absent as absent:
                print(f"{name}: {absent}")
                continue
            for dtype in ("float32", "float64"):
                result, timing = outcome(backend, x, net, dtype, options.repeat)
                row = {"backend": name, "dtype": dtype, "seconds": timing.median}
                rows.append(row | compare(result, expected))
    names = Outcome._fields[:6]
    table = show(
        "Against NumPy in float64: relative error, other winners, time forward and back",
        ["backend", "dtype", *names, "other winners", "time", "agrees"],
        [
            [
                row["backend"],
                row["dtype"],
                *(error(row["errors"][name]) for name in names),
                f"{row['other_winners']} of {row['windows']}",
                seconds(row["seconds"]),
                "yes" if agrees(row) else "NO",
            ]
            for row in rows
        ],
        left=2,
    )
    finish("signs", options, count, rows, {"data": path.name, "images": len(x)}, tables=[table])
    return 0 if rows and all(map(agrees, rows)) else 1


def agrees(row: dict[str, Any]) -> bool:
    """Whether rounding explains all errors.

    Where a window has another winner its gradient goes elsewhere: with k such windows of n, that
    may change gradients by about sqrt(2 k / n).
    """
    share = row["other_winners"] / row["windows"]
    limit = LIMITS[row["dtype"]]
    gradients = [row["errors"][name] for name in row["errors"] if name != "y"]
    return (
        share <= 1e-3
        and row["errors"]["y"] <= limit
        and max(gradients) <= limit + 3 * (2 * share) ** 0.5
    )


if __name__ == "__main__":
    raise SystemExit(main())
