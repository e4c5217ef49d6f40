"""Classifiers of a user's own classes, and around models of other packages: saved, loaded, cloned, or refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from peft import LoraConfig, PeftModel, get_peft_model
from sklearn.base import clone

from nlpkit.pet import Ensemble, Fitting, PetClassifier, load_classifier
from tests.pet.models import TEXTS, WORDS, small_classifier


class Sharper(PetClassifier):
    """Has an argument more."""

    def __init__(self, *, power: Any = 2.0, **settings: Any) -> None:
        super().__init__(**settings)
        self.power = power

    def scores(self, *args: Any, **settings: Any) -> Any:
        return self.power * super().scores(*args, **settings)


class Rounded(PetClassifier):
    """Answers in a way of its own."""

    def predict_proba(self, *args: Any, **settings: Any) -> NDArray[np.floating]:
        return super().predict_proba(*args, **settings).round(1)


class Hidden(PetClassifier):
    """Keeps an argument under another name."""

    def __init__(self, *, secret: str = "", **settings: Any) -> None:
        super().__init__(**settings)
        self.hidden = secret


def of(kind: Any, small_vocabulary: dict[str, int], **settings: Any) -> Any:
    parts = small_classifier(small_vocabulary, verbalizer=WORDS)
    own = {"pattern": "{mask}满意。{text}", "verbalizer": WORDS, "fitting": Fitting(max_steps=3)}
    return kind(model=parts.model, tokenizer=parts.tokenizer, **own, **settings)


def test_an_argument_more_is_saved_cloned_and_may_be_given_again(
    small_vocabulary: dict[str, int], tmp_path: Path
) -> None:
    made = of(Sharper, small_vocabulary, power=3.0)
    made.save_pretrained(tmp_path)
    settings = {"dtype": "float64"}
    for found in (Sharper.from_pretrained(tmp_path, **settings), clone(made)):
        assert (type(found), found.power, found.fitting) == (Sharper, 3.0, Fitting(max_steps=3))
        np.testing.assert_allclose(found.predict_proba(TEXTS), made.predict_proba(TEXTS), rtol=0, atol=1e-12)
    other = Sharper.from_pretrained(tmp_path, power=1.0, fitting=Fitting(max_steps=4), **settings)
    assert (other.power, other.fitting.max_steps) == (1.0, 4)
    assert made.set_params(power=5.0).get_params()["power"] == 5.0


def test_an_argument_that_cannot_be_saved_is_named(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(
        TypeError, match=r"Hidden cannot be saved with its argument 'secret' .*: keep it as self\.secret"
    ):
        of(Hidden, small_vocabulary).save_pretrained(tmp_path / "hidden")
    with pytest.raises(TypeError, match=r"Sharper cannot be saved with its argument 'power' .* not JSON serializable"):
        of(Sharper, small_vocabulary, power=object()).save_pretrained(tmp_path / "object")
    assert not list(tmp_path.iterdir())


def test_an_ensemble_of_own_classes_is_loaded_with_these(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    ensemble = Ensemble([of(Sharper, small_vocabulary, power=power) for power in (1.0, 3.0)])
    ensemble.save_pretrained(tmp_path)
    with pytest.raises(
        ValueError, match=r"holds a 'Sharper', which is no classifier of nlpkit; .*: classes=\[Sharper\]"
    ):
        Ensemble.from_pretrained(tmp_path)
    for found in (
        Ensemble.from_pretrained(tmp_path, classes=[Sharper], dtype="float64"),
        load_classifier(tmp_path, classes=[Sharper], dtype="float64"),
        clone(ensemble),
    ):
        assert [member.power for member in found.members] == [1.0, 3.0]  # type: ignore[union-attr]
        np.testing.assert_allclose(found.predict_proba(TEXTS), ensemble.predict_proba(TEXTS), rtol=0, atol=1e-12)
    assert load_classifier(tmp_path / "member-1", classes=[Sharper]).power == 3.0  # type: ignore[union-attr]


def test_an_ensemble_says_that_it_does_not_ask_for_probabilities(small_vocabulary: dict[str, int]) -> None:
    with pytest.warns(
        UserWarning, match=r"Rounded has a predict_proba of its own, which an ensemble does not ask: .*scor"
    ):
        Ensemble([of(Rounded, small_vocabulary), of(PetClassifier, small_vocabulary)])


def test_an_adapter_without_its_model_is_refused_and_the_rest_can_be_put_together(
    small_vocabulary: dict[str, int], tmp_path: Path
) -> None:
    base = small_classifier(small_vocabulary, verbalizer=WORDS)
    adapted = get_peft_model(base.model, LoraConfig(r=2, target_modules=["query"]))
    settings: dict[str, Any] = {"pattern": base.pattern, "verbalizer": base.verbalizer}
    classifier = PetClassifier(adapted, base.tokenizer, **settings, fitting=Fitting(max_steps=2, learning_rate=1e-2))
    classifier.fit(TEXTS, ["good", "bad"] * 4).save_pretrained(tmp_path / "saved")
    for load in (PetClassifier.from_pretrained, load_classifier):
        with pytest.raises(
            ValueError, match=r"an adapter of a model that was not loaded from anywhere; load .* construct"
        ):
            load(tmp_path / "saved")
    plain = small_classifier(small_vocabulary, verbalizer=WORDS)
    again = PetClassifier(PeftModel.from_pretrained(plain.model, tmp_path / "saved"), plain.tokenizer, **settings)
    np.testing.assert_allclose(again.predict_proba(TEXTS), classifier.predict_proba(TEXTS), rtol=0, atol=1e-6)


def test_an_adapter_whose_model_is_gone_is_refused(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    small_classifier(small_vocabulary, verbalizer=WORDS).save_pretrained(tmp_path / "base")
    base = PetClassifier.from_pretrained(tmp_path / "base")
    adapted = get_peft_model(base.model, LoraConfig(r=2, target_modules=["query"]))
    settings: dict[str, Any] = {"pattern": base.pattern, "verbalizer": base.verbalizer}
    PetClassifier(adapted, base.tokenizer, **settings).save_pretrained(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "adapter_config.json").read_text())["base_model_name_or_path"]
    assert PetClassifier.from_pretrained(tmp_path / "saved").predict(TEXTS) == base.predict(TEXTS)
    shutil.rmtree(tmp_path / "base")
    with pytest.raises(FileNotFoundError, match=r"an adapter of a model that is gone \(.*base"):
        PetClassifier.from_pretrained(tmp_path / "saved")
