"""R-Drop: its value, which items it compares, and the faults of others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor
from transformers import FalconConfig, FalconForTokenClassification

from nlpkit.losses import (
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    FlatNCELoss,
    FocalLoss,
    InfoNCELoss,
    LogBalancedLoss,
    Loss,
    NonContrastiveLoss,
    RowDiceLoss,
    SquaredErrorLoss,
    bernoulli,
    gaussian,
    softmax,
)
from nlpkit.training import RDrop, ScheduledStrength, VirtualAdversarial, stock_loss
from nlpkit.training.dropout import set_dropout
from nlpkit.training.technique import Batch
from tests.contract.cases import Case, small_config
from tests.contract.one_step import gradient
from tests.contract.stock_heads import HEADS, stock
from tests.contract.test_losses import EMBEDDINGS
from tests.contract.test_stock_heads import assert_same
from tests.contract.test_techniques import largest_difference, with_two_masks
from tests.training.runs import small_model, trainer

BY_NAME = {case.name: case for case in HEADS}
TOKENS, ROWS = BY_NAME["BertForTokenClassification"], BY_NAME["BertForSequenceClassification"]


class Trainer:
    """As much of a Trainer as a technique looks at."""

    def __init__(self, model: Any, loss: Loss) -> None:
        self.model, self.task_loss = model, loss


def term(case: Case, length: int | None = None, loss: Loss | None = None, times: int = 1, **options: Any) -> Tensor:
    """The divergence alone, of two masks of dropout, with weight 4: summed over both directions, per item."""
    model = with_two_masks(case).model().double().train()
    loss = loss or stock_loss(model)
    technique = RDrop(4.0, **options)
    technique.prepare(Trainer(model, loss))  # type: ignore[arg-type]
    batch: Batch = technique.batch(case.collate(case.rows() * times, length))
    outputs = model(**loss.inputs_of(batch))
    return technique.terms({}, outputs, batch, technique.items(batch))["r_drop"]


def both(case: Case) -> tuple[Tensor, Tensor, Batch]:
    """Logits of the two passes, and the batch."""
    model = with_two_masks(case).model().double().train()
    batch = case.collate(case.rows(), None)
    twice = {name: torch.cat([value, value]) for name, value in batch.items() if name != "labels"}
    first, second = model(**twice).logits.chunk(2)
    return first, second, batch


def symmetric(first: Tensor, second: Tensor) -> Tensor:
    p, q = first.log_softmax(dim=-1), second.log_softmax(dim=-1)
    return (p.exp() * (p - q)).sum(dim=-1) + (q.exp() * (q - p)).sum(dim=-1)


@pytest.mark.parametrize("case", [TOKENS, ROWS], ids=str)
def test_it_is_both_directions_averaged_over_items_with_a_label(case: Case) -> None:
    first, second, batch = both(case)
    expected = symmetric(first, second)[batch["labels"] != -100].mean()
    torch.testing.assert_close(term(case), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", [TOKENS, ROWS], ids=str)
def test_padding_and_the_number_of_rows_change_nothing(case: Case) -> None:
    """The R-Drop repository sums over rows; PaddleNLP keeps what its mask calls padding."""
    for on in ("labelled", "all"):
        torch.testing.assert_close(term(case, 20, on=on), term(case, on=on), rtol=0, atol=1e-12)
        torch.testing.assert_close(term(case, times=2, on=on), term(case, on=on), rtol=0, atol=1e-12)
    first, second, batch = both(TOKENS)
    inverted = symmetric(first, second)[batch["labels"] == -100].mean()
    assert abs(inverted - term(TOKENS)) > 1e-6


@pytest.mark.parametrize("on", ["labelled", "all"])
@pytest.mark.parametrize("loss", [RowDiceLoss(), LogBalancedLoss()], ids=lambda loss: type(loss).__name__)
def test_padding_is_no_part_of_an_item_that_is_a_row_of_tokens(loss: Loss, on: str) -> None:
    options = {"loss": loss, "on": on, "divergence": softmax}
    torch.testing.assert_close(term(TOKENS, 20, **options), term(TOKENS, **options), rtol=0, atol=1e-12)
    first, second, batch = both(TOKENS)
    mask = batch["labels"] != -100 if on == "labelled" else batch["attention_mask"].bool()
    by_row = torch.where(mask, symmetric(first, second), 0.0).sum(dim=1)
    labelled = (batch["labels"] != -100).any(dim=1)
    expected = by_row[labelled].mean() if on == "labelled" else by_row.mean()
    torch.testing.assert_close(term(TOKENS, **options), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("on", ["labelled", "all"])
def test_padding_is_none_of_the_binary_labels_of_tokens(on: str) -> None:
    def with_cells(batch: Any, length: int | None) -> Any:
        found = TOKENS.collate(batch, length)
        several = torch.nn.functional.one_hot(found["labels"].clamp(min=0), TOKENS.model().num_labels).double()
        return found | {"labels": torch.where(found["labels"][..., None] == -100, -100.0, several)}

    case = replace(TOKENS, collate=with_cells)
    for loss in (BinaryCrossEntropyLoss(), FocalLoss(multi_label=True)):
        settings = {"loss": loss, "on": on, "divergence": bernoulli()}
        torch.testing.assert_close(term(case, 20, **settings), term(case, **settings), rtol=0, atol=1e-12)


def test_items_without_labels_are_compared_where_all_are() -> None:
    first, second, batch = both(TOKENS)
    expected = symmetric(first, second)[batch["attention_mask"].bool()].mean()
    torch.testing.assert_close(term(TOKENS, on="all"), expected, rtol=0, atol=1e-12)
    first, second, _ = both(ROWS)  # two of which have no label
    torch.testing.assert_close(term(ROWS, on="all"), symmetric(first, second).mean(), rtol=0, atol=1e-12)


def test_labels_of_a_next_token_are_compared_where_they_are_predicted() -> None:
    case = BY_NAME["BertLMHeadModel"]
    first, second, batch = both(case)
    values = symmetric(first, second)[:, :-1]
    for on, mask in (("labelled", batch["labels"] != -100), ("all", batch["attention_mask"].bool())):
        expected = values[mask[:, 1:]].mean()
        torch.testing.assert_close(term(case, on=on), expected, rtol=0, atol=1e-12)


def test_cells_and_numbers_have_divergences_of_their_own() -> None:
    first, second, _ = both(BY_NAME["multi-label"])
    p, q = first.sigmoid(), second.sigmoid()
    expected = ((p - q) * (first - second)).mean()  # per cell, as the loss
    case = BY_NAME["multi-label"]

    def make() -> Any:
        model = case.model()
        model.config.problem_type = "multi_label_classification"
        return model

    torch.testing.assert_close(term(Case("multi", make, case.rows, case.collate)), expected, rtol=0, atol=1e-12)
    first, second, _ = both(BY_NAME["regression"])
    torch.testing.assert_close(term(BY_NAME["regression"]), (first - second).square().mean(), rtol=0, atol=1e-12)


def test_a_loss_of_another_kind_needs_a_divergence() -> None:
    class OfRows(Loss):
        """One item per row of a label matrix, as ZLPR."""

        def valid(self, labels: Tensor) -> Tensor:
            return (labels != -100).any(dim=-1)

    case = BY_NAME["multi-label"]
    with pytest.raises(ValueError, match=r"R-Drop: what distribution OfRows is a loss of cannot be told: give diverg"):
        term(case, loss=OfRows())
    first, second, _ = both(case)
    expected = (((2 * first).sigmoid() - (2 * second).sigmoid()) * 2 * (first - second)).sum(dim=-1).mean()
    found = term(case, loss=OfRows(), divergence=bernoulli(2.0))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_an_unknown_choice_of_items_is_refused() -> None:
    with pytest.raises(ValueError, match='R-Drop: on=\'some\' is neither "labelled" nor "all"'):
        term(TOKENS, on="some")


def test_sparse_heads_are_compared_at_labels_alone() -> None:
    case = BY_NAME["ModernBertForMaskedLM-sparse"]
    settings = {"techniques": [RDrop(dropout=0.3)]}
    gradient(case, 8, 1, "ours", settings)
    with pytest.raises(ValueError, match=r'R-Drop: there are 114 items .*give on="labelled"'):
        gradient(case, 8, 1, "ours", {"techniques": [RDrop(dropout=0.3, on="all")]})


@pytest.mark.parametrize("on", ["labelled", "all"])
def test_accumulation_of_partly_labelled_rows_changes_nothing(on: Literal["labelled", "all"]) -> None:
    case = with_two_masks(ROWS)
    whole, cut = (
        gradient(case, size, steps, "ours", {"techniques": [RDrop(4.0, on=on)]}) for size, steps in ((8, 1), (2, 4))
    )
    assert_same(cut, whole)


def test_the_posts_code_has_half_of_the_papers_loss() -> None:
    """Post: the mean of the cross-entropies and a quarter of alpha; paper: their sum and a half of it."""
    first, second, batch = both(TOKENS)
    chosen = batch["labels"] != -100
    entropies = [
        torch.nn.functional.cross_entropy(logits[chosen], batch["labels"][chosen]) for logits in (first, second)
    ]
    paper = sum(entropies) + 4 / 2 * symmetric(first, second)[chosen].mean()
    post = sum(entropies) / 2 + 4 / 4 * symmetric(first, second)[chosen].mean()
    torch.testing.assert_close(post, paper / 2)
    torch.testing.assert_close(term(TOKENS), post - sum(entropies) / 2)


def test_dropout_can_be_set() -> None:
    with pytest.raises(ValueError, match=r"has no dropout: give dropout=0.1"):
        gradient(TOKENS, 8, 1, "ours", {"techniques": [RDrop()]})
    changed = gradient(TOKENS, 8, 1, "ours", {"techniques": [RDrop(dropout=0.3)]})
    assert largest_difference(changed, gradient(TOKENS, 8, 1, "ours")) > 1e-3


def test_a_divergence_that_is_given_is_taken() -> None:
    settings = {"techniques": [RDrop(divergence=softmax, dropout=0.1)], "loss": CrossEntropyLoss()}
    gradient(TOKENS, 8, 1, "ours", settings)


def test_without_weight_dropout_is_not_set_either_and_it_is_given_back_in_the_end() -> None:
    plain = gradient(TOKENS, 2, 4, "ours")
    off = gradient(TOKENS, 2, 4, "ours", {"techniques": [RDrop(0.0, dropout=0.5)]})
    assert all(torch.equal(off[name], plain[name]) for name in plain)
    models: list[Any] = []

    def make() -> Any:
        models.append(TOKENS.model())
        return models[-1]

    gradient(replace(TOKENS, model=make), 8, 1, "ours", {"techniques": [RDrop(dropout=0.5)]})
    assert {module.p for module in models[0].modules() if isinstance(module, torch.nn.Dropout)} == {0.0}


def test_dropout_comes_and_goes_with_the_weight(tmp_path: Path) -> None:
    model, technique = small_model(), RDrop(0.0, dropout=0.5)
    within: list[float] = []
    model.register_forward_pre_hook(lambda *_: within.append(model.dropout.p))
    scheduled = ScheduledStrength(technique, "weight", lambda progress: float(progress in (0.25, 0.75)))
    trainer(tmp_path, [technique, scheduled], model).train()
    assert within[1:] == [0.0, 0.5, 0.0, 0.5]  # after the one pass that knows the head's loss
    assert model.dropout.p == 0.0


def test_checkpoints_are_of_the_model_with_its_own_dropout(tmp_path: Path) -> None:
    """Falcon's configuration is read in each pass, so that the probability is set there too."""
    config = FalconConfig(
        vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, hidden_dropout=0.1,
        attention_dropout=0.05, num_labels=5, pad_token_id=0,
    )  # fmt: skip
    given = config.to_dict()
    technique = RDrop(dropout=0.3)
    run = trainer(
        tmp_path, [technique], FalconForTokenClassification(config), steps=2, save_strategy="steps", save_steps=1
    )
    run.train()
    for step in (1, 2):
        saved = FalconConfig.from_pretrained(tmp_path / f"checkpoint-{step}")
        assert (saved.hidden_dropout, saved.attention_dropout) == (0.1, 0.05)
    assert (config.hidden_dropout, config.attention_dropout) == (given["hidden_dropout"], given["attention_dropout"])


