"""What an algorithm costs, and what a machine takes for it: the planner's two kinds of numbers."""

from dataclasses import dataclass, replace
from typing import NamedTuple


class Cost(NamedTuple):
    """The work of one map of a convolution, all its blocks together.

    `multiplies` are those of matrix products, `elements` are read or written outside of them, in
    `runs` of neighbours; `calls` are made of the library for each block. Its Fourier transforms
    take `steps`, each of a complex element.
    """

    multiplies: float
    elements: float
    runs: float
    calls: float
    steps: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":  # type: ignore[override]
        """The cost of both."""
        return Cost(*(a + b for a, b in zip(self, other, strict=True)))


@dataclass(frozen=True)
class Rates:
    """Nanoseconds that a kind of machine takes for each kind of work."""

    multiply: float
    byte: float
    run: float
    call: float
    step: float

    def nanoseconds(self, cost: Cost, element_bytes: int, *, is_complex: bool) -> float:
        """The time of a cost; a complex multiplication is four, in double precision eight."""
        singles = element_bytes / 4 * (2 if is_complex else 1)
        return (
            cost.multiplies * singles * self.multiply
            + cost.elements * element_bytes * self.byte
            + cost.runs * self.run
            + cost.calls * self.call
            + cost.steps * element_bytes / (8 if is_complex else 4) * self.step
        )


# One core of a processor: a matrix product of about 100 GFLOP/s, copies within the cache; and
# the same with vectors of 512 bits.
CPU = Rates(multiply=0.02, byte=0.03, run=8.0, call=4000.0, step=0.16)
WIDE_CPU = replace(CPU, multiply=0.0105)
# A large GPU, from its data sheet: 50 TFLOP/s in single precision, 4 TB/s, launches of 10 us.
GPU = Rates(multiply=4e-5, byte=2.5e-4, run=0.0, call=10_000.0, step=5e-4)


def product_efficiency(rows: float, inner: float, columns: float) -> float:
    """The part of its peak that a matrix product reaches: less where a side is thin."""
    return 1 / ((1 + 4 / rows) * (1 + 8 / inner) * (1 + 3 / columns))
