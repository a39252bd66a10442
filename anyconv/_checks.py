"""One value as the caller wrote it: a number or several, a word, a shape, true or false.

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

# An option of whole numbers as the caller wrote it, hashable: for each axis, or one for all.
Numbers = int | tuple[int, ...]


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


def not_negative(name: str, value: Any) -> float:
    """A number of at least 0."""
    if not number(name, value) >= 0.0:
        raise ValueError(f"`{name}` must be at least 0, got {value}")
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


def checked_shape(name: str, value: Any, *, minimum: int = 0) -> Shape:
    """A shape given by the caller."""
    if not is_sequence(value):
        raise TypeError(f"`{name}` must be a sequence of whole numbers, got {shown(value)}")
    return tuple(integer(name, size, minimum=minimum) for size in value)


def numbers(name: str, value: Any, *, minimum: int) -> Numbers:
    """One whole number for all axes, or a tuple of one for each."""
    if type(value) is int and minimum <= value <= MOST:
        return value
    if is_sequence(value):
        return tuple(integer(name, entry, minimum=minimum) for entry in value)
    return integer(name, value, minimum=minimum, rule="a whole number or a sequence of them")


def per_axis(name: str, value: Numbers, rank: int) -> Shape:
    """One number for each of the spatial axes."""
    if isinstance(value, int):
        return (value,) * rank
    if len(value) != rank:
        raise ValueError(
            f"`{name}` must be one number or one for each of the {rank} spatial axes, "
            f"got {len(value)}: {value}"
        )
    return value


def check_shape(name: str, found: Sequence[int], expected: Shape, what: str) -> None:
    """Refuse an array of another shape than the call implies."""
    if tuple(found) != expected:
        raise ValueError(f"`{name}` must have {what}, {expected}, got {tuple(found)}")


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
