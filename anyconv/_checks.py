"""One value as the caller wrote it: a whole number, a number, a word, a shape, true or false.

Each check states the argument in backquotes, the rule and the value, before any work is done, and
returns the value in the one type that the rest of the program knows.
"""

import operator
from collections.abc import Sequence
from numbers import Real
from typing import Any

from anyconv._typing import Shape

# Larger numbers are no size of anything, and arrays cannot hold them.
MOST = 2**40


def integer(name: str, value: Any, *, minimum: int, rule: str = "a whole number") -> int:
    """A whole number that is no bool and not below the minimum."""
    if type(value) is not int:
        value = _whole(name, value, rule)
    if value < minimum:
        raise ValueError(f"`{name}` must be at least {minimum}, got {value}")
    if value > MOST:
        raise ValueError(f"`{name}` must be at most {MOST}, got {value}")
    return value  # type: ignore[no-any-return]


def _whole(name: str, value: Any, rule: str) -> int:
    kind = type(value).__name__
    if not isinstance(value, bool) and not kind.startswith("bool"):
        try:
            return operator.index(value)
        except TypeError:
            pass
    raise TypeError(f"`{name}` must be {rule}, got {shown(value)}")


def number(name: str, value: Any) -> float:
    """A real number that is no bool."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"`{name}` must be a number, got {shown(value)}")
    return float(value)


def fraction(name: str, value: Any) -> float:
    """A number of at least 0 and less than 1."""
    if not 0.0 <= number(name, value) < 1.0:
        raise ValueError(f"`{name}` must be at least 0 and less than 1, got {value}")
    return float(value)


def is_sequence(value: Any) -> bool:
    """Whether a value is several of something, and no word."""
    if isinstance(value, tuple):  # most often, and found in less time
        return True
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def shape(name: str, value: Any, *, minimum: int = 0) -> Shape:
    """A shape given by the caller."""
    if not is_sequence(value):
        raise TypeError(f"`{name}` must be a sequence of whole numbers, got {shown(value)}")
    return tuple(integer(name, size, minimum=minimum) for size in value)


def choice(name: str, value: Any, allowed: Sequence[str]) -> str:
    """One of a few words."""
    if not isinstance(value, str):
        raise TypeError(f"`{name}` must be one of {_words(allowed)}, got {shown(value)}")
    if value not in allowed:
        raise ValueError(f"`{name}` must be one of {_words(allowed)}, got {value!r}")
    return value


def _words(allowed: Sequence[str]) -> str:
    return ", ".join(repr(word) for word in allowed)


def boolean(name: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool) and type(value).__name__ != "bool":
        raise TypeError(f"`{name}` must be True or False, got {shown(value)}")
    return bool(value)


def shown(value: Any) -> str:
    """A value with its type, or its type alone where the value would fill the screen."""
    text, kind = repr(value), type(value).__name__
    return f"{text} ({kind})" if len(text) <= 60 else f"a value of type {kind}"
