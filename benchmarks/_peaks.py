"""What the machine can do at best: its matrix product and its copies, measured, not looked up."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from _backends import Array, Backend
from _common import measure

_CPU_SIZES = (512, 1024, 2048)
_GPU_SIZES = (2048, 4096, 8192)


def matmul_rate(backend: Backend, dtype: str, sizes: tuple[int, ...] = ()) -> float:
    """Multiply-adds in a second, of the best of some square matrix products.

    A CPU multiplies half precision in float32, as convolution does; its own half is no measure.
    """
    if not backend.on_gpu and dtype in ("float16", "bfloat16"):
        dtype = "float32"
    sizes = sizes or (_GPU_SIZES if backend.on_gpu else _CPU_SIZES)
    return max(product_rate(backend, dtype, n, n, n) for n in sizes)


def product_rate(backend: Backend, dtype: str, m: int, k: int, n: int, repeat: int = 3) -> float:
    """Multiply-adds in a second of `(m, k) @ (k, n)`."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape) for shape in ((m, k), (k, n)))
    a, b = backend.asarray(a, dtype), backend.asarray(b, dtype)
    product = backend.compiled(backend.xp.matmul)
    timing = measure({"product": lambda: product(a, b)}, wait=backend.wait, repeat=repeat)
    return m * k * n / min(timing["product"].seconds)


def copy_bandwidth(backend: Backend, threads: int, mebibytes: int = 256) -> float:
    """Bytes in a second, read and written, of copying an array too large for the caches."""
    elements = mebibytes * 2**20 // 4
    x = backend.asarray(np.ones(elements), "float32")
    if backend.name == "numpy":
        timing = measure({"copy": _numpy_copy(x, threads)}, repeat=3)
    else:
        copied = backend.compiled(lambda x: x + 1)
        timing = measure({"copy": lambda: copied(x)}, wait=backend.wait, repeat=3)
    return 2 * 4 * elements / min(timing["copy"].seconds)


def _numpy_copy(x: Array, threads: int):
    """A copy in as many parts as there are threads; NumPy's own is made by one."""
    y = np.empty_like(x)
    parts = list(zip(np.array_split(y, threads), np.array_split(x, threads), strict=True))
    pool = ThreadPoolExecutor(threads)

    def run() -> None:
        for done in [pool.submit(np.copyto, *part) for part in parts]:
            done.result()

    return run
