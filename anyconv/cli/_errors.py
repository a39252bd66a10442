"""What the user can mend: told in one line, without a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager


class CommandError(Exception):
    """An error whose message is all that the user needs."""


@contextmanager
def told(*kinds: type[Exception]) -> Iterator[None]:
    """Turn errors of these kinds into `CommandError` with the same message."""
    try:
        yield
    except kinds as error:
        raise CommandError(str(error)) from error
