from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nlpkit.pet.clozes.examples import Example
from nlpkit.pet.objectives.adapet import AdapetLoss, log_one_minus_exp
from tests.pet.models import WORDS, small_classifier
from tests.pet.objectives.test_objectives import rows


@given(st.floats(-700, -1e-12))
def test_log_one_minus_exp_is_accurate(x: float) -> None:
    import math

    expected = math.log(-math.expm1(x)) if x > -0.5 else math.log1p(-math.exp(x))
    assert log_one_minus_exp(torch.tensor(x, dtype=torch.float64)).item() == pytest.approx(expected, rel=1e-12)


def test_its_gradient_is_finite_at_both_ends() -> None:
    x = torch.tensor([0.0, -1e-30, -0.69, -0.7, -100.0], requires_grad=True)
    log_one_minus_exp(x).sum().backward()
    assert torch.isfinite(x.grad).all()


def test_the_label_term_pushes_right_up_and_wrong_down_under_the_whole_vocabulary(
    small_vocabulary: dict[str, int],
) -> None:
    classifier = small_classifier(small_vocabulary, verbalizer={"good": "很", "bad": "不", "mixed": "不错"})
    objective = AdapetLoss(classifier, label_condition=0.0)
    found = objective(**objective.collate(rows(0)))["loss"]
    total = 0.0
    for row in rows(0):
        inputs = classifier.tokenizer("[MASK]满意。" + row.example.fields["text"], return_tensors="pt")
        probabilities = classifier.model(**inputs).logits[0, 1].softmax(-1)
        for label, word in {"good": "很", "bad": "不", "mixed": "不错"}.items():
            probability = probabilities[small_vocabulary[word]]
            total -= torch.log(probability if label == row.example.label else 1 - probability)
    torch.testing.assert_close(found, total / 8)


def test_the_input_is_predicted_from_a_label_that_stands_in_the_slot(small_vocabulary: dict[str, int]) -> None:
    classifier = small_classifier(small_vocabulary)
    objective = AdapetLoss(classifier, mask_probability=0.3)
    batch = objective.collate(rows(0))
    firsts = {label: words if isinstance(words, str) else words[0] for label, words in WORDS.items()}
    for number, row in enumerate(rows(0)):
        shown = int(batch["mlm_input_ids"][number, 1])
        is_right = shown == small_vocabulary[firsts[str(row.example.label)]]
        assert bool(batch["mlm_is_right"][number]) == is_right
        assert batch["mlm_labels"][number, 1] == -100
    assert 0 < batch["mlm_is_right"].sum() < 8
    inputs = {f"{name}": batch[f"mlm_{name}"] for name in ("input_ids", "attention_mask", "token_type_ids")}
    probabilities = classifier.model(**inputs).logits.softmax(-1)
    places = (batch["mlm_labels"] != -100).nonzero().tolist()
    total = 0.0
    for row, column in places:
        probability = probabilities[row, column, batch["mlm_labels"][row, column]]
        total -= torch.log(probability if batch["mlm_is_right"][row] else 1 - probability)
    torch.testing.assert_close(objective.terms(batch, objective.items(batch))[1], total / len(places))


def test_micro_batches_add_up_to_the_whole(small_vocabulary: dict[str, int]) -> None:
    objective = AdapetLoss(small_classifier(small_vocabulary).double())
    whole = objective(**objective.collate(rows(0)))["loss"]
    parts = [objective.collate(rows(0)[place : place + 3]) for place in (0, 3, 6)]
    items = torch.stack([objective.items(part) for part in parts]).sum(dim=0)
    total = sum(objective(**part, num_items_in_batch=items)["loss"] for part in parts)
    torch.testing.assert_close(total, whole, rtol=0, atol=1e-10)


def test_it_needs_common_labels(small_vocabulary: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="needs labels common to all examples"):
        AdapetLoss(small_classifier(small_vocabulary, verbalizer=None))
    for wrong in (-1.0, float("nan")):
        with pytest.raises(ValueError, match=f"label_condition={wrong}: give a finite number at least 0"):
            AdapetLoss(small_classifier(small_vocabulary), label_condition=wrong)
    assert Example({"text": "a"}).label is None
