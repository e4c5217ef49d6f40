from __future__ import annotations

import numpy as np
import pytest
import torch

from nlpkit.pet import DemonstratedClassifier, mean_states
from nlpkit.pet.clozes.examples import Example
from nlpkit.pet.training.training_rows import TrainingRow
from nlpkit.wobert.tokenizing.tokenizer import WoBertTokenizer
from tests.pet.models import TEXTS, labelled_examples, small_model

WORDS = {"good": "很", "bad": "不"}
SUPPORT = [example for example in labelled_examples() if example.label in WORDS]


def demonstrated(vocabulary: dict[str, int], **settings: object) -> DemonstratedClassifier:
    tokenizer = WoBertTokenizer(vocabulary)
    return DemonstratedClassifier(
        small_model(len(tokenizer)), tokenizer, "{mask}满意。{text}", WORDS, **{"support": SUPPORT, **settings}
    )


def test_a_solved_example_of_each_label_follows_the_input(small_vocabulary: dict[str, int]) -> None:
    classifier = demonstrated(small_vocabulary)
    batch = classifier.collate([Example.of("今天天气不错")])
    text = classifier.tokenizer.convert_ids_to_tokens(batch["input_ids"][0].tolist())
    shown = " ".join(token for token in text if token != "[PAD]")
    parts = shown.removeprefix("[CLS] ").removesuffix(" [SEP]").split(" [SEP] ")
    assert parts[0] == " ".join(["[MASK]", *classifier.tokenizer.tokenize("满意。今天天气不错")])
    assert len(parts) == 3
    solved = {label: set() for label in WORDS}
    for example in SUPPORT:
        tokens = classifier.tokenizer.tokenize(WORDS[str(example.label)] + "满意。" + example.fields["text"])
        solved[str(example.label)].add(" ".join(tokens))
    assert parts[1] in solved["good"]
    assert parts[2] in solved["bad"]
    assert (batch["input_ids"] == 4).sum() == 1


def test_an_example_never_sees_its_own_solution(small_vocabulary: dict[str, int]) -> None:
    classifier = demonstrated(small_vocabulary)
    for draw in range(30):
        batch = classifier.collate_rows([TrainingRow(SUPPORT[0], draw)])
        tokens = classifier.tokenizer.convert_ids_to_tokens(batch["input_ids"][0].tolist())
        parts = " ".join(tokens).split(" [SEP] ")
        own = " ".join(classifier.tokenizer.tokenize(SUPPORT[0].fields["text"]))
        assert own in parts[0]
        assert all(own not in part for part in parts[1:])


def test_training_draws_anew_and_reproducibly(small_vocabulary: dict[str, int]) -> None:
    classifier = demonstrated(small_vocabulary)
    seen = {
        tuple(classifier.collate_rows([TrainingRow(SUPPORT[0], draw)])["input_ids"][0].tolist()) for draw in range(20)
    }
    assert len(seen) > 1
    first, again = (classifier.collate_rows([TrainingRow(SUPPORT[0], 3)])["input_ids"] for _ in range(2))
    assert torch.equal(first, again)


def test_predictions_average_over_samplings_and_not_over_company(small_vocabulary: dict[str, int]) -> None:
    classifier = demonstrated(small_vocabulary, samplings=3).double()
    rows = [
        classifier.label_scores(
            **{k: v for k, v in classifier.collate([Example.of(TEXTS[1])], sampling).items() if k != "labels"}
        ).log_softmax(-1)
        for sampling in range(3)
    ]
    mean = torch.stack(rows).mean(dim=0).detach().double()
    torch.testing.assert_close(classifier.scores([TEXTS[1]]).double(), mean, rtol=0, atol=1e-10)
    together = classifier.predict_proba(TEXTS)
    np.testing.assert_allclose(classifier.predict_proba(TEXTS, batch_size=1), together, rtol=0, atol=1e-10)


@pytest.mark.parametrize("size", [1.0, 1e-25, 1e25])
def test_only_similar_examples_demonstrate(size: float, small_vocabulary: dict[str, int]) -> None:
    def length_is_meaning(texts: list[str]) -> torch.Tensor:
        return size * torch.tensor([[np.cos(len(text) / 30), np.sin(len(text) / 30)] for text in texts])

    classifier = demonstrated(small_vocabulary, text_encoder=length_is_meaning, similar_share=0.3)
    query = Example.of("我们随时随地满意了好")
    for place, own in enumerate(classifier._by_label):
        nearest = min(own, key=lambda example: abs(len(example.fields["text"]) - 10))
        assert [classifier._by_label[place][n] for n in classifier._candidates(query, own)] == [nearest]


def test_mean_states_are_those_of_the_text_alone(small_vocabulary: dict[str, int]) -> None:
    tokenizer = WoBertTokenizer(small_vocabulary)
    model = small_model(len(tokenizer))
    encode = mean_states(model, tokenizer)
    together = encode(TEXTS[:3])
    for text, row in zip(TEXTS[:3], together, strict=True):
        states = model.bert(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        torch.testing.assert_close(row, states.mean(dim=0).detach())


def test_long_inputs_leave_room_for_the_demonstrations(small_vocabulary: dict[str, int]) -> None:
    classifier = demonstrated(small_vocabulary, demonstration_length=12)
    batch = classifier.collate([Example.of("今天天气不错" * 50)])
    assert batch["input_ids"].shape[1] <= classifier.max_length
    assert (batch["input_ids"] == 4).sum() == 1


def test_every_label_needs_support(small_vocabulary: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="no example with label 'bad' to demonstrate"):
        demonstrated(small_vocabulary, support=[example for example in SUPPORT if example.label == "good"])
    with pytest.raises(ValueError, match="similar_share must be above 0"):
        demonstrated(small_vocabulary, similar_share=0)
