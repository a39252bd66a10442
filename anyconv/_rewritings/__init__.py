"""Problems rewritten before an algorithm is chosen, so that every algorithm profits."""

from collections.abc import Iterator

from anyconv._geometry import Problem
from anyconv._rewritings._neighbours import Neighbours
from anyconv._rewritings._plain import Plain
from anyconv._rewritings._rewriting import Rewriting
from anyconv._typing import Operation

__all__ = ["Neighbours", "Plain", "Rewriting", "rewritings_of"]


def rewritings_of(problem: Problem, operation: Operation) -> Iterator[Rewriting]:
    """The problems that may stand for this one.

    An input gradient is made of convolutions of dy, which are rewritten in their turn; only where a
    stride makes many of them is it better rewritten first.
    """
    kinds: tuple[type[Rewriting], ...] = (Plain, Neighbours)
    if operation == "input":
        kinds = (Plain,) if any(s > 1 for s in problem.geometry.stride) else ()
    for kind in kinds:
        rewriting = kind.of(problem)
        if rewriting is not None:
            yield rewriting
