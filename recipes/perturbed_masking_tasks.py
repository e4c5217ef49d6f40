"""What recipes/perturbed_masking.py evaluates: for each task its examples, decoders, baselines and scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nlpkit.perturbed_masking.bracket_files import PUNCTUATION_TAGS, read_brackets
from nlpkit.perturbed_masking.conllu_files import read_conllu
from nlpkit.perturbed_masking.constituency_decoders import cky, left_branching, mart, right_branching, top_down
from nlpkit.perturbed_masking.corrections import average_product_correction, proportions, symmetric
from nlpkit.perturbed_masking.dependency_decoders import (
    edmonds,
    eisner,
    left_chain,
    random_tree,
    right_chain,
    share_of_heads,
    star,
)
from nlpkit.perturbed_masking.script import split_characters
from nlpkit.perturbed_masking.segmentation import (
    LinkedText,
    MeanWordLength,
    Threshold,
    describe_threshold,
    find_threshold,
    neighbour_strengths,
    otsu,
)
from nlpkit.perturbed_masking.segmentation_scores import SegmentationScores, score_segmentation
from nlpkit.perturbed_masking.tree_scores import AttachmentScores, score_constituents, score_heads, sentence_mean
from nlpkit.perturbed_masking.treebank_lines import TreebankLines
from nlpkit.wobert.spans import SpanScores

Matrix = NDArray[np.float32]
#: Counts a sentence: a dataclass whose fields add up.
Counts = AttachmentScores | SpanScores | SegmentationScores


class Example(NamedTuple):
    """A sentence as the model gets it, and what is to be found in it."""

    sentence: str | tuple[str, ...]
    gold: Any
    scored: list[bool] | None = None

    @property
    def words(self) -> int:
        """Words of a sentence given in words, characters of a text."""
        return len(self.sentence)

    @property
    def text(self) -> str:
        """The sentence as a text."""
        return self.sentence if isinstance(self.sentence, str) else "".join(self.sentence)

    @property
    def root(self) -> int:
        """The root of the gold heads, 1-based."""
        return int(self.gold.index(0)) + 1


class Decoding(NamedTuple):
    """All predictions of one decoder for some examples, and what it learnt from their gold, if anything."""

    predictions: list[Any]
    learnt: dict[str, float]


#: Examples and their matrices to predictions; what was learnt on dev comes back in as keyword arguments.
Decoder = Callable[..., Decoding]


@dataclass(frozen=True)
class Task:
    """One kind of evaluation.

    Args:
        read: examples of a file.
        decoders: ways from matrices to predictions, by name, in groups that know equally much: the best of each group
            is chosen on dev.
        baselines: predictions without a model, by name.
        floors: the baseline that each group of decoders has to beat.
        score: counts of one example.
        metrics: of summed counts, by name; the first is what settings are chosen by.
        summaries: further figures of examples and their counts, by name.
        reach: as for :meth:`PerturbedMasking.impact`.
    """

    read: Callable[[Path, bool], Iterator[Example]]
    decoders: dict[str, dict[str, Decoder]]
    baselines: dict[str, Callable[[Example, int], Any]]
    floors: dict[str, str]
    score: Callable[[Example, Any], Counts]
    metrics: dict[str, Callable[[Any], float]]
    summaries: dict[str, Callable[[Sequence[Example], Sequence[Any]], float]] = field(default_factory=dict)
    reach: int | None = None


def read_trees(path: Path, count_punctuation: bool) -> Iterator[Example]:
    """Sentences of a CoNLL-U treebank."""
    for sentence in read_conllu(path):
        yield Example(tuple(sentence.forms), sentence.heads, None if count_punctuation else sentence.scored)


def read_constituents(path: Path, count_punctuation: bool) -> Iterator[Example]:
    """Sentences of a file of Penn Treebank brackets, a tree a line, with or without a file name before it."""
    lines = (line.rpartition("\t")[2] for line in TreebankLines(path))
    for sentence in read_brackets(lines, drop_tags=() if count_punctuation else PUNCTUATION_TAGS):
        yield Example(sentence.words, sentence.tree)


def read_segmented(path: Path, count_punctuation: bool) -> Iterator[Example]:
    """Texts whose words are split by white space, a text a line."""
    for line in TreebankLines(path):
        if words := line.split():
            yield Example("".join(words), words)


def by_matrix(decode: Callable[..., Any], prepare: Callable[[Matrix], Any], gold_root: bool = False) -> Decoder:
    """A decoder of each matrix by itself."""

    def decoder(examples: Sequence[Example], matrices: Sequence[Matrix]) -> Decoding:
        roots = [{"root": example.root} if gold_root else {} for example in examples]
        return Decoding([decode(prepare(matrix), **root) for matrix, root in zip(matrices, roots, strict=True)], {})

    return decoder


def by_threshold(choose: Threshold, relative: bool) -> Decoder:
    """A segmenter whose threshold is found on the texts alone."""

    def decoder(examples: Sequence[Example], matrices: Sequence[Matrix]) -> Decoding:
        linked = link(examples, matrices, relative)
        threshold = find_threshold(choose, linked)
        return Decoding([text.cut(threshold) for text in linked], {})

    return decoder


def by_threshold_of_dev(
    examples: Sequence[Example], matrices: Sequence[Matrix], relative: bool, threshold: float | None = None
) -> Decoding:
    """A segmenter whose threshold is given, or the best on the gold of these examples, out of fifty quantiles."""
    linked = link(examples, matrices, relative)

    def f1(threshold: float) -> float:
        counts = [
            score_segmentation(one.gold, text.cut(threshold)) for one, text in zip(examples, linked, strict=True)
        ]
        return sum(counts, SegmentationScores(0, 0, 0)).f1

    if threshold is None:
        strengths = np.concatenate([np.zeros(1), *(run for text in linked for run in text.runs())])
        threshold = max(map(float, np.quantile(strengths, np.linspace(0.02, 0.98, 49))), key=f1)
    return Decoding([text.cut(threshold) for text in linked], {"threshold": threshold})


def link(examples: Sequence[Example], matrices: Sequence[Matrix], relative: bool) -> list[LinkedText]:
    """Texts with the strengths of their links, or these less those beside them."""
    linked = [
        LinkedText(example.text, tuple(split_characters(example.text)), neighbour_strengths(matrix))
        for example, matrix in zip(examples, matrices, strict=True)
    ]
    return [text.relative() for text in linked] if relative else linked


def every_few_characters(text: str, size: int) -> list[str]:
    """Cut behind every so many units of each run that may join at all."""
    spans = tuple(split_characters(text))
    place, ties = 0, []
    for strength, _ in LinkedText(text, spans, np.zeros(max(len(spans) - 1, 0))).joints():
        place = 0 if strength is None else place + 1
        ties.append(float(place % size > 0))
    return LinkedText(text, spans, np.array(ties[1:])).cut(1.0)


def _as_it_is(matrix: Matrix) -> Matrix:
    return matrix


_PREPARATIONS: dict[str, Callable[[Any], Any]] = {
    "": _as_it_is,
    " of shares": share_of_heads,
    " of proportions": proportions,
    " of products corrected": average_product_correction,
    " of symmetric means": symmetric,
    " of symmetric means, products corrected": lambda matrix: average_product_correction(symmetric(matrix)),
}

DEPENDENCIES = Task(
    read=read_trees,
    decoders={
        group: {
            f"{decode.__name__}{name}": by_matrix(decode, prepare, gold_root)
            for decode in (eisner, edmonds)
            for name, prepare in _PREPARATIONS.items()
        }
        for group, gold_root in (("root found", False), ("gold root", True))
    }
    | {
        "gold root, as published": {
            "eisner": by_matrix(partial(eisner, faithful=True), _as_it_is, gold_root=True),
            "edmonds": by_matrix(partial(edmonds, faithful=True), _as_it_is, gold_root=True),
        }
    },
    baselines={
        "right chain": lambda example, number: right_chain(len(example.gold)),
        "left chain": lambda example, number: left_chain(len(example.gold)),
        "random trees": lambda example, number: random_tree(len(example.gold), seed=number),
        "star, gold root": lambda example, number: star(len(example.gold), root=example.root),
        "right chain, gold root": lambda example, number: right_chain(len(example.gold), root=example.root),
        "right chain, gold root, as published": lambda example, number: right_chain(
            len(example.gold), root=example.root, faithful=True
        ),
    },
    floors={
        "root found": "right chain",
        "gold root": "right chain, gold root",
        "gold root, as published": "right chain, gold root, as published",
    },
    score=lambda example, heads: score_heads(example.gold, heads, scored=example.scored),
    metrics={"uas": lambda s: s.uas, "uuas": lambda s: s.uuas, "ned": lambda s: s.ned},
)
CONSTITUENTS = Task(
    read=read_constituents,
    decoders={
        "biased to the right": {
            "mart": by_matrix(mart, _as_it_is),
            "mart of products corrected": by_matrix(mart, average_product_correction),
        },
        "biased to the right, as published": {"mart": by_matrix(partial(mart, faithful=True), _as_it_is)},
        "unbiased": {
            f"{decode.__name__}{name}": by_matrix(decode, _PREPARATIONS[name])
            for decode in (top_down, cky)
            for name in ("", " of products corrected")
        },
    },
    baselines={
        "right branching": lambda example, number: right_branching(example.gold.end),
        "left branching": lambda example, number: left_branching(example.gold.end),
    },
    floors=dict.fromkeys(["biased to the right", "biased to the right, as published", "unbiased"], "right branching"),
    score=lambda example, tree: score_constituents(example.gold, tree),
    metrics={"f1": lambda s: s.f1},
    summaries={
        "mean f1": lambda examples, counts: sentence_mean(counts, lambda s: s.f1),
        "mean f1 to 10 words": lambda examples, counts: sentence_mean(
            [score for example, score in zip(examples, counts, strict=True) if example.words <= 10], lambda s: s.f1
        ),
    },
)

SEGMENTATION = Task(
    read=read_segmented,
    decoders={
        "threshold of the texts": {
            f"{name}{describe_threshold(choose)}": by_threshold(choose, relative)
            for name, relative in (("", False), ("relative, ", True))
            for choose in (otsu, MeanWordLength(1.5), MeanWordLength(1.6), MeanWordLength(1.7), MeanWordLength(1.8))
        },
        "threshold of dev": {
            "absolute": partial(by_threshold_of_dev, relative=False),
            "relative": partial(by_threshold_of_dev, relative=True),
        },
    },
    baselines={
        "each character a word": lambda example, number: every_few_characters(example.text, 1),
        "two characters a word": lambda example, number: every_few_characters(example.text, 2),
        "each run a word": lambda example, number: every_few_characters(example.text, len(example.text)),
    },
    floors=dict.fromkeys(["threshold of the texts", "threshold of dev"], "two characters a word"),
    score=lambda example, words: score_segmentation(example.gold, words),
    metrics={"f1": lambda s: s.f1, "precision": lambda s: s.precision, "recall": lambda s: s.recall},
    reach=1,
)

TASKS = {"dependencies": DEPENDENCIES, "constituents": CONSTITUENTS, "segmentation": SEGMENTATION}
