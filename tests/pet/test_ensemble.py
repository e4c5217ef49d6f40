from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nlpkit.pet import Fitting
from nlpkit.pet.ensemble import Ensemble, weighted_mean
from tests.pet.classifiers.test_multi_label import by_words
from tests.pet.models import TEXTS, labelled_examples, small_classifier


def test_equal_weights_are_the_plain_mean_whatever_their_size() -> None:
    scores = [torch.randn(4, 3) for _ in range(3)]
    expected = torch.stack([member.log_softmax(-1) for member in scores]).mean(dim=0)
    for weights in (None, [1, 1, 1], [0.2, 0.2, 0.2], [0, 0, 0]):
        torch.testing.assert_close(weighted_mean(scores, weights), expected)


def test_a_weight_of_zero_silences_a_member_and_constants_do_not_matter() -> None:
    first, second = torch.randn(4, 3), torch.randn(4, 3)
    torch.testing.assert_close(weighted_mean([first + 7, second], [2, 0]), first.log_softmax(-1))


@pytest.mark.parametrize(("members", "weights"), [(0, None), (1, [1, 2])])
def test_ensembles_are_checked(members: int, weights: list[float] | None) -> None:
    with pytest.raises(ValueError, match="one number per member" if members else "at least one member"):
        weighted_mean([torch.zeros(1, 2)] * members, weights)


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_weights_are_finite_and_not_negative(weight: float, small_vocabulary: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=rf"weights\[1\]={weight}: give a finite number at least 0"):
        weighted_mean([torch.zeros(1, 2)] * 2, [1.0, weight])
    with pytest.raises(ValueError, match=rf"weights\[1\]={weight}: give a finite number at least 0"):
        Ensemble([small_classifier(small_vocabulary)] * 2, [1.0, weight])


def test_an_ensemble_of_one_is_that_one(small_vocabulary: dict[str, int]) -> None:
    classifier = small_classifier(small_vocabulary)
    assert Ensemble([classifier, classifier]).predict(TEXTS) == classifier.predict(TEXTS)
    with pytest.raises(ValueError, match="must have the same labels"):
        Ensemble([classifier, small_classifier(small_vocabulary, verbalizer={"x": "很", "y": "不"})])


def test_members_keep_their_own_fitting(small_vocabulary: dict[str, int]) -> None:
    members = [small_classifier(small_vocabulary, fitting=Fitting(max_steps=steps)).float() for steps in (1, 4)]
    made = Ensemble(members).set_params(weights=[1.0, 2.0])
    assert made.fit(labelled_examples()).get_params()["fitting"] is None
    assert [member.fitting.max_steps for member in made.members] == [1, 4]
    made.set_params(fitting__learning_rate=0.5)
    assert [member.fitting for member in made.members] == [Fitting(steps, 0.5) for steps in (1, 4)]
    with pytest.raises(ValueError, match="learning_rate=-1"):
        made.set_params(fitting__learning_rate=-1, weights=[1.0, 1.0])
    assert made.weights == [1.0, 2.0]


@pytest.mark.parametrize("make", [by_words, lambda vocabulary: Ensemble([small_classifier(vocabulary)])])
def test_members_are_single_and_find_one_label(make: Any, small_vocabulary: dict[str, int]) -> None:
    member = make(small_vocabulary)
    message = f"members must be single classifiers that find one label per text; got {type(member).__name__}"
    with pytest.raises(TypeError, match=message):
        Ensemble([member, member])


@pytest.mark.parametrize("weights", [torch.tensor([1.0, 2.0]), np.array([1, 2]), (1, 2)])
def test_weights_of_any_kind_are_saved(weights: Any, small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    made = Ensemble([small_classifier(small_vocabulary) for _ in range(2)], weights)
    made.save_pretrained(tmp_path)
    assert Ensemble.from_pretrained(tmp_path).weights == made.weights == [1.0, 2.0]
