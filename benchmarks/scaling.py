"""How the time of one layer grows with batch, image, kernel and workers.

    python benchmarks/scaling.py [--backend numpy|cupy] [--threads 2] [--quick]
        [--output FILE.json] [--plot FILE.png]

One thing varies, the rest stays: 8 images of 64x64x32 to 32 channels with 3x3 taps. The kernel's
curve is drawn for a depthwise layer too, and for an image of 512x512 from one channel to one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from _backends import choose
from _common import finish, measure, parser, threads
from _layers import Layer
from _peers import conv_runners, peers
from _tables import lines, seconds, show

import anyconv

BASE = Layer("scaling", 8, (64, 64), 32, 32, (3, 3), padding=1)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
IMAGES = (32, 64, 128, 256, 512, 1024)
KERNELS = (3, 5, 7, 9, 15, 31, 63)


def cases(workers: int, quick: bool) -> Iterator[tuple[str, int, Layer, int]]:
    """What varies, its value, the layer, the workers."""
    few = slice(0, 2) if quick else slice(None)
    for n in BATCHES[few]:
        yield "batch", n, replace(BASE, n=n), workers
    for size in IMAGES[few]:
        yield "image", size, replace(BASE, n=1, input=(size, size)), workers
    for k in KERNELS[few]:
        wide = replace(BASE, input=(128, 128), kernel=(k, k), padding=k // 2, n=1)
        yield "kernel", k, wide, workers
        yield "kernel, depthwise", k, replace(wide, groups=32), workers
        plane = replace(wide, input=(512, 512), c_in=1, c_out=1)
        yield "kernel, one channel", k, plane, workers
    for count in range(1, workers + 1):
        yield "workers", count, replace(BASE, n=32), count


def time_layer(layer: Layer, backend: Any, others: Any, repeat: int) -> dict[str, float]:
    """The forward pass of every library."""
    rng = np.random.default_rng(0)
    shapes = {"x": layer.x_shape, "w": layer.w_shape, "dy": layer.y_shape}
    arrays = {n: rng.standard_normal(s, dtype=np.float32) for n, s in shapes.items()}
    x, w = (backend.asarray(arrays[name], "float32") for name in ("x", "w"))
    ours = backend.compiled(lambda x, w: anyconv.conv_forward(x, w, **layer.options))
    functions, waits = {"ours": lambda: ours(x, w)}, {"ours": backend.wait}
    for peer in others.values():
        for name, runner in conv_runners(peer, layer, "forward", arrays, "float32").items():
            functions[name], waits[name] = runner.run, runner.wait
    timings = measure(functions, wait=waits, repeat=repeat)
    medians = {name: timing.median for name, timing in timings.items()}
    theirs = {name: value for name, value in medians.items() if name.startswith("torch")}
    return {"ours": medians["ours"]} | ({"torch": min(theirs.values())} if theirs else {})


def main() -> int:
    command = parser(__doc__, repeat=3)
    command.add_argument("--backend", default="numpy", help="the arrays that ours is given")
    command.add_argument("--quick", action="store_true", help="two values of each only")
    command.add_argument("--plot", type=Path, help="PNG file to draw")
    options = command.parse_args()
    rows = []
    with threads(options.threads) as count:
        backend = choose(options.backend)
        others = peers("torch", backend)
        for varied, value, layer, workers in cases(1 if backend.on_gpu else count, options.quick):
            if varied == "workers":
                with threads(workers):
                    found = time_layer(layer, backend, others, options.repeat)
            else:
                found = time_layer(layer, backend, others, options.repeat)
            rate = 2 * layer.multiply_adds / found["ours"]
            rows.append(
                {"varied": varied, "value": value, "layer": layer.name, "seconds": found}
                | {"flops_per_second": rate}
            )
        names = list(dict.fromkeys(name for row in rows for name in row["seconds"]))
        table = show(
            f"Forward on {backend.name}, float32, {count} threads",
            ["varied", "layer", "value", *names, "GFLOP/s"],
            [
                [
                    row["varied"],
                    row["layer"],
                    str(row["value"]),
                    *(seconds(row["seconds"][name]) for name in names),
                    f"{row['flops_per_second'] / 1e9:.1f}",
                ]
                for row in rows
            ],
            left=2,
        )
        if options.plot:
            panels: dict[str, dict[str, list[tuple[float, float]]]] = {}
            for row in rows:
                panel = panels.setdefault(row["varied"], {})
                for name, value in row["seconds"].items():
                    panel.setdefault(name, []).append((row["value"], value * 1e3))
            lines(options.plot, f"Forward on {backend.name}", panels, ("", "milliseconds"))
        finish("scaling", options, count, rows, tables=[table])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
