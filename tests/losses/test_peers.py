"""Losses of other libraries beside ours: equal where they are right, and ours right where they are not.

Figures of timm and torchvision, which cannot be installed beside these tests, are in ``tests/reference/peers.json``.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from nlpkit.losses import FocalLoss, InfoNCELoss, SupervisedContrastiveLoss, ZLPRLoss

FIGURES = json.loads((Path(__file__).parents[1] / "reference" / "peers.json").read_text("utf-8"))
TIMM = FIGURES["timm 1.0.31, ZlprLoss"]
TORCHVISION = FIGURES["torchvision 0.29.1, sigmoid_focal_loss"]


def ours(loss: Any, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Value and gradient."""
    leaf = logits.clone().requires_grad_()
    value = loss(leaf, labels)
    value.backward()
    assert leaf.grad is not None
    return value.detach(), leaf.grad


def log_one_plus(numbers: Any) -> float:
    return math.log1p(sum(numbers))


@pytest.mark.parametrize("name", ["ordinary", "positives at 15", "far beyond exp"])
def test_zlpr_of_hard_labels_is_that_of_timm(name: str) -> None:
    theirs = TIMM[name]
    value, gradient = ours(ZLPRLoss(), torch.tensor(theirs["logits"]), torch.tensor(theirs["labels"]))
    torch.testing.assert_close(value, torch.tensor(theirs["value"]), rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient, torch.tensor(theirs["gradient"]), rtol=1e-5, atol=1e-12)


def test_timm_takes_shares_for_hard_labels() -> None:
    theirs = TIMM["shares"]
    logits, shares = theirs["logits"][0], theirs["labels"][0]
    absent = log_one_plus((1 - t) * math.exp(s) for s, t in zip(logits, shares, strict=True))
    right = absent + log_one_plus(t * math.exp(-s) for s, t in zip(logits, shares, strict=True))
    assert ZLPRLoss()(torch.tensor([logits]), torch.tensor([shares])).item() == pytest.approx(right, rel=1e-6, abs=0)
    assert theirs["value"] < right - 0.5


def test_timm_takes_an_unknown_class_for_one_that_does_not_apply() -> None:
    theirs = TIMM["unknown class"]
    right = log_one_plus([math.exp(-1.0)]) + log_one_plus([math.exp(-2.0)])
    value, gradient = ours(ZLPRLoss(), torch.tensor(theirs["logits"]), torch.tensor(theirs["labels"]))
    assert value.item() == pytest.approx(right, rel=1e-6, abs=0)
    assert gradient[0, 2] == 0
    assert theirs["value"] > right + 2


def focal_of_ones(logit: float, gamma: float) -> tuple[float, float]:
    """Value and derivative of ``sigmoid(-x)^gamma softplus(-x)``, in fp64."""
    wrong, right, loss = 1 / (1 + math.exp(logit)), 1 / (1 + math.exp(-logit)), math.log1p(math.exp(-logit))
    return wrong**gamma * loss, -(wrong**gamma) * (gamma * right * loss + wrong)


