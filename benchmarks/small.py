"""What a call costs before it computes anything: a 1x8x8x3 image, ours against PyTorch.

And what `import anyconv` takes once NumPy is there, in processes of its own.

python benchmarks/small.py [--backend numpy|cupy|torch] [--output FILE.json]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from typing import Any

import numpy as np
from _backends import choose
from _common import finish, measure, parser, threads
from _peers import in_memory, peers
from _tables import ratio, seconds, show

import anyconv

Functions = dict[str, Any]


def our_functions(asarray: Any) -> Functions:
    x, w, dy = (asarray(array) for array in _arrays())
    options = {"padding": 1}
    y = anyconv.conv_forward(x, w, **options)
    return {
        "conv forward": lambda: anyconv.conv_forward(x, w, **options),
        "conv dx": lambda: anyconv.conv_backward_input(dy, w, x.shape, **options),
        "conv dw": lambda: anyconv.conv_backward_weight(dy, x, w.shape, **options),
        "max pool forward": lambda: anyconv.max_pool_forward(y, 2),
        "average pool forward": lambda: anyconv.avg_pool_forward(y, 2),
    }


def torch_functions(asarray: Any) -> Functions:
    import torch
    from torch.nn import functional

    x, w, dy = (asarray(np.moveaxis(array, -1, -3)) for array in _arrays())
    w = asarray(np.moveaxis(_arrays()[1], (-1, -2), (0, 1)))
    x, dy = in_memory(x, 2, "first"), in_memory(dy, 2, "first")
    y = functional.conv2d(x, w, padding=1)
    one = [1, 1]

    def gradient(*wanted: bool) -> Any:
        return torch.ops.aten.convolution_backward(
            dy, x, w, None, one, one, one, False, [0, 0], 1, wanted
        )

    return {
        "conv forward": lambda: functional.conv2d(x, w, padding=1),
        "conv dx": lambda: gradient(True, False, False),
        "conv dw": lambda: gradient(False, True, False),
        "max pool forward": lambda: functional.max_pool2d(y, 2),
        "average pool forward": lambda: functional.avg_pool2d(y, 2),
    }


def _arrays() -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    shapes = ((1, 8, 8, 3), (3, 3, 3, 8), (1, 8, 8, 8))
    return tuple(rng.standard_normal(shape) for shape in shapes)


def import_seconds(repeat: int) -> float:
    """The processor's time for `import anyconv`, beyond NumPy's own."""
    code = "import time, numpy; start = time.process_time(); import anyconv; "
    command = [sys.executable, "-c", code + "print(time.process_time() - start)"]
    runs = (subprocess.run(command, capture_output=True, check=True) for _ in range(repeat))
    return statistics.median(float(run.stdout) for run in runs)


def main() -> int:
    command = parser(__doc__, repeat=9)
    command.add_argument("--backend", default="numpy", help="the arrays that ours is given")
    options = command.parse_args()
    with threads(options.threads) as count:
        backend = choose(options.backend)
        found = {"ours": (our_functions(lambda a: backend.asarray(a, "float32")), backend.wait)}
        for name, peer in peers("torch", backend).items():
            functions = torch_functions(lambda a, peer=peer: peer.asarray(a, "float32"))
            found[name] = (functions, peer.wait)
        rows = []
        for call in found["ours"][0]:
            timings = measure(
                {name: functions[call] for name, (functions, _) in found.items()},
                wait={name: wait for name, (_, wait) in found.items()},
                repeat=options.repeat,
            )
            medians = {name: timing.median for name, timing in timings.items()}
            spread = {name: timing.spread for name, timing in timings.items()}
            rows.append({"call": call, "seconds": medians, "spread": spread})
        table = show(
            f"A call on a 1x8x8x3 image, {backend.name}, float32",
            ["call", *found, "ratio"],
            [
                [
                    row["call"],
                    *(seconds(row["seconds"][name]) for name in found),
                    ratio(
                        row["seconds"]["torch"] / row["seconds"]["ours"]
                        if "torch" in found
                        else None
                    ),
                ]
                for row in rows
            ],
        )
        importing = import_seconds(options.repeat)
        print(f"import anyconv, beyond NumPy's: {seconds(importing)}")
        finish("small", options, count, rows, {"import_seconds": importing}, tables=[table])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
