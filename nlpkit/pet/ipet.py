"""iPET: generations of classifiers, each trained on what the others of the last one labelled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from nlpkit.pet.clozes.examples import Example
from nlpkit.pet.ensemble import weighted_mean


def label_counts(labelled: Sequence[Example], labels: Sequence[str], size: int) -> dict[str, int]:
    """How many examples of each label a training set of some size has when it keeps the given proportions.

    Args:
        labelled: gives the proportions; without examples all labels are equally frequent.
        labels: all labels.
        size: examples in all, which the largest remainders make exact.

    Returns:
        Label to number.

    Example:
        >>> label_counts([Example({}, "a"), Example({}, "a"), Example({}, "b")], ["a", "b"], 10)
        {'a': 7, 'b': 3}
    """
    found = Counter(example.label for example in labelled)
    total = sum(found[label] for label in labels)
    wanted = {label: size * (found[label] / total if total else 1 / len(labels)) for label in labels}
    counts = {label: int(share) for label, share in wanted.items()}
    by_remainder = sorted(labels, key=lambda label: counts[label] - wanted[label])
    for label in by_remainder[: size - sum(counts.values())]:
        counts[label] += 1
    return counts


def next_training_set(
    unlabelled: Sequence[Example],
    scores: Tensor,
    labelled: Sequence[Example],
    labels: Sequence[str],
    size: int,
    seed: int,
) -> list[Example]:
    """The labelled examples and newly labelled ones, drawn by the labellers' confidence.

    Source: iPET (Schick and Schuetze, 2021, arXiv 2001.07676, section 3.5): for each label examples are drawn, with
    the probability that the labellers give to it, from those that they give it to, and proportions are kept.

    Args:
        unlabelled: examples to draw from.
        scores: of the labellers, averaged, ``(unlabelled, labels)``.
        labelled: the original training examples, all kept.
        labels: in the order of the scores.
        size: examples of the new set, the labelled among them.
        seed: of the draws.

    Returns:
        Labelled first; fewer than ``size`` where some label has too few candidates.
    """
    random = np.random.default_rng(seed)
    probabilities = scores.double().softmax(dim=-1).numpy()
    best = probabilities.argmax(axis=1)
    counts = label_counts(labelled, labels, max(0, size - len(labelled)))
    chosen: list[Example] = []
    for number, label in enumerate(labels):
        own = np.flatnonzero(best == number)
        weights = probabilities[own, number]
        take = min(counts[label], len(own))
        if take:
            drawn = random.choice(own, size=take, replace=False, p=weights / weights.sum())
            chosen += [replace(unlabelled[place], label=label) for place in sorted(drawn)]
    return [*labelled, *chosen]


def labellers_of(member: int, members: int, share: float, random: np.random.Generator) -> list[int]:
    """Which other members label the next training set of one: a random share of them, at least one.

    Source: arXiv 2001.07676, section 3.5 (a quarter).

    Example:
        >>> labellers_of(0, 2, 0.25, np.random.default_rng(0))
        [1]
    """
    others = [other for other in range(members) if other != member]
    count = max(1, round(share * len(others)))
    return sorted(random.choice(others, size=min(count, len(others)), replace=False).tolist()) if others else [member]


def next_training_sets(
    unlabelled: Sequence[Example],
    member_scores: Sequence[Tensor],
    labelled: Sequence[Example],
    labels: Sequence[str],
    size: int,
    seed: int,
    share: float = 0.25,
) -> list[list[Example]]:
    """The next generation's training sets, one per member, each labelled by others.

    Args:
        unlabelled: examples to draw from.
        member_scores: of this generation's members, ``(unlabelled, labels)`` each.
        labelled: the original training examples.
        labels: in the order of the scores.
        size: examples of each new set; iPET multiplies it by five from generation to generation.
        seed: of all draws.
        share: of the other members that label for one.

    Returns:
        A training set per member.

    Note:
        A single member labels for itself (self-training), since there is no other.
    """
    random = np.random.default_rng(seed)
    sets = []
    for member in range(len(member_scores)):
        labellers = labellers_of(member, len(member_scores), share, random)
        scores = weighted_mean([member_scores[labeller] for labeller in labellers])
        sets.append(next_training_set(unlabelled, scores, labelled, labels, size, int(random.integers(2**31))))
    return sets
