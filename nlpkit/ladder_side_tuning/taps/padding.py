"""Taps of padding, which are kept beside heads that read it: question answering's softmax runs over all positions."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from nlpkit.ladder_side_tuning.taps.keys import RowKey


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
