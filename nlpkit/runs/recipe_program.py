"""How a recipe that keeps what it has done runs as a program."""

from __future__ import annotations

import sys
from collections.abc import Callable

#: Of a program that ended by SIGINT, as shells count.
_INTERRUPTED = 130


def run_recipe(main: Callable[[list[str]], object]) -> None:
    """Run a recipe on the arguments of the command line; an interruption ends in a sentence, not in a traceback.

    Args:
        main: of a recipe that goes on where it was when it is called again.

    Raises:
        SystemExit: with status 130, after an interruption.
    """
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        print("\nInterrupted. The same command again goes on from what is finished and saved.", file=sys.stderr)
        raise SystemExit(_INTERRUPTED) from None
