"""Where padding matters to taps: heads for questions read states of padding, and some backbones attend to it."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nlpkit.ladder_side_tuning.blocks.dense_weights import is_quantised
from nlpkit.ladder_side_tuning.ladder import Ladder
from nlpkit.ladder_side_tuning.taps.keys import KEYED, RowKey, as_read, reads_labels, row_keys

#: Padding changes the sums of a backbone that does not read it in the last digits only.
_PADDING = 1e-4
#: What is padded with the ids.
_WITH_PADDING = ("input_ids", "attention_mask", "token_type_ids")


def reads_padding(model: nn.Module) -> bool:
    """Whether a model's answer is a softmax over the positions of a row, those of padding among them."""
    return "start_positions" in inspect.signature(model.forward).parameters


def with_padding(model: nn.Module, batch: Mapping[str, Any], keys: Sequence[RowKey]) -> list[RowKey]:
    """The keys of rows, padding included where the model's head reads it.

    Args:
        model: that answers.
        batch: its inputs, with ``input_ids`` of shape ``(..., length)``.
        keys: of the rows of the batch, as ``row_keys`` gives them.

    Returns:
        The same keys where a row has no padding, or the head reads none; else those of the row and all its padding.
    """
    if not reads_padding(model):
        return list(keys)
    read = [batch["input_ids"], batch.get("decoder_input_ids")]
    read[1] = read[0] if read[1] is None else read[1]
    rows: list[Tensor] = [ids.reshape(-1, ids.shape[-1]).cpu() for ids in read]
    found = []
    for number, key in enumerate(keys):
        whole = tuple((0, ids.shape[-1]) for ids, _ in zip(rows, key.spans, strict=False))
        if whole == key.spans:
            found.append(key)
            continue
        digest = hashlib.blake2b(key.digest, digest_size=len(key.digest))
        for ids, span in zip(rows, key.spans, strict=False):
            digest.update(repr((span, ids[number].tolist())).encode())
        found.append(RowKey(digest.digest(), whole))
    return found


class OneLength:
    """Refuses batches that are padded to different lengths beside a head that reads padding.

    Args:
        model: that answers.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model, self._lengths, self._is_padded = model, set[int](), False

    def check(self, batch: Mapping[str, Any]) -> None:
        """Compare a batch with those before.

        Args:
            batch: inputs of the model.

        Raises:
            ValueError: they are padded to different lengths, by which training would not find their rows again.
        """
        mask = batch.get("attention_mask")
        if mask is None or not reads_padding(self._model):
            return
        self._lengths.add(int(mask.shape[-1]))
        self._is_padded = self._is_padded or not bool(mask.bool().all())
        if self._is_padded and len(self._lengths) > 1:
            raise ValueError(
                f"collate pads batches to {' and '.join(map(str, sorted(self._lengths)))} tokens, and the head of "
                f"{type(self._model).__name__} reads states of padding, so its taps hold for one length alone: pad "
                "every row to one, as tokenizers do with padding='max_length'"
            )


@torch.no_grad()
def refuse_states_of_padding(ladder: Ladder, batch: Mapping[str, Any]) -> None:
    """Refuse to keep the taps of a backbone that reads padding: they would stand for one batch, and lack its padding.

    Args:
        ladder: in evaluation mode.
        batch: inputs of it, the first row of which is padded; if it is not, nothing is refused.

    Raises:
        ValueError: the states of that row are others without the padding.

    Note:
        Two passes. In half precision, only differences are seen that are far above its rounding.
    """
    mask = batch.get("attention_mask")
    if mask is None:
        return
    attended = mask[:1].flatten(0, -2).bool().any(dim=0).nonzero()
    end = int(attended[-1]) + 1 if len(attended) else mask.shape[-1]
    if end == mask.shape[-1]:
        return
    names = (*KEYED, "labels") if len(ladder.stacks) == 2 and reads_labels(ladder) else KEYED
    first = {name: batch[name][:1] for name in names if batch.get(name) is not None}
    cut = {name: value[..., :end] if name in _WITH_PADDING else value for name, value in first.items()}
    padded, alone = _states_of_rows(ladder, first), _states_of_rows(ladder, cut)
    rounding = max(_PADDING, 16 * torch.finfo(_precision(ladder)).eps)
    for digest in alone.keys() & padded.keys():
        for one, other in zip(alone[digest], padded[digest], strict=True):
            if (one - other).abs().max() > rounding * one.abs().max():
                raise ValueError(
                    f"the states that {type(ladder).__name__} gives a text depend on the padding behind it, which no "
                    "cache holds; train without one, or beside a model that does not read padding, such as BERT's"
                )


def _states_of_rows(ladder: Ladder, batch: Mapping[str, Any]) -> dict[bytes, list[Tensor]]:
    """The taps of each row between its padding, by its digest."""
    stacks = len(ladder.stacks)
    keys = row_keys(as_read(ladder, stacks, batch), stacks, ladder.config.pad_token_id)
    taps = ladder.tap(**{name: value.to(ladder.device) for name, value in batch.items()})
    return {
        key.digest: [
            tap[number, slice(*span)].float()
            for span, layers in zip(key.spans, taps.values(), strict=True)
            for tap in layers.values()
        ]
        for number, key in enumerate(keys)
    }


def _precision(ladder: Ladder) -> torch.dtype:
    """The coarsest precision that a pass computes in."""
    if torch.is_autocast_enabled(ladder.device.type):
        return torch.get_autocast_dtype(ladder.device.type)
    return torch.bfloat16 if any(is_quantised(module) for module in ladder.modules()) else ladder.dtype
