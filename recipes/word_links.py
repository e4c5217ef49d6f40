"""Which links between characters find words best, impact, counts or both: chosen without labels, scored with them.

Source: perturbed masking (kexue.fm/archives/7476), mutual information and branching entropy; the choice by minimum
description length (Rissanen, 1978).

    python recipes/word_links.py recipes/configs/word_links/chinese.yaml

Texts that also stand in the counted corpus are left out. On the texts of dev, without their words, the source is
chosen that explains them in the fewest nats, all sources cutting them into as many words. Then each cuts every set
by its relative links and Otsu's threshold, found on these very texts. ``results.json`` and ``results.md`` hold
the scores, beside cuts of one length and a dictionary's. Called again after an interruption, it goes on where it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

import nlpkit.perturbed_masking as pm
from nlpkit.data import find_text_files
from nlpkit.files import only_writer, read_json, write_json, write_text
from nlpkit.runs import parse_recipe_arguments, run_recipe, settle_facts
from nlpkit.text_files import read_lines
from nlpkit.training import bf16_is_fast
from nlpkit.wobert import RjiebaSegmenter

Words = list[str]
#: Characters in a row that show that a text stands in the corpus, where most of its rows do.
_ROW = 10
#: At this mean length, all sources give as many words; any other ranks them alike.
_MEAN_LENGTH = 1.6


@dataclass
class LinksArguments:
    """Which sources to compare on what."""

    dev_files: list[str] = field(metadata={"help": "name=file, words separated by blanks; choose the source there"})
    test_files: list[str] = field(metadata={"help": "name=file, scored alone"})
    corpus: list[str] = field(metadata={"help": "globs of the files that were counted"})
    output_dir: str = "runs/word_links"
    counts: str = field(default="counts-zh", metadata={"help": "folder of counted links, or the shipped ones"})
    model: str = field(default="wobert-mini-zh", metadata={"help": "folder, shipped model, or repository on the Hub"})
    layer: int = field(default=-1, metadata={"help": "of the model, from 1; -1 is the last"})
    distance: str = "euclidean"
    max_characters: int = field(default=100, metadata={"help": "leave out longer texts"})
    max_texts: int = field(default=500, metadata={"help": "at most this many per file, spread over it"})
    bf16: bool = field(default=bf16_is_fast(), metadata={"help": "multiply in bf16; by default where it is faster"})


def main(argv: list[str]) -> dict[str, Any]:
    """Run the recipe and return what ``results.json`` holds."""
    (settings,) = parse_recipe_arguments([LinksArguments], argv)
    with only_writer(settings.output_dir):
        return compare(settings, Path(settings.output_dir))


def compare(settings: LinksArguments, output: Path) -> dict[str, Any]:
    """Choose a source on dev's texts, and score all of them on every set."""
    kept = output / "in_the_corpus.json"
    settle_facts(output / "run.json", asdict(settings) | {"output_dir": ""}, begins=not kept.exists())
    files = {name: Path(path) for name, _, path in (one.partition("=") for one in settings.dev_files)}
    dev = list(files)
    files |= {name: Path(path) for name, _, path in (one.partition("=") for one in settings.test_files)}
    sets, sizes = read_sets(files, settings, kept)
    measured = {name: measure(gold, name, settings, output) for name, gold in sets.items()}
    lengths = {
        source: pm.description_length(
            chain.from_iterable(cut(measured[name][source], pm.MeanWordLength(_MEAN_LENGTH)) for name in dev)
        )
        for source in measured[dev[0]]
    }
    results = {
        "texts": sizes,
        "nats_per_character_of_dev": lengths,
        "chosen": min(lengths, key=lambda source: lengths[source]),
        "scores": {name: dict(score_all(gold, measured[name])) for name, gold in sets.items()},
    }
    write_json(output / "results.json", results)
    write_text(output / "results.md", table(results, dev))
    return results


def read_sets(
    files: dict[str, Path], settings: LinksArguments, kept: Path
) -> tuple[dict[str, list[Words]], dict[str, Any]]:
    """The words of each set's texts that are short enough and do not stand in the corpus, and how many there were."""
    every = {name: [line.split() for line in read_lines(path) if line.strip()] for name, path in files.items()}
    if not kept.is_file():
        texts = {name: [bare("".join(words)) for words in golds] for name, golds in every.items()}
        seen = rows_of_corpus(chain.from_iterable(texts.values()), settings.corpus)
        write_json(kept, {name: [stands_in(text, seen) for text in bares] for name, bares in texts.items()})
    is_old = read_json(kept)
    sets: dict[str, list[Words]] = {}
    sizes: dict[str, Any] = {}
    for name, golds in every.items():
        new = [words for words, old in zip(golds, is_old[name], strict=True) if not old]
        short = [words for words in new if sum(map(len, words)) <= settings.max_characters]
        if not short:
            raise ValueError(f"{files[name]} has no text outside the corpus of at most max_characters; raise it")
        places = np.linspace(0, len(short) - 1, min(len(short), settings.max_texts)).astype(int)
        sets[name] = [short[place] for place in places]
        sizes[name] = {"all": len(golds), "in_the_corpus": len(golds) - len(new), "scored": len(places)}
    return sets, sizes


def bare(text: str) -> str:
    """A text without marks and white space."""
    return re.sub(r"[\W_]+", "", text)


def rows_of(text: str) -> set[int]:
    """Hashes of all rows of characters of a bare text, or of all of it if it is shorter than a row."""
    return {hash(text[place : place + _ROW]) for place in range(max(len(text) - _ROW + 1, 1))}


