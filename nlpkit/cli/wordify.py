"""``nlpkit wordify``: a character or subword model becomes a word model."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, zip_longest
from pathlib import Path
from typing import Annotated

import typer


def wordify(
    source: Annotated[Path, typer.Argument(help="Folder of a BERT-like model with its tokenizer.")],
    destination: Annotated[Path, typer.Argument(help="Folder to write; must not hold a model yet.")],
    vocabulary: Annotated[Path | None, typer.Option(help="The word vocabulary, one token per line.")] = None,
    corpus: Annotated[list[str] | None, typer.Option(help="Globs of texts to count a vocabulary on.")] = None,
    share: Annotated[list[str] | None, typer.Option(help="domain=share of a file's lines to count.")] = None,
    size: Annotated[int, typer.Option(help="Entries of a counted vocabulary.")] = 20_000,
    words: Annotated[int, typer.Option(help="Words to add by jieba's frequency, without --corpus.")] = 20_000,
    layers: Annotated[str | None, typer.Option(help="Layers to keep, e.g. 0,4,8,11.")] = None,
    fallback: Annotated[str, typer.Option(help="faithful or constrained.")] = "faithful",
    cut_vocabulary_words: Annotated[
        bool, typer.Option(help="Let words of the vocabulary that the segmenter never cuts join its dictionary.")
    ] = False,
    distil: Annotated[int, typer.Option(help="Steps in which new rows are learnt on --corpus; 0 for none.")] = 0,
    donor: Annotated[str | None, typer.Option(help="A model that knows words: folder or name.")] = None,
    sample: Annotated[int, typer.Option(help="Texts of the corpus that the report is measured on.")] = 2_000,
    seed: Annotated[int, typer.Option(help="Of a fresh masked-LM head.")] = 0,
) -> None:
    """Give a pretrained encoder a word vocabulary and write it as a WoBERT folder."""
    from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer, set_seed

    from nlpkit.data.text_corpus import find_text_files, read_sample
    from nlpkit.files import whole_folder
    from nlpkit.wobert.wordifying import wordify as surgery
    from nlpkit.wobert.words.vocabulary import base_tokens, build_vocabulary, count_tokens
    from nlpkit.wobert.words.vocabulary_file import read_vocabulary

    if (destination / "config.json").exists():
        raise FileExistsError(f"{destination} holds a model already; give another folder")
    if not (source / "config.json").is_file():
        raise FileNotFoundError(f"{source} holds no config.json; give the folder of a transformers model")
    tokenizer = AutoTokenizer.from_pretrained(source)
    settings = json.loads((source / "config.json").read_text("utf-8"))
    has_head = any("MaskedLM" in name or "PreTraining" in name for name in settings.get("architectures") or ())
    set_seed(seed)
    model = (AutoModelForMaskedLM if has_head else AutoModel).from_pretrained(source, dtype="float32")

    files = find_text_files(corpus) if corpus else []
    if distil < 0 or (distil and not files):
        raise ValueError(f"--distil {distil} needs a positive number of steps and texts to learn from: give --corpus")
    shares = {domain: float(part) for domain, _, part in (item.partition("=") for item in share or ())}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "no text can become")  # as the surgery says again
        if vocabulary is not None:
            tokens = read_vocabulary(vocabulary)
        elif files:
            tokens = build_vocabulary(
                base_tokens(tokenizer),
                corpus=read_sample(files, shares),
                size=size,
                cut_vocabulary_words=cut_vocabulary_words,
            )
        else:
            tokens = build_vocabulary(base_tokens(tokenizer), words=words, cut_vocabulary_words=cut_vocabulary_words)
    result = surgery.wordify(
        model,
        tokenizer,
        tokens,
        layers=None if layers is None else [int(layer) for layer in layers.split(",")],
        token_counts=count_tokens(read_sample(files, shares), tokens) if files and not has_head else None,
        texts=islice(read_sample(files, shares), 0, sample * 17, 17) if files else None,
        fallback=fallback,  # type: ignore[arg-type]
        cut_vocabulary_words=cut_vocabulary_words,
        donor=donor,
        # Twice as many as a run reads at most, since lines without a new word are passed over.
        distil=list(islice(_by_turns(files, shares), 64 * distil)) if distil else None,
        steps=distil or 1,
    )
    with whole_folder(destination) as draft:
        result.model.save_pretrained(draft)
        result.tokenizer.save_pretrained(draft)
        (draft / "wordify.json").write_text(json.dumps(result.report.to_dict(), ensure_ascii=False, indent=1), "utf-8")
    typer.echo(str(result.report))


def _by_turns(files: Sequence[Path], shares: Mapping[str, float]) -> Iterator[str]:
    """Lines of all files, one of each in turn."""
    from nlpkit.data.text_corpus import domain_of, read_sample

    parts = [read_sample([file], {d: share for d, share in shares.items() if d == domain_of(file)}) for file in files]
    for lines in zip_longest(*parts):
        yield from (line for line in lines if line is not None)
