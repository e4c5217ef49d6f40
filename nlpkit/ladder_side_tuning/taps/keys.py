"""Which inputs a tap belongs to: where each row of a batch lies between its padding, and a digest of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

#: Inputs that the key of a row holds.
KEYED = ("input_ids", "attention_mask", "token_type_ids", "decoder_input_ids", "decoder_attention_mask")
#: Wishes for what only a pass through the backbone leaves.
LEFT_BY_A_PASS = ("use_cache", "output_hidden_states", "output_attentions")
#: Inputs that heads and losses read behind the tapped states, and wishes as to what is returned. Only these may come
#: with those that are keyed: whatever else a model is given may change its states.
WITHOUT_EFFECT = (
    *("labels", "start_positions", "end_positions", "next_sentence_label", "sentence_order_label"),
    *("num_items_in_batch", "logits_to_keep", "return_dict", *LEFT_BY_A_PASS),
    *("unit_mask", "character_to_token", "character_ids", "entities", "mention_mask"),
)
#: Where a decoder reads the encoder's inputs, shifted by the model itself: the ids that shifting depends on.
_SHIFTED_BY = "shifted by"


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
        batch: what a model reads, as ``as_read`` gives it: ``input_ids`` of shape ``(..., length)``, and
            ``attention_mask``, ``token_type_ids``, ``decoder_input_ids``, ``decoder_attention_mask``, ``labels``.
        stacks: 1, or 2 for encoder-decoder models, whose states also depend on what the decoder reads.
        pad_token_id: ends what the decoder reads if neither labels nor a mask do.

    Returns:
        One key per row, leading dimensions flattened.

    Raises:
        ValueError: the states depend on something else than what a key holds, or a decoder has no input.

    Example:
        >>> tight = {"input_ids": torch.tensor([[5, 6]]), "attention_mask": torch.tensor([[1, 1]])}
        >>> loose = {"input_ids": torch.tensor([[5, 6, 0]]), "attention_mask": torch.tensor([[1, 1, 0]])}
        >>> row_keys(tight, 1, 0) == row_keys(loose, 1, 0)
        True
    """
    reason = why_not_keyed(batch)
    if reason is not None:
        raise ValueError(reason)
    ids = _rows(batch["input_ids"])
    mask = _mask(batch.get("attention_mask"), ids)
    kinds = None if batch.get("token_type_ids") is None else _rows(batch["token_type_ids"])
    decoder = _decoder_rows(batch, pad_token_id) if stacks == 2 else None
    keys = []
    for number, attended in enumerate(mask.bool()):
        places = attended.nonzero().flatten()
        # A row of padding alone has states all the same, of all its positions.
        start, end = (int(places[0]), int(places[-1]) + 1) if len(places) else (0, ids.shape[-1])
        # From the beginning, since some models count positions from the ids of padding.
        parts = [ids[number, :end], mask[number, :end]]
        if kinds is not None:  # those of 0 included: GPT-2 adds an embedding for them, too
            parts.append(kinds[number, :end])
        spans: tuple[tuple[int, int], ...] = ((start, end),)
        if decoder is not None:
            last = decoder.ends[number]
            parts += [decoder.ids[number, :last], decoder.mask[number, :last], decoder.shifted_by]
            spans = (*spans, (0, last))
        keys.append(RowKey(_digest(parts), spans))
    return keys


def why_not_keyed(batch: Mapping[str, Any]) -> str | None:
    """Why the states of a batch depend on more than a key holds.

    Args:
        batch: as for ``row_keys``.

    Returns:
        The reason, for a message; ``None`` if a key holds everything.
    """
    if batch.get("input_ids") is None:
        return "taps are looked up by token ids; the batch has no input_ids"
    shapes: dict[str, tuple[str, ...]] = {"input_ids": ("attention_mask", "token_type_ids")}
    if batch.get("decoder_input_ids") is not None:
        shapes["decoder_input_ids"] = ("decoder_attention_mask", "labels")
    for of, names in shapes.items():
        for name in names:
            value: Tensor | None = batch.get(name)
            if value is not None and value.shape != batch[of].shape:
                return (
                    f"the batch has {name} of shape {tuple(value.shape)}; taps are looked up by one value per token, "
                    f"of the shape of {of}, {tuple(batch[of].shape)}"
                )
    known = (*KEYED, *WITHOUT_EFFECT, _SHIFTED_BY)
    unknown = [name for name, value in batch.items() if value is not None and name not in known]
    if unknown:
        return (
            f"the batch has {unknown[0]!r}, on which the backbone's states may depend and by which taps are not "
            f"looked up; leave it out, or run the backbone, with use_tap_cache(None). Looked up by: {', '.join(KEYED)}"
        )
    return None


def as_read(model: Any, stacks: int, batch: Mapping[str, Any]) -> dict[str, Any]:
    """A batch with what its decoder reads, where the model makes that itself, and without labels that none reads.

    Args:
        model: that makes the decoder's inputs of labels or, as classifiers do, shifts the encoder's.
        stacks: as for ``row_keys``.
        batch: its inputs.

    Returns:
        The inputs, for ``row_keys``.
    """
    found = {name: value for name, value in batch.items() if name != "labels" or (stacks == 2 and reads_labels(model))}
    ids = found.get("input_ids")
    if stacks == 2 and found.get("decoder_input_ids") is None:
        if found.get("labels") is not None:
            found["decoder_input_ids"] = model.prepare_decoder_input_ids_from_labels(labels=found["labels"])
        elif ids is not None:
            by = [model.config.decoder_start_token_id, model.config.pad_token_id]
            found |= {"decoder_input_ids": ids, _SHIFTED_BY: torch.tensor([-1 if i is None else i for i in by])}
    return found


def reads_labels(model: Any) -> bool:
    """Whether a model's decoder reads the labels."""
    return hasattr(model, "prepare_decoder_input_ids_from_labels")


class _DecoderRows(NamedTuple):
    ids: Tensor
    mask: Tensor
    ends: list[int]
    shifted_by: Tensor


def _rows(values: Tensor) -> Tensor:
    return values.reshape(-1, values.shape[-1]).cpu()


def _mask(given: Tensor | None, ids: Tensor) -> Tensor:
    return torch.ones_like(ids) if given is None else _rows(given)


def _decoder_rows(batch: Mapping[str, Any], pad_token_id: int | None) -> _DecoderRows:
    labels, mask, shifted_by = batch.get("labels"), batch.get("decoder_attention_mask"), batch.get(_SHIFTED_BY)
    if batch.get("decoder_input_ids") is None:
        raise ValueError("taps of a decoder are looked up by what it reads; the batch has no labels")
    ids = _rows(batch["decoder_input_ids"])
    counted = []
    if labels is not None:
        counted.append(_rows(labels).ne(-100))
    if mask is not None:
        counted.append(_rows(mask).bool())
    if shifted_by is not None:
        counted.append(_mask(batch.get("attention_mask"), ids).bool())
    if not counted or shifted_by is not None:  # mBART shifts the last id that is not padding's to the beginning
        counted.append(ids.ne(-1 if pad_token_id is None else pad_token_id))
    # Up to the last one that counts, since there may be gaps; the first is there in any case, and may be padding's id.
    ends = [int(row.nonzero()[-1]) + 1 if row.any() else 1 for row in torch.stack(counted).any(dim=0)]
    return _DecoderRows(ids, _mask(mask, ids), ends, torch.tensor([]) if shifted_by is None else shifted_by)


def _digest(parts: list[Tensor]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        # In fp64, which holds any id, and a mask that is no whole number.
        digest.update(part.to(torch.float64).contiguous().numpy().data)
    return digest.digest()
