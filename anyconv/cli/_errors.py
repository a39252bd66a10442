"""What the user can mend: told in one line, without a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager


class CommandError(Exception):
    """An error whose message is all that the user needs."""


@contextmanager
def told(*kinds: type[Exception], about: str = "") -> Iterator[None]:
    """Turn errors of these kinds into `CommandError` with the same message, after what it is of."""
    try:
        yield
    except kinds as error:
        raise CommandError(f"{about}: {error}" if about else str(error)) from error
