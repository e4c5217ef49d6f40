from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nlpkit.pet.scoring import PADDING, calibrated, labels_from_words, mean_log_probability, words_from_logits
from tests.reference.pet_scores import combine


@given(st.integers(0, 10_000))
def test_the_score_of_a_word_is_the_log_of_its_tokens_probabilities_product(seed: int) -> None:
    torch.manual_seed(seed)
    batch, variants, masks, vocabulary, count = 3, 2, 3, 7, 4
    logits = torch.randn(batch, variants, masks, vocabulary, dtype=torch.float64)
    words = torch.randint(0, vocabulary, (batch, count, masks))
    lengths = torch.randint(1, masks + 1, (batch, count))
    words[torch.arange(masks) >= lengths[..., None]] = PADDING
    places = torch.randint(0, variants, (batch, count))
    product = words_from_logits(logits, logits.logsumexp(-1), words, places, mean_over_tokens=False)
    mean = words_from_logits(logits, logits.logsumexp(-1), words, places, mean_over_tokens=True)
    for b in range(batch):
        for w in range(count):
            probability = 1.0
            for mask in range(int(lengths[b, w])):
                probability *= float(logits[b, places[b, w], mask].softmax(-1)[words[b, w, mask]])
            assert product[b, w].exp().item() == pytest.approx(probability, rel=1e-9)
            assert mean[b, w].exp().item() == pytest.approx(probability ** (1 / int(lengths[b, w])), rel=1e-9)


@given(st.integers(0, 10_000), st.sampled_from(["mean", "max", "logsumexp"]))
def test_labels_combine_words_as_named(seed: int, aggregate: str) -> None:
    torch.manual_seed(seed)
    scores = torch.randn(5, 6, dtype=torch.float64)
    groups = torch.tensor([[0, 3, 5], [1, PADDING, PADDING], [2, 4, PADDING]])
    found = labels_from_words(scores, groups, aggregate)
    for row in range(5):
        for label, members in enumerate([[0, 3, 5], [1], [2, 4]]):
            expected = combine([float(scores[row, member]) for member in members], aggregate)
            assert found[row, label].item() == pytest.approx(expected)


def test_one_word_of_one_token_a_label_is_a_softmax_over_their_logits() -> None:
    logits = torch.randn(4, 1, 1, 3)
    words = torch.tensor([[[0], [1], [2]]]).expand(4, 3, 1)
    scores = words_from_logits(logits, None, words, torch.zeros(4, 3, dtype=torch.long), mean_over_tokens=True)
    labels = labels_from_words(scores, torch.tensor([[0], [1], [2]]), "mean")
    assert torch.equal(labels.softmax(-1), logits[:, 0, 0].softmax(-1))


def test_a_content_free_input_is_calibrated_to_the_uniform_distribution() -> None:
    scores = torch.randn(1, 5) * 3
    prior = mean_log_probability(scores)
    torch.testing.assert_close(calibrated(scores, prior).exp(), torch.full((1, 5), 0.2))


def test_a_uniform_prior_changes_nothing_and_labels_may_be_permuted() -> None:
    scores, prior = torch.randn(6, 4), torch.randn(4).log_softmax(-1)
    torch.testing.assert_close(calibrated(scores, torch.full((4,), -1.0)), scores.log_softmax(-1))
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(calibrated(scores[:, order], prior[order]), calibrated(scores, prior)[:, order])


def test_calibration_on_all_inputs_leaves_no_preference() -> None:
    scores = torch.randn(50, 3) + torch.tensor([4.0, 0.0, -2.0])
    found = calibrated(scores, mean_log_probability(scores))
    torch.testing.assert_close(mean_log_probability(found).exp(), torch.full((3,), 1 / 3))
