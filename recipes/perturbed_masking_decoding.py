"""From impact matrices to predictions: the decoders of recipes/perturbed_masking.py, and what they learn from dev."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nlpkit.labels import SpanScores
from nlpkit.perturbed_masking import (
    AttachmentScores,
    LinkedText,
    SegmentationScores,
    Tree,
    eisner,
    lean_on_neighbours,
    score_constituents,
    score_heads,
    score_segmentation,
)
from nlpkit.perturbed_masking.words.script import split_characters
from nlpkit.perturbed_masking.words.segmentation import Threshold, find_threshold, neighbour_strengths

Matrix = NDArray[np.float32]
#: What neighbours may be given as heads: the one before a word, the one behind it, or both.
NEIGHBOUR_BONUSES = [
    {"before": before, "after": after}
    for size in (0.5, 1.0, 2.0, 4.0)
    for before, after in ((size, 0.0), (0.0, size), (size, size))
]
#: What branching to the right may be given.
RIGHT_BONUSES = [{"right_bonus": size} for size in (0.5, 1.0, 1.5, 2.0, 3.0, 4.0)]


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


def by_matrix(decode: Callable[..., Any], prepare: Callable[[Matrix], Any], gold_root: bool = False) -> Decoder:
    """A decoder of each matrix by itself."""

    def decoder(examples: Sequence[Example], matrices: Sequence[Matrix]) -> Decoding:
        pairs = zip(matrices, known_roots(examples, gold_root), strict=True)
        return Decoding([decode(prepare(matrix), **root) for matrix, root in pairs], {})

    return decoder


def known_roots(examples: Sequence[Example], gold_root: bool) -> list[dict[str, int]]:
    """What a decoder is told of each sentence's root."""
    return [{"root": example.root} if gold_root else {} for example in examples]


def learning(
    decode: Callable[..., Any],
    options: Sequence[dict[str, float]],
    goodness: Callable[[Sequence[Example], list[Any]], float],
    prepare: Callable[[Matrix], Any],
    gold_root: bool = False,
) -> Decoder:
    """A decoder of each matrix by itself with given options, or with those of several that are best on this gold."""

    def decoder(examples: Sequence[Example], matrices: Sequence[Matrix], **learnt: float) -> Decoding:
        roots = known_roots(examples, gold_root)
        prepared = [prepare(matrix) for matrix in matrices]

        def predict(option: dict[str, float]) -> list[Any]:
            return [decode(matrix, **root, **option) for matrix, root in zip(prepared, roots, strict=True)]

        best = learnt or max(options, key=lambda option: goodness(examples, predict(option)))
        return Decoding(predict(best), best)

    return decoder


def leaning_eisner(matrix: Any, *, before: float, after: float, root: int | None = None) -> list[int]:
    """The best projective tree where neighbours have a bonus as heads."""
    return eisner(lean_on_neighbours(matrix, before=before, after=after), root=root)


def uas(examples: Sequence[Example], predictions: list[list[int]]) -> float:
    """Words with the right head."""
    pairs = zip(examples, predictions, strict=True)
    counts = [score_heads(example.gold, heads, scored=example.scored) for example, heads in pairs]
    return sum(counts, AttachmentScores()).uas


def span_f1(examples: Sequence[Example], predictions: list[Tree]) -> float:
    """Constituents found, of all sentences together."""
    pairs = zip(examples, predictions, strict=True)
    counts = [score_constituents(example.gold, tree) for example, tree in pairs]
    return SpanScores(*np.sum([astuple(count) for count in counts], axis=0).tolist()).f1


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


def as_it_is(matrix: Matrix) -> Matrix:
    """A matrix without any correction."""
    return matrix
