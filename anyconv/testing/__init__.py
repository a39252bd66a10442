"""Checks of adjoints and gradients, for layers of your own, on any array library."""

from anyconv.testing._adjoint import AdjointCheck, check_adjoint
from anyconv.testing._gradients import GradientCheck, check_gradients

__all__ = ["AdjointCheck", "GradientCheck", "check_adjoint", "check_gradients"]
