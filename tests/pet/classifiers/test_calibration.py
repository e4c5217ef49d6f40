"""A prior belongs to what it was measured for; both means are named; too few texts are said to be so."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from nlpkit.pet import Ensemble, PetClassifier, Verbalizer
from tests.pet.models import TEXTS, WORDS, small_classifier

MANY = [first + second for first in TEXTS for second in TEXTS]


def test_modes_stay_as_they_are(small_vocabulary: dict[str, int]) -> None:
    from nlpkit.pet import search_verbalizer
    from tests.pet.models import labelled_examples

    for training in (True, False):
        classifier = small_classifier(small_vocabulary)
        classifier.model.train(training)
        classifier.model.bert.eval()
        before = [module.training for module in classifier.modules()]
        seen: list[bool] = []
        classifier.model.cls.register_forward_pre_hook(lambda module, inputs: seen.append(module.training))  # noqa: B023
        classifier.predict(TEXTS)
        classifier.calibrate([""])
        classifier.fill("今天")
        search_verbalizer(classifier, labelled_examples())
        assert [module.training for module in classifier.modules()] == before
        assert seen and not any(seen)


@pytest.mark.parametrize("mean", ["geometric", "arithmetic"])
def test_the_two_means_are_what_they_are_called(mean: str, small_vocabulary: dict[str, int]) -> None:
    classifier = small_classifier(small_vocabulary).double()
    shares = classifier.scores(MANY).softmax(-1).numpy()
    expected = shares.mean(axis=0) if mean == "arithmetic" else np.exp(np.log(shares).mean(axis=0))
    classifier.calibrate(MANY, mean=mean)  # type: ignore[arg-type]
    np.testing.assert_allclose(np.exp(classifier.prior.numpy()), expected / expected.sum(), rtol=1e-10)  # type: ignore[union-attr]
    calibrated = classifier.scores(MANY).softmax(-1).numpy()
    np.testing.assert_allclose(calibrated, (found := shares / expected) / found.sum(axis=1, keepdims=True), rtol=1e-10)
    with pytest.raises(ValueError, match="mean='harmonic' is unknown; use 'geometric' or 'arithmetic'"):
        classifier.calibrate(MANY, mean="harmonic")  # type: ignore[arg-type]


def test_few_texts_are_said_to_be_few(small_vocabulary: dict[str, int]) -> None:
    classifier = small_classifier(small_vocabulary)
    with pytest.warns(
        UserWarning, match=r"^calibrated on one text, so that this one gets every label alike; 64 or more tell more$"
    ):
        classifier.calibrate(["今天很好"])
    with pytest.warns(
        UserWarning, match=r"^calibrated on 8 texts, so that its predictions depend on which; 64 or more tell m"
    ):
        classifier.calibrate(TEXTS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for texts in ([""], ["", "N/A", "[MASK]"], ["N/A"], MANY):
            classifier.calibrate(texts)


@pytest.mark.parametrize(
    "change",
    [
        {"pattern": "{text}{mask}"},
        {"verbalizer": {"good": "好", "bad": "不", "mixed": "人"}},
        {"verbalizer": {"a": "好", "b": "不"}},
        {"verbalizer": dict(reversed(WORDS.items()))},
        {"verbalizer": Verbalizer(WORDS, aggregate="max")},
    ],
)
def test_a_prior_belongs_to_its_pattern_and_words(
    change: dict[str, object], small_vocabulary: dict[str, int], tmp_path: Path
) -> None:
    classifier = small_classifier(small_vocabulary).float().calibrate([""])
    classifier.save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match="calibrate again"):
        loaded = PetClassifier.from_pretrained(tmp_path, **change)  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match="calibrate again"):
        changed = classifier.set_params(**change)
    wanted = small_classifier(small_vocabulary, **change).float()  # type: ignore[arg-type]
    for found in (loaded, changed):
        assert found.prior is None
        np.testing.assert_allclose(found.predict_proba(TEXTS), wanted.predict_proba(TEXTS), atol=1e-6)


def test_a_prior_stays_with_the_same_pattern_and_words(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    classifier = small_classifier(small_vocabulary).float().calibrate([""])
    classifier.save_pretrained(tmp_path)
    wanted = classifier.predict_proba(TEXTS)
    again = PetClassifier.from_pretrained(tmp_path, pattern="{mask}满意。{text}", verbalizer=WORDS)
    np.testing.assert_array_equal(again.predict_proba(TEXTS), wanted)
    changed = again.set_params(pattern="{mask}满意。{text}", verbalizer=WORDS, fitting__max_steps=1)
    np.testing.assert_array_equal(changed.predict_proba(TEXTS), wanted)


def test_an_ensemble_calibrates_its_members(small_vocabulary: dict[str, int]) -> None:
    members = [small_classifier(small_vocabulary, pattern).double() for pattern in ("{mask}。{text}", "{text}{mask}")]
    found = Ensemble(members).calibrate([""]).predict_proba([""])
    np.testing.assert_allclose(found, 1 / 3, rtol=1e-10)
