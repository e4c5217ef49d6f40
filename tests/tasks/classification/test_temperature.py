"""The best temperature against a search, what it leaves alone, and a classifier that keeps it."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertConfig, BertForSequenceClassification

from nlpkit import WoBertTokenizer
from nlpkit.losses import LogitAdjustedLoss, zlpr_probabilities
from nlpkit.pet import HeadClassifier
from nlpkit.tasks.classification import CalibratedClassifier, TemperatureScaling, expected_calibration_error
from tests.reference import calibration as oracle

TEXTS = ["今天天气不错", "我们随时随地好朋友", "酒店的服务态度很好", "房间干净"]


def drawn(seed: int, rows: int = 300, true: float = 2.5) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and classes drawn from their softmax at a temperature."""
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(rows, 3, generator=generator, dtype=torch.float64)
    return logits, torch.multinomial((logits / true).softmax(1), 1, generator=generator)[:, 0]


@given(seed=st.integers(0, 99))
def test_no_other_temperature_is_more_likely(seed: int) -> None:
    logits, classes = drawn(seed, 60)
    found = TemperatureScaling.fit(logits, classes).temperature
    least = oracle.cross_entropy(logits.tolist(), classes.tolist(), found)
    for factor in (0.9, 0.99, 1.01, 1.1):
        assert oracle.cross_entropy(logits.tolist(), classes.tolist(), found * factor) > least


def test_the_temperature_that_classes_were_drawn_at_is_found() -> None:
    logits, classes = drawn(0, 20_000)
    scaling = TemperatureScaling.fit(logits, classes)
    assert scaling.temperature == pytest.approx(2.5, rel=0.03)
    assert expected_calibration_error(logits.softmax(1), classes) > 0.1
    assert expected_calibration_error(scaling.probabilities(logits), classes) < 0.01
    assert torch.equal(scaling.probabilities(logits).argmax(1), logits.argmax(1))


def test_labels_have_one_temperature_together() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(4000, 3, generator=generator, dtype=torch.float64)
    labels = torch.bernoulli((2 * logits).sigmoid(), generator=generator)  # as after ZLPR
    scaling = TemperatureScaling.fit(logits, labels)
    assert scaling.multi_label and scaling.temperature == pytest.approx(0.5, rel=0.05)
    hidden = torch.where(torch.arange(4000)[:, None] < 3000, labels, -100)
    assert TemperatureScaling.fit(logits, hidden) == TemperatureScaling.fit(logits[:3000], labels[:3000])
    torch.testing.assert_close(
        TemperatureScaling(0.5, multi_label=True).probabilities(logits), zlpr_probabilities(logits)
    )


def test_a_shift_gives_the_probabilities_of_logit_adjustment() -> None:
    loss = LogitAdjustedLoss([0.7, 0.2, 0.1], tau=0.5)
    logits, classes = drawn(1)
    shift = (0.5 * loss.log_prior).tolist()
    likely = TemperatureScaling(shift=tuple(shift)).probabilities(logits).gather(1, classes[:, None]).log()
    assert -likely.mean().item() == pytest.approx(loss(logits, classes).item(), rel=1e-6)
    fitted = TemperatureScaling.fit(logits, classes, shift=shift)
    moved = TemperatureScaling.fit(logits + torch.tensor(shift, dtype=torch.float64), classes)
    assert fitted.temperature == moved.temperature and fitted.shift == tuple(shift)
    with pytest.raises(ValueError, match=r"shift is for 3 classes, but logits are for 2"):
        fitted.probabilities(torch.zeros(1, 2))


def test_a_class_of_minus_infinity_is_left_out() -> None:
    logits, classes = drawn(2, 50)
    wider = torch.cat([logits, torch.full((50, 1), -torch.inf)], dim=1)
    assert TemperatureScaling.fit(wider, classes).temperature == TemperatureScaling.fit(logits, classes).temperature
    assert TemperatureScaling(2.0).probabilities(wider)[:, 3].tolist() == [0.0] * 50


def test_a_limit_that_is_reached_is_told() -> None:
    with pytest.warns(UserWarning, match=r"at its limit, 0.05: nearly all answers are right"):
        assert TemperatureScaling.fit([[3.0, 0.0], [0.0, 3.0]], [0, 1]).temperature == pytest.approx(0.05)
    with pytest.warns(UserWarning, match=r"at its limit, 20: the logits tell little of the answers"):
        assert TemperatureScaling.fit([[3.0, 0.0], [3.0, 0.0]], [1, 1]).temperature == pytest.approx(20)


