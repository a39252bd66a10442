"""How compiled loops go through NumPy's arrays: windows along axes, and where elements lie.

Arrays are canonical, `x (n, *spatial, c)` and `y (n, *output, c)`; each axis of windows is an
`AxisLoop`, one to three of them. Taps on no cell of x are left out.
"""

from collections.abc import Sequence
from functools import lru_cache

from anyconv._geometry import MOST_AXES, AxisLoop
from anyconv._typing import Array, Shape


def walk(x: Array, y: Array, axes: Sequence[AxisLoop]) -> tuple[Array, int]:
    """How the loops go through x and y, and their channels."""
    (*x_steps, _), (*y_steps, _) = steps_of(x), steps_of(y)
    images = AxisLoop(y.shape[0], 1, 1, 1, 0, x.shape[0])
    return _table((images, *axes), tuple(x_steps), tuple(y_steps)), y.shape[-1]


@lru_cache(maxsize=256)
def _table(axes: tuple[AxisLoop, ...], x_steps: Shape, y_steps: Shape) -> Array:
    """Images and axes with their steps in memory, between them as many axes as are missing."""
    import numpy

    images, *others = ((*axis, *steps) for axis, *steps in zip(axes, x_steps, y_steps, strict=True))
    missing = [(1, 1, 1, 1, 0, 1, 0, 0)] * (MOST_AXES - len(others))
    return numpy.asarray([images, *missing, *others], dtype=numpy.int64)


def rows_of(x: Array, *, joins: bool = True) -> tuple[Array, int]:
    """The sizes and steps of the first axis and of others but the last, and the length of that.

    An array without gaps is a single row, if it may be joined.
    """
    if joins and x.flags.c_contiguous:
        return _table_of_rows((), ()), x.size
    *steps, _ = steps_of(x)
    return _table_of_rows(x.shape[:-1], tuple(steps)), x.shape[-1]


@lru_cache(maxsize=256)
def _table_of_rows(sizes: Shape, steps: Shape) -> Array:
    import numpy

    first, missing = list(zip(sizes, steps, strict=True)), [(1, 0)] * (MOST_AXES + 1 - len(sizes))
    return numpy.asarray([*first[:1], *missing, *first[1:]], dtype=numpy.int64)


def steps_of(x: Array) -> list[int]:
    return [stride // x.itemsize for stride in x.strides]


def flat(x: Array) -> Array:
    """All memory from the first element of an array to its last, a view.

    No axis runs backwards, and elements lie whole ones apart; `walkable` makes it so.
    """
    import numpy

    if x.flags.c_contiguous:
        return x.reshape(-1)
    steps = steps_of(x)
    assert min(steps) >= 0 and has_whole_steps(x), f"loops can't go by strides {x.strides}"
    span = 1 + sum((n - 1) * step for n, step in zip(x.shape, steps, strict=True))
    return numpy.lib.stride_tricks.as_strided(x, (span if x.size else 0,), (x.itemsize,))


def walkable(x: Array, *, by_rows: bool = False) -> Array:
    """The array, or a copy, with a cell's channels side by side and no axis that runs backwards.

    With `by_rows` the cells of a row are side by side as well.
    """
    size, channels = x.itemsize, x.shape[-1]
    is_walkable = has_whole_steps(x) and all(s >= 0 for s in x.strides)
    are_beside = x.strides[-1] == size and (not by_rows or x.strides[-2] == channels * size)
    return x if is_walkable and are_beside else copied(x)


def has_whole_steps(x: Array) -> bool:
    """Whether elements lie where such lie, whole ones apart: not as a field of a record may."""
    return x.flags.aligned and all(s % x.itemsize == 0 for s in x.strides)


def in_parts(x: Array) -> Array:
    """A view with the two parts of a complex number as channels."""
    return x.view(x.real.dtype) if x.dtype.kind == "c" else x


def copied(x: Array) -> Array:
    import numpy

    return numpy.array(x, order="C")


def copied_like(x: Array, other: Array) -> Array:
    """A copy of x with the strides of another array of its shape."""
    import numpy

    room = numpy.empty(flat(other).size, dtype=x.dtype)
    steps = [step * x.itemsize for step in steps_of(other)]
    copy = numpy.lib.stride_tricks.as_strided(room, x.shape, steps)
    copy[...] = x
    return copy