def test_a_few_equal_numbers_do_not_end_a_run_in_half_precision() -> None:
    """Most pairs of logits in bfloat16 are equal by rounding here, and rows come one by one."""
    model = stock("BertForSequenceClassification", **small_config(num_labels=1))()
    torch.nn.init.constant_(model.classifier.bias, 3.0)
    set_dropout(model.bfloat16(), 0.1)
    loss, technique = SquaredErrorLoss(), RDrop()
    technique.prepare(Trainer(model, loss))  # type: ignore[arg-type]
    equal = 0
    for seed in range(30):
        torch.manual_seed(seed)
        batch = technique.batch({"input_ids": torch.arange(5, 12)[None], "labels": torch.tensor([1.0])})
        outputs = model(**loss.inputs_of(batch))
        equal += int(torch.equal(*outputs.logits))
        technique.terms({}, outputs, batch, technique.items(batch))
    assert 0 < equal < 30


@pytest.mark.parametrize("make", [InfoNCELoss, FlatNCELoss, lambda: NonContrastiveLoss(torch.nn.Identity())])
@pytest.mark.parametrize("technique", [RDrop, VirtualAdversarial])
def test_embeddings_are_no_predictions(technique: Any, make: Any) -> None:
    case = with_two_masks(EMBEDDINGS) if technique is RDrop else EMBEDDINGS
    with pytest.raises(ValueError, match=r"is over embeddings, which are none.* divergence="):
        gradient(case, 8, 1, "ours", {"loss": make(), "techniques": [technique()]})
    gradient(case, 8, 1, "ours", {"loss": make(), "techniques": [technique(divergence=gaussian)]})
