"""What perturbed masking is evaluated on: gold, the decoders to choose among, baselines and scores of three tasks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

import nlpkit.perturbed_masking as pm
from nlpkit.text_files import read_lines

Option = dict[str, float]


class Example(NamedTuple):
    """A sentence and what is to be found in it.

    Args:
        sentence: words, or a text.
        gold: heads, a tree, or words.
        scored: the words whose heads count; all by default.
    """

    sentence: str | tuple[str, ...]
    gold: Any
    scored: list[bool] | None = None


class Decoder(NamedTuple):
    """A way from impact matrices to predictions.

    Args:
        group: decoders that know equally much; the best of each group is chosen on dev.
        name: inside the group.
        decode: a corrected matrix to a tree; or what finds a threshold, ``None`` where dev does.
        correct: what is done to a matrix first.
        options: keyword arguments of ``decode`` that dev is to choose from.
        gold_root: whether ``decode`` is told the root.
    """

    group: str
    name: str
    decode: Callable[..., Any] | None
    correct: Callable[[Any], Any] = np.asarray
    options: Sequence[Option] = ({},)
    gold_root: bool = False


class Task(ABC):
    """One kind of evaluation. ``TASKS`` has them by name.

    Attributes:
        metrics: of summed counts, by name; settings are chosen by the first.
        summaries: further figures, of examples and their counts.
        floors: the baseline that each group of decoders has to beat.
        reach: as for ``PerturbedMasking.impact``.
    """

    metrics: ClassVar[dict[str, Callable[[Any], float]]]
    summaries: ClassVar[dict[str, Callable[[Sequence[Example], Sequence[Any]], float]]] = {}
    floors: ClassVar[dict[str, str]]
    reach: ClassVar[int | None] = None

    @abstractmethod
    def read(self, path: Path, count_punctuation: bool) -> Iterator[Example]:
        """The examples of a file."""

    @abstractmethod
    def decoders(self) -> Iterator[Decoder]:
        """The decoders to choose among."""

    @abstractmethod
    def score(self, example: Example, prediction: Any) -> Any:
        """Counts of one example: a dataclass whose fields add up."""

    @abstractmethod
    def baselines(self, examples: Sequence[Example]) -> dict[str, list[Any]]:
        """Predictions that need no model."""

    def prepare(self, decoder: Decoder, examples: Sequence[Example], matrices: Sequence[Any]) -> list[Any]:
        """What is decoded."""
        return [decoder.correct(matrix) for matrix in matrices]

    def options(self, decoder: Decoder, prepared: list[Any]) -> Sequence[Option]:
        """Options that dev is to choose from."""
        return decoder.options

    def predict(self, decoder: Decoder, examples: Sequence[Example], prepared: list[Any], option: Option) -> list[Any]:
        """Trees."""
        assert decoder.decode is not None
        roots = [{"root": example.gold.index(0) + 1} if decoder.gold_root else {} for example in examples]
        return [decoder.decode(matrix, **option, **root) for matrix, root in zip(prepared, roots, strict=True)]

    def counts(self, examples: Sequence[Example], predictions: Sequence[Any]) -> list[Any]:
        """Counts of every example."""
        return [self.score(*pair) for pair in zip(examples, predictions, strict=True)]

    def main_score(self, examples: Sequence[Example], predictions: Sequence[Any]) -> float:
        """The first of ``metrics``, over all examples together."""
        return next(iter(self.metrics.values()))(total(self.counts(examples, predictions)))


class Dependencies(Task):
    """Heads of the words of a CoNLL-U treebank, with the root found or given."""

    metrics: ClassVar = {"uas": lambda s: s.uas, "uuas": lambda s: s.uuas, "ned": lambda s: s.ned}
    corrections: ClassVar[dict[str, Callable[[Any], Any]]] = {
        "": np.asarray,
        " of shares": pm.share_of_heads,
        " of proportions": pm.proportions,
        " of products corrected": pm.average_product_correction,
        " of symmetric means": pm.symmetric,
        " of symmetric means, products corrected": lambda matrix: pm.average_product_correction(pm.symmetric(matrix)),
    }
    bonuses: ClassVar = [
        {"before": before, "after": after}
        for size in (0.5, 1.0, 2.0, 4.0)
        for before, after in ((size, 0.0), (0.0, size), (size, size))
    ]
    leaning: ClassVar = {"proportions": pm.proportions, "symmetric means": pm.symmetric}
    floors: ClassVar = {
        "root found": "right chain",
        "gold root": "right chain, gold root",
        "root found, leaning on neighbours": "right chain",
        "gold root, leaning on neighbours": "right chain, gold root",
        "gold root, as published": "right chain, gold root, as published",
    }

    def read(self, path: Path, count_punctuation: bool) -> Iterator[Example]:
        """Sentences of a CoNLL-U treebank."""
        for sentence in pm.read_conllu(path):
            yield Example(tuple(sentence.forms), sentence.heads, None if count_punctuation else sentence.scored)

    def decoders(self) -> Iterator[Decoder]:
        """Eisner and Edmonds on corrected matrices, leaning on neighbours, and as published."""
        for group, root in (("root found", False), ("gold root", True)):
            for decode in (pm.eisner, pm.edmonds):
                for name, correct in self.corrections.items():
                    yield Decoder(group, f"{decode.__name__}{name}", decode, correct, gold_root=root)
            for name, correct in self.leaning.items():
                leans = f"eisner of {name}, leaning"
                yield Decoder(
                    f"{group}, leaning on neighbours", leans, pm.leaning_eisner, correct, self.bonuses, gold_root=root
                )
        for decode in (pm.eisner, pm.edmonds):
            yield Decoder("gold root, as published", decode.__name__, partial(decode, faithful=True), gold_root=True)

    def score(self, example: Example, prediction: Any) -> Any:
        """Counts of one sentence."""
        return pm.score_heads(example.gold, prediction, scored=example.scored)

    def baselines(self, examples: Sequence[Example]) -> dict[str, list[Any]]:
        """Trees that need no model."""
        heads = [example.gold for example in examples]
        roots = [one.index(0) + 1 for one in heads]
        pairs = list(zip(map(len, heads), roots, strict=True))
        return {
            "right chain": [pm.right_chain(len(one)) for one in heads],
            "left chain": [pm.left_chain(len(one)) for one in heads],
            "random trees": [pm.random_tree(len(one), seed=number) for number, one in enumerate(heads)],
            "star, gold root": [pm.star(length, root=root) for length, root in pairs],
            "right chain, gold root": [pm.right_chain(length, root=root) for length, root in pairs],
            "right chain, gold root, as published": [
                pm.right_chain(length, root=root, faithful=True) for length, root in pairs
            ],
        }


class Constituents(Task):
    """Constituents of a file of Penn Treebank brackets."""

    metrics: ClassVar = {"f1": lambda s: s.f1}
    summaries: ClassVar = {
        "mean f1": lambda examples, counts: pm.sentence_mean(counts, lambda s: s.f1),
        "mean f1 to 10 words": lambda examples, counts: pm.sentence_mean(
            [one for example, one in zip(examples, counts, strict=True) if len(example.sentence) <= 10], lambda s: s.f1
        ),
    }
    bonuses: ClassVar = [{"right_bonus": size} for size in (0.5, 1.0, 1.5, 2.0, 3.0, 4.0)]
    floors: ClassVar = dict.fromkeys(
        ["biased to the right", "biased to the right, as published", "unbiased", "leaning to the right"],
        "right branching",
    )

    def read(self, path: Path, count_punctuation: bool) -> Iterator[Example]:
        """Sentences of a file of brackets, with or without a file name and a tab before each tree."""
        lines = (line.rpartition("\t")[2] for line in read_lines(path))
        for sentence in pm.read_brackets(lines, drop_tags=() if count_punctuation else pm.PUNCTUATION_TAGS):
            yield Example(sentence.words, sentence.tree)

    def decoders(self) -> Iterator[Decoder]:
        """From the top and by chart, biased to the right or not."""
        for decode in (pm.mart, pm.top_down, pm.cky):
            group = "biased to the right" if decode is pm.mart else "unbiased"
            yield Decoder(group, decode.__name__, decode)
            yield Decoder(group, f"{decode.__name__} of products corrected", decode, pm.average_product_correction)
        yield Decoder("biased to the right, as published", "mart", partial(pm.mart, faithful=True))
        leans = "leaning to the right"
        yield Decoder(leans, "cky, leaning", pm.cky, pm.relative_to_mean, self.bonuses)
        yield Decoder(leans, "cky of products corrected, leaning", pm.leaning_cky, np.asarray, self.bonuses)

    def score(self, example: Example, prediction: Any) -> Any:
        """Counts of one sentence."""
        return pm.score_constituents(example.gold, prediction)

    def baselines(self, examples: Sequence[Example]) -> dict[str, list[Any]]:
        """Branchings."""
        return {
            "right branching": [pm.right_branching(example.gold.end) for example in examples],
            "left branching": [pm.left_branching(example.gold.end) for example in examples],
        }


class Segmentation(Task):
    """Words of texts, by a threshold that is found on the texts themselves, or the best one on dev's gold."""

    metrics: ClassVar = {"f1": lambda s: s.f1, "precision": lambda s: s.precision, "recall": lambda s: s.recall}
    reach = 1
    floors: ClassVar = dict.fromkeys(["threshold of the texts", "threshold of dev"], "two characters a word")

    def read(self, path: Path, count_punctuation: bool) -> Iterator[Example]:
        """Texts whose words are separated by white space, one per line."""
        for words in map(str.split, read_lines(path)):
            if words:
                yield Example("".join(words), words)

    def decoders(self) -> Iterator[Decoder]:
        """Rules for the threshold, on strengths as they are and relative to their neighbours'."""
        rules: list[Callable[..., float]] = [pm.otsu, *map(pm.MeanWordLength, (1.5, 1.6, 1.7, 1.8))]
        for name, correct in (("absolute", lambda text: text), ("relative", pm.LinkedText.relative)):
            for choose in rules:
                rule = f"{'relative, ' if name == 'relative' else ''}{pm.describe_threshold(choose)}"
                yield Decoder("threshold of the texts", rule, choose, correct)
            yield Decoder("threshold of dev", name, None, correct)

    def prepare(self, decoder: Decoder, examples: Sequence[Example], matrices: Sequence[Any]) -> list[Any]:
        """Texts with the strengths of their links."""
        texts = [str(example.sentence) for example in examples]
        links = map(pm.neighbour_strengths, matrices)
        spans = [tuple(pm.split_characters(text)) for text in texts]
        return [decoder.correct(pm.LinkedText(*one)) for one in zip(texts, spans, links, strict=True)]

    def options(self, decoder: Decoder, prepared: list[Any]) -> Sequence[Option]:
        """Thresholds: 49 quantiles of the strengths."""
        if decoder.decode is not None:
            return decoder.options
        strengths = np.concatenate([np.zeros(1), *(run for text in prepared for run in text.runs())])
        return [{"threshold": float(one)} for one in np.quantile(strengths, np.linspace(0.02, 0.98, 49))]

    def predict(self, decoder: Decoder, examples: Sequence[Example], prepared: list[Any], option: Option) -> list[Any]:
        """Words."""
        threshold = pm.find_threshold(option.get("threshold", decoder.decode), prepared)  # type: ignore[arg-type]
        return [text.cut(threshold) for text in prepared]

    def score(self, example: Example, prediction: Any) -> Any:
        """Counts of one text."""
        return pm.score_segmentation(example.gold, prediction)

    def baselines(self, examples: Sequence[Example]) -> dict[str, list[Any]]:
        """Words of one length."""
        texts = [str(example.sentence) for example in examples]
        return {
            "each character a word": [pm.cut_evenly(text, 1) for text in texts],
            "two characters a word": [pm.cut_evenly(text, 2) for text in texts],
            "each run a word": [pm.cut_evenly(text, max(len(text), 1)) for text in texts],
        }


