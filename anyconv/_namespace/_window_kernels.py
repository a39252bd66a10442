"""Windows on CuPy's arrays in one launch each (`windows.cu`), for what CuPy would do in many.

Arrays are canonical, `x (n, *spatial, c)` and `y (n, *output, c)`; each axis of windows is an
`AxisLoop`, one to three of them. Taps on no cell of x are left out. What is returned lies without
gaps; what is summed in half precision is summed in single.
"""

from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from math import prod
from typing import Any, NamedTuple

from anyconv._namespace._kinds import accumulator, is_cupy
from anyconv._namespace._places import in_order
from anyconv._namespace._walks import MOST_AXES, AxisLoop
from anyconv._typing import Array, DType, Namespace, Shape

# The types of elements and of their sums, by a dtype's letter. Complex numbers are two channels.
_TYPES = {
    "e": ("__half", "float"),
    "f": ("float", "float"),
    "d": ("double", "double"),
    "F": ("float", "float"),
    "D": ("double", "double"),
    "b": ("signed char", "int"),
    "h": ("short", "int"),
    "i": ("int", "int"),
    "l": ("long", "long"),
    "q": ("long long", "long long"),
    "B": ("unsigned char", "unsigned int"),
    "H": ("unsigned short", "unsigned int"),
    "I": ("unsigned int", "unsigned int"),
    "L": ("unsigned long", "unsigned long"),
    "Q": ("unsigned long long", "unsigned long long"),
}
THREADS = 256
# The windows that are added one after the other to a share of a sum, and the threads wanted for it.
FEWEST_ADDED, MOST_ADDED, THREADS_WANTED = 32, 1024, 2**18
# The most blocks that a grid has along its second axis.
MOST_BLOCKS = 2**16 - 1
# The bytes that a thread takes at once, and the elements whose places need more than 32 bits, with
# some to spare.
AT_ONCE, MANY = 16, 2**30

Axes = tuple[AxisLoop, ...]


@lru_cache
def has_window_kernels(xp: Namespace, dtype: DType) -> bool:
    """Whether windows of such arrays are gone through in kernels."""
    if not is_cupy(xp):
        return False
    import numpy

    return numpy.dtype(dtype).char in _TYPES


def unfold_in_kernel(x: Array, axes: Axes, *, xp: Namespace) -> Array:
    """Each window as a row, `(n, *output, taps, c)`; zero where a tap is on no cell."""
    shape = (x.shape[0], *_outputs(axes), _taps(axes), x.shape[-1])
    return _launch("unfold", axes, xp.empty(shape, dtype=x.dtype), x, xp=xp)


def fold_in_kernel(u: Array, axes: Axes, *, xp: Namespace) -> Array:
    """The adjoint, `(n, *cells, c)`."""
    return _launch("fold", axes, _of_cells(u, axes, xp=xp), u, xp=xp)


def products_in_kernel(
    x: Array, w: Array, axes: Axes, *, out: Array | None = None, xp: Namespace
) -> Array:
    """The sum over the taps of each window of `x w`, with factors `w (taps, c)`.

    Written to `out` where that is given, which lies without gaps.
    """
    y = _of_outputs(x, axes, xp=xp) if out is None else out
    return _launch("products", axes, y, x, w, xp=xp)


def products_data_in_kernel(dy: Array, w: Array, axes: Axes, *, xp: Namespace) -> Array:
    """The adjoint in x."""
    return _launch("products_data", axes, _of_cells(dy, axes, xp=xp), dy, w, xp=xp)


