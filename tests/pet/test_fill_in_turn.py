"""Words that begin alike share their passes, and get the scores that they get alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nlpkit.pet import PetClassifier, Verbalizer
from tests.pet.models import TEXTS, small_classifier

WORDS = {"a": "不错好", "b": "不错人", "c": "好人", "d": "好好", "e": "很", "f": "不错好人"}


def asking(vocabulary: dict[str, int], words: dict[str, str], order: str) -> tuple[PetClassifier, list[int]]:
    classifier = small_classifier(vocabulary, verbalizer=Verbalizer(words, order=order)).double()  # type: ignore[arg-type]
    rows: list[int] = []
    classifier.model.register_forward_pre_hook(
        lambda module, inputs, settings: rows.append(len(settings["input_ids"])), with_kwargs=True
    )
    return classifier, rows


def test_each_distinct_input_is_one_row(small_vocabulary: dict[str, int]) -> None:
    classifier, rows = asking(small_vocabulary, WORDS, "left_to_right")
    classifier.predict(TEXTS[:2])
    # Clozes of one, two and three masks; then behind 好 and 不错; then behind 不错好: for each of two texts.
    assert rows == [2 * 3, 2 * 3, 2 * 1]
    counts = {word.mask_counts for word in classifier.collator._common or []}
    assert counts == {(1,), (2,), (3,)}


def test_many_labels_cost_few_passes(small_vocabulary: dict[str, int]) -> None:
    first, second = list("服务态度今天"), list("气不错酒店的我们随时地")
    words = {f"{one}{two}": f"{one}{two}" for one in first for two in second if f"{one}{two}" not in small_vocabulary}
    classifier, rows = asking(small_vocabulary, words, "left_to_right")
    alone = small_classifier(
        small_vocabulary, verbalizer=Verbalizer(dict(list(words.items())[:2]), order="left_to_right")
    )
    found = classifier.scores(TEXTS[:2]).softmax(-1).numpy()
    assert sum(rows) == 2 * (1 + len(first))
    of_two = alone.double().scores(TEXTS[:2]).softmax(-1).numpy()
    np.testing.assert_allclose(of_two[:, 0], found[:, 0] / found[:, :2].sum(axis=1), rtol=1e-9)


@pytest.mark.parametrize("order", ["left_to_right", "most_confident_first"])
def test_rows_at_once_change_nothing(order: str, small_vocabulary: dict[str, int]) -> None:
    from nlpkit.pet.fill_in_turn import scores_in_turn

    classifier, _ = asking(small_vocabulary, WORDS, order)
    batch = classifier.unlabelled_batch([classifier.labelled([text]).examples[0] for text in TEXTS])
    with torch.no_grad():
        whole, parts = (
            scores_in_turn(classifier.log_probabilities_at, batch, order, True, size)  # type: ignore[arg-type]
            for size in (1000, 3)
        )
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-10)
