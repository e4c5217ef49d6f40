"""The command ``nlpkit``: each verb calls one public function."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from nlpkit.cli.classify import classify
from nlpkit.cli.convert import convert
from nlpkit.cli.demo import demo
from nlpkit.cli.entities import entities
from nlpkit.cli.fewshot import FewshotCommand, fewshot
from nlpkit.cli.fill_mask import fill_mask
from nlpkit.cli.generate import generate
from nlpkit.cli.link import link
from nlpkit.cli.manners import NlpkitGroup, hush_kernels, quiet_in_pipes
from nlpkit.cli.parse import parse
from nlpkit.cli.probe import probe
from nlpkit.cli.profile import profile
from nlpkit.cli.prune_vocab import prune_vocab
from nlpkit.cli.recipe import recipe
from nlpkit.cli.segment import segment
from nlpkit.cli.tokenize import tokenize
from nlpkit.cli.wordify import wordify
from nlpkit.version import __version__

app = typer.Typer(
    cls=NlpkitGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Verbs that read texts take them as arguments, from --file FILE, or from standard input, one per line. "
    "NLPKIT_DEBUG=1 is the same as --debug.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nlpkit {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and stop.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="NLPKIT_DEBUG", help="Show tracebacks instead of one-line errors.")
    ] = False,
) -> None:
    """Word-level Chinese BERT, filling masks, writing texts, parsing without training, ladder tuning."""


def _example(command: str) -> str:
    return f"Example: nlpkit {command}"


app.command(epilog=_example("tokenize 酒店的服务态度很好"))(tokenize)
app.command("fill-mask", epilog=_example("fill-mask '酒店的服务态度很[MASK]。'"))(fill_mask)
app.command(
    epilog=_example("classify --calibrate -p '{text}总之很{mask}。' -l good=满意 -l bad=失望 --file reviews.txt")
)(classify)
app.command(epilog=_example("generate --model runs/titles/model --beams 3 --file abstracts.jsonl"))(generate)
app.command(
    epilog=_example(
        "entities --model runs/entities/pfr/global_pointer-words/seed-0/model --file texts.txt --html a.html"
    )
)(entities)
app.command(epilog=_example("link --model runs/linking/kgclue/model/seed-0/model --most 1 谁唱的风不息？"))(link)
app.command(epilog=_example("segment 今天天气不错，我们去公园散步。"))(segment)
app.command(epilog=_example("parse --words --decoder eisner --format tree '老师 给 学生 讲 历史 故事'"))(parse)
app.command(epilog=_example("wordify MODEL WORDS --corpus 'corpus/*.txt' --size 20000"))(wordify)
app.command(
    "prune-vocab", epilog=_example("prune-vocab Qwen/Qwen3-0.6B qwen-zh --corpus 'corpus/*.txt' --coverage 0.999")
)(prune_vocab)
app.command(epilog=_example("convert chinese_wobert_L-12_H-768_A-12 wobert-base"))(convert)
app.command(
    cls=FewshotCommand, epilog=_example("fewshot --data fewclue --task eprstmt --method zero-shot --out runs/eprstmt")
)(fewshot)
app.command(epilog=_example("demo --no-browser --port 8000"))(demo)
app.command(epilog=_example("probe wobert-mini-zh --html page.html"))(probe)
app.command(epilog=_example("profile wobert-mini-zh --batch-size 8"))(profile)
app.command(
    epilog=_example("recipe wobert_pretrain mini_zh --max_steps 100"),
    # What follows the recipe's name is the recipe's own.
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False},
)(recipe)


def main() -> None:
    """Run the command."""
    if sys.stdout is None:  # Python's, where the shell has closed it: >&-
        sys.exit("nlpkit: standard output is closed; give it somewhere to go")
    quiet_in_pipes()
    hush_kernels()
    app(prog_name="nlpkit")
