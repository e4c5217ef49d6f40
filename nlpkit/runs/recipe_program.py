"""How a recipe that keeps what it has done runs as a program."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from nlpkit.one_line import one_line

#: Of a program that ended by SIGINT, as shells count.
_INTERRUPTED = 130
_MENDABLE = (ValueError, TypeError, FileNotFoundError, ModuleNotFoundError)


def run_recipe(main: Callable[[list[str]], object]) -> None:
    """Run a recipe on the arguments of the command line.

    An interruption, and what a user can mend, such as settings that cannot be, files that are not there and packages
    that are missing, end in a sentence; everything else, and these with ``NLPKIT_DEBUG=1``, in a traceback.

    Args:
        main: of a recipe that, called again, goes on where it was, or makes anew what it had not finished.

    Raises:
        SystemExit: with status 130 after an interruption, with 1 after one of the others.
    """
    try:
        main(sys.argv[1:])
        _end_process_group()
    except KeyboardInterrupt:
        print("\nInterrupted. The same command again goes on from what is finished and saved.", file=sys.stderr)
        raise SystemExit(_INTERRUPTED) from None
    except _MENDABLE as error:
        if os.environ.get("NLPKIT_DEBUG"):
            raise
        told = f"{one_line(error)}{_how_to_make(error, sys.argv[1:])}"
        print(f"nlpkit: {told} (NLPKIT_DEBUG=1 shows where)", file=sys.stderr)
        raise SystemExit(1) from None


def _how_to_make(error: Exception, argv: list[str]) -> str:
    """Where it is told how the data are made, if it is data that settings name."""
    settings = next((one for one in argv[:1] if one.endswith((".yaml", ".yml"))), None)
    told = isinstance(error, FileNotFoundError) and settings is not None and Path(settings).is_file()
    if not told or "Make the data" not in Path(settings or "").read_text("utf-8"):
        return ""
    return f"; the head of {settings} says how the data are made"


def _end_process_group() -> None:
    """Otherwise gloo's threads now and then abort a process that ends (pytorch issue 190489, seen with torch 2.13)."""
    torch = sys.modules.get("torch")  # recipes that only prepare data do without
    if torch is not None and torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
