"""Which inputs a tap belongs to: where each row of a batch lies between its padding, and a digest of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

#: Inputs other than token ids that change the backbone's states; a batch with one of them cannot be looked up.
UNKEYED = (
    "inputs_embeds",
    "decoder_inputs_embeds",
    "position_ids",
    "encoder_outputs",
    "encoder_hidden_states",
    "past_key_values",
)


class RowKey(NamedTuple):
    """A row of a batch.

    Attributes:
        digest: of all that the backbone's states depend on, the same for any padding on the right.
        spans: for each stack, encoder first, where the row's tokens begin and end.
    """

    digest: bytes
    spans: tuple[tuple[int, int], ...]


def row_keys(batch: Mapping[str, Any], stacks: int, pad_token_id: int | None) -> list[RowKey]:
    """Find the key of each row of a batch.

    More or less padding behind a row gives the same key. Padding before it shifts positions, so it counts.

    Args:
        batch: a model's inputs: ``input_ids`` of shape ``(..., length)``, and ``attention_mask``, ``token_type_ids``,
            ``decoder_input_ids``, ``decoder_attention_mask``, ``labels`` as the model takes them.
        stacks: 1, or 2 for encoder-decoder models, whose states also depend on what the decoder reads.
        pad_token_id: ends what the decoder reads if neither labels nor a mask do.

    Returns:
        One key per row, leading dimensions flattened.

    Raises:
        ValueError: a single stack without ``input_ids``, or a decoder without input.

    Example:
        >>> tight = {"input_ids": torch.tensor([[5, 6]]), "attention_mask": torch.tensor([[1, 1]])}
        >>> loose = {"input_ids": torch.tensor([[5, 6, 0]]), "attention_mask": torch.tensor([[1, 1, 0]])}
        >>> row_keys(tight, 1, 0) == row_keys(loose, 1, 0)
        True
    """
    if batch.get("input_ids") is None:
        raise ValueError("taps are looked up by token ids; the batch has no input_ids")
    ids = _rows(batch["input_ids"])
    mask = torch.ones_like(ids) if batch.get("attention_mask") is None else _rows(batch["attention_mask"])
    kinds = None if batch.get("token_type_ids") is None else _rows(batch["token_type_ids"])
    decoded, ends = _decoder_rows(batch, pad_token_id) if stacks == 2 else (ids, None)
    keys = []
    for number, attended in enumerate(mask.bool()):
        places = attended.nonzero().flatten()
        start, end = (int(places[0]), int(places[-1]) + 1) if len(places) else (0, 0)
        parts = [torch.tensor([start]), ids[number, start:end], mask[number, start:end]]
        if kinds is not None and kinds[number, start:end].any():
            parts.append(kinds[number, start:end])
        spans: tuple[tuple[int, int], ...] = ((start, end),)
        if ends is not None:
            parts.append(decoded[number, : ends[number]])
            spans = (*spans, (0, ends[number]))
        keys.append(RowKey(_digest(parts), spans))
    return keys


def with_decoder_ids(model: Any, batch: Mapping[str, Any]) -> Mapping[str, Any]:
    """A batch in which labels stand for what a decoder reads, with that itself.

    Args:
        model: that may make the decoder's inputs of labels.
        batch: its inputs.

    Returns:
        The batch, with ``decoder_input_ids`` where the model would have made them.
    """
    prepare = getattr(model, "prepare_decoder_input_ids_from_labels", None)
    if prepare is None or batch.get("labels") is None or batch.get("decoder_input_ids") is not None:
        return batch
    return {**batch, "decoder_input_ids": prepare(labels=batch["labels"])}


def _rows(values: Tensor) -> Tensor:
    return values.reshape(-1, values.shape[-1]).cpu()


def _decoder_rows(batch: Mapping[str, Any], pad_token_id: int | None) -> tuple[Tensor, list[int]]:
    labels, mask = batch.get("labels"), batch.get("decoder_attention_mask")
    read = labels if batch.get("decoder_input_ids") is None else batch["decoder_input_ids"]
    if read is None:
        raise ValueError("taps of a decoder are looked up by what it reads; the batch has no labels")
    rows = _rows(read)
    if labels is not None:
        counted = _rows(labels).ne(-100)
    else:
        counted = rows.ne(-1 if pad_token_id is None else pad_token_id) if mask is None else _rows(mask).bool()
    # Up to the last one that counts, since there may be gaps; the first is there in any case, and may be padding's id.
    lengths = [int(row.nonzero()[-1]) + 1 if row.any() else 1 for row in counted]
    return rows, lengths


def _digest(parts: list[Tensor]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part.to(torch.int64).contiguous().numpy().data)
    return digest.digest()
