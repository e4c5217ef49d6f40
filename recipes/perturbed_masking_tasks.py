"""What recipes/perturbed_masking.py evaluates: for each task its examples, decoders, baselines and scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from nlpkit.labels import SpanScores
from nlpkit.perturbed_masking import (
    AttachmentScores,
    MeanWordLength,
    SegmentationScores,
    average_product_correction,
    cky,
    edmonds,
    eisner,
    leaning_cky,
    left_branching,
    left_chain,
    mart,
    proportions,
    random_tree,
    read_brackets,
    read_conllu,
    relative_to_mean,
    right_branching,
    right_chain,
    score_constituents,
    score_heads,
    score_segmentation,
    star,
    symmetric,
    top_down,
)
from nlpkit.perturbed_masking.treebanks.brackets import PUNCTUATION_TAGS
from nlpkit.perturbed_masking.treebanks.lines import TreebankLines
from nlpkit.perturbed_masking.treebanks.scores import sentence_mean
from nlpkit.perturbed_masking.trees.dependencies import share_of_heads
from nlpkit.perturbed_masking.words.segmentation import describe_threshold, otsu
from recipes.perturbed_masking_decoding import (
    NEIGHBOUR_BONUSES,
    RIGHT_BONUSES,
    Decoder,
    Example,
    as_it_is,
    by_matrix,
    by_threshold,
    by_threshold_of_dev,
    every_few_characters,
    leaning_eisner,
    learning,
    span_f1,
    uas,
)

#: Counts a sentence: a dataclass whose fields add up.
Counts = AttachmentScores | SpanScores | SegmentationScores


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
        reach: as for ``PerturbedMasking.impact``.
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


_PREPARATIONS: dict[str, Callable[[Any], Any]] = {
    "": as_it_is,
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
        f"{group}, leaning on neighbours": {
            f"eisner of {name}, leaning": learning(leaning_eisner, NEIGHBOUR_BONUSES, uas, prepare, gold_root)
            for name, prepare in (("proportions", proportions), ("symmetric means", symmetric))
        }
        for group, gold_root in (("root found", False), ("gold root", True))
    }
    | {
        "gold root, as published": {
            "eisner": by_matrix(partial(eisner, faithful=True), as_it_is, gold_root=True),
            "edmonds": by_matrix(partial(edmonds, faithful=True), as_it_is, gold_root=True),
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
        "root found, leaning on neighbours": "right chain",
        "gold root, leaning on neighbours": "right chain, gold root",
        "gold root, as published": "right chain, gold root, as published",
    },
    score=lambda example, heads: score_heads(example.gold, heads, scored=example.scored),
    metrics={"uas": lambda s: s.uas, "uuas": lambda s: s.uuas, "ned": lambda s: s.ned},
)
CONSTITUENTS = Task(
    read=read_constituents,
    decoders={
        "biased to the right": {
            "mart": by_matrix(mart, as_it_is),
            "mart of products corrected": by_matrix(mart, average_product_correction),
        },
        "biased to the right, as published": {"mart": by_matrix(partial(mart, faithful=True), as_it_is)},
        "unbiased": {
            f"{decode.__name__}{name}": by_matrix(decode, _PREPARATIONS[name])
            for decode in (top_down, cky)
            for name in ("", " of products corrected")
        },
        "leaning to the right": {
            "cky, leaning": learning(cky, RIGHT_BONUSES, span_f1, relative_to_mean),
            "cky of products corrected, leaning": learning(leaning_cky, RIGHT_BONUSES, span_f1, as_it_is),
        },
    },
    baselines={
        "right branching": lambda example, number: right_branching(example.gold.end),
        "left branching": lambda example, number: left_branching(example.gold.end),
    },
    floors=dict.fromkeys(
        ["biased to the right", "biased to the right, as published", "unbiased", "leaning to the right"],
        "right branching",
    ),
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
