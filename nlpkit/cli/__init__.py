"""The command ``nlpkit``: each verb calls one public function."""

from __future__ import annotations

import typer

from nlpkit.cli.classify import classify
from nlpkit.cli.convert import convert
from nlpkit.cli.fewshot import fewshot
from nlpkit.cli.fill_mask import fill_mask
from nlpkit.cli.parse import parse
from nlpkit.cli.profile import profile
from nlpkit.cli.segment import segment
from nlpkit.cli.tokenize import tokenize
from nlpkit.cli.wordify import wordify

app = typer.Typer(
    help="Word-level Chinese BERT and friends.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(tokenize)
app.command("fill-mask")(fill_mask)
app.command()(wordify)
app.command()(convert)
app.command()(classify)
app.command()(fewshot)
app.command()(segment)
app.command()(parse)
app.command()(profile)


def main() -> None:
    """Run the command; what the user can mend is one line on standard error, not a traceback."""
    try:
        app()
    except (ValueError, TypeError, OSError) as error:
        typer.secho(f"nlpkit: {error}", fg="red", err=True)
        raise SystemExit(1) from None
