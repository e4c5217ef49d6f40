"""What every task has: examples with gold, decoders to choose among on dev, baselines and scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import ClassVar, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from nlpkit.labels.spans import SpanScores
from nlpkit.perturbed_masking.treebanks.scores import AttachmentScores

#: What is to be found in a sentence: heads, a tree, or words.
Answer = TypeVar("Answer")
#: What is decoded: a matrix, or a text with the strengths of its links.
Prepared = TypeVar("Prepared")
#: Counts that add up: a dataclass of whole numbers.
Counts = TypeVar("Counts", bound=AttachmentScores | SpanScores)

Matrix = NDArray[np.floating]
Option = dict[str, float]


class Example(NamedTuple, Generic[Answer]):
    """A sentence and what is to be found in it.

    Args:
        sentence: words, or a text.
        gold: heads, a tree, or words.
        scored: the words whose heads count; all by default.
    """

    sentence: str | tuple[str, ...]
    gold: Answer
    scored: Sequence[bool] | None = None


class Decoder(NamedTuple, Generic[Answer, Prepared]):
    """A way from impact matrices to answers.

    Args:
        group: decoders that know equally much; the best of each group is chosen on dev.
        name: inside the group.
        decode: from what was prepared of a sentence to an answer.
        correct: what is done before, to a matrix or to strengths.
        options: keyword arguments of ``decode`` that dev is to choose from, or what lists them for given sentences.
        find: finds the keyword arguments on the sentences to be decoded, without gold; then nothing is chosen.
        told: keyword arguments that say something about an example, such as its marks, or of its gold, its root.
    """

    group: str
    name: str
    decode: Callable[..., Answer]
    correct: Callable[[Prepared], Prepared] | None = None
    options: Sequence[Option] | Callable[[Sequence[Prepared]], Sequence[Option]] = ({},)
    find: Callable[[Sequence[Prepared]], Option] | None = None
    told: Callable[[Example[Answer]], Mapping[str, object]] | None = None


class Vote(NamedTuple, Generic[Answer]):
    """Answers by a vote of the layers.

    Args:
        name: of the decoder.
        floor: the baseline to beat.
        answers: one per example.
    """

    name: str
    floor: str
    answers: list[Answer]


class Task(ABC, Generic[Answer, Prepared, Counts]):
    """One kind of evaluation.

    Attributes:
        metrics: of summed counts, by name; settings are chosen by the first.
        summaries: further figures, of examples and their counts.
        floors: the baseline that each group of decoders has to beat.
        reach: as for ``PerturbedMasking.impact``.
    """

    metrics: Mapping[str, Callable[[Counts], float]]
    summaries: Mapping[str, Callable[[Sequence[Example[Answer]], Sequence[Counts]], float]] = {}
    floors: ClassVar[Mapping[str, str]]
    reach: ClassVar[int | None] = None

    @abstractmethod
    def read(self, path: Path, count_punctuation: bool) -> Iterator[Example[Answer]]:
        """The examples of a file."""

    @abstractmethod
    def decoders(self) -> Iterator[Decoder[Answer, Prepared]]:
        """The decoders to choose among."""

    @abstractmethod
    def score(self, example: Example[Answer], answer: Answer) -> Counts:
        """Counts of one example."""

    @abstractmethod
    def baselines(self, examples: Sequence[Example[Answer]]) -> dict[str, list[Answer]]:
        """Answers that need no model."""

    @abstractmethod
    def read_matrix(self, example: Example[Answer], matrix: Matrix) -> Prepared:
        """What decoders of this task take, out of an impact matrix."""

    def votes(self, examples: Sequence[Example[Answer]], matrices: Sequence[Sequence[Matrix]]) -> list[Vote[Answer]]:
        """Answers that take every layer and choose nothing; none by default.

        Args:
            examples: to be answered.
            matrices: of each example, one per layer.
        """
        return []

    def prepare(
        self, decoder: Decoder[Answer, Prepared], examples: Sequence[Example[Answer]], matrices: Sequence[Matrix]
    ) -> list[Prepared]:
        """What is decoded, the same whatever the options."""
        read = [self.read_matrix(*pair) for pair in zip(examples, matrices, strict=True)]
        return read if decoder.correct is None else [decoder.correct(one) for one in read]

    def predict(
        self,
        decoder: Decoder[Answer, Prepared],
        examples: Sequence[Example[Answer]],
        prepared: Sequence[Prepared],
        option: Option,
    ) -> list[Answer]:
        """An answer per example."""
        found = decoder.find(prepared) if decoder.find else option
        return [
            decoder.decode(one, **found, **(decoder.told(example) if decoder.told else {}))
            for one, example in zip(prepared, examples, strict=True)
        ]

    def counts(self, examples: Sequence[Example[Answer]], answers: Sequence[Answer]) -> list[Counts]:
        """Counts of every example."""
        return [self.score(*pair) for pair in zip(examples, answers, strict=True)]

    def main_score(self, examples: Sequence[Example[Answer]], answers: Sequence[Answer]) -> float:
        """The first of ``metrics``, over all examples together."""
        return next(iter(self.metrics.values()))(total(self.counts(examples, answers)))


def total(counts: Sequence[Counts]) -> Counts:
    """The sum of counts.

    Example:
        >>> total([AttachmentScores(2, 1, 1, 1), AttachmentScores(3, 0, 1, 2)])
        AttachmentScores(words=5, directed=1, undirected=2, neutral=3)
    """
    return type(counts[0])(*np.sum([astuple(count) for count in counts], axis=0).tolist())


def tune_on_dev(
    task: Task[Answer, Prepared, Counts],
    decoder: Decoder[Answer, Prepared],
    examples: Sequence[Example[Answer]],
    matrices: Sequence[Matrix],
) -> Option:
    """The options of a decoder that score best on labelled examples.

    Args:
        task: what is to be found.
        decoder: with options to choose from.
        examples: with their gold.
        matrices: of each example, ``(n, n)``.

    Returns:
        The first of the best options; that of a decoder without a choice is empty.

    Example:
        >>> from nlpkit.perturbed_masking import cky, right_branching
        >>> from nlpkit.perturbed_masking.tasks import Constituents
        >>> lean = Decoder("", "", cky, options=[{"right_bonus": -9.0}, {"right_bonus": 9.0}])
        >>> examples = [Example(("a", "b", "c"), right_branching(3))]
        >>> tune_on_dev(Constituents(), lean, examples, [np.ones((3, 3))])
        {'right_bonus': 9.0}
    """
    prepared = task.prepare(decoder, examples, matrices)
    options = decoder.options(prepared) if callable(decoder.options) else decoder.options
    if len(options) == 1:
        return options[0]
    return max(
        options,
        key=lambda option: task.main_score(examples, task.predict(decoder, examples, prepared, option)),
    )