@pytest.mark.parametrize(
    ("logits", "answers", "told"),
    [
        ([[1.0, 1.0], [2.0, 2.0]], [0, 1], r"logits are the same for every answer"),
        ([[1.0], [2.0]], [0, 0], r"logits are the same for every answer"),
        ([[0.0, 0.0]], [[0, 1]], r"logits are the same for every answer"),
        ([[float("nan"), 1.0]], [0], r"logits must be finite, or -inf for a class that is left out"),
        ([[-float("inf"), 1.0]], [0], r"or -inf for a class that is left out and is no right answer"),
        ([[-float("inf"), 1.0]], [[0, 1]], r"logits of labels must be finite"),
        ([[1.0, 0.0]], [[1]], r"logits of shape \(1, 2\) and answers of shape \(1, 1\)"),
        ([[1.0, 0.0]], [-100], r"no answer is known"),
    ],
)
def test_bad_input_is_named(logits: list[list[float]], answers: list[int], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        TemperatureScaling.fit(logits, answers)


def test_a_temperature_is_a_number_above_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"temperature=0: give a finite number at least 1e-30"):
        TemperatureScaling(0)
    with pytest.raises(ValueError, match=r"limits\[1\]=1.0: give a finite number above 2.0"):
        TemperatureScaling.fit([[1.0, 0.0]], [0], limits=(2.0, 1.0))
    with pytest.raises(FileNotFoundError, match=r"has no temperature.json: fit a temperature on dev"):
        TemperatureScaling.from_pretrained(tmp_path)
    for broken in ('{"temperature": "warm"}', '{"temperatures": 1}', '{"temperature": 1.0, "multi_label": 3}', "{"):
        (tmp_path / "temperature.json").write_text(broken, "utf-8")
        with pytest.raises(ValueError, match=r"temperature.json (does not describe a temperature|is damaged)"):
            TemperatureScaling.from_pretrained(tmp_path)


@pytest.fixture
def head(small_vocabulary: dict[str, int], request: pytest.FixtureRequest) -> HeadClassifier:
    config = BertConfig(
        vocab_size=len(small_vocabulary),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        num_labels=3,
        problem_type=request.param,
    )
    torch.manual_seed(0)
    model = BertForSequenceClassification(config)
    return HeadClassifier(model, WoBertTokenizer(vocab=small_vocabulary), ["a", "b", "c"], max_length=12)


@pytest.mark.parametrize("head", ["single_label_classification"], indirect=True)
def test_a_classifier_of_classes_keeps_its_temperature(head: HeadClassifier, tmp_path: Path) -> None:
    classifier = CalibratedClassifier(head, TemperatureScaling(shift=(0.0, 9.0, 0.0)))
    logits = classifier.logits(TEXTS)
    classifier.calibrate(TEXTS, [0, 1, 1, 2])
    assert classifier.scaling == TemperatureScaling.fit(logits, [0, 1, 1, 2], shift=(0.0, 9.0, 0.0))
    assert classifier.predict(TEXTS) == ["abc"[place] for place in logits.argmax(1).tolist()]
    classifier.save_pretrained(tmp_path / "model")
    loaded = CalibratedClassifier.from_pretrained(tmp_path / "model")
    assert loaded.scaling == classifier.scaling and loaded.head.max_length == 12
    np.testing.assert_array_equal(loaded.predict_proba(TEXTS), classifier.predict_proba(TEXTS))
    for copied in (copy.deepcopy(classifier), pickle.loads(pickle.dumps(classifier))):
        np.testing.assert_array_equal(copied.predict_proba(TEXTS), classifier.predict_proba(TEXTS))
    assert json.loads((tmp_path / "model" / "temperature.json").read_text("utf-8"))["multi_label"] is False
    with pytest.raises(ValueError, match=r"is for one class per text .* and the scaling for labels"):
        classifier.calibrate(TEXTS, torch.eye(4)[:, :3])
    assert classifier.scaling == loaded.scaling


@pytest.mark.parametrize("head", ["multi_label_classification"], indirect=True)
def test_a_classifier_of_labels_says_those_above_0(head: HeadClassifier, tmp_path: Path) -> None:
    classifier = CalibratedClassifier(head)
    assert classifier.scaling == TemperatureScaling(multi_label=True)
    logits = classifier.logits(TEXTS)
    assert classifier.predict(TEXTS) == [
        [name for name, logit in zip("abc", row, strict=True) if logit > 0] for row in logits.tolist()
    ]
    np.testing.assert_allclose(classifier.predict_proba(TEXTS), logits.sigmoid().numpy())
    classifier.save_pretrained(tmp_path)
    assert CalibratedClassifier.from_pretrained(tmp_path).scaling.multi_label
    with pytest.raises(ValueError, match=r"is for labels that each apply or not .*, and the scaling for one class"):
        CalibratedClassifier(head, TemperatureScaling())


def test_extreme_temperatures_give_probabilities() -> None:
    logits = torch.tensor([[2.0, 0.0, -torch.inf], [1.0, 1.0, 0.0]])
    for temperature in (1e-30, 1e30):
        sums = TemperatureScaling(temperature).probabilities(logits).sum(dim=1)
        torch.testing.assert_close(sums, torch.ones(2))
    with pytest.raises(ValueError, match=r"temperature=1e-320: give a finite number at least 1e-30"):
        TemperatureScaling(1e-320)
    with pytest.raises(TypeError, match=r"shift is one text, '12'; give a list of numbers"):
        TemperatureScaling(1.0, shift="12")  # type: ignore[arg-type]
