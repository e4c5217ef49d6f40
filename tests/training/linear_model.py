"""A model that is linear in its embeddings, so that what a technique does to it can be written down."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tests.contract.cases import VOCABULARY, Case
from tests.contract.stock_heads import measured_rows, pad_to_rows


class LinearModel(nn.Module):
    """The score of a row is the inner product of a weight with the sum of its embeddings."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.embedding = nn.Embedding(VOCABULARY, 6)
        self.weight = nn.Parameter(torch.randn(6))

    def get_input_embeddings(self) -> nn.Module:
        return self.embedding

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        summed = (self.embedding(input_ids) * attention_mask[..., None]).sum(dim=1)  # (rows, width)
        return {"logits": (summed * self.weight).sum(dim=1)}


def make() -> Any:
    return LinearModel().train()


#: Rows with a number each, whose score is linear.
LINEAR = Case("linear", make, measured_rows, pad_to_rows)


def sums_and_lengths() -> tuple[LinearModel, Tensor, Tensor, Tensor]:
    """The model, and of each row the sum of its embeddings, its length and its number, in fp64."""
    model = make().double()
    rows = LINEAR.rows()
    summed = torch.stack([model.embedding(row["input_ids"]).sum(dim=0) for row in rows]).detach()
    lengths = torch.tensor([len(row["input_ids"]) for row in rows]).double()
    return model, summed, lengths, torch.stack([row["labels"] for row in rows])
