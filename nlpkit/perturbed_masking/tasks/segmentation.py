"""Word segmentation: the rules for the threshold to choose among, and the cuts without a model beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

import nlpkit.perturbed_masking as pm
from nlpkit.perturbed_masking.tasks.task import Decoder, Example, Matrix, Option, Task
from nlpkit.perturbed_masking.words.segmentation import Threshold
from nlpkit.text_files import read_lines

Words = list[str]


class Segmentation(Task[Words, pm.LinkedText, pm.SegmentationScores]):
    """Words of texts, by a threshold that is found on the texts themselves, or the best one on dev's gold."""

    metrics: Mapping[str, Callable[[pm.SegmentationScores], float]] = {
        "f1": lambda s: s.f1,
        "precision": lambda s: s.precision,
        "recall": lambda s: s.recall,
    }
    reach = 1
    floors: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ["threshold of the texts", "threshold of dev"], "two characters per word"
    )

    def read(self, path: Path, count_punctuation: bool) -> Iterator[Example[Words]]:
        """Texts whose words are separated by white space, one per line."""
        for words in map(str.split, read_lines(path)):
            if words:
                yield Example("".join(words), words)

    def read_matrix(self, example: Example[Words], matrix: Matrix) -> pm.LinkedText:
        """The text with the strengths of its links."""
        text = str(example.sentence)
        return pm.LinkedText(text, tuple(pm.split_characters(text)), pm.neighbour_strengths(matrix))

    def decoders(self) -> Iterator[Decoder[Words, pm.LinkedText]]:
        """Rules for the threshold, on strengths as they are and relative to their neighbours'."""
        rules: list[Threshold] = [pm.otsu, *map(pm.MeanWordLength, (1.5, 1.6, 1.7, 1.8))]
        cut = pm.LinkedText.cut
        for name, correct in (("absolute", None), ("relative", pm.LinkedText.relative)):
            for rule in rules:
                title = f"{'relative, ' if correct else ''}{pm.describe_threshold(rule)}"
                yield Decoder("threshold of the texts", title, cut, correct, find=partial(_found, rule))
            yield Decoder("threshold of dev", name, cut, correct, _quantiles)

    def score(self, example: Example[Words], answer: Words) -> pm.SegmentationScores:
        """Counts of one text."""
        return pm.score_segmentation(example.gold, answer)

    def baselines(self, examples: Sequence[Example[Words]]) -> dict[str, list[Words]]:
        """Words of one length, and words by the counts that come with nlpkit."""
        texts = [str(example.sentence) for example in examples]
        return {
            "each character a word": [pm.cut_evenly(text, 1) for text in texts],
            "two characters per word": [pm.cut_evenly(text, 2) for text in texts],
            "each run a word": [pm.cut_evenly(text, max(len(text), 1)) for text in texts],
            "counted links, no model": pm.segment(pm.CountedLinks.from_pretrained("counts-zh"), texts),
        }


def _found(rule: Threshold, texts: Sequence[pm.LinkedText]) -> Option:
    return {"threshold": pm.find_threshold(rule, texts)}


def _quantiles(texts: Sequence[pm.LinkedText]) -> list[Option]:
    """Thresholds: 49 quantiles of the strengths."""
    strengths = np.concatenate([np.zeros(1), *(run for text in texts for run in text.runs())])
    return [{"threshold": float(one)} for one in np.quantile(strengths, np.linspace(0.02, 0.98, 49))]
