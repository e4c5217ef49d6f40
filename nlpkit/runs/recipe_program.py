"""How a recipe that keeps what it has done runs as a program."""

from __future__ import annotations

import sys
from collections.abc import Callable

#: Of a program that ended by SIGINT, as shells count.
_INTERRUPTED = 130


def run_recipe(main: Callable[[list[str]], object]) -> None:
    """Run a recipe on the arguments of the command line; an interruption ends in a sentence, not in a traceback.

    Args:
        main: of a recipe that, called again, goes on where it was, or makes anew what it had not finished.

    Raises:
        SystemExit: with status 130, after an interruption.
    """
    try:
        main(sys.argv[1:])
        _end_process_group()
    except KeyboardInterrupt:
        print("\nInterrupted. The same command again goes on from what is finished and saved.", file=sys.stderr)
        raise SystemExit(_INTERRUPTED) from None


def _end_process_group() -> None:
    """Otherwise gloo's threads now and then abort a process that ends (pytorch issue 190489, seen with torch 2.13)."""
    torch = sys.modules.get("torch")  # recipes that only prepare data do without
    if torch is not None and torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
