from __future__ import annotations

from collections import Counter

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from nlpkit.pet.clozes.examples import Example
from nlpkit.pet.ipet import label_counts, labellers_of, next_training_set, next_training_sets

LABELS = ["a", "b", "c"]
UNLABELLED = [Example({"text": str(number)}) for number in range(300)]
LABELLED = [Example({"text": f"l{number}"}, label) for number, label in enumerate("aab")]


@given(st.lists(st.sampled_from(LABELS)), st.integers(0, 500))
def test_counts_keep_proportions_and_add_up(labels: list[str], size: int) -> None:
    labelled = [Example({}, label) for label in labels]
    counts = label_counts(labelled, LABELS, size)
    assert sum(counts.values()) == size
    for label in LABELS:
        share = labels.count(label) / len(labels) if labels else 1 / 3
        assert abs(counts[label] - share * size) < 1


def test_the_next_set_grows_keeps_proportions_and_the_labelled() -> None:
    scores = torch.randn(300, 3, generator=torch.Generator().manual_seed(0))
    for size in (15, 75):
        chosen = next_training_set(UNLABELLED, scores, LABELLED, LABELS, size, seed=1)
        assert len(chosen) == size
        assert chosen[:3] == LABELLED
        counts = Counter(example.label for example in chosen[3:])
        assert counts == Counter({k: v for k, v in label_counts(LABELLED, LABELS, size - 3).items() if v})
        for example in chosen[3:]:
            assert example.label == LABELS[int(scores[int(example.fields["text"])].argmax())]


def test_confident_texts_are_drawn_more_often() -> None:
    scores = torch.zeros(300, 2)
    scores[:150, 0] = 3.0  # sure of the first half
    scores[150:, 0] = 0.01  # hardly of the second
    drawn = Counter(
        int(example.fields["text"]) < 150
        for seed in range(40)
        for example in next_training_set(UNLABELLED, scores, [Example({}, "a")], ["a", "b"], 11, seed)[1:]
    )
    assert drawn[True] > 1.5 * drawn[False]


@given(st.integers(2, 12), st.floats(0.05, 1.0), st.integers(0, 99))
def test_a_member_never_labels_its_own_next_set(members: int, share: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    for member in range(members):
        labellers = labellers_of(member, members, share, random)
        assert member not in labellers
        assert len(set(labellers)) == len(labellers) == max(1, min(members - 1, round(share * (members - 1))))


def test_of_two_members_each_labels_for_the_other() -> None:
    first, second = torch.zeros(300, 3), torch.zeros(300, 3)
    first[:, 0], second[:, 1] = 5.0, 5.0
    labelled = [Example({}, label) for label in LABELS]
    sets = next_training_sets(UNLABELLED, [first, second], labelled, LABELS, 9, seed=0)
    assert {example.label for example in sets[0][3:]} == {"b"}
    assert {example.label for example in sets[1][3:]} == {"a"}


def test_a_single_member_trains_itself() -> None:
    assert labellers_of(0, 1, 0.25, np.random.default_rng(0)) == [0]