def cell_losses(theirs: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Our value and gradient of each cell of a figure of torchvision."""
    alpha = None if theirs["alpha"] < 0 else theirs["alpha"]
    loss = FocalLoss(theirs["gamma"], alpha, multi_label=True)
    leaf = torch.tensor(theirs["logits"], requires_grad=True)
    values = loss.values(leaf, torch.tensor(theirs["labels"]))
    (gradient,) = torch.autograd.grad(values.sum(), leaf)
    return values.detach(), gradient


@pytest.mark.parametrize("name", ["ordinary", "wrong side"])
def test_focal_is_that_of_torchvision(name: str) -> None:
    theirs = TORCHVISION[name]
    values, gradient = cell_losses(theirs)
    torch.testing.assert_close(values, torch.tensor(theirs["value"]), rtol=1e-5, atol=0)
    torch.testing.assert_close(gradient, torch.tensor(theirs["gradient"]), rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", ["rounded p, gamma 0.5", "rounded p, gamma 2", "half rounded p, gamma 2"])
def test_torchvision_computes_focal_from_a_rounded_p(name: str) -> None:
    """Its gradient is NaN, 0, or wrong by more than a hundredth."""
    theirs = TORCHVISION[name]
    values, gradient = cell_losses(theirs)
    for place, logit in enumerate(theirs["logits"]):
        value, slope = focal_of_ones(logit, theirs["gamma"])
        assert values[place].item() == pytest.approx(value, rel=1e-5, abs=0)
        assert gradient[place].item() == pytest.approx(slope, rel=1e-5, abs=0)
        assert theirs["value"][place] != pytest.approx(value, rel=1e-2, abs=0)
        assert theirs["gradient"][place] is None or theirs["gradient"][place] != pytest.approx(slope, rel=1e-2, abs=0)


def metric_learning(name: str, temperature: float) -> Any:
    losses = pytest.importorskip("pytorch_metric_learning.losses", reason="needs the extra 'bench'")
    return getattr(losses, name)(temperature=temperature)


def random_texts() -> Tensor:
    return torch.randn(12, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_info_nce_is_nt_xent() -> None:
    """Theirs averages over pairs, ours over anchors: the same, where groups are pairs."""
    texts, groups = random_texts(), torch.arange(6).repeat(2)
    theirs = ours(metric_learning("NTXentLoss", 0.1), texts, groups)
    torch.testing.assert_close(ours(InfoNCELoss(0.1), texts, groups), theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("groups", [[0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 3, 3], [0, 0, 0, 1, 1, 2, 2, 2, 3, 4, 5, 6]])
def test_supervised_contrastive_is_that_of_metric_learning(groups: list[int]) -> None:
    texts, labels = random_texts(), torch.tensor(groups)
    theirs = ours(metric_learning("SupConLoss", 0.1), texts, labels)
    torch.testing.assert_close(ours(SupervisedContrastiveLoss(0.1), texts, labels), theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 87.34), (torch.float16, 9.71)], ids=str)
def test_nt_xent_of_hard_positives_ends_at_a_small_constant(dtype: torch.dtype, most: float) -> None:
    """Of two others one is the same text, and one as far as the partner, 1: ``log(2 + exp(1 / tau))``, about 100."""
    texts = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]], dtype=dtype)
    groups = torch.tensor([0, 0, 1, 1])
    theirs, their_gradient = ours(metric_learning("NTXentLoss", 0.01), texts, groups)
    value, gradient = ours(InfoNCELoss(0.01), texts, groups)
    assert value.item() == pytest.approx(math.log(2 + math.exp(100.0)), rel=1e-6, abs=0)
    assert gradient.abs().amax(dim=1).min() > 1  # every text is moved
    assert theirs.item() < most
    assert their_gradient.abs().max() < 1e-5 * gradient.abs().max()


def ranking_loss(**settings: Any) -> Any:
    module = pytest.importorskip(
        "sentence_transformers.sentence_transformer.losses", reason="needs the extra 'similarity'"
    )
    loss = module.MultipleNegativesRankingLoss(model=None, scale=20.0, **settings)
    return lambda texts, _: loss.compute_loss_from_embeddings(texts.chunk(2), None)


def views(pairs: int) -> Tensor:
    return torch.stack([torch.arange(pairs).repeat(2), torch.arange(2).repeat_interleave(pairs)], dim=1)


@pytest.mark.parametrize("symmetric", [False, True])
def test_info_nce_of_views_is_the_ranking_loss(symmetric: bool) -> None:
    both = {"directions": ("query_to_doc", "doc_to_query"), "partition_mode": "per_direction"} if symmetric else {}
    texts = random_texts()
    theirs = ours(ranking_loss(**both), texts, views(6))
    torch.testing.assert_close(ours(InfoNCELoss(0.05, symmetric=symmetric), texts, views(6)), theirs)


def test_the_ranking_loss_of_easy_pairs_rounds_to_nothing() -> None:
    """Cosines are 1 and 0: the loss of each anchor is ``log(1 + 2 exp(-20))``."""
    texts = torch.eye(3).repeat(2, 1)
    theirs, _ = ours(ranking_loss(), texts, views(3))
    value, _ = ours(InfoNCELoss(0.05, symmetric=False), texts, views(3))
    assert value.item() == pytest.approx(math.log1p(2 * math.exp(-20.0)), rel=1e-5, abs=0)
    assert theirs.item() == 0.0
