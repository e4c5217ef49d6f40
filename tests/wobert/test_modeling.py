"""WoBERT's models are BERT's, but for the loss and the sparse head."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification

from nlpkit.wobert.configuration import WoBertConfig
from nlpkit.wobert.modeling import WoBertForMaskedLM, WoBertForSequenceClassification
from tests.contract.cases import masked_rows, pad_tokens, small_config


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    return pad_tokens(masked_rows(), None)


def test_logits_and_loss_equal_those_of_bert(batch: dict[str, torch.Tensor]) -> None:
    ours = WoBertForMaskedLM(WoBertConfig(**small_config())).eval()
    theirs = BertForMaskedLM(BertConfig(**small_config())).eval()
    theirs.load_state_dict(ours.state_dict())
    found, expected = ours(**batch), theirs(**batch)
    assert torch.equal(found.logits, expected.logits)
    torch.testing.assert_close(found.loss, expected.loss)


def test_the_sparse_head_gives_the_same_loss_and_gradients(batch: dict[str, torch.Tensor]) -> None:
    torch.manual_seed(0)
    dense = WoBertForMaskedLM(WoBertConfig(**small_config())).double()
    sparse = WoBertForMaskedLM(WoBertConfig(**small_config(sparse_prediction=True))).double()
    sparse.load_state_dict(dense.state_dict())
    full, few = dense(**batch), sparse(**batch)
    labelled = batch["labels"] != -100
    torch.testing.assert_close(few.logits, full.logits[labelled], rtol=0, atol=1e-12)
    torch.testing.assert_close(few.loss, full.loss, rtol=0, atol=1e-12)
    full.loss.backward()
    few.loss.backward()
    for (name, one), other in zip(dense.named_parameters(), sparse.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad, rtol=0, atol=1e-12, msg=name)


def test_without_labels_the_sparse_head_scores_every_position(batch: dict[str, torch.Tensor]) -> None:
    model = WoBertForMaskedLM(WoBertConfig(**small_config(sparse_prediction=True)))
    assert model(input_ids=batch["input_ids"]).logits.shape == (*batch["input_ids"].shape, 40)


def test_a_tuple_is_returned_on_request(batch: dict[str, torch.Tensor]) -> None:
    model = WoBertForMaskedLM(WoBertConfig(**small_config())).eval()
    loss, logits = model(**batch, return_dict=False)[:2]
    assert torch.equal(loss, model(**batch).loss)
    assert torch.equal(logits, model(**batch).logits)


@pytest.mark.parametrize(
    ("num_labels", "labels"),
    [
        (3, torch.tensor([0, 2])),
        (3, torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]])),
        (1, torch.tensor([0.5, -1.0])),
    ],
    ids=["one class", "several classes", "regression"],
)
def test_every_kind_of_label_gives_berts_loss(num_labels: int, labels: torch.Tensor) -> None:
    settings: dict[str, Any] = small_config(num_labels=num_labels)
    ours = WoBertForSequenceClassification(WoBertConfig(**settings)).eval()
    theirs = BertForSequenceClassification(BertConfig(**settings)).eval()
    theirs.load_state_dict(ours.state_dict())
    ids = torch.tensor([[2, 5, 6, 3], [2, 7, 8, 3]])
    torch.testing.assert_close(ours(ids, labels=labels).loss, theirs(ids, labels=labels).loss)


def test_hidden_states_and_attentions_come_on_request(batch: dict[str, torch.Tensor]) -> None:
    model = WoBertForMaskedLM(WoBertConfig(**small_config(), attn_implementation="eager")).eval()
    output = model(**batch, output_hidden_states=True, output_attentions=True)
    assert len(output.hidden_states) == 3
    assert len(output.attentions) == 2
