from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    AutoTokenizer,
    PreTrainedTokenizerBase,
    RobertaTokenizer,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
)

from nlpkit.pet import PetClassifier, Verbalizer
from nlpkit.pet.clozes.examples import Example
from nlpkit.pet.clozes.label_tokens import token_texts
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
    examples = [Example({"text": text}, "ab"[number % 2]) for number, text in enumerate(TEXTS)]
    right = 0
    for seed in range(6):
        classifier = small_classifier(small_vocabulary, verbalizer={"a": "很", "b": "不"}, seed=seed)
        found = search_verbalizer(classifier, examples, words_per_label=2)
        words = [word for own in found.values() for word in own]
        assert list(found) == ["a", "b"]
        assert len(set(words)) == len(words) == 4
        assert all(word in small_vocabulary and not word.startswith(("[", "##")) for word in words)
        searched = small_classifier(small_vocabulary, verbalizer=found, seed=seed)
        right += sum(p == e.label for p, e in zip(searched.calibrate(TEXTS).predict(TEXTS), examples, strict=True))
    assert right > 0.7 * 6 * len(TEXTS)  # 35 of 48; with the words given at first 21


def test_numbered_labels_are_read_by_name(small_vocabulary: dict[str, int]) -> None:
    from datasets import ClassLabel, Dataset

    classifier = small_classifier(small_vocabulary, verbalizer={"a": "很", "b": "不"})
    table = Dataset.from_dict({"text": TEXTS, "label": [*"ab" * (len(TEXTS) // 2)]})
    numbered = table.cast_column("label", ClassLabel(names=["b", "a"]))
    assert search_verbalizer(classifier, numbered) == search_verbalizer(classifier, table)


def test_a_search_needs_examples_of_every_label(small_vocabulary: dict[str, int]) -> None:
    classifier = small_classifier(small_vocabulary, verbalizer={"a": "很", "b": "不"})
    with pytest.raises(ValueError, match="label number 1 has no examples"):
        search_verbalizer(classifier, [Example({"text": "好"}, "a")])
    two = small_classifier(
        small_vocabulary, "{mask}{text}{mask}", verbalizer={"a": [("很", "好")], "b": [("不", "好")]}
    )
    with pytest.raises(ValueError, match="the search fills one slot"):
        search_verbalizer(two, [Example({"text": "好"}, "a")])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"words_per_label": 0}, "words_per_label=0: give a whole number at least 1"),
        ({"most_frequent": 0}, "most_frequent=0: give a whole number at least 1"),
        (
            {"words_per_label": 28},
            r"of 56 words, \d+ tell label '[ab]' better than any other; words_per_label=28 asks",
        ),
        ({"words_per_label": 100}, "the vocabulary has 56 words of one token .*; words_per_label=100 asks for more"),
    ],
)
def test_as_many_words_are_found_as_were_asked_for_or_none(
    settings: dict[str, int], message: str, small_vocabulary: dict[str, int]
) -> None:
    classifier = small_classifier(small_vocabulary, verbalizer={"a": "很", "b": "不"})
    with pytest.raises(ValueError, match=message):
        search_verbalizer(classifier, {"text": TEXTS, "label": [*"ab" * 4]}, **settings)


def test_a_search_without_labels_says_that_they_are_missing(small_vocabulary: dict[str, int]) -> None:
    classifier = small_classifier(small_vocabulary, verbalizer={"a": "很", "b": "不"})
    for examples in (TEXTS, {"text": TEXTS, "label": [None] * len(TEXTS)}):
        with pytest.raises(ValueError, match=r"^no labels: give examples with labels, in a column 'label' for one"):
            search_verbalizer(classifier, examples)
    with pytest.raises(ValueError, match=r"^no examples; give at least one text with a label"):
        search_verbalizer(classifier, [])
    with pytest.raises(ValueError, match="the search needs common labels; these examples bring candidates"):
        search_verbalizer(small_classifier(small_vocabulary, verbalizer=None), TEXTS)


FILMS = [f"{kind} {noun} was {kind} and {other}" for kind in ("good", "bad", "fine", "poor", "great", "weak")
         for noun in ("film", "story", "music") for other in ("long", "short", "slow")]  # fmt: skip


def byte_level() -> PreTrainedTokenizerBase:
    """Names of pieces are ``Ġgreat``: trained on the films, each word of which becomes one piece."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        FILMS * 3, vocab_size=400, min_frequency=2, special_tokens=special, show_progress=False
    )
    merges = [tuple(pair) for pair in json.loads(trained.to_str())["model"]["merges"]]
    tokenizer = RobertaTokenizer(vocab=trained.get_vocab(), merges=merges)
    assert "Ġgreat" in tokenizer.get_vocab()
    return tokenizer


def pieces_of_words(folder: Path) -> PreTrainedTokenizerBase:
    """Names of pieces are ``▁great``."""
    return AutoTokenizer.from_pretrained(folder / "zh-en-minilm-l12-h384")


@pytest.mark.parametrize("kind", ["byte_level", "pieces_of_words"])
def test_found_words_are_read_as_the_tokens_that_were_found(kind: str, request: pytest.FixtureRequest) -> None:
    """Names of pieces are no words: what is found must be texts."""
    tokenizer = byte_level() if kind == "byte_level" else pieces_of_words(request.getfixturevalue("shared_models"))
    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=len(tokenizer), hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8,
        max_position_embeddings=40, pad_token_id=tokenizer.pad_token_id, initializer_range=0.5,
    )  # fmt: skip
    model = XLMRobertaForMaskedLM(config)
    for pattern in ("{text} was {mask}", "{mask} {text}", "{text}很{mask}"):
        classifier = PetClassifier(model, tokenizer, pattern, {"a": "good", "b": "bad"})
        examples = {"text": ["good film", "bad film", "fine"], "label": ["a", "b", "a"]}
        found = search_verbalizer(classifier, examples, words_per_label=3, most_frequent=500)
        words = [word for own in found.values() for word in own]
        assert len(set(words)) == 6 and all(word.isalpha() for word in words)
        for word in Verbalizer(found).tokenized(tokenizer, classifier.pattern):
            (text,) = token_texts(word.flat, tokenizer)
            assert text in words


def test_a_search_is_the_same_each_time_whatever_the_mode(small_vocabulary: dict[str, int]) -> None:
    classifier = small_classifier(small_vocabulary, verbalizer={"a": "很", "b": "不"})
    classifier.model.config.hidden_dropout_prob = 0.5
    for module in classifier.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    examples = [Example({"text": text}, "ab"[number % 2]) for number, text in enumerate(TEXTS)]
    classifier.train()
    first = search_verbalizer(classifier, examples)
    assert all(search_verbalizer(classifier, examples) == first for _ in range(3))
    assert classifier.model.training
    with pytest.raises(ValueError, match=r"words of one token that fit pattern .*; words_per_label=1000 asks"):
        search_verbalizer(classifier, examples, words_per_label=1000)
