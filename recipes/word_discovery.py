"""Words that a masked LM, or counts, find in a corpus, and how many tokens they save in a vocabulary of one size.

Source: perturbed masking (kexue.fm/archives/7476) for the words, WoBERT (kexue.fm/archives/7758) for the vocabulary.

    python recipes/word_discovery.py recipes/configs/word_discovery/reviews.yaml

Writes ``words.txt`` (word, count, links inside, links around) and ``results.json`` with the tokens per character of
held-out lines, beside the same for as many sequences that are merely frequent. Called again after an
interruption, it goes on where it was.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from nlpkit.data import find_text_files
from nlpkit.files import only_writer, write_json, write_text
from nlpkit.perturbed_masking import (
    Candidate,
    CountedLinks,
    LinkedText,
    LinkSource,
    Measure,
    PerturbedMasking,
    discover_words,
    split_characters,
    tokens_per_character,
)
from nlpkit.runs import parse_recipe_arguments, run_recipe, settle_facts
from nlpkit.text_files import read_lines
from nlpkit.training import bf16_is_fast
from nlpkit.wobert import JiebaSegmenter, build_vocabulary, jieba_words
from nlpkit.wobert.words.vocabulary import base_tokens

#: Behind a mark that ends a sentence.
_END = re.compile("(?<=[。！？；!?;])")


@dataclass
class DiscoveryArguments:
    """What to look for in what."""

    files: list[str] = field(metadata={"help": "globs of .txt, .gz or .xz files, one paragraph per line"})
    output_dir: str = "runs/word_discovery"
    source: str = field(default="impact", metadata={"help": "of the links", "choices": ["impact", "counts"]})
    counts: str = field(default="counts-zh", metadata={"help": "folder of counted links, or the shipped ones"})
    model: str = field(default="wobert-mini-zh", metadata={"help": "folder, shipped model, or repository on the Hub"})
    layer: int = field(default=-1, metadata={"help": "from 1; -1 is the last"})
    distance: str = "euclidean"
    max_lines: int = field(default=5000, metadata={"help": "lines to read"})
    held_out_every: int = field(default=10, metadata={"help": "one line in this many is held out"})
    longest: int = field(default=4, metadata={"help": "characters of the longest word"})
    min_count: int = field(default=10, metadata={"help": "leave out rarer words"})
    min_margin: float = field(default=0.0, metadata={"help": "least margin of the links inside over those around"})
    new_words: int = field(
        default=2000, metadata={"help": "offer this many words that the dictionary lacks, most frequent first"}
    )
    size: int = field(default=20_000, metadata={"help": "tokens of either vocabulary"})
    bf16: bool = field(default=bf16_is_fast(), metadata={"help": "multiply in bf16; by default where it is faster"})


def main(argv: list[str]) -> dict[str, Any]:
    """Run the recipe and return what ``results.json`` holds."""
    (settings,) = parse_recipe_arguments([DiscoveryArguments], argv)
    with only_writer(settings.output_dir):
        return discover(settings, Path(settings.output_dir))


def discover(settings: DiscoveryArguments, output: Path) -> dict[str, Any]:
    """Find words in most of the lines, and count tokens on the others."""
    strengths = output / "strengths.jsonl"
    settle_facts(output / "run.json", asdict(settings), begins=not strengths.exists())
    lines = list(islice(chain.from_iterable(map(read_lines, find_text_files(settings.files))), settings.max_lines))
    held_out = lines[:: settings.held_out_every]
    training = [line for number, line in enumerate(lines) if number % settings.held_out_every]

    measure = Measure(settings.layer, settings.distance)  # type: ignore[arg-type]
    masking = PerturbedMasking.from_pretrained(settings.model, measure=measure, overlong="split", bf16=settings.bf16)
    source: LinkSource = masking if settings.source == "impact" else CountedLinks.from_pretrained(settings.counts)
    # What stands beyond the sentence adds little to a link, and costs the square of the length.
    sentences = [sentence for line in training for sentence in _END.split(line) if sentence.strip()]
    every = discover_words(
        linked_texts(source, sentences, strengths),
        longest=settings.longest,
        min_count=settings.min_count,
        min_margin=-math.inf,
    )
    found = [one for one in every if one.margin > settings.min_margin]
    frequent = sorted(every, key=lambda one: -one.occurrences)
    known, chosen = set(jieba_words()), set(found)
    new = [one.word for one in frequent if one in chosen and one.word not in known][: settings.new_words]
    merely_frequent = [one.word for one in frequent if one.word not in known][: len(new)]
    offers = {"without": [], "with": new, "with_merely_frequent": merely_frequent}
    ratios = token_ratios(masking, training, held_out, offers, settings.size)
    results = {
        "lines": len(training),
        "sentences": len(sentences),
        "candidates": len(found),
        "in_the_dictionary": sum(one.word in known for one in found),
        "merely_frequent_in_the_dictionary": sum(one.word in known for one in frequent[: len(found)]),
        "offered": len(new),
        "held_out_lines": len(held_out),
        **ratios,
    }
    write_text(output / "words.txt", "".join(map(describe, found)))
    write_json(output / "results.json", results)
    return results


def linked_texts(source: LinkSource, texts: Sequence[str], path: Path) -> Iterator[LinkedText]:
    """Texts with the strengths of their links, kept in a file so that none is measured twice."""
    content = path.read_text("utf-8") if path.exists() else ""
    kept = content[: content.rfind("\n") + 1]  # an interrupted run leaves half a line
    measured = [json.loads(line) for line in kept.split("\n") if line]
    for text, strengths in zip(texts, measured, strict=False):
        yield LinkedText(text, tuple(split_characters(text)), np.array(strengths))
    path.write_text(kept, "utf-8")
    with path.open("a", encoding="utf-8", buffering=1) as file:  # line by line, so that a kill costs little
        for linked in source.linked_texts(texts[len(measured) :]):
            rounded = linked.strengths.round(4)  # as they are read back
            file.write(json.dumps(rounded.tolist()) + "\n")
            yield replace(linked, strengths=rounded)


def token_ratios(
    masking: PerturbedMasking, training: list[str], held_out: list[str], offers: dict[str, list[str]], size: int
) -> dict[str, float]:
    """Tokens per character of held-out lines, with vocabularies of jieba's words and what is offered beside."""
    base = base_tokens(masking.tokenizer)
    ratios = {}
    for name, words in offers.items():
        segmenter = JiebaSegmenter.from_words("\n".join(words))
        vocabulary = build_vocabulary(base, corpus=training, size=size, keep=words, segmenter=segmenter)
        ratios[f"tokens_per_character_{name}"] = tokens_per_character(held_out, vocabulary, segmenter)
    return ratios


def describe(candidate: Candidate) -> str:
    """A line of ``words.txt``."""
    return f"{candidate.word}\t{candidate.occurrences}\t{candidate.inner:.3f}\t{candidate.outer:.3f}\n"


if __name__ == "__main__":
    run_recipe(main)
