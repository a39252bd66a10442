"""The notebook's four nested loops against `anyconv.stepbystep` and the core, on its first layer.

    python benchmarks/loops.py [--images 4] [--dtype float64] [--output FILE.json]

The layer is the first of the course's network on SIGNS: 64x64x3 to 8 channels under 4x4 taps, SAME,
all 1080 training images. The loops visit every image, row, column and filter, as learners write
them. They take the same time for each image, so they run on `--images` of them and are multiplied;
the table says so. Both fast versions run on all 1080. The notebook has no SAME: one row and column
of zeros before, two after, are put around the images beforehand, for all three alike.
"""

from __future__ import annotations

import numpy as np
from _common import finish, measure, parser, relative_error, threads
from _tables import error, seconds, show

import anyconv
from anyconv import stepbystep

Array = np.ndarray
IMAGES = 1080


def loops_forward(x: Array, w: Array, b: Array) -> Array:
    """Each output apart: (n, h, w, c), (k, k, c, filters), (filters,)."""
    k, filters = w.shape[0], w.shape[-1]
    y = np.zeros((len(x), x.shape[1] - k + 1, x.shape[2] - k + 1, filters), dtype=x.dtype)
    for image in range(y.shape[0]):
        for row in range(y.shape[1]):
            for column in range(y.shape[2]):
                for filt in range(filters):
                    window = x[image, row : row + k, column : column + k, :]
                    total = np.sum(window * w[:, :, :, filt])
                    y[image, row, column, filt] = total + b[filt]
    return y


def loops_backward(dy: Array, x: Array, w: Array) -> tuple[Array, Array, Array]:
    """The gradients that each output sends back: dx, dw, db."""
    k = w.shape[0]
    dx, dw, db = np.zeros_like(x), np.zeros_like(w), np.zeros(w.shape[-1], dtype=w.dtype)
    for image in range(dy.shape[0]):
        for row in range(dy.shape[1]):
            for column in range(dy.shape[2]):
                for filt in range(dy.shape[3]):
                    gradient = dy[image, row, column, filt]
                    window = np.s_[image, row : row + k, column : column + k, :]
                    dx[window] += w[:, :, :, filt] * gradient
                    dw[:, :, :, filt] += x[window] * gradient
                    db[filt] += gradient
    return dx, dw, db


def main() -> int:
    command = parser(__doc__, repeat=3)
    command.add_argument("--images", type=int, default=4, help="images that the loops see")
    command.add_argument("--of", type=int, default=IMAGES, help="images in all")
    command.add_argument("--dtype", default="float64", choices=("float32", "float64"))
    options = command.parse_args()
    few, many = options.images, options.of
    rng = np.random.default_rng(0)
    shapes = ((many, 64, 64, 3), (4, 4, 3, 8), (8,), (many, 64, 64, 8))
    x, w, b, dy = (rng.standard_normal(shape).astype(options.dtype) for shape in shapes)
    x = np.pad(x, ((0, 0), (1, 2), (1, 2), (0, 0)))  # SAME for 4x4 taps, the odd cell after
    plain = {"stride": 1, "pad": 0}
    cache = (x, w, b.reshape(1, 1, 1, -1), plain)

    with threads(options.threads) as count:
        forward = {
            "loops": lambda: loops_forward(x[:few], w, b),
            "stepbystep": lambda: stepbystep.conv_forward(*cache)[0],
            "core": lambda: anyconv.conv_forward(x, w, b),
        }
        backward = {
            "loops": lambda: loops_backward(dy[:few], x[:few], w),
            "stepbystep": lambda: stepbystep.conv_backward(dy, cache),
            "core": lambda: anyconv.conv_backward(dy, x, w),
        }
        # The loops have seen a few images alone; so the error is taken on these.
        expected = {"forward": (forward["loops"](),), "backward": backward["loops"]()}
        head = anyconv.conv_backward(dy[:few], x[:few], w)
        results = {"forward": (forward["core"]()[:few],), "backward": tuple(head)}
        rows = []
        for name, functions in (("forward", forward), ("backward", backward)):
            slow = measure({"loops": functions.pop("loops")}, repeat=1, patience=0.5)
            timings = slow | measure(functions, repeat=options.repeat)
            medians = {key: timing.median for key, timing in timings.items()}
            medians["loops"] *= many / few
            worst = max(
                relative_error(mine, theirs)
                for mine, theirs in zip(results[name], expected[name], strict=True)
            )
            rows.append(
                {
                    "map": name,
                    "seconds": medians,
                    "images_of_the_loops": few,
                    "speedup": {key: medians["loops"] / medians[key] for key in functions},
                    "error": worst,
                }
            )
        table = show(
            f"{many} images, 64x64x3 -> 8, 4x4 SAME, {options.dtype}, {count} threads "
            f"(loops: {few} images, times {many / few:g})",
            ["map", "loops", "stepbystep", "core", "loops / stepbystep", "loops / core", "error"],
            [
                [
                    row["map"],
                    *(seconds(row["seconds"][key]) for key in ("loops", "stepbystep", "core")),
                    *(f"{row['speedup'][key]:,.0f}" for key in ("stepbystep", "core")),
                    error(row["error"]),
                ]
                for row in rows
            ],
        )
        finish("loops", options, count, rows, tables=[table])
    return 0 if all(row["error"] < 1e-4 for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