TASKS: dict[str, Task] = {
    "constituents": Constituents(),
    "dependencies": Dependencies(),
    "segmentation": Segmentation(),
}


def total(counts: Sequence[Any]) -> Any:
    """The sum of counts.

    Example:
        >>> total([pm.AttachmentScores(2, 1, 1, 1), pm.AttachmentScores(3, 0, 1, 2)])
        AttachmentScores(words=5, directed=1, undirected=2, neutral=3)
    """
    return type(counts[0])(*np.sum([astuple(count) for count in counts], axis=0).tolist())


def tune_on_dev(task: Task, decoder: Decoder, examples: Sequence[Example], matrices: Sequence[Any]) -> Option:
    """The options of a decoder that score best on labelled examples.

    Args:
        task: what is to be found.
        decoder: with options to choose from.
        examples: with their gold.
        matrices: of each example, ``(n, n)``.

    Returns:
        The first of the best options; that of a decoder without a choice is empty.

    Example:
        >>> lean = Decoder("", "", pm.cky, options=[{"right_bonus": -9.0}, {"right_bonus": 9.0}])
        >>> examples = [Example(("a", "b", "c"), pm.right_branching(3))]
        >>> tune_on_dev(TASKS["constituents"], lean, examples, [np.ones((3, 3))])
        {'right_bonus': 9.0}
    """
    prepared = task.prepare(decoder, examples, matrices)
    options = task.options(decoder, prepared)
    if len(options) == 1:
        return options[0]
    return max(
        options,
        key=lambda option: task.main_score(examples, task.predict(decoder, examples, prepared, option)),
    )
