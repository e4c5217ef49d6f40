"""What all verbs do alike: errors and warnings of one line, in words of the command line; no bars in pipes."""

from __future__ import annotations

import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from nlpkit.one_line import one_line

#: What a user can mend; anything else is a fault of the program, whose traceback is wanted.
_MENDABLE = (ValueError, TypeError, OSError, ImportError, RuntimeError)
_DEBUG = "NLPKIT_DEBUG"
_NO_BARS = ("TQDM_DISABLE", "HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS")
#: An argument's value in a message.
_VALUE = r"""'[^']*'|"[^"]*"|\([^()]*\)|\[[^\[\]]*\]|[^\s,;:()\[\]]+"""
#: Its arguments belong to the recipe, where ``--debug`` is a setting of the Trainer.
_VERB_WITH_ARGUMENTS_OF_ITS_OWN = "recipe"


class NlpkitGroup(TyperGroup):
    """The verbs, with errors of one line, and ``--debug`` allowed before and after the verb."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Move ``--debug`` to the front, where the group reads it."""
        return super().parse_args(ctx, debug_first(args))

    def invoke(self, ctx: Any) -> Any:
        """Run a verb; what the user can mend becomes one line on standard error, and exit status 1."""

        def say(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, UserWarning) and not ctx.params["debug"]:
                line = in_flags(" ".join(str(message).split()), self._options(ctx))
                typer.secho(f"nlpkit: warning: {line}", fg="yellow", err=True)
            else:
                by_python(message, category, *place, **more)

        with warnings.catch_warnings(), _debugging(ctx.params["debug"]):
            by_python, warnings.showwarning = warnings.showwarning, say
            try:
                return super().invoke(ctx)
            except (typer.Exit, typer.Abort, BrokenPipeError):
                raise  # typer's own ways to end; a reader that has gone, as in `nlpkit ... | head`, is one of them
            except _MENDABLE as error:
                if ctx.params["debug"] or isinstance(error, NotImplementedError | RecursionError):
                    raise
                typer.secho(f"nlpkit: {in_flags(one_line(error), self._options(ctx))}", fg="red", err=True)
                raise typer.Exit(1) from None

    def _options(self, ctx: Any) -> list[Any]:
        """The options of the verb that was called."""
        verb = self.get_command(ctx, ctx.invoked_subcommand or "")
        return [] if verb is None else [one for one in verb.params if one.param_type_name == "option"]


@contextmanager
def _debugging(wanted: bool) -> Iterator[None]:
    """Recipes are programs of their own, which go by the environment."""
    before = os.environ.get(_DEBUG)
    if wanted:
        os.environ[_DEBUG] = "1"
    try:
        yield
    finally:
        os.environ.pop(_DEBUG, None)
        if before is not None:
            os.environ[_DEBUG] = before


def in_flags(message: str, options: Sequence[Any]) -> str:
    """A message of the library, with the arguments that a verb has options for written as these options.

    Args:
        message: one line, in which arguments stand as Python has them: ``overwrite=True``.
        options: the verb's options; where one is not called as the library's argument, its parameter is.

    Example:
        >>> from types import SimpleNamespace as Option
        >>> options = [Option(name="layer", opts=["--layer"], is_flag=False)]
        >>> options += [Option(name="overlong", opts=["--split"], is_flag=True)]
        >>> in_flags("layer=9, but the model has 4; give overlong='split'", options)
        '--layer 9, but the model has 4; give --split'
        >>> in_flags("no such thing; leave layer=None", options)
        'no such thing; leave out --layer'
    """
    known = {option.name: option for option in options}

    def written(found: re.Match[str]) -> str:
        option, value = known[found["name"]], found["value"]
        flag = max(option.opts, key=len)
        if value == "None":
            return f"leave out {flag}" if found["leave"] else f"no {flag}"
        if option.is_flag and value == "False":
            flag = next(iter(option.secondary_opts), f"no {flag}")
        return f"{found['leave'] or ''}{flag}" + ("" if option.is_flag else f" {value}")

    names = "|".join(map(re.escape, known)) or "(?!)"
    return re.sub(rf"(?P<leave>\bleave )?(?<![\w-])(?P<name>{names})=(?P<value>{_VALUE})", written, message)


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


def hush_kernels() -> None:
    """Keep to itself that bitsandbytes, which PEFT imports, finds no faster kernel for weights of 4 bits.

    Note:
        It warns of it whenever it is imported, and no verb has such weights; checked on bitsandbytes 0.50.2.
    """
    logging.getLogger("bitsandbytes.backends.cpu.ops").addFilter(
        lambda record: not record.getMessage().startswith("Failed to load CPU gemm_4bit_forward")
    )


def quiet_in_pipes() -> None:
    """Keep the bars of tqdm, transformers, datasets and the Hub out of a standard error that is no terminal.

    Note:
        They read these variables when they are imported, so this comes before.
    """
    if not sys.stderr.isatty():
        for variable in _NO_BARS:
            os.environ.setdefault(variable, "1")
