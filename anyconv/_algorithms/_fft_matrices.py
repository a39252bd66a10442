"""Fourier transforms of two real axes as matrices of real numbers, one for each axis.

The outer axis' matrix takes n cells to pairs of parts of half of its frequencies, which tell the
others; the inner one both parts of its cells, one after the other, to both parts of its
frequencies:

    outer (half, 2) x cells,       inner (2, n) x (2, cells)

The way back takes pairs of the outer axis' frequencies to pairs of parts of cells, each frequency
that stands for another twice, then both parts of the inner axis' to the real part of its cells.
"""

from collections.abc import Callable
from functools import lru_cache
from math import cos, pi, sin

from anyconv._algorithms._toom_cook import Matrix
from anyconv._typing import Shape


def to_spectrum(cells: Shape, sizes: Shape) -> tuple[Matrix, Matrix]:
    """The matrices from some cells, the others being zero, to frequencies."""
    return _outer(cells[0], sizes[0]), _inner(cells[1], sizes[1])


def from_spectrum(cells: Shape, sizes: Shape) -> tuple[Matrix, Matrix]:
    """The matrices from frequencies to some cells, the first ones."""
    return _outer_back(cells[0], sizes[0]), _inner_back(cells[1], sizes[1])


@lru_cache(maxsize=256)
def _outer(cells: int, n: int) -> Matrix:
    rows: list[tuple[float, ...]] = []
    for f in range(n // 2 + 1):
        rows.append(_row(cos, f, range(cells), n))
        rows.append(_row(_minus_sin, f, range(cells), n))
    return tuple(rows)


@lru_cache(maxsize=256)
def _inner(cells: int, n: int) -> Matrix:
    real = [(*_row(cos, f, range(cells), n), *_row(sin, f, range(cells), n)) for f in range(n)]
    imaginary = [
        (*_row(_minus_sin, f, range(cells), n), *_row(cos, f, range(cells), n)) for f in range(n)
    ]
    return (*real, *imaginary)


@lru_cache(maxsize=256)
def _outer_back(cells: int, n: int) -> Matrix:
    frequencies = range(n // 2 + 1)
    counts = [(1 if 2 * f % n == 0 else 2) / n for f in frequencies]
    rows: list[tuple[float, ...]] = []
    for cell in range(cells):
        cosines, sines = _row(cos, cell, frequencies, n), _row(sin, cell, frequencies, n)
        parts = tuple(zip(counts, cosines, sines, strict=True))
        rows.append(tuple(part for m, c, s in parts for part in (m * c, -m * s)))
        rows.append(tuple(part for m, c, s in parts for part in (m * s, m * c)))
    return tuple(rows)


@lru_cache(maxsize=256)
def _inner_back(cells: int, n: int) -> Matrix:
    return tuple(
        tuple(part / n for part in (*_row(cos, c, range(n), n), *_row(_minus_sin, c, range(n), n)))
        for c in range(cells)
    )


def _minus_sin(angle: float) -> float:
    return -sin(angle)


def _row(function: Callable[[float], float], at: int, others: range, n: int) -> tuple[float, ...]:
    """Cosines or sines of the product of two places, on a circle of n."""
    return tuple(function(2 * pi * (at * other % n) / n) for other in others)
