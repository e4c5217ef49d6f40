from __future__ import annotations

import math

import pytest
import torch

from nlpkit.pet.clozes.examples import Example
from nlpkit.pet.verbalizer_search import likelihood_ratios, search_verbalizer
from tests.pet.models import TEXTS, small_classifier


def test_ratios_are_what_the_definition_says() -> None:
    torch.manual_seed(0)
    probabilities = torch.rand(5, 4, dtype=torch.float64) * 0.8 + 0.1
    labels = [0, 1, 0, 2, 1]
    found = likelihood_ratios(probabilities.log(), torch.tensor(labels), 3)
    for label in range(3):
        for token in range(4):
            odds = [math.log(float(p[token]) / (1 - float(p[token]))) for p in probabilities]
            own = [value for value, of in zip(odds, labels, strict=True) if of == label]
            rest = [value for value, of in zip(odds, labels, strict=True) if of != label]
            assert found[label, token].item() == pytest.approx(sum(own) / len(own) - sum(rest) / len(rest))


def test_frequency_of_labels_does_not_matter() -> None:
    logs = torch.tensor([[0.6, 0.1], [0.2, 0.5]]).log()
    once = likelihood_ratios(logs, torch.tensor([0, 1]), 2)
    often = likelihood_ratios(logs[[0, 1, 1, 1]], torch.tensor([0, 1, 1, 1]), 2)
    torch.testing.assert_close(once, often)


def test_found_words_are_words_and_tell_the_examples_apart(small_vocabulary: dict[str, int]) -> None:
    classifier = small_classifier(small_vocabulary, verbalizer={"a": "很", "b": "不"})
    examples = [Example({"text": text}, "ab"[number % 2]) for number, text in enumerate(TEXTS)]
    found = search_verbalizer(classifier, examples, words_per_label=2)
    words = [word for own in found.values() for word in own]
    assert list(found) == ["a", "b"]
    assert len(set(words)) == len(words) == 4
    assert all(word in small_vocabulary and not word.startswith(("[", "##")) for word in words)
    searched = small_classifier(small_vocabulary, verbalizer=found)
    right = sum(p == e.label for p, e in zip(searched.calibrate(TEXTS).predict(TEXTS), examples, strict=True))
    assert right >= 6


def test_a_search_needs_examples_of_every_label(small_vocabulary: dict[str, int]) -> None:
    classifier = small_classifier(small_vocabulary, verbalizer={"a": "很", "b": "不"})
    with pytest.raises(ValueError, match="label number 1 has no examples"):
        search_verbalizer(classifier, [Example({"text": "好"}, "a")])
    two = small_classifier(
        small_vocabulary, "{mask}{text}{mask}", verbalizer={"a": [("很", "好")], "b": [("不", "好")]}
    )
    with pytest.raises(ValueError, match="the search fills one slot"):
        search_verbalizer(two, [Example({"text": "好"}, "a")])
