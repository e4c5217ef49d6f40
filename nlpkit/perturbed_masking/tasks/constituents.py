"""Constituency trees: the decoders to choose among, and the branchings that they have to beat."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

import nlpkit.perturbed_masking as pm
from nlpkit.labels.spans import SpanScores
from nlpkit.perturbed_masking.tasks.task import Decoder, Example, Matrix, Option, Task, Vote
from nlpkit.text_files import read_lines

_BONUSES: list[Option] = [{"right_bonus": size} for size in (0.5, 1.0, 1.5, 2.0, 3.0, 4.0)]


def _mean_f1(examples: Sequence[Example[pm.Tree]], counts: Sequence[SpanScores], longest: float) -> float:
    """F1 per sentence as the literature has it, over those of two to so many words."""
    short = [one for example, one in zip(examples, counts, strict=True) if 1 < len(example.sentence) <= longest]
    return pm.sentence_mean(short, pm.sentence_f1, nothing=1.0)


class Constituents(Task[pm.Tree, Matrix, SpanScores]):
    """Constituents of a file of Penn Treebank brackets."""

    metrics: Mapping[str, Callable[[SpanScores], float]] = {"f1": lambda s: s.f1}
    summaries: Mapping[str, Callable[[Sequence[Example[pm.Tree]], Sequence[SpanScores]], float]] = {
        "mean f1": partial(_mean_f1, longest=float("inf")),
        "mean f1 to 10 words": partial(_mean_f1, longest=10),
    }
    floors: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ["biased to the right", "biased to the right, as published", "unbiased", "leaning to the right"],
        "right branching",
    )

    def read(self, path: Path, count_punctuation: bool) -> Iterator[Example[pm.Tree]]:
        """Sentences of a file of brackets, with or without a file name and a tab before each tree."""
        lines = (line.rpartition("\t")[2] for line in read_lines(path))
        for sentence in pm.read_brackets(lines, drop_tags=() if count_punctuation else pm.PUNCTUATION_TAGS):
            yield Example(sentence.words, sentence.tree)

    def read_matrix(self, example: Example[pm.Tree], matrix: Matrix) -> Matrix:
        """The matrix itself."""
        return matrix

    def decoders(self) -> Iterator[Decoder[pm.Tree, Matrix]]:
        """From the top and by chart, biased to the right or not."""
        for decode in (pm.mart, pm.top_down, pm.cky):
            group = "biased to the right" if decode is pm.mart else "unbiased"
            yield Decoder(group, decode.__name__, decode)
            yield Decoder(group, f"{decode.__name__} of products corrected", decode, pm.average_product_correction)
        yield Decoder("biased to the right, as published", "mart", partial(pm.mart, faithful=True))
        leans = "leaning to the right"
        yield Decoder(leans, "cky, leaning", pm.cky, pm.relative_to_mean, _BONUSES)
        yield Decoder(leans, "cky of products corrected, leaning", pm.leaning_cky, options=_BONUSES)

    def votes(self, examples: Sequence[Example[pm.Tree]], matrices: Sequence[Sequence[Matrix]]) -> list[Vote[pm.Tree]]:
        """The default decoder, every layer voting."""
        trees = [pm.vote_on_constituents([pm.leaning_cky(one) for one in of_layers]) for of_layers in matrices]
        return [Vote("leaning_cky, every layer votes", "right branching", trees)]

    def score(self, example: Example[pm.Tree], answer: pm.Tree) -> SpanScores:
        """Counts of one sentence."""
        return pm.score_constituents(example.gold, answer)

    def baselines(self, examples: Sequence[Example[pm.Tree]]) -> dict[str, list[pm.Tree]]:
        """Branchings."""
        return {
            "right branching": [pm.right_branching(example.gold.end) for example in examples],
            "left branching": [pm.left_branching(example.gold.end) for example in examples],
        }
