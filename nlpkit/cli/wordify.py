"""``nlpkit wordify``: a character or subword model becomes a word model."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, zip_longest
from pathlib import Path
from typing import Annotated, Any

import typer

from nlpkit.files import read_json, refuse_saved_model
from nlpkit.pretrained import open_tokenizer
from nlpkit.sources import find_file, find_model


def wordify(
    source: Annotated[
        str,
        typer.Argument(
            help="A BERT-like model with its tokenizer: a folder, the name of a shipped model, or a repository on the "
            "Hub."
        ),
    ],
    destination: Annotated[Path, typer.Argument(help="Folder to write; must not hold a model yet.")],
    vocabulary: Annotated[Path | None, typer.Option(help="The word vocabulary, one token per line.")] = None,
    corpus: Annotated[list[str] | None, typer.Option(help="Globs of texts to count a vocabulary on.")] = None,
    share: Annotated[
        list[str] | None, typer.Option(help="With --corpus: domain=share of a file's lines to count.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="With --corpus: entries of the vocabulary counted on it; 20000 by default.")
    ] = None,
    words: Annotated[
        int | None, typer.Option(help="Words to add by jieba's frequency, without --corpus; 20000 by default.")
    ] = None,
    layers: Annotated[str | None, typer.Option(help="Layers to keep, e.g. 0,4,8,11.")] = None,
    fallback: Annotated[str, typer.Option(help="faithful or constrained.")] = "faithful",
    cut_vocabulary_words: Annotated[
        bool, typer.Option(help="Let words of the vocabulary that the segmenter never cuts join its dictionary.")
    ] = False,
    distil: Annotated[int, typer.Option(min=0, help="Steps in which new rows are learnt on --corpus.")] = 0,
    donor: Annotated[str | None, typer.Option(help="A model that knows words: folder or name.")] = None,
    sample: Annotated[
        int | None,
        typer.Option(min=1, help="With --corpus: texts of it that the report is measured on; 2000 by default."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of a fresh masked-LM head.")] = 0,
) -> None:
    """Give a pretrained encoder a word vocabulary and write it as a WoBERT folder."""
    refuse_saved_model(destination)
    if not corpus:
        of_texts = {"--size": size, "--share": share, "--sample": sample, "--distil": distil or None}
        refuse_ignored(of_texts, "needs texts: give --corpus")
    else:
        refuse_ignored({"--words": words}, "is for a vocabulary without texts: leave --corpus out")
    if vocabulary is not None:
        refuse_ignored({"--size": size, "--words": words}, "is for a vocabulary made here: leave --vocabulary out")
    kept_layers = None if layers is None else read_layers(layers)
    from transformers import AutoModel, AutoModelForMaskedLM, set_seed

    from nlpkit.data.mixture import parse_shares
    from nlpkit.data.text_corpus import domain_of, find_text_files, read_sample
    from nlpkit.files import whole_folder
    from nlpkit.wobert.wordifying import wordify as surgery
    from nlpkit.wobert.words.token_counts import count_tokens
    from nlpkit.wobert.words.vocabulary import base_tokens, build_vocabulary
    from nlpkit.wobert.words.vocabulary_file import read_vocabulary

    files = find_text_files(corpus) if corpus else []
    shares = parse_shares(share or [], sorted({domain_of(file) for file in files}), "--share")
    config = find_file(source, "config.json")
    if config is None:
        raise FileNotFoundError(f"{source} holds no config.json; give the folder of a transformers model")
    place = find_model(source)
    tokenizer = open_tokenizer(place)
    has_head = any(
        "MaskedLM" in name or "PreTraining" in name for name in read_json(config).get("architectures") or ()
    )
    set_seed(seed)
    model = (AutoModelForMaskedLM if has_head else AutoModel).from_pretrained(place, dtype="float32")

    if vocabulary is not None:
        tokens = read_vocabulary(vocabulary)
    else:
        made_of: dict[str, Any] = {"words": 20_000 if words is None else words}
        if files:
            made_of = {"corpus": read_sample(files, shares), "size": 20_000 if size is None else size}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "no text can become")  # wordify says so of the whole vocabulary
            tokens = build_vocabulary(base_tokens(tokenizer), cut_vocabulary_words=cut_vocabulary_words, **made_of)
    result = surgery.wordify(
        model,
        tokenizer,
        tokens,
        layers=kept_layers,
        token_counts=count_tokens(read_sample(files, shares), tokens) if files and not has_head else None,
        texts=islice(read_sample(files, shares), 0, (sample or 2_000) * 17, 17) if files else None,
        fallback=fallback,  # type: ignore[arg-type]
        cut_vocabulary_words=cut_vocabulary_words,
        donor=donor,
        # Twice as many as a run reads at most, since lines without a new word are passed over.
        distil=list(islice(_by_turns(files, shares), 128 * distil)) if distil else None,
        steps=distil or 1,
    )
    with whole_folder(destination) as draft:
        result.model.save_pretrained(draft)
        result.tokenizer.save_pretrained(draft)
        (draft / "wordify.json").write_text(json.dumps(result.report.to_dict(), ensure_ascii=False, indent=1), "utf-8")
        refuse_saved_model(destination)  # which another process has written meanwhile
    typer.echo(str(result.report))


def refuse_ignored(options: Mapping[str, object], reason: str) -> None:
    """Refuse options that would do nothing.

    Args:
        options: values by the options' names.
        reason: why, as the end of a sentence that begins with the option.

    Raises:
        ValueError: one of them was given.
    """
    for name, value in options.items():
        if value not in (None, []):
            raise ValueError(f"{name} {reason}")


def read_layers(given: str) -> list[int]:
    """Numbers of layers from ``--layers``.

    Raises:
        ValueError: they are no numbers.

    Example:
        >>> read_layers("0,4")
        [0, 4]
    """
    try:
        return [int(number) for number in given.split(",")]
    except ValueError:
        raise ValueError(f"--layers {given!r} must be numbers from 0, such as 0,4,8,11") from None


def _by_turns(files: Sequence[Path], shares: Mapping[str, float]) -> Iterator[str]:
    """Lines of all files, one of each in turn."""
    from nlpkit.data.text_corpus import domain_of, read_sample

    parts = [read_sample([file], {d: share for d, share in shares.items() if d == domain_of(file)}) for file in files]
    for lines in zip_longest(*parts):
        yield from (line for line in lines if line is not None)