def rows_of_corpus(texts: Iterable[str], corpus: list[str]) -> set[int]:
    """Those rows of the texts that also stand in a line of the corpus."""
    wanted = set().union(*map(rows_of, texts))
    seen: set[int] = set()
    lines = chain.from_iterable(map(read_lines, find_text_files(corpus)))
    for line in tqdm(lines, desc="comparing", unit=" lines", delay=5, disable=None):
        seen |= rows_of(bare(line)) & wanted
    return seen


def stands_in(text: str, seen: set[int]) -> bool:
    """Whether half of a text's rows are among those seen."""
    rows = rows_of(text)
    return 2 * len(rows & seen) >= len(rows)


def measure(gold: list[Words], name: str, settings: LinksArguments, output: Path) -> dict[str, list[pm.LinkedText]]:
    """The relative links of all texts of a set by every source."""
    texts = ["".join(words) for words in gold]
    counts = pm.CountedLinks.from_pretrained(settings.counts)
    information = pm.CountedLinks.from_pretrained(settings.counts, borders=0.0)
    impact = list(kept_impact(texts, settings, output / "impact" / name))
    both = pm.MixedLinks([counts, _Kept(impact)], sample=None)
    links = {
        "impact": impact,
        "counts, mutual information alone": list(information.linked_texts(texts)),
        "counts": list(counts.linked_texts(texts)),
        "both, z-scored": list(both.linked_texts(texts)),
    }
    relative = {source: [text.relative() for text in linked] for source, linked in links.items()}
    return relative | {"both, ranks averaged": average_ranks(relative["counts"], relative["impact"])}


def kept_impact(texts: Sequence[str], settings: LinksArguments, folder: Path) -> Iterator[pm.LinkedText]:
    """Texts with the links that a model gives them, measured once."""
    measure = pm.Measure(settings.layer, settings.distance)  # type: ignore[arg-type]
    masking = pm.PerturbedMasking.from_pretrained(
        settings.model, measure=measure, overlong="split", bf16=settings.bf16
    )
    kept = pm.ImpactFolder(folder)
    kept.fill(masking, texts, reach=1)
    for text, matrices in zip(texts, kept, strict=True):
        yield pm.LinkedText(text, tuple(pm.split_characters(text)), pm.neighbour_strengths(matrices[0]))


class _Kept:
    """A source of links that were measured before."""

    def __init__(self, linked: list[pm.LinkedText]) -> None:
        self.linked = linked

    def linked_texts(self, texts: Iterable[str]) -> Iterator[pm.LinkedText]:
        """The links of these very texts."""
        for text, linked in zip(texts, self.linked, strict=True):
            if text != linked.text:
                raise ValueError(f"{text[:20]!r} was not measured")
            yield linked


def average_ranks(one: list[pm.LinkedText], other: list[pm.LinkedText]) -> list[pm.LinkedText]:
    """Texts whose links are the mean of their ranks among all links of either source."""
    ends = np.cumsum([len(text.strengths) for text in one])[:-1]
    ranks = [ranks_of(np.concatenate([text.strengths for text in texts])) for texts in (one, other)]
    parts = np.split(np.mean(ranks, axis=0), ends)
    return [pm.LinkedText(text.text, text.spans, part) for text, part in zip(one, parts, strict=True)]


def ranks_of(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 0 to 1."""
    return np.argsort(np.argsort(values, kind="stable")) / max(len(values) - 1, 1)


def cut(linked: list[pm.LinkedText], threshold: pm.MeanWordLength | Any = pm.otsu) -> list[Words]:
    """Words by a threshold that is found on the texts."""
    found = pm.find_threshold(threshold, linked)
    return [text.cut(found) for text in linked]


def score_all(gold: list[Words], measured: dict[str, list[pm.LinkedText]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The scores of every way to cut a set into words."""
    texts = ["".join(words) for words in gold]
    segmenter = RjiebaSegmenter()
    answers = {
        "each character a word": [pm.cut_evenly(text, 1) for text in texts],
        "two characters per word": [pm.cut_evenly(text, 2) for text in texts],
        **{source: cut(linked) for source, linked in measured.items()},
        "jieba, with its dictionary": [list(segmenter.cut(text)) for text in texts],
    }
    for name, words in answers.items():
        scores = [pm.score_segmentation(*pair) for pair in zip(gold, words, strict=True)]
        value, low, high = pm.corpus_interval(scores, lambda score: score.f1)
        total = sum(scores, pm.SegmentationScores(0, 0, 0))
        yield name, {"f1": value, "low": low, "high": high, "precision": total.precision, "recall": total.recall}


def table(results: dict[str, Any], dev: list[str]) -> str:
    """The scores as a table, F1 with its 95 % interval over texts."""
    names = list(results["scores"])
    parts = [
        "| | nats per character of dev | " + " | ".join(f"{name} (dev)" if name in dev else name for name in names)
    ]
    parts[0] += " |"
    parts.append("| --- |" + " ---: |" * (1 + len(names)))
    for source in results["scores"][names[0]]:
        nats = results["nats_per_character_of_dev"].get(source)
        cells = ["" if nats is None else f"{nats:.3f}"]
        for name in names:
            row = results["scores"][name][source]
            cells.append(f"{100 * row['f1']:.1f} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]")
        mark = "**" if source == results["chosen"] else ""
        parts.append(f"| {mark}{source}{mark} | " + " | ".join(cells) + " |")
    parts += ["", f"Chosen, without labels: {results['chosen']}. Texts:", ""]
    for name, sizes in results["texts"].items():
        parts.append(
            f"- {name}: {sizes['all']}, {sizes['in_the_corpus']} of them in the corpus; {sizes['scored']} scored"
        )
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    run_recipe(main)
