"""What both checks demand of their arguments."""

from typing import Any

from anyconv._checks import number, shown


def require_functions(**functions: Any) -> None:
    """Raise unless all of these can be called."""
    for name, function in functions.items():
        if not callable(function):
            raise TypeError(f"`{name}` must be callable, got {shown(function)}")


def tolerance(name: str, value: Any) -> float:
    """Return a number that is not negative."""
    if not number(name, value) >= 0:
        raise ValueError(f"`{name}` must be at least 0, got {value}")
    return float(value)
