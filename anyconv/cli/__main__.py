"""``python -m anyconv.cli`` is the command `anyconv`."""

import sys

from . import main

if __name__ == "__main__":
    sys.exit(main())
