"""What a method must beat."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from nlpkit.fewshot.grid.protocol import RunData, RunOutcome
from nlpkit.pet import Example


def majority(run: RunData) -> RunOutcome:
    """Always the label that is most frequent in training.

    Most few-shot training sets hold every label alike; among labels that tie, the seed and the split draw one.

    Args:
        run: a run of the protocol.

    Returns:
        A predictor of one label, which ``details`` names.
    """
    counts = Counter(example.label for example in run.train)
    most = max(counts.values())
    tied = [label for label in run.task.labels if counts[label] == most]
    label = random.Random(f"{run.seed} {run.split}").choice(tied)

    def predict(examples: Sequence[Example]) -> list[str]:
        return [label] * len(examples)

    return RunOutcome(predict, {"label": label, "tied": len(tied)})


def expected_majority_accuracy(train: Sequence[Example], test: Sequence[Example]) -> float:
    """The accuracy of ``majority`` in the mean over its draws among labels that tie.

    Args:
        train: labelled training examples, at least one.
        test: labelled examples to score on, at least one.

    Returns:
        A fraction. With a training set that holds every label of the test alike it is one over their number, however
        the labels are distributed in the test.

    Raises:
        ValueError: one of the two is empty.

    Example:
        >>> pair = [Example({"text": ""}, "a"), Example({"text": ""}, "b")]
        >>> expected_majority_accuracy(pair, pair + pair[:1])
        0.5
    """
    if not train or not test:
        raise ValueError(f"{len(train)} training and {len(test)} test examples; give at least one of each")
    counts = Counter(example.label for example in train)
    most = max(counts.values())
    tied = [label for label, count in counts.items() if count == most]
    return sum(example.label in tied for example in test) / len(test) / len(tied)
