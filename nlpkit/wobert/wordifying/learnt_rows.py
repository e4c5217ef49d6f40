"""Rows of an embedding, and entries of an output bias, while they are learnt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from nlpkit.wobert.wordifying.paired_texts import Reading
from nlpkit.wobert.wordifying.source_model import tables

#: Pieces of a word that have a map of their own; later ones stay in the mean.
_MAPPED = 4
#: Step width of a map's entries, in units of the rows' and over their number.
_MAP_RATE = 8.0
_SHARE_MASKED = 0.15


class LearntRows:
    """New rows of a model, each a sum of where it began, of what all words share, and of what is its own.

    What is shared are linear maps of the old rows of a word's pieces, one map for each place in the word: they tell
    what order and number of pieces do, from all words for all words, those that no text shows included.

    Args:
        model: the word model.
        ids: of its new rows.
        pieces: the old model's tokens for each of them.
        old_rows: the old model's input embedding, shape ``(old tokens, width)``.
        learn_bias: learn the new entries of the output bias, if there is one.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        ids: Sequence[int],
        pieces: Sequence[Sequence[int]],
        old_rows: Tensor,
        learn_bias: bool,
    ) -> None:
        self.model: Any = model
        self.ids = torch.tensor(ids, device=model.device)
        self.embedding = cast(nn.Embedding, model.get_input_embeddings())
        weight = self.embedding.weight.detach()
        wide = torch.promote_types(weight.dtype, torch.float32)
        self.scale = weight.to(wide).square().mean().sqrt().item()
        self.places = torch.full((len(weight),), -1, device=model.device)
        self.places[self.ids] = torch.arange(len(ids), device=model.device)
        self.seen = torch.zeros(len(ids), dtype=torch.bool, device=model.device)

        self.first_rows = weight[self.ids].to(wide)  # (new, width)
        self.pieces = _padded(pieces, len(old_rows)).to(model.device)  # (new, mapped)
        nothing = old_rows.new_zeros(1, old_rows.shape[1])
        self.old_rows = torch.cat([old_rows.detach(), nothing]).to(model.device, wide)  # (old tokens + 1, width)
        width = weight.shape[1]
        self.own = nn.Parameter(torch.zeros_like(self.first_rows))  # (new, width)
        self.maps = nn.Parameter(self.own.new_zeros(self.pieces.shape[1], width, width))
        self.offset = nn.Parameter(self.own.new_zeros(width))

        names, state = tables(model, "vocab_size"), model.state_dict()
        self.biases = [state[name] for name in sorted(names) if state[name].dim() == 1] if learn_bias else []
        self.first_bias: Tensor | None = self.biases[0][self.ids].to(wide) if self.biases else None
        self.shift = nn.Parameter(self.own.new_zeros(len(ids)))

    def rows(self, places: Tensor) -> Tensor:
        """The rows as they are now.

        Args:
            places: among the new rows, shape ``(rows,)``.

        Returns:
            Shape ``(rows, width)``.
        """
        with torch.autocast(self.own.device.type, enabled=False):
            shared = torch.einsum("rkd,kde->re", self.old_rows[self.pieces[places]], self.maps) + self.offset
            return self.first_rows[places] + shared + self.own[places]

    def groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """Parameter groups: rows at a rate in units of the embedding's scale, the bias at the rate itself."""
        groups = [
            {"params": [self.own, self.offset], "lr": learning_rate * self.scale},
            {"params": [self.maps], "lr": _MAP_RATE * learning_rate / self.maps.shape[-1]},
        ]
        return [*groups, {"params": [self.shift], "lr": learning_rate}] if self.biases else groups

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The embedding gives the learnt rows, and passes gradients to what they are made of."""

        def give(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            places = self.places[inputs[0]]
            present, where = places.clamp(min=0).unique(return_inverse=True)
            return torch.where(places[..., None] >= 0, self.rows(present)[where].to(output.dtype), output)

        handle = self.embedding.register_forward_hook(give)
        try:
            yield
        finally:
            handle.remove()

    def bias_loss(self, reading: Reading, mask_id: int, generator: torch.Generator) -> Tensor:
        """Loss of masked words, of which only the bias of new rows gets a gradient; 0 without a bias to learn."""
        if self.first_bias is None:
            return self.shift.sum() * 0
        ids = reading.new["input_ids"]
        drawn = torch.rand(ids.shape, generator=generator).to(ids.device) < _SHARE_MASKED
        masked = drawn & (reading.new_stretches >= 0)
        if not masked.any():
            return self.shift.sum() * 0
        inputs = reading.new | {"input_ids": ids.masked_fill(masked, mask_id)}
        with torch.no_grad():
            logits = self.model(**inputs).logits[masked].to(self.shift.dtype)  # (masked, V)
        # The model's own bias has moved already by as much as was written.
        moved = self.biases[0][self.ids].to(self.shift.dtype) - self.first_bias
        shift = logits.new_zeros(logits.shape[-1]).index_add(0, self.ids, self.shift - moved)
        return F.cross_entropy(logits + shift, ids[masked])

    @torch.no_grad()
    def write(self, reading: Reading) -> None:
        """Give the model what has been learnt, and note which rows a step has shown."""
        places = self.places[reading.new["input_ids"]]
        self.seen[places[places >= 0]] = True
        rows = self.rows(torch.arange(len(self.ids), device=self.ids.device))
        self.embedding.weight[self.ids] = rows.to(self.embedding.weight.dtype)
        if self.first_bias is not None:
            for bias in self.biases:
                bias[self.ids] = (self.first_bias + self.shift).to(bias.dtype)


def _padded(pieces: Sequence[Sequence[int]], nothing: int) -> Tensor:
    """The first pieces of each word, shape ``(words, mapped)``, the index of a row of zeros where there are fewer."""
    longest = min(_MAPPED, max(len(row) for row in pieces))
    return torch.tensor([[*row[:longest], *[nothing] * (longest - len(row))] for row in pieces])
