from __future__ import annotations

import pytest
import torch

from nlpkit.pet.ensemble import Ensemble, weighted_mean
from tests.pet.models import TEXTS, small_classifier


def test_equal_weights_are_the_plain_mean_whatever_their_size() -> None:
    scores = [torch.randn(4, 3) for _ in range(3)]
    expected = torch.stack([member.log_softmax(-1) for member in scores]).mean(dim=0)
    for weights in (None, [1, 1, 1], [0.2, 0.2, 0.2], [0, 0, 0]):
        torch.testing.assert_close(weighted_mean(scores, weights), expected)


def test_a_weight_of_zero_silences_a_member_and_constants_do_not_matter() -> None:
    first, second = torch.randn(4, 3), torch.randn(4, 3)
    torch.testing.assert_close(weighted_mean([first + 7, second], [2, 0]), first.log_softmax(-1))


@pytest.mark.parametrize(("members", "weights"), [(0, None), (1, [1, 2]), (1, [-1])])
def test_ensembles_are_checked(members: int, weights: list[float] | None) -> None:
    with pytest.raises(ValueError, match="one number per member" if members else "at least one member"):
        weighted_mean([torch.zeros(1, 2)] * members, weights)


def test_an_ensemble_of_one_is_that_one(small_vocabulary: dict[str, int]) -> None:
    classifier = small_classifier(small_vocabulary)
    assert Ensemble([classifier, classifier]).predict(TEXTS) == classifier.predict(TEXTS)
    with pytest.raises(ValueError, match="must have the same labels"):
        Ensemble([classifier, small_classifier(small_vocabulary, verbalizer={"x": "很", "y": "不"})])
