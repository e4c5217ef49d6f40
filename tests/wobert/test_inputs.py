"""Inputs that no model can read are named by every head, before and after saving, and nothing is slower for it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import BertConfig, PreTrainedModel

import nlpkit.wobert as room
from nlpkit.wobert import (
    WoBertCharacterConfig,
    WoBertConfig,
    WoBertForCharacterClassification,
    WoBertForMaskedLM,
    WoBertModel,
)
from nlpkit.wobert.modeling import WoBertMixin
from tests.contract.cases import LABELS, VOCABULARY, small_config

HEADS = [name for name in room.__all__ if isinstance(getattr(room, name), type)
         if issubclass(getattr(room, name), WoBertMixin)]  # fmt: skip
POSITIONS = 32


def make(name: str) -> PreTrainedModel:
    model_class = getattr(room, name)
    model: PreTrainedModel = model_class(model_class.config_class(**small_config(num_labels=2)))
    return model.eval()


def inputs_of(name: str, ids: Tensor, **others: Tensor) -> dict[str, Tensor]:
    """What a head needs beside ids."""
    if name == "WoBertForMultipleChoice":
        others = {key: value[:, None] for key, value in others.items()}
        ids = ids[:, None]
    if name == "WoBertForCharacterClassification":
        others = {"character_to_token": torch.zeros_like(ids), "character_ids": torch.zeros_like(ids)} | others
    return {"input_ids": ids, **others}


IDS = torch.full((2, 8), 5)
FAULTS: dict[str, tuple[dict[str, Tensor], str]] = {
    "too long": (
        {"ids": torch.full((2, POSITIONS + 1), 5)},
        r"input_ids have 33 tokens per row, but the model has 32 positions; cut the texts: .*max_length=32",
    ),
    "too long, with masks": (
        {
            "ids": torch.full((2, 40), 5),
            "attention_mask": torch.ones(2, 40),
            "token_type_ids": torch.zeros(2, 40, dtype=torch.long),
        },
        r"input_ids have 40 tokens per row, but the model has 32 positions",
    ),
    "beyond the vocabulary": (
        {"ids": torch.tensor([[2, 3], [2, VOCABULARY]])},
        r"input_ids hold 40, but the model has rows for 0 to 39 \(vocab_size=40\); .*resize_token_embeddings",
    ),
    "negative": ({"ids": IDS - 6}, r"input_ids hold -1, but the model has rows for 0 to 39"),
    "another type": (
        {"ids": IDS, "token_type_ids": IDS},
        r"token_type_ids hold 5, but .* 0 to 1 \(type_vocab_size=2\)",
    ),
    "no such position": (
        {"ids": IDS, "position_ids": IDS * 8},
        r"position_ids hold 40, but .* 0 to 31 \(max_position_embeddings=32\)",
    ),
    "no rows": ({"ids": IDS[:0]}, r"input_ids of shape \(0, .*8\) hold nothing; give at least one row"),
    "no tokens": ({"ids": IDS[:, :0]}, r"input_ids of shape \(2, .*0\) hold nothing; give at least one row"),
    "no whole numbers": ({"ids": IDS.float()}, r"input_ids must be whole numbers \(torch.long\), not torch.float32"),
}


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("fault", FAULTS)
def test_every_head_names_what_it_cannot_read(name: str, fault: str) -> None:
    inputs, message = FAULTS[fault]
    with pytest.raises(ValueError, match=message):
        make(name)(**inputs_of(name, **inputs))


def test_a_row_without_a_batch_and_a_list_are_named() -> None:
    model = make("WoBertForMaskedLM")
    with pytest.raises(ValueError, match=r"input_ids of shape \(2,\) must have a dimension .*: input_ids\[None\]"):
        model(torch.tensor([2, 3]))
    with pytest.raises(ValueError, match=r"input_ids must be a tensor, got list; .* return_tensors='pt'"):
        model([[2, 3]])


def test_embeddings_in_place_of_ids_are_limited_likewise() -> None:
    with pytest.raises(ValueError, match="inputs_embeds have 33 tokens per row, but the model has 32 positions"):
        make("WoBertModel")(inputs_embeds=torch.zeros(2, POSITIONS + 1, 16))


def test_a_character_without_a_row_is_named() -> None:
    model = make("WoBertForCharacterClassification")
    places = torch.zeros(2, 8, dtype=torch.long)
    with pytest.raises(ValueError, match="character_ids hold 45, but the model has rows for 0 to 39"):
        model(IDS, character_to_token=places, character_ids=IDS + VOCABULARY)


def test_other_errors_stay_what_they_are() -> None:
    model = make("WoBertForMaskedLM")
    with pytest.raises(ValueError, match="exactly one of input_ids or inputs_embeds"):
        model()
    with pytest.raises(TypeError, match="multiple values for argument 'input_ids'"):
        model(IDS, input_ids=IDS)


@pytest.mark.parametrize("name", HEADS)
def test_graphs_are_whole_and_give_the_same(name: str) -> None:
    model, inputs = make(name), inputs_of(name, IDS)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(**inputs)[0], model(**inputs)[0])


def test_an_exported_model_takes_other_lengths() -> None:
    sizes = {"input_ids": {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}}
    exported = torch.export.export(make("WoBertForMaskedLM"), (), {"input_ids": IDS}, dynamic_shapes=sizes)
    assert exported.module()(input_ids=torch.full((3, 9), 5))["logits"].shape == (3, 9, VOCABULARY)


@pytest.mark.parametrize("config_class", [BertConfig, WoBertConfig])
def test_a_configuration_without_the_models_own_settings_is_refused(config_class: Any) -> None:
    config, needed = config_class(**small_config()), WoBertCharacterConfig
    with pytest.raises(TypeError, match=rf"needs a WoBertCharacterConfig, got {config_class.__name__}; make one: "):
        WoBertForCharacterClassification(config)
    model = WoBertForCharacterClassification(needed.from_dict(config.to_dict()))  # as the message says
    assert (model.num_labels, model.config.to_dict()["model_type"]) == (LABELS, "wobert")


def test_a_berts_configuration_is_refused_before_it_fails_with_labels() -> None:
    with pytest.raises(
        TypeError, match=r"WoBertForMaskedLM needs a WoBertConfig, got BertConfig; make one: .*to_dict"
    ):
        WoBertForMaskedLM(BertConfig(**small_config()))
    with pytest.raises(TypeError, match=r"WoBertModel needs a WoBertConfig, got dict; make one$"):
        WoBertModel({})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "labels", "message"),
    [
        (
            "WoBertForMaskedLM",
            IDS + VOCABULARY,
            "labels hold 45, but there are 40 classes: give 0 to 39, or -100",
        ),
        ("WoBertForPreTraining", IDS - 6, "labels hold -1, but there are 40 classes"),
        ("WoBertForTokenClassification", IDS, "labels hold 5, but there are 2 classes: give 0 to 1"),
        ("WoBertForCharacterClassification", IDS, "labels hold 5, but there are 2 classes"),
        ("WoBertForSequenceClassification", torch.tensor([0, 2]), "labels hold 2, but there are 2 classes"),
        ("WoBertForMultipleChoice", torch.tensor([0, 1]), "labels hold 1, but there are 1 classes: give 0 to 0"),
        ("WoBertForTokenClassification", IDS[:, :7] * 0, r"labels of shape \(2, 7\) do not fit .* \(2, 8, 2\)"),
        ("WoBertForTokenClassification", IDS.T * 0, r"labels of shape \(8, 2\) do not fit .* \(2, 8, 2\)"),
        (
            "WoBertForSequenceClassification",
            torch.tensor([0.0, 1.0]),
            r"\(torch.float32\) do not .*multi-label",
        ),
        ("WoBertForTokenClassification", IDS > 9, r"labels must be class indices \(torch.long\), not torch.bool"),
        ("WoBertForTokenClassification", IDS * 0.0, r"labels must be class indices \(torch.long\), not torch.float32"),
    ],
)
def test_labels_that_are_no_class_are_named(name: str, labels: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(name)(**inputs_of(name, IDS), labels=labels)
