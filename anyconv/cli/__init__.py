"""The command `anyconv`: train, predict, evaluate, devices."""

import os
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; whatever goes wrong is told in one line.

    Parameters
    ----------
    arguments : sequence of str, optional
        What stands after ``anyconv`` on the command line; ``sys.argv`` without.

    Returns
    -------
    int
        0 if all went well, 2 for a wrong command line, 130 for Ctrl-C, 1 for all else.

    Notes
    -----
    The environment variable ``ANYCONV_TRACEBACK=1`` shows the traceback of an error.
    """
    # Read when NumPy is loaded: OpenBLAS's threads are to sleep, not to spin, after a product.
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
    try:
        from ._app import run
    except ImportError as error:
        missing = (error.name or "one").partition(".")[0]
        print(
            f"anyconv: the command needs more packages ({missing} is missing): "
            'install anyconv with its extra "train", as the README says',
            file=sys.stderr,
        )
        return 1
    try:
        return run(list(sys.argv[1:] if arguments is None else arguments))
    except KeyboardInterrupt:
        print("anyconv: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if os.environ.get("ANYCONV_TRACEBACK") == "1":
            raise
        print(f"anyconv: {_one_line(error)}", file=sys.stderr)
        return 2 if hasattr(error, "format_message") else 1


def _one_line(error: Exception) -> str:
    """Say what went wrong; an error that nobody foresaw is named with its type."""
    from ._errors import CommandError

    if hasattr(error, "format_message"):  # typer's own: an unknown option, a missing argument
        return f"{_joined(error.format_message())} (anyconv --help shows what there is)"
    if isinstance(error, CommandError):
        return _joined(str(error))
    return (
        f"unexpected {type(error).__name__}: {_joined(str(error))} "
        "(ANYCONV_TRACEBACK=1 shows where)"
    )


def _joined(text: str) -> str:
    return " ".join(text.split())
