"""``nlpkit prune-vocab``: a model's folder with the tokens that a corpus needs, and no others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from nlpkit.cli.engines import EngineName, Workers, find_engine
from nlpkit.files import read_json, refuse_saved_model, whole_folder
from nlpkit.pretrained import open_tokenizer
from nlpkit.scale import TextFiles
from nlpkit.sentencepiece_file import sentencepiece_of
from nlpkit.sources import find_folder

_T5_CLASSES = ("T5Tokenizer", "T5TokenizerFast", "MT5Tokenizer", "MT5TokenizerFast")
_T5_TYPES = ("t5", "mt5", "umt5")


def prune_vocab(
    source: Annotated[
        str,
        typer.Argument(
            help="A model with its tokenizer and safetensors: a folder, the name of a shipped model, or a repository "
            "on the Hub."
        ),
    ],
    destination: Annotated[Path, typer.Argument(help="Folder to write; must not hold a model yet.")],
    corpus: Annotated[
        list[str] | None, typer.Option(help="Globs of texts (.txt, .gz, .xz) whose tokens are counted.")
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(help="In place of texts: a JSON list of ids to keep, and no others.")
    ] = None,
    complete: Annotated[
        bool, typer.Option("--complete", help="Add to --keep what the model cannot go without: special tokens, bytes.")
    ] = False,
    min_count: Annotated[
        int | None, typer.Option(help="Keep tokens that occur so often; 1 by default, so that all texts stay as cut.")
    ] = None,
    coverage: Annotated[
        float | None, typer.Option(help="Keep the most frequent tokens up to this share, e.g. 0.999.")
    ] = None,
    size: Annotated[int | None, typer.Option(help="Keep the most frequent tokens, so many with all others.")] = None,
    multiple_of: Annotated[int, typer.Option(min=1, help="Fill the rows up to a multiple of this.")] = 8,
    held_out: Annotated[list[str] | None, typer.Option(help="Globs of other texts, for the report.")] = None,
    engine: EngineName = "here",
    workers: Workers = None,
) -> None:
    """Cut the vocabulary of any model of transformers, file by file: mT5, T5, XLM-R, Qwen, Llama, GPT-2, BERT."""
    refuse_saved_model(destination)
    if (corpus is None) == (keep is None):
        raise ValueError("give either --corpus, texts to count, or --keep, a file of ids")
    if complete and keep is None:
        raise ValueError("--complete is of --keep; what counts choose is complete")
    texts = None if corpus is None else _texts(corpus)
    others = None if held_out is None else _texts(held_out)
    ids = None if keep is None else read_ids(keep)
    folder = find_folder(source)
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{source} holds no config.json; give the folder of a transformers model")

    from nlpkit.vocabulary_pruning import prune_folder

    with whole_folder(destination) as draft:
        report = prune_folder(
            folder,
            draft,
            tokenizer=_tokenizer(folder),
            corpus=texts,
            keep=ids,
            complete=complete,
            min_count=min_count,
            coverage=coverage,
            size=size,
            multiple_of=multiple_of,
            held_out=others,
            processes=find_engine(engine, workers),
        )
        refuse_saved_model(destination)  # which another process has written meanwhile
    typer.echo(str(report))


def read_ids(path: Path) -> list[int]:
    """The ids of ``--keep``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it holds no list.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); it must hold a list of ids, such as [0, 1, 259]") from error
    if not isinstance(found, list):
        raise ValueError(f"{path} holds a {type(found).__name__}; it must hold a list of ids, such as [0, 1, 259]")
    return found


def _texts(patterns: list[str]) -> TextFiles:
    from nlpkit.data import find_text_files

    return TextFiles(find_text_files(patterns))


def _tokenizer(folder: Path) -> Any:
    """The folder's tokenizer; where transformers has none that is right, SentencePiece's own."""
    settings = folder / "tokenizer_config.json"
    named = read_json(settings).get("tokenizer_class") if settings.is_file() else None
    of_t5 = named in _T5_CLASSES or (
        named is None and read_json(folder / "config.json").get("model_type") in _T5_TYPES
    )
    if of_t5 and sentencepiece_of(folder) is not None:
        from nlpkit.mt5 import faithful_tokenizer

        typer.echo("nlpkit: T5Tokenizer of transformers may leave bytes out; reading the SentencePiece file", err=True)
        return faithful_tokenizer(folder)
    return open_tokenizer(folder)
