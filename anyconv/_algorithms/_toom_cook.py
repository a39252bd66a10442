"""The matrices of minimal filtering, exactly, in fractions.

F(m, r) computes m outputs of a convolution with r taps from n = m + r - 1 products:

    y = A^T [ (G g) * (B^T d) ]

Multiplying polynomials by their values at n points (Toom and Cook, infinity among the points) and
transposing gives the three matrices: with V_k the n x k Vandermonde matrix of the points,

    A = V_m,   G = D^-1 V_r,   B^T = D V_n^-T

where D only makes the entries of B whole where the points are. The points decide the rounding
error: (0, 1, -1, 1/2, -2) is half as bad as the usual (0, 1, -1, 2, -2).

A. Lavin, S. Gray, "Fast algorithms for convolutional neural networks", arXiv:1509.09308, for F(m x
m, r x r). B. Barabasz et al., "Error analysis and improving the accuracy of Winograd convolution
for deep neural networks", arXiv:1803.10986, for the points.
"""

from fractions import Fraction
from functools import cache
from typing import NamedTuple

POINTS = tuple(map(Fraction, ("0", "1", "-1", "1/2", "-2")))
# With infinity, so many products at most along one axis.
MOST_PRODUCTS = len(POINTS) + 1

Matrix = tuple[tuple[float, ...], ...]


def transposed(matrix: Matrix) -> Matrix:
    """The rows as columns."""
    return tuple(zip(*matrix, strict=True))


class Matrices(NamedTuple):
    """The matrices of F(m, r): data (n x n), weight (n x r) and output (m x n)."""

    data: Matrix
    weight: Matrix
    output: Matrix


@cache
def matrices(outputs: int, taps: int) -> Matrices:
    """The three matrices of one axis."""
    if taps == 1:
        identity = _rounded(tuple(_unit(outputs, i) for i in range(outputs)))
        return Matrices(identity, ((1.0,),) * outputs, identity)
    products = outputs + taps - 1
    points = POINTS[: products - 1]
    data, weight = [], []
    for i, point in enumerate(points):
        others = points[:i] + points[i + 1 :]
        scale = Fraction(1)
        for other in others:
            scale *= point - other
        data.append((*_with_roots(others), Fraction(0)))
        weight.append(tuple(power / scale for power in _powers(point, taps)))
    data.append(_with_roots(points))
    weight.append(_unit(taps, taps - 1))
    values = [*(_powers(point, outputs) for point in points), _unit(outputs, outputs - 1)]
    return Matrices(
        _rounded(tuple(data)),
        _rounded(tuple(weight)),
        _rounded(tuple(zip(*values, strict=True))),
    )


def kronecker(factors: tuple[Matrix, ...]) -> Matrix:
    """One matrix for all axes at once, the first axis outermost."""
    product: Matrix = ((1.0,),)
    for factor in factors:
        product = tuple(
            tuple(a * b for a in row for b in inner) for row in product for inner in factor
        )
    return product


def _powers(point: Fraction, count: int) -> tuple[Fraction, ...]:
    return tuple(point**power for power in range(count))


def _unit(size: int, index: int) -> tuple[Fraction, ...]:
    return tuple(Fraction(int(i == index)) for i in range(size))


def _with_roots(roots: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
    """The coefficients, constant first, of the polynomial with these roots."""
    coefficients: tuple[Fraction, ...] = (Fraction(1),)
    for root in roots:
        shifted = (Fraction(0), *coefficients)
        scaled = (*(root * c for c in coefficients), Fraction(0))
        coefficients = tuple(a - b for a, b in zip(shifted, scaled, strict=True))
    return coefficients


def _rounded(matrix: tuple[tuple[Fraction, ...], ...]) -> Matrix:
    return tuple(tuple(float(entry) for entry in row) for row in matrix)