def products_weight_in_kernel(x: Array, dy: Array, axes: Axes, *, xp: Namespace) -> Array:
    """The adjoint in w, `(taps, c)`, of the dtype of sums."""
    taps, c, windows = _taps(axes), dy.shape[-1], prod(dy.shape[:-1])
    shares = max(THREADS_WANTED // (taps * c), -(-windows // MOST_ADDED))
    shares = min(shares, -(-windows // FEWEST_ADDED))
    dw = xp.empty((shares, taps, c), dtype=accumulator(xp, dy.dtype))
    return xp.sum(_launch("products_weight", axes, dw, x, dy, xp=xp), axis=0)


def sums_in_kernel(x: Array, axes: Axes, *, xp: Namespace) -> Array:
    """The sum over each window."""
    return _launch("sums", axes, _of_outputs(x, axes, xp=xp), x, xp=xp)


def sums_adjoint_in_kernel(dy: Array, axes: Axes, *, xp: Namespace) -> Array:
    """The adjoint."""
    return _launch("sums_adjoint", axes, _of_cells(dy, axes, xp=xp), dy, xp=xp)


def maxima_in_kernel(x: Array, axes: Axes, *, xp: Namespace) -> Array:
    """The maximum of each window; NaN wins."""
    return _launch("maxima", axes, _of_outputs(x, axes, xp=xp), x, xp=xp)


def winners_in_kernel(x: Array, axes: Axes, *, xp: Namespace) -> Array:
    """The number in its plane of the first maximum of each window, in 32 bits if these do."""
    places = _of_outputs(x, axes, dtype=xp.int64 if x.size >= MANY else xp.int32, xp=xp)
    return _launch("winners", axes, places, x, xp=xp)


def winners_gradient_in_kernel(dy: Array, places: Array, axes: Axes, *, xp: Namespace) -> Array:
    """The gradient of the first maximum of each window, where `winners_in_kernel` found it."""
    return _launch("winners_gradient", axes, _of_cells(dy, axes, xp=xp), dy, places, xp=xp)


def ties_gradient_in_kernel(
    dy: Array, x: Array, best: Array, axes: Axes, *, xp: Namespace
) -> Array:
    """The gradient of every cell that equals the maximum of its window, `best`."""
    return _launch("ties_gradient", axes, _of_cells(dy, axes, xp=xp), dy, x, best, xp=xp)


def _of_outputs(x: Array, axes: Axes, *, dtype: DType | None = None, xp: Namespace) -> Array:
    return xp.empty((x.shape[0], *_outputs(axes), x.shape[-1]), dtype=dtype or x.dtype)


def _of_cells(dy: Array, axes: Axes, *, xp: Namespace) -> Array:
    return xp.empty((dy.shape[0], *(axis.cells for axis in axes), dy.shape[-1]), dtype=dy.dtype)


def _outputs(axes: Axes) -> list[int]:
    return [axis.outputs for axis in axes]


def _taps(axes: Axes) -> int:
    return prod(axis.taps for axis in axes)


def _launch(name: str, axes: Axes, result: Array, *given: Array, xp: Namespace) -> Array:
    """A kernel's result, from arrays that need not lie without gaps."""
    arrays = (result, *(a if a.flags.c_contiguous else in_order(a, xp=xp) for a in given))
    if not result.size:
        return result
    _check_device(arrays)
    is_aligned = not any(_address(array) % AT_ONCE for array in arrays)
    is_wide = any(array.size >= MANY for array in arrays)
    sizes = given[0].shape[0], result.shape, given[0].dtype.char
    run = _prepared(name, axes, *sizes, is_aligned, is_wide)
    run.kernel(run.grid, run.block, (*arrays, *run.arguments))
    return result


def _address(array: Array) -> int:
    return array.data.ptr  # type: ignore[no-any-return]


def _check_device(arrays: Sequence[Array]) -> None:
    """Refuse arrays that are not where kernels run, and where the first has just been made."""
    current, *others = (array.data.device_id for array in arrays)
    if any(other != current for other in others):
        raise ValueError(
            f"CuPy computes on the current device, {current}, and the arrays are on {others[0]}: "
            "call this within `with x.device:`"
        )


class _Run(NamedTuple):
    """A kernel, how many threads it has, and what it is given beside arrays."""

    kernel: Any
    grid: Shape
    block: Shape
    arguments: tuple[Any, ...]


@lru_cache(maxsize=1024)
def _prepared(
    name: str, axes: Axes, images: int, shape: Shape, kind: str, is_aligned: bool, is_wide: bool
) -> _Run:
    """How a kernel runs for a result of such a shape, from elements of one kind."""
    import numpy

    parts = 2 if kind in "FD" else 1
    channels, item_bytes = shape[-1] * parts, numpy.dtype(kind).itemsize // parts
    pack = 4 if is_aligned else 1
    while channels % pack or pack * item_bytes > AT_ONCE:
        pack //= 2
    packs, windows = channels // pack, images * prod(_outputs(axes))
    grid: Shape
    block: Shape = (THREADS,)
    if name == "unfold":
        length = packs * shape[-2]
        across = min(2 ** (length - 1).bit_length(), THREADS)
        block = (across, THREADS // across)
        grid = (-(-length // across), min(-(-windows // block[1]), MOST_BLOCKS))
        numbers = [packs, windows]
    else:
        threads = prod(shape[:-1]) * packs
        grid = (-(-threads // THREADS),)
        numbers = [packs, windows, shape[0]] if name == "products_weight" else [packs, threads]
    integer = numpy.int64 if is_wide else numpy.int32
    kernel = _module(kind, pack, is_wide).get_function(name)
    return _Run(kernel, grid, block, (_walk(axes), *map(integer, numbers)))


def _walk(axes: Axes) -> Any:
    """The axes as the kernels are given them, by value; those missing have one window of a cell."""
    import numpy

    missing = [AxisLoop(1, 1, 1, 1, 0, 1)] * (MOST_AXES - len(axes))
    table = numpy.zeros((), dtype=[("axes", numpy.int64, (MOST_AXES, len(AxisLoop._fields)))])
    table["axes"] = [*missing, *axes]
    return table[()]


@lru_cache
def _module(kind: str, pack: int, is_wide: bool) -> Any:
    """All kernels for such elements, compiled when the first is launched, and kept on disk."""
    import cupy

    return cupy.RawModule(code=source(kind, pack, is_wide))


def source(kind: str, pack: int, is_wide: bool) -> str:
    """The text of all kernels: for a dtype's letter, the channels of a thread, wide places."""
    element, total = _TYPES[kind]
    head = [
        "#include <cuda_fp16.h>" if element == "__half" else "",
        f"typedef {element} T;",
        f"typedef {total} Sum;",
        f"typedef {'long long' if is_wide else 'int'} Int;",
        f"#define PACK {pack}",
    ]
    text = files("anyconv._namespace").joinpath("windows.cu").read_text(encoding="utf-8")
    return "\n".join([*head, text])
