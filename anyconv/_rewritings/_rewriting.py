"""What all rewritings share: three linear maps to another problem, each beside its adjoint.

    y  = A( conv( B(x), G(w) ) )             forward
    dx = B*( conv_input( A*(dy), G(w) ) )    gradient of the input
    dw = G*( conv_weight( A*(dy), B(x) ) )   gradient of the weight

The maps only move elements, repeat some and put zeros beside them. So they are of real numbers, and
a problem's own algorithm is free. Arrays are canonical, as in `_execute`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

from anyconv._costs import Cost
from anyconv._geometry import AxisLoop, Problem
from anyconv._typing import Array, Namespace


@dataclass(frozen=True)
class Rewriting(ABC):
    """A problem, and another that stands for it."""

    problem: Problem

    # Whether G* adds, which half precision must not.
    adds_weights: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def of(cls, problem: Problem) -> Self | None:
        """The rewriting of a problem, None where there is none of this kind."""

    @abstractmethod
    def worth(self, algorithm: str) -> float:
        """The rewriting is chosen if its estimate is below this share of an algorithm's.

        That is the algorithm that would solve the problem as it stands.
        """

    @property
    @abstractmethod
    def inner(self) -> Problem:
        """The problem that is solved."""

    @property
    @abstractmethod
    def words(self) -> str:
        """What becomes what, for the plan's reason."""

    @property
    @abstractmethod
    def held(self) -> int:
        """Elements of the rewritten arrays, held while the inner problem is solved."""

    @property
    @abstractmethod
    def passing(self) -> int:
        """Elements held for a moment more, before or after."""

    @property
    @abstractmethod
    def cost(self) -> Cost:
        """What the maps take."""

    @property
    def windows(self) -> tuple[AxisLoop, ...] | None:
        """The windows along each axis whose cells are the inner channels, if B does but unfold them
        and B* fold them back, no two of which share a cell.
        """
        return None

    @property
    def cost_in_loops(self) -> Cost:
        """What the maps take where these windows are unfolded in compiled loops."""
        return self.cost

    @abstractmethod
    def data(self, x: Array, *, xp: Namespace) -> Array:
        """B: the inner input."""

    @abstractmethod
    def data_adjoint(self, x: Array, *, xp: Namespace) -> Array:
        """B*."""

    @abstractmethod
    def weight(self, w: Array, *, xp: Namespace) -> Array:
        """G: the inner weight."""

    @abstractmethod
    def weight_adjoint(self, w: Array, *, xp: Namespace) -> Array:
        """G*."""

    @abstractmethod
    def output(self, y: Array, *, xp: Namespace) -> Array:
        """A: the output from the inner one."""

    @abstractmethod
    def output_adjoint(self, y: Array, *, xp: Namespace) -> Array:
        """A*."""

    def bias(self, b: Array, *, xp: Namespace) -> Array:
        """What is added to the inner output, so that b is added to the output."""
        return b
