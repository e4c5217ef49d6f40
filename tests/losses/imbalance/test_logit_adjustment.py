"""Logit adjustment: its identities, its optimum, and priors that go with the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from nlpkit.losses import (
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    LogitAdjustedLoss,
    balanced_accuracy,
    class_priors,
    fold_priors,
    posthoc_adjust,
)
from tests.contract.cases import small_config
from tests.losses.test_loss import drawn

LOGITS, LABELS = drawn(6, 3), torch.tensor([0, 1, 2, 0, -100, 1])
PRIOR = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)
EXACT: dict[str, Any] = {"rtol": 0, "atol": 1e-12}


def test_it_is_cross_entropy_of_shifted_logits() -> None:
    for tau in (0.0, 0.5, 1.0):
        expected = CrossEntropyLoss()(LOGITS + tau * PRIOR.log(), LABELS)
        torch.testing.assert_close(LogitAdjustedLoss(PRIOR, tau)(LOGITS, LABELS), expected, **EXACT)
    even = LogitAdjustedLoss(torch.full((3,), 1 / 3, dtype=torch.float64))(LOGITS, LABELS)
    torch.testing.assert_close(even, CrossEntropyLoss()(LOGITS, LABELS), **EXACT)


def test_of_cells_it_adds_the_log_of_odds() -> None:
    prior, cells = torch.tensor([0.5, 0.9, 0.01], dtype=torch.float64), (drawn(6, 3, seed=1) > 0).long()
    expected = BinaryCrossEntropyLoss()(LOGITS + (prior / (1 - prior)).log(), cells)
    torch.testing.assert_close(LogitAdjustedLoss(prior, multi_label=True)(LOGITS, cells), expected, **EXACT)


def test_adjusting_afterwards_undoes_what_the_loss_adds() -> None:
    shifted = LOGITS + PRIOR.log()
    torch.testing.assert_close(posthoc_adjust(shifted, PRIOR), LOGITS, **EXACT)
    torch.testing.assert_close(posthoc_adjust(LOGITS, PRIOR, -1.0), shifted, **EXACT)


def test_tau_1_is_the_maximum_of_balanced_accuracy() -> None:
    """Two normal distributions 1.5 apart, 95 % of one and 5 % of the other, on a fine grid."""
    x = torch.linspace(-9, 9, 200_001, dtype=torch.float64)
    densities = torch.stack([torch.exp(-((x + 0.75) ** 2) / 2), torch.exp(-((x - 0.75) ** 2) / 2)], dim=1)
    prior = torch.tensor([0.95, 0.05], dtype=torch.float64)
    densities = densities / densities.sum(0)
    logits = (prior * densities).log()

    def scores(tau: float) -> tuple[float, float]:
        found = posthoc_adjust(logits, prior, tau).argmax(-1)
        recalls = torch.stack([densities[found == k, k].sum() for k in range(2)])
        return recalls.mean().item(), (prior * recalls).sum().item()

    known = {0.0: (0.552, 0.953), 0.5: (0.682, 0.931), 1.0: (0.772, 0.772), 1.5: (0.682, 0.435)}
    for tau, (balanced, plain) in known.items():
        assert scores(tau) == pytest.approx((balanced, plain), abs=4e-3)
    best = max((tau / 20 for tau in range(41)), key=lambda tau: scores(tau)[0])
    assert best == 1.0


def test_training_with_it_finds_the_balanced_boundary() -> None:
    draws = torch.Generator().manual_seed(0)
    labels = (torch.rand(4000, generator=draws) < 0.05).long()
    texts = torch.randn(4000, 1, generator=draws) + 1.5 * labels[:, None] - 0.75
    found = {}
    for name, loss in (("plain", CrossEntropyLoss()), ("adjusted", LogitAdjustedLoss(class_priors(labels, 2)))):
        model = nn.Linear(1, 2)
        optimizer = torch.optim.LBFGS(model.parameters(), max_iter=50)

        def closure(model: Any = model, loss: Any = loss, optimizer: Any = optimizer) -> Any:
            optimizer.zero_grad()
            value = loss(model(texts), labels)
            value.backward()
            return value

        optimizer.step(closure)
        found[name] = balanced_accuracy(model(texts).argmax(-1), labels)
    assert found["plain"] < 0.6 and found["adjusted"] > 0.74


def test_priors_are_counted() -> None:
    assert class_priors([0, 0, 1, -100], 3, smoothing=0.5).tolist() == pytest.approx([2.5 / 4.5, 1.5 / 4.5, 0.5 / 4.5])
    cells = class_priors([[1, 0, -100], [1, 0, 1]], 3, multi_label=True)
    assert cells.tolist() == pytest.approx([3 / 4, 1 / 4, 2 / 3])
    column = pd.Series([0, 0, 1, -100], index=[7, 8, 9, 3])
    assert torch.equal(class_priors(column, 3), class_priors(column.tolist(), 3))
    with pytest.raises(ValueError, match=r"labels hold names such as 'sport': give numbers from 0 on"):
        class_priors(pd.Series(["sport", "news"], index=[5, 6]), 2)


def small(cls: Any = BertForSequenceClassification, config: Any = BertConfig, **settings: Any) -> Any:
    torch.manual_seed(0)
    return cls(config(**small_config(num_labels=3, **settings))).eval()


@pytest.mark.parametrize(
    "make",
    [small, lambda: small(RobertaForSequenceClassification, RobertaConfig, pad_token_id=1)],
    ids=["bert", "roberta"],
)
def test_folded_priors_are_saved_with_the_model(make: Any, tmp_path: Path) -> None:
    model, ids = make(), torch.arange(3, 15).view(2, 6)
    with torch.no_grad():
        expected = posthoc_adjust(model(ids).logits, PRIOR.float(), 0.8)
        fold_priors(model, PRIOR.float(), 0.8)
        model.save_pretrained(tmp_path)
        again = AutoModelForSequenceClassification.from_pretrained(tmp_path)
        torch.testing.assert_close(again(ids).logits, expected, rtol=0, atol=1e-6)
    assert again.config.class_priors == pytest.approx(PRIOR.tolist()) and again.config.class_priors_tau == 0.8
    with pytest.raises(ValueError, match=r"priors are folded into this model already \(config.class_priors\)"):
        fold_priors(again, PRIOR)


def test_models_without_one_last_bias_are_refused_unchanged() -> None:
    model = small()
    before = model.classifier.bias.clone()
    with pytest.raises(ValueError, match="has no linear layers of 2 outputs outside of its encoder"):
        fold_priors(model, [0.5, 0.5])
    with pytest.raises(ValueError, match="prior has 2 classes, but logits are for 3"):
        fold_priors(model, [0.5, 0.5], layer=model.classifier)
    assert torch.equal(model.classifier.bias, before) and getattr(model.config, "class_priors", None) is None
    model.classifier = nn.Linear(16, 3, bias=False)
    with pytest.raises(ValueError, match="last layer has no bias that could hold the priors"):
        fold_priors(model, PRIOR)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LogitAdjustedLoss([0.5, 0.2]), "prior sums to 0.7, not to 1: give class_priors"),
        (lambda: LogitAdjustedLoss([1.0, 0.0]), r"prior\[1\] is 0, which has no finite logarithm"),
        (lambda: LogitAdjustedLoss([1.5, -0.5]), r"prior\[1\] is -0.5"),
        (lambda: LogitAdjustedLoss([float("nan"), 1.0]), r"prior\[0\] is nan"),
        (lambda: LogitAdjustedLoss([[0.5, 0.5]]), r"prior is of shape \(1, 2\)"),  # type: ignore[list-item]
        (lambda: LogitAdjustedLoss([0.5, 1.0], multi_label=True), "probability of 1; with multi_label=True each"),
        (lambda: LogitAdjustedLoss([0.5, 0.5])(LOGITS, LABELS), "prior has 2 classes, but logits are for 3"),
        (lambda: posthoc_adjust(LOGITS, [0.5, 0.5]), "prior has 2 classes, but logits are for 3"),
        (lambda: class_priors([0, 3], 3), "labels hold 3, but there are 3 classes"),
        (lambda: class_priors([-100], 2, smoothing=0), "there are no labels to count"),
        (lambda: class_priors([0], 2, smoothing=-1), "smoothing=-1: give a finite number at least 0"),
        (lambda: class_priors([0, 1], 2, multi_label=True), r"of shape \(2,\); multi_label=True needs \(rows, 2\)"),
        (lambda: class_priors([[0, 7]], 2, multi_label=True), "labels hold 7: give 0 or 1 for each logit"),
    ],
)  # fmt: skip
def test_priors_that_are_none_are_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_what_a_trainer_predicts_is_adjusted() -> None:
    logits = np.array([[1.0, 0.0]], dtype=np.float32)
    expected = posthoc_adjust(torch.from_numpy(logits), [0.9, 0.1])
    torch.testing.assert_close(posthoc_adjust(logits, [0.9, 0.1]), expected)
    with pytest.raises(ValueError, match="labels hold names such as 'a': give numbers from 0 on"):
        class_priors(["a", "b"], 2)
