"""Losses that are given, and teach something else than they seem to."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import BertLMHeadModel, GPT2Config, GPT2LMHeadModel

from nlpkit import losses
from nlpkit.losses import ChunkedCrossEntropyLoss, CrossEntropyLoss, FocalLoss, FunctionLoss
from nlpkit.training import MeZO
from tests.contract.cases import token_ids
from tests.training.runs import same_weights, small_model, trainer


@pytest.mark.parametrize(
    ("function", "classes"),
    [
        (losses.cross_entropy, r"loss=CrossEntropyLoss\(\)"),
        (partial(losses.cross_entropy, ignore_index=0), r"loss=CrossEntropyLoss\(\)"),
        (FunctionLoss(losses.cross_entropy, shift=True), r"loss=CrossEntropyLoss\(\)"),
        (losses.binary_cross_entropy, r"loss=BinaryCrossEntropyLoss\(\)"),
        (losses.zlpr, r"loss=ZLPRLoss\(\)"),
        (losses.info_nce, r"loss=InfoNCELoss\(\)"),
        (losses.exact_log_probability, r"loss=ExactLoss\(\)"),
        (losses.log_balanced_cross_entropy, r"loss=LogBalancedLoss\(\)"),
        (losses.policy_gradient, r"a class of nlpkit.losses, such as CrossEntropyLoss"),
    ],
)
def test_functions_of_the_library_are_named_with_their_classes(function: Any, classes: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=rf"takes logits and labels, not what a model returns: give {classes}"):
        trainer(tmp_path, options={"loss": function})


def mean(outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
    return F.cross_entropy(outputs["logits"].flatten(0, 1), labels.flatten())


def noisy(outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
    """Half of the labels, by chance, divided as it must be."""
    logits, labels = outputs["logits"].flatten(0, 1), labels.flatten()
    values = F.cross_entropy(logits, labels, reduction="none")
    return (values * (torch.rand(len(labels)) > 0.5)).sum() / num_items_in_batch


@pytest.mark.parametrize("techniques", [[], [MeZO()]])
def test_a_mean_over_the_micro_batch_is_refused(techniques: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"loss=mean gives 1.*it must be a sum over labels, divided by that number"):
        trainer(tmp_path, techniques, options={"loss": mean}).train()


def test_looking_leaves_chance_as_it_was(tmp_path: Path) -> None:
    models = []
    for is_seen in (False, True):
        run = trainer(tmp_path, options={"loss": noisy})
        run._given_loss._is_seen = is_seen
        run.train()
        models.append(run.model)
    assert run._given_loss._is_seen and same_weights(*models)


def copied_rows() -> list[dict[str, Any]]:
    return [row | {"labels": row["input_ids"]} for row in token_ids()]


def decoder() -> Any:
    return GPT2LMHeadModel(GPT2Config(vocab_size=40, n_embd=16, n_layer=1, n_head=2, n_positions=32))


@pytest.mark.parametrize(
    ("loss", "way_out"),
    [
        (lambda _: CrossEntropyLoss(), "CrossEntropyLoss"),
        (lambda _: FocalLoss(), "CrossEntropyLoss"),
        (lambda model: ChunkedCrossEntropyLoss(model), "ChunkedCrossEntropyLoss"),
    ],
)
def test_a_decoder_is_not_taught_to_copy(loss: Any, way_out: str, tmp_path: Path) -> None:
    model = decoder()
    run = trainer(tmp_path, model=model, rows=copied_rows, options={"loss": loss(model)})
    told = rf"GPT2LMHeadModel would learn to repeat its input: give loss={way_out}\(shift=True\)"
    with pytest.raises(ValueError, match=told):
        run.train()


def test_labels_that_are_not_the_input_or_losses_that_shift_are_taken(tmp_path: Path) -> None:
    def shifted() -> list[dict[str, Any]]:
        return [row | {"labels": torch.cat([row["input_ids"][1:], torch.tensor([-100])])} for row in token_ids()]

    tagger = small_model(num_labels=40)  # sees both sides, and has no next token to predict
    for model, rows, loss in (
        (decoder(), copied_rows, CrossEntropyLoss(shift=True)),
        (decoder(), shifted, CrossEntropyLoss()),
        (tagger, copied_rows, CrossEntropyLoss()),
    ):
        trainer(tmp_path, model=model, rows=rows, steps=1, options={"loss": loss}).train()
    with pytest.raises(ValueError, match="BertLMHeadModel would learn to repeat its input"):
        decoding = small_model(BertLMHeadModel, is_decoder=True)
        trainer(tmp_path, model=decoding, rows=copied_rows, options={"loss": CrossEntropyLoss()}).train()
