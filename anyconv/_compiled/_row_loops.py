"""Loops over rows of neighbours in memory: what is done to arrays before or after other loops.

Rows are told by the sizes of four axes and their steps.
"""

from anyconv._compiled._kept_loops import loop
from anyconv._compiled._loops import U
from anyconv._typing import Array


@loop
def clear(x: Array, rows: Array, length: int) -> None:
    """Zeros, written to all rows."""
    for n in range(rows[0, 0]):
        for a in range(rows[1, 0]):
            for b in range(rows[2, 0]):
                for o in range(rows[3, 0]):
                    start = n * rows[0, 1] + a * rows[1, 1] + b * rows[2, 1] + o * rows[3, 1]
                    for i in range(U(length)):
                        x[U(start) + i] = 0


@loop
def add_to_channels(y: Array, b: Array, rows: Array, length: int) -> None:
    """A number for each place in a row, added to all rows."""
    for n in range(rows[0, 0]):
        for i in range(rows[1, 0]):
            for j in range(rows[2, 0]):
                for o in range(rows[3, 0]):
                    start = n * rows[0, 1] + i * rows[1, 1] + j * rows[2, 1] + o * rows[3, 1]
                    for k in range(U(length)):
                        y[U(start) + k] += b[k]


@loop
def divide(y: Array, by: Array, rows: Array, length: int) -> None:
    """Each row divided by the number at its place among `by`, or by the only one."""
    for n in range(rows[0, 0]):
        p = 0
        for i in range(rows[1, 0]):
            for j in range(rows[2, 0]):
                for o in range(rows[3, 0]):
                    start = n * rows[0, 1] + i * rows[1, 1] + j * rows[2, 1] + o * rows[3, 1]
                    divisor = by[p]
                    for k in range(U(length)):
                        y[U(start) + k] /= divisor
                    p += by.size > 1


@loop
def quotients(z: Array, y: Array, by: Array, rows: Array, length: int) -> None:
    """The same of y, written to rows without gaps."""
    place = 0
    for n in range(rows[0, 0]):
        p = 0
        for i in range(rows[1, 0]):
            for j in range(rows[2, 0]):
                for o in range(rows[3, 0]):
                    start = n * rows[0, 1] + i * rows[1, 1] + j * rows[2, 1] + o * rows[3, 1]
                    divisor = by[p]
                    for k in range(U(length)):
                        z[U(place) + k] = y[U(start) + k] / divisor
                    p += by.size > 1
                    place += length
