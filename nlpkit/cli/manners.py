"""What all verbs do alike: errors of one line, and no progress bars in pipes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from nlpkit.extras import hint_for_module

#: What a user can mend; anything else is a fault of the program, whose traceback is wanted.
_MENDABLE = (ValueError, TypeError, OSError, ImportError, RuntimeError)
_NO_BARS = ("TQDM_DISABLE", "HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS")
#: Its arguments belong to the recipe, where ``--debug`` is a setting of the Trainer.
_VERB_WITH_ARGUMENTS_OF_ITS_OWN = "recipe"


class NlpkitGroup(TyperGroup):
    """The verbs, with errors of one line, and ``--debug`` allowed before and after the verb."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Move ``--debug`` to the front, where the group reads it."""
        return super().parse_args(ctx, debug_first(args))

    def invoke(self, ctx: Any) -> Any:
        """Run a verb; what the user can mend becomes one line on standard error, and exit status 1."""
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, BrokenPipeError):
            raise  # typer's own ways to end; a reader that has gone, as in `nlpkit ... | head`, is one of them
        except _MENDABLE as error:
            if ctx.params["debug"] or isinstance(error, NotImplementedError | RecursionError):
                raise
            typer.secho(f"nlpkit: {one_line(error)}", fg="red", err=True)
            raise typer.Exit(1) from None


def debug_first(args: Sequence[str]) -> list[str]:
    """The arguments with ``--debug`` in front, wherever it stood.

    Example:
        >>> debug_first(["tokenize", "好", "--debug"])
        ['--debug', 'tokenize', '好']
        >>> debug_first(["tokenize", "--", "--debug"]), debug_first(["recipe", "entailment", "--debug"])
        (['tokenize', '--', '--debug'], ['recipe', 'entailment', '--debug'])
    """
    options = list(args)
    last = options.index("--") if "--" in options else len(options)
    if "--debug" not in options[1:last] or options[0] == _VERB_WITH_ARGUMENTS_OF_ITS_OWN:
        return options
    options.remove("--debug")
    return ["--debug", *options]


def one_line(error: BaseException) -> str:
    """An error's message in one line, with the extra to install where a module of one is missing.

    Example:
        >>> one_line(ValueError("no such layer;\\n  use 1 to 12"))
        'no such layer; use 1 to 12'
        >>> one_line(ModuleNotFoundError("No module named 'peft'", name="peft"))
        "No module named 'peft'; install the extra 'peft': pip install '.[peft]' in a clone of nlpkit, or ..."
    """
    message = " ".join(str(error).split()) or type(error).__name__
    hint = hint_for_module(error.name) if isinstance(error, ImportError) else None
    if isinstance(error, UnicodeEncodeError):
        hint = "set PYTHONIOENCODING=utf-8, or a UTF-8 locale, to print any text"
    return message if hint is None or hint in message else f"{message}; {hint}"


def quiet_in_pipes() -> None:
    """Keep the bars of tqdm, transformers, datasets and the Hub out of a standard error that is no terminal.

    Note:
        They read these variables when they are imported, so this comes before.
    """
    if not sys.stderr.isatty():
        for variable in _NO_BARS:
            os.environ.setdefault(variable, "1")
