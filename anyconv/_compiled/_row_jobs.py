"""Jobs that clear, copy or change rows of neighbours in memory, before other jobs or after them."""

from collections.abc import Sequence

from anyconv._compiled._jobs import Job
from anyconv._compiled._numba import loops
from anyconv._compiled._walks import flat, in_parts, rows_of, walk, walkable
from anyconv._geometry import AxisLoop
from anyconv._typing import Array


def clear_job(x: Array) -> Job:
    """Zeros, written to x."""
    return Job(loops("row").clear, (flat(x), *rows_of(x)))


def add_to_channels_job(y: Array, b: Array) -> Job:
    """One number for each channel, added to y."""
    b = walkable(b)
    return Job(loops("row").add_to_channels, (flat(y), flat(b), *rows_of(y, joins=False)))


def divide_job(y: Array, by: Array) -> Job:
    """The numbers `by`, `(1,)` or one for each output of an image, by which y is divided."""
    y = in_parts(y)
    return Job(loops("row").divide, (flat(y), flat(by), *rows_of(y, joins=by.size == 1)))


def quotients_job(z: Array, y: Array, by: Array) -> Job:
    """The same of y, written to z, which lies without gaps."""
    z, y = in_parts(z), in_parts(walkable(y))
    rows = rows_of(y, joins=by.size == 1)
    return Job(loops("row").quotients, (flat(z), flat(y), flat(by), *rows))


def unfold_job(u: Array, x: Array, axes: Sequence[AxisLoop]) -> Job:
    """Each window as a row, `u (n, *output, taps * c)`; zero where a tap is on no cell."""
    x = walkable(x)
    given = flat(u), flat(x), walk(x, u, axes)[0], x.shape[-1]
    return Job(loops("row").unfold, given)


def fold_job(x: Array, u: Array, axes: Sequence[AxisLoop]) -> Job:
    """The adjoint, added to x."""
    given = flat(x), flat(u), walk(x, u, axes)[0], x.shape[-1]
    return Job(loops("row").fold, given)
