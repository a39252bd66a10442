"""How kernels written for CuPy's arrays are compiled and launched."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.resources import files
from math import prod
from typing import Any, NamedTuple

from anyconv._geometry import MOST_AXES, AxisLoop
from anyconv._namespace._kinds import is_cupy
from anyconv._namespace._places import in_order, memory_of
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
# The blocks that all of a GPU has enough to do with, and the most along a grid's second axis.
FEWEST_BLOCKS, MOST_BLOCKS = 2**10, 2**16 - 1
# The bytes that a thread takes at once, and the elements whose places need more than 32 bits, with
# some to spare.
AT_ONCE, MANY = 16, 2**30

Axes = tuple[AxisLoop, ...]


@dataclass(frozen=True, eq=False)
class TileMatrices:
    """The matrix of each axis that is applied to a tile; kept, and known by its identity."""

    axes: tuple[tuple[tuple[float, ...], ...], ...]

    @cached_property
    def points(self) -> int:
        """What a tile becomes."""
        return prod(map(len, self.axes))


class Counts(NamedTuple):
    """The cells of each window that count: so many of all, or, if 0, those within each range."""

    common: int
    ranges: tuple[tuple[int, int], ...]


@lru_cache
def has_window_kernels(xp: Namespace, dtype: DType) -> bool:
    """Whether windows of such arrays are gone through in kernels."""
    if not is_cupy(xp):
        return False
    import numpy

    return numpy.dtype(dtype).char in _TYPES


@lru_cache(maxsize=1024)
def outputs_of(axes: Axes) -> Shape:
    """The windows along each axis."""
    return tuple(axis.outputs for axis in axes)


@lru_cache(maxsize=1024)
def cells_of(axes: Axes) -> Shape:
    """The cells along each axis."""
    return tuple(axis.cells for axis in axes)


@lru_cache(maxsize=1024)
def windows_of(axes: Axes) -> int:
    """All windows of an image."""
    return prod(outputs_of(axes))


@lru_cache(maxsize=1024)
def taps_of(axes: Axes) -> int:
    """The taps of a window."""
    return prod(axis.taps for axis in axes)


def launch(
    name: str,
    axes: Axes,
    images: int,
    result: Array,
    *given: Array,
    matrices: TileMatrices | None = None,
    counts: Counts | None = None,
    groups: int = 1,
    xp: Namespace,
) -> Array:
    """A kernel's result, from arrays that need not lie without gaps, over windows of some images.

    Kernels of points are compiled for the `matrices` that they apply; averages are told what
    windows count, and unfolding how many groups of channels there are.
    """
    if not result.size:
        return result
    arrays = [result, *(a if a.flags.c_contiguous else in_order(a, xp=xp) for a in given)]
    places, most = 0, 0
    for array in arrays:
        places |= memory_of(array).ptr
        most = max(most, array.size)
    is_aligned, kind = not places % AT_ONCE, given[0].dtype.char
    sizes, wide = (images, *result.shape), is_wide(axes, most)
    run = _prepared(name, axes, sizes, groups, kind, is_aligned, wide, matrices, counts)
    run.kernel(run.grid, run.block, (*arrays, *run.arguments))
    return result


def is_copied_first(x: Array, *, xp: Namespace) -> bool:
    """Whether an array is copied before a launch, because its elements have gaps between them."""
    return is_cupy(xp) and not x.flags.c_contiguous


def is_wide(axes: Axes, elements: int) -> bool:
    """Whether places need more than 32 bits: those in so many elements, or beside an input."""
    return elements >= MANY or _farthest(axes) >= MANY


@lru_cache(maxsize=1024)
def _farthest(axes: Axes) -> int:
    """No tap of a window is farther from the first cell along an axis."""
    return max(
        abs(axis.start) + axis.outputs * axis.stride + axis.taps * axis.dilation for axis in axes
    )


class _Run(NamedTuple):
    """A kernel, how many threads it has, and what it is given beside arrays."""

    kernel: Any
    grid: Shape
    block: Shape
    arguments: tuple[Any, ...]


@lru_cache(maxsize=1024)
def _prepared(
    name: str,
    axes: Axes,
    sizes: Shape,
    groups: int,
    kind: str,
    is_aligned: bool,
    wide: bool,
    matrices: TileMatrices | None,
    counts: Counts | None,
) -> _Run:
    """How a kernel runs for elements of one kind; `sizes` are of the images, and of the result."""
    import numpy

    (images, *shape), parts = sizes, 2 if kind in "FD" else 1
    together, item_bytes = shape[-1] * parts, numpy.dtype(kind).itemsize // parts
    if name == "fold":
        together //= groups
    pack = 8 if is_aligned and matrices is None else 1
    while together % pack or pack * item_bytes > AT_ONCE:
        pack //= 2
    packs, threads = groups * together // pack, prod(shape) * parts // pack
    work = _Work(packs, threads, images * windows_of(axes), tuple(shape), groups)
    grid, block, numbers = _DIVISIONS.get(name, _by_packs)(work)
    integer = numpy.int64 if wide else numpy.int32
    kernel = _module(kind, pack, wide, matrices).get_function(name)
    tables = [_walk(axes)] if counts is None else [_walk(axes), _counts(counts)]
    return _Run(kernel, grid, block, (*tables, *map(integer, numbers)))


class _Work(NamedTuple):
    """What threads have to do: packs of neighbouring channels, of a cell and of the result."""

    packs: int
    threads: int
    windows: int  # of all images
    shape: Shape  # of the result
    groups: int


# The blocks of a grid, the threads of a block, and the numbers that a kernel is given.
_Division = tuple[Shape, Shape, Sequence[int]]


def _by_packs(work: _Work) -> _Division:
    """A thread for each pack of the result."""
    return _line(work.threads), (THREADS,), (work.packs, work.threads)


def _by_packs_of_groups(work: _Work) -> _Division:
    return _line(work.threads), (THREADS,), (work.packs, work.threads, work.groups)


def _by_shares(work: _Work) -> _Division:
    """A thread for each pack of each share of a sum over windows."""
    return _line(work.threads), (THREADS,), (work.packs, work.windows, work.shape[0])


def _by_tiles(work: _Work) -> _Division:
    """A thread for each pack of a tile, all of its points."""
    return _line(work.windows * work.packs), (THREADS,), (work.packs, work.windows)


def _by_columns(work: _Work) -> _Division:
    """A thread for each pack of a row's taps, in some rows, of windows, one after the other."""
    length = work.packs * work.shape[-2]
    across = -(-length // -(-length // THREADS))
    down = THREADS // across
    blocks = -(-work.windows // down)  # each of a few windows, where there are many
    grid = (-(-length // across), min(blocks, max(blocks // 4, FEWEST_BLOCKS), MOST_BLOCKS))
    return grid, (across, down), (work.packs, work.windows, work.groups)


def _line(threads: int) -> Shape:
    return (-(-threads // THREADS),)


_DIVISIONS: dict[str, Callable[[_Work], _Division]] = {
    "unfold": _by_columns,
    "fold": _by_packs_of_groups,
    "products_weight": _by_shares,
    "totals": _by_shares,
    "to_points": _by_tiles,
    "from_points": _by_tiles,
}


def _walk(axes: Axes) -> Any:
    """The axes as the kernels are given them, by value; those missing have one window of a cell."""
    import numpy

    missing = [AxisLoop(1, 1, 1, 1, 0, 1)] * (MOST_AXES - len(axes))
    table = numpy.zeros((), dtype=[("axes", numpy.int64, (MOST_AXES, len(AxisLoop._fields)))])
    table["axes"] = [*missing, *axes]
    return table[()]


def _counts(counts: Counts) -> Any:
    """What windows count, likewise; of an axis that is missing the one cell does."""
    import numpy

    missing = [(0, 1)] * (MOST_AXES - len(counts.ranges))
    fields = [("common", numpy.int64), ("ends", numpy.int64, (2, MOST_AXES))]
    table = numpy.zeros((), dtype=fields)
    table["common"] = counts.common
    table["ends"] = list(zip(*missing, *counts.ranges, strict=True))
    return table[()]


@lru_cache(maxsize=256)
def _module(kind: str, pack: int, wide: bool, matrices: TileMatrices | None) -> Any:
    """All kernels for such elements, compiled when the first is launched, and kept on disk."""
    import cupy

    return cupy.RawModule(code=source(kind, pack, wide, matrices), options=("-std=c++17",))


def source(kind: str, pack: int, wide: bool, matrices: TileMatrices | None = None) -> str:
    """The text of kernels: for a dtype's letter, the channels of a thread, wide places, matrices.

    Those of points where there are matrices, else those of windows.
    """
    element, total = _TYPES[kind]
    head = [
        "#include <cuda_fp16.h>" if element == "__half" else "",
        f"typedef {element} T;",
        f"typedef {total} Sum;",
        f"typedef {'long long' if wide else 'int'} Int;",
        f"#define PACK {pack}",
    ]
    if matrices is not None:
        missing = [((1.0,),)] * (MOST_AXES - len(matrices.axes))
        for axis, matrix in enumerate([*missing, *matrices.axes]):
            rows = ", ".join("{" + ", ".join(map(repr, row)) + "}" for row in matrix)
            head.append(f"#define TO_{axis} {len(matrix)}")
            head.append(f"#define FROM_{axis} {len(matrix[0])}")
            sizes = f"[TO_{axis}][FROM_{axis}]"
            head.append(f"__device__ const Sum MATRIX_{axis}{sizes} = {{{rows}}};")
    folder = files("anyconv._cupy_kernels")
    names = "walk.cu", "windows.cu" if matrices is None else "points.cu"
    return "\n".join([*head, *(folder.joinpath(name).read_text("utf-8") for name in names)])
