"""Heads of transformers itself, small and without dropout, whose fine-tuning must be right under accumulation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import transformers
from torch import nn
from torch.nn.functional import pad

from tests.contract.cases import (
    LABELS,
    LENGTHS,
    VOCABULARY,
    Case,
    Row,
    answered_rows,
    beside,
    classified_rows,
    masked_rows,
    pad_tokens,
    small_config,
    tagged_rows,
    token_ids,
)

_T5 = {"vocab_size": VOCABULARY, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2}
_BART = {
    "vocab_size": VOCABULARY,
    "d_model": 16,
    "dropout": 0.0,
    "max_position_embeddings": 32,
    **{f"{part}_{name}": value for part in ("encoder", "decoder") for name, value in (("layers", 2), ("ffn_dim", 24))},
    **{f"{part}_attention_heads": 2 for part in ("encoder", "decoder")},
}
_DECODER = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
}


def stock(name: str, **settings: Any) -> Callable[[], Any]:
    """Makes a seeded model of that class of transformers."""

    def make() -> nn.Module:
        torch.manual_seed(7)
        cls = getattr(transformers, name)
        model: nn.Module = cls(cls.config_class(**settings))
        return model.train()

    return make


def untied_mt5() -> nn.Module:
    """A fresh mT5 of ours, whose head is its own matrix."""
    from nlpkit.mt5 import new_mt5

    torch.manual_seed(7)
    return new_mt5(transformers.MT5Config(**_T5, dropout_rate=0.0, decoder_start_token_id=0)).train()


def pruned_qwen3() -> nn.Module:
    """A causal LM, tied, of whose rows some were taken out."""
    from nlpkit.vocabulary_pruning.models.rows import gathered, model_with_rows, vocabulary_tables

    settings = {**_DECODER, "vocab_size": VOCABULARY + 24, "num_key_value_heads": 2, "tie_word_embeddings": True}
    whole = stock("Qwen3ForCausalLM", **settings)()
    kept = torch.arange(VOCABULARY + 24)[12 : VOCABULARY + 12]
    model = model_with_rows(whole, vocabulary_tables(type(whole), whole.config), gathered(kept), VOCABULARY)
    model.config.vocab_size = VOCABULARY
    return model.train()


def tagging_with_urpe() -> nn.Module:
    """A BERT whose attention weights are multiplied by distance."""
    from nlpkit.probes import add_urpe

    model = stock("BertForTokenClassification", **small_config())()
    for name in add_urpe(model, max_distance=4):
        nn.init.normal_(model.get_parameter(f"{name}.urpe.weight"), 1.0, 0.3)
    return model


def written_rows() -> list[Row]:
    """Token rows that are their own targets, the first of each included, with holes."""
    rows = token_ids()
    for row in rows:
        row["labels"] = torch.where(row["input_ids"] % 4 == 0, -100, row["input_ids"])
    return rows


def multi_label_rows() -> list[Row]:
    """Token rows with any number of classes each."""
    classes = torch.arange(LABELS)
    return [{**row, "labels": (classes % (n + 2) == 0).double()} for n, row in enumerate(token_ids())]


def listed_rows() -> list[Row]:
    """The same rows with their classes as lists, padded with -100; some have none."""
    rows = multi_label_rows()
    rows[3]["labels"] = torch.zeros(LABELS)
    lists = [row["labels"].nonzero().flatten() for row in rows]
    return [
        {**row, "labels": pad(one, (0, LABELS - len(one)), value=-100)} for row, one in zip(rows, lists, strict=True)
    ]


def measured_rows() -> list[Row]:
    """Token rows with a number each."""
    return [{**row, "labels": torch.tensor(number / 4).double()} for number, row in enumerate(token_ids())]


def partly_unlabelled(make: Callable[[], list[Row]]) -> Callable[[], list[Row]]:
    """Rows of which the third and the fourth, a micro-batch of two, have no label."""

    def rows() -> list[Row]:
        found = make()
        for row in found[2:4]:
            row["labels"] = torch.full_like(row["labels"], -100)
        return found

    return rows


def pad_to_one_length(rows: Sequence[Row], length: int | None) -> dict[str, torch.Tensor]:
    """Pad all batches alike: stock heads for questions let padding compete with the answer."""
    return pad_tokens(rows, length or max(LENGTHS))


def pad_to_rows(rows: Sequence[Row], length: int | None) -> dict[str, torch.Tensor]:
    """Pad the tokens, and stack the labels of rows."""
    labels = torch.stack([row["labels"] for row in rows])
    return pad_tokens([{"input_ids": row["input_ids"]} for row in rows], length) | {"labels": labels}


HEADS = [
    Case("BertForMaskedLM", stock("BertForMaskedLM", **small_config()), masked_rows, pad_tokens),
    Case("BertForTokenClassification", stock("BertForTokenClassification", **small_config()), tagged_rows, pad_tokens),
    Case("BertForTokenClassification-urpe", tagging_with_urpe, tagged_rows, pad_tokens),
    Case(
        "BertForTokenClassification-ladder",
        beside(stock("BertForTokenClassification", **small_config())),
        tagged_rows,
        pad_tokens,
    ),
    Case(
        "BertForSequenceClassification",
        stock("BertForSequenceClassification", **small_config()),
        partly_unlabelled(classified_rows),
        pad_tokens,
    ),
    Case("multi-label", stock("BertForSequenceClassification", **small_config()), multi_label_rows, pad_to_rows),
    Case(
        "regression",
        stock("BertForSequenceClassification", **small_config(num_labels=1)),
        measured_rows,
        pad_tokens,
    ),
    Case(
        "BertForQuestionAnswering",
        stock("BertForQuestionAnswering", **small_config(num_labels=2)),
        answered_rows,
        pad_to_one_length,
    ),
    Case("BertLMHeadModel", stock("BertLMHeadModel", **small_config(is_decoder=True)), written_rows, pad_tokens),
    Case(
        "T5ForConditionalGeneration",
        stock("T5ForConditionalGeneration", **_T5, dropout_rate=0.0, decoder_start_token_id=0),
        partly_unlabelled(written_rows),
        pad_tokens,
    ),
    Case(
        "MT5ForConditionalGeneration",
        stock("MT5ForConditionalGeneration", **_T5, dropout_rate=0.0, decoder_start_token_id=0),
        written_rows,
        pad_tokens,
    ),
    Case("new_mt5", untied_mt5, partly_unlabelled(written_rows), pad_tokens),
    Case("Qwen3ForCausalLM-pruned", pruned_qwen3, written_rows, pad_tokens),
    Case("BartForConditionalGeneration", stock("BartForConditionalGeneration", **_BART), written_rows, pad_tokens),
    Case("LlamaForCausalLM", stock("LlamaForCausalLM", **_DECODER, num_key_value_heads=2), written_rows, pad_tokens),
    Case(
        "ModernBertForMaskedLM", stock("ModernBertForMaskedLM", **_DECODER), partly_unlabelled(masked_rows), pad_tokens
    ),
    Case(
        "ModernBertForMaskedLM-sparse",
        stock("ModernBertForMaskedLM", **_DECODER, sparse_prediction=True),
        masked_rows,
        pad_tokens,
    ),
    Case("DebertaV2ForMaskedLM", stock("DebertaV2ForMaskedLM", **small_config()), masked_rows, pad_tokens),
]
