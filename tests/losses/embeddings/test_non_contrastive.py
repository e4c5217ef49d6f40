"""Agreement without negatives: its value and gradient, its toy dynamics, and what collapse looks like."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nlpkit.losses import NonContrastiveLoss, predictor
from nlpkit.probes import collapse_report
from nlpkit.training import SimCSE
from tests.contract.cases import Case, Row, pad_tokens, small_config, token_ids
from tests.contract.one_step import gradient
from tests.contract.stock_heads import stock
from tests.contract.test_stock_heads import assert_same

EXACT: dict[str, Any] = {"rtol": 0, "atol": 1e-12}


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_it_is_the_published_loss_plus_one() -> None:
    embeddings, predict = drawn(6, 8).requires_grad_(), predictor(8).double()
    first, second = embeddings[:3], embeddings[3:]
    cosines = [F.cosine_similarity(predict(one), other.detach()) for one, other in ((first, second), (second, first))]
    published = -torch.stack(cosines).mean()
    found = NonContrastiveLoss(predict)(embeddings, torch.arange(3).repeat(2))
    torch.testing.assert_close(found, published + 1, **EXACT)
    (expected,) = torch.autograd.grad(published, embeddings, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(found, embeddings)[0], expected, **EXACT)


def test_the_target_takes_no_gradient() -> None:
    embeddings = drawn(2, 4).requires_grad_()
    still = nn.Linear(4, 4, bias=False).double()
    nn.init.zeros_(still.weight)
    still.weight.requires_grad_(False)
    value = NonContrastiveLoss(still)(embeddings, torch.tensor([0, 0]))
    assert value.item() == 1.0
    assert torch.autograd.grad(value, embeddings)[0].abs().max() == 0


def test_texts_without_another_view_count_for_nothing() -> None:
    embeddings, labels = drawn(5, 4), torch.tensor([0, 0, 1, -100, -100])
    loss = NonContrastiveLoss(nn.Identity())
    torch.testing.assert_close(loss(embeddings, labels), loss(embeddings[:2], labels[:2]), **EXACT)
    assert loss.items(labels) == 2 and loss.items(labels[2:]) == 0 and loss(embeddings[2:], labels[2:]) == 0


def pairs() -> list[Row]:
    return [{**row, "labels": torch.tensor(number // 2)} for number, row in enumerate(token_ids())]


def test_accumulated_steps_equal_one_large_batch() -> None:
    case = Case("pairs", stock("DebertaV2Model", **small_config()), pairs, pad_tokens)
    torch.manual_seed(0)
    state = predictor(16).double().state_dict()

    def step(batch_size: int, accumulation: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        predict = predictor(16).double()
        predict.load_state_dict(state)
        found = gradient(case, batch_size, accumulation, "ours", {"loss": NonContrastiveLoss(predict)})
        return found, predict.state_dict()

    whole, cut = step(8, 1), step(2, 4)
    for one, other in zip(cut, whole, strict=True):
        assert_same(one, other)
    assert not torch.equal(whole[1]["0.weight"], state["0.weight"])


def test_simcse_gives_it_its_views_and_a_slow_copy_its_targets() -> None:
    case = Case("texts", stock("DebertaV2Model", **small_config(hidden_dropout_prob=0.1)), token_ids, pad_tokens)
    for target in (None, case.model().double().eval()):
        loss = NonContrastiveLoss(predictor(16).double(), target)
        found = gradient(case, 4, 2, "ours", {"loss": loss, "techniques": [SimCSE()]})
        assert any(tensor.abs().max() > 1e-4 for tensor in found.values())
        assert target is None or all(parameter.grad is None for parameter in target.parameters())


def toy(stopped: bool, steps: int = 4000, rate: float = 0.02) -> tuple[float, float]:
    """Descend on ``(phi theta - theta)^2 / 2``, the target's gradient stopped or not."""
    phi, theta = torch.tensor(0.6, dtype=torch.float64), torch.tensor(0.1, dtype=torch.float64)
    for _ in range(steps):
        phi, theta = phi.requires_grad_(), theta.requires_grad_()
        loss = (phi * theta - (theta.detach() if stopped else theta)).square() / 2
        gradients = torch.autograd.grad(loss, [phi, theta])
        phi, theta = (value.detach() - rate * slope for value, slope in zip((phi, theta), gradients, strict=True))
    return phi.item(), theta.item()


def test_the_stopped_gradient_keeps_the_toy_from_collapsing() -> None:
    """The figures of kexue.fm/archives/7980: phi to 1 and theta away from 0, against theta to 0."""
    phi, theta = toy(stopped=True, steps=40000)
    assert phi == pytest.approx(1, abs=0.02) and theta > 0.5
    assert abs(toy(stopped=False, steps=40000)[1]) < 1e-3


def test_without_the_stopped_gradient_embeddings_collapse_and_the_report_says_so() -> None:
    torch.manual_seed(0)
    texts = torch.randn(64, 8)

    def trained(stopped: bool) -> Tensor:
        torch.manual_seed(1)
        encoder, predict = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8)), predictor(8, 8)
        optimizer = torch.optim.Adam([*encoder.parameters(), *predict.parameters()], lr=0.01)
        for _ in range(300):
            first, second = (F.normalize(encoder(texts + 0.1 * torch.randn(64, 8)), dim=1) for _ in range(2))
            target = (second.detach(), first.detach()) if stopped else (second, first)
            pairs = zip((first, second), target, strict=True)
            loss = -sum(F.cosine_similarity(predict(one), other).mean() for one, other in pairs)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            return encoder(texts)

    assert collapse_report(trained(stopped=False)).spread < 0.5 * collapse_report(trained(stopped=True)).spread
    assert collapse_report(trained(stopped=False)).collapsed
