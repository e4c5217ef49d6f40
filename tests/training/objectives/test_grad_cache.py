"""Gradient caching: the step over many micro-batches is that over one batch, dropout and processes included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from nlpkit.losses import BatchLoss, FlatNCELoss, InfoNCELoss
from nlpkit.training import FGM, Flooding, GradCache, SimCSE, TechniqueTrainer
from tests.contract.cases import Case, pad_tokens, small_config, token_ids
from tests.contract.one_step import gradient
from tests.contract.processes import run_processes
from tests.contract.stock_heads import HEADS, stock
from tests.contract.test_losses import EMBEDDINGS, grouped_rows
from tests.contract.test_stock_heads import assert_same


def step(case: Case, batch_size: int, accumulation: int, loss: Any, *others: Any) -> dict[str, Tensor]:
    techniques = [GradCache(), *others] if accumulation > 1 else list(others)
    return gradient(case, batch_size, accumulation, "ours", {"loss": loss, "techniques": techniques})


@pytest.mark.parametrize(("batch_size", "accumulation"), [(2, 4), (3, 3), (1, 8)])
def test_cached_steps_equal_one_large_batch(batch_size: int, accumulation: int) -> None:
    whole = step(EMBEDDINGS, 8, 1, InfoNCELoss())
    assert_same(step(EMBEDDINGS, batch_size, accumulation, InfoNCELoss()), whole)


@pytest.mark.parametrize("level", [0.1, 100.0], ids=["above the level", "below it"])
def test_cached_steps_are_flooded_as_the_whole_batch_is(level: float) -> None:
    whole = step(EMBEDDINGS, 8, 1, InfoNCELoss(), Flooding(level))
    assert_same(step(EMBEDDINGS, 2, 4, InfoNCELoss(), Flooding(level)), whole)
    plain = step(EMBEDDINGS, 8, 1, InfoNCELoss())
    turned = {name: -tensor for name, tensor in plain.items()} if level > 1 else plain
    assert_same(whole, turned)


class Learnt(FlatNCELoss):
    """With a bias of its own to learn, on every similarity of other groups."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor(0.3, dtype=torch.float64))

    def of_anchors(self, scores: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        return super().of_anchors(scores + self.bias * negatives, positives, negatives)


def test_parameters_of_the_loss_learn_too() -> None:
    losses = [Learnt(), Learnt()]
    assert_same(step(EMBEDDINGS, 2, 4, losses[1]), step(EMBEDDINGS, 8, 1, losses[0]))
    assert losses[0].bias.item() != pytest.approx(0.3)
    torch.testing.assert_close(losses[0].bias, losses[1].bias, rtol=0, atol=1e-12)


def test_the_second_pass_has_the_dropout_of_the_first() -> None:
    """If not, the gradient of a linear readout would belong to other outputs than those it was taken at."""
    seen: list[Tensor] = []

    class Watching(InfoNCELoss):
        def items_of_batch(self, outputs: Any, batch: Any) -> tuple[Tensor, Tensor]:
            found = super().items_of_batch(outputs, batch)
            seen.append(found[0].detach())
            return found

    dropping = Case(
        "dropout", stock("DebertaV2Model", **small_config(hidden_dropout_prob=0.3)), grouped_rows, pad_tokens
    )
    step(dropping, 2, 4, Watching())
    assert len(seen) == 8
    for first, second in zip(seen[:4], seen[4:], strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_the_logged_loss_is_that_of_the_whole_batch(tmp_path: Path) -> None:
    from transformers import TrainingArguments

    logged = []
    for batch_size, accumulation in ((8, 1), (2, 4)):
        arguments = TrainingArguments(
            str(tmp_path), max_steps=1, per_device_train_batch_size=batch_size, logging_steps=1, use_cpu=True,
            gradient_accumulation_steps=accumulation, report_to=[], disable_tqdm=True, save_strategy="no",
            train_sampling_strategy="sequential", label_names=["labels"],
        )  # fmt: skip
        trainer = TechniqueTrainer(
            EMBEDDINGS.model().double(),
            arguments,
            train_dataset=grouped_rows(),
            data_collator=lambda rows: pad_tokens(rows, None),
            loss=InfoNCELoss(),
            techniques=[GradCache()] if accumulation > 1 else [],
        )
        trainer.train()
        logged.append(trainer.state.log_history[0]["loss"])
    assert logged[0] == pytest.approx(logged[1], rel=1e-3) and logged[0] > 0


def test_simcse_pairs_texts_with_themselves() -> None:
    """Dropout differs between the passes, so that the loss cannot be that of equal pairs."""
    dropping = Case("dropout", stock("DebertaV2Model", **small_config(hidden_dropout_prob=0.1)), token_ids, pad_tokens)
    found = step(dropping, 4, 2, InfoNCELoss(), SimCSE())
    assert all(tensor.isfinite().all() for tensor in found.values())
    assert any(tensor.abs().max() > 1e-4 for tensor in found.values())


def test_simcse_tells_texts_of_micro_batches_apart() -> None:
    technique = SimCSE()
    first, second = (technique.batch({"input_ids": torch.ones(2, 3)})["labels"] for _ in range(2))
    assert first.tolist() == [[0, 0], [1, 0], [0, 1], [1, 1]] and second[0].tolist() == [2, 0]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"InfoNCELoss couples the rows of a batch.*technique GradCache\(\)"):
        gradient(EMBEDDINGS, 2, 4, "ours", {"loss": InfoNCELoss()})
    with pytest.raises(ValueError, match=r"InfoNCELoss couples the rows of a batch, and this batch has 2 of the step"):
        InfoNCELoss()(torch.ones(2, 3), torch.tensor([0, 0]), num_items_in_batch=8)
    for other in (FGM(), Flooding(0.1, per="instance")):
        told = rf"GradCache beside {type(other).__name__}: .*which here is an even share of the whole batch's"
        with pytest.raises(ValueError, match=told):
            step(EMBEDDINGS, 2, 4, InfoNCELoss(), other)
    with pytest.raises(ValueError, match=r"GradCache is for losses that couple the rows of a batch"):
        step(HEADS[0], 2, 4, None)
    with pytest.raises(ValueError, match=r"SimCSE: both passes are equal but for rounding"):
        step(EMBEDDINGS, 8, 1, InfoNCELoss(), SimCSE())
    with pytest.raises(ValueError, match=r"no batch of the first step has labels, only input_ids, attention_mask"):
        gradient(Case("bare", EMBEDDINGS.model, token_ids, pad_tokens), 8, 1, "ours", {"loss": InfoNCELoss()})


def test_a_batch_loss_must_say_what_it_is() -> None:
    with pytest.raises(NotImplementedError, match=r"BatchLoss must define value\(logits, labels\)"):
        BatchLoss()(torch.ones(2, 3), torch.tensor([0, 1]))


@pytest.mark.slow
def test_two_processes_contrast_the_rows_of_both(tmp_path: Path) -> None:
    run_processes("tests.training.cached_step", str(tmp_path))
    whole = step(EMBEDDINGS, 8, 1, Learnt())
    for file in ("4.safetensors", "2.safetensors", "1.safetensors"):
        assert_same(load_file(tmp_path / file), whole)
