"""The models whose shared behaviour is tested: one `Case` a method, one line in `CASES`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

Row = dict[str, Any]

#: Rows of unequal length, because equal ones hide most mistakes of normalisation and padding.
LENGTHS = (3, 9, 5, 12, 4, 7, 11, 6)
VOCABULARY, LABELS = 40, 5


@dataclass(frozen=True)
class Case:
    """A small model without dropout, eight rows for it, and how rows become a batch of a given length."""

    name: str
    model: Callable[[], PreTrainedModel]
    rows: Callable[[], list[Row]]
    collate: Callable[[Sequence[Row], int | None], dict[str, Tensor]]

    def __str__(self) -> str:
        return self.name


def small_config(**settings: Any) -> dict[str, Any]:
    """Settings of a BERT of two narrow layers without dropout."""
    return {
        "vocab_size": VOCABULARY,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "max_position_embeddings": 32,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "num_labels": LABELS,
        **settings,
    }


def wobert(class_name: str, **settings: Any) -> Callable[[], PreTrainedModel]:
    """Makes a seeded model of that class of nlpkit."""

    def make() -> PreTrainedModel:
        import nlpkit

        torch.manual_seed(7)
        model: PreTrainedModel = getattr(nlpkit, class_name)(nlpkit.WoBertConfig(**small_config(**settings)))
        return model.train()

    return make


def token_ids() -> list[Row]:
    """Ids that no two rows share in order, each row of its own length."""
    generator = torch.Generator().manual_seed(3)
    return [{"input_ids": torch.randint(5, VOCABULARY, (length,), generator=generator)} for length in LENGTHS]


def masked_rows() -> list[Row]:
    """Token rows with a third of the tokens as targets, another number in each row."""
    rows = token_ids()
    for row in rows:
        targets = torch.arange(len(row["input_ids"])) % 3 == 0
        row["labels"] = torch.where(targets, row["input_ids"], -100)
    return rows


def tagged_rows() -> list[Row]:
    """Token rows with a class at most tokens."""
    rows = token_ids()
    for row in rows:
        row["labels"] = torch.where(row["input_ids"] % 4 == 0, -100, row["input_ids"] % LABELS)
    return rows


def classified_rows() -> list[Row]:
    """Token rows with one class each."""
    return [{**row, "labels": torch.tensor(number % LABELS)} for number, row in enumerate(token_ids())]


def pad_tokens(rows: Sequence[Row], length: int | None) -> dict[str, Tensor]:
    """Pad ids with 0, labels of tokens with -100, and mask what was padded."""
    length = length or max(len(row["input_ids"]) for row in rows)

    def padded(values: Sequence[Tensor], filling: int) -> Tensor:
        return torch.stack(
            [torch.nn.functional.pad(value, (0, length - len(value)), value=filling) for value in values]
        )

    batch = {
        "input_ids": padded([row["input_ids"] for row in rows], 0),
        "attention_mask": padded([torch.ones_like(row["input_ids"]) for row in rows], 0),
    }
    labels = [row["labels"] for row in rows]
    batch["labels"] = torch.stack(labels) if labels[0].dim() == 0 else padded(labels, -100)
    return batch


CASES = [
    Case("masked-lm", wobert("WoBertForMaskedLM"), masked_rows, pad_tokens),
    Case("sparse-masked-lm", wobert("WoBertForMaskedLM", sparse_prediction=True), masked_rows, pad_tokens),
    Case("sequence-classification", wobert("WoBertForSequenceClassification"), classified_rows, pad_tokens),
    Case("token-classification", wobert("WoBertForTokenClassification"), tagged_rows, pad_tokens),
]
