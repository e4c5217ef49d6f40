"""How a source reads texts, and whether a word model reads them as its source does: found out by running both."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from nlpkit.wobert.wordifying.source_model import layer_list, no_encoder, room_for_tokens

#: Tokens of one row, its ends included.
_LENGTH = 8


def check_direction(source: PreTrainedModel, tokenizer: Any) -> None:
    """Refuse a model whose first tokens know nothing of later ones, whatever it is called.

    Args:
        source: the model.
        tokenizer: its own.

    Raises:
        TypeError: it reads from left to right, or each token by itself.
        ValueError: it cannot be run on ids and an attention mask alone.
    """
    special = set(tokenizer.all_special_ids)
    plain = [number for number in range(len(tokenizer)) if number not in special]
    start, end = tokenizer.cls_token_id, tokenizer.sep_token_id
    one, other = (plain[0], plain[-1]) if len(plain) > 1 else (start, end)
    rows = torch.tensor([[start, one, one, end], [start, one, other, end], [start, other, one, end]])
    states = _read_source(_copy(source), rows, tokenizer.pad_token_id, [0])["states of texts"]
    if states.dim() != 2 or len(states) != rows.numel():  # not one for each token
        return
    plain_row, later_differs, earlier_differs = states.view(3, rows.shape[1], -1)
    if _relative_difference(plain_row[:2], later_differs[:2]) >= 1e-6:
        return
    if _relative_difference(plain_row[2:], earlier_differs[2:]) >= 1e-6:
        raise no_encoder(source, "which reads from left to right")
    raise no_encoder(source, "which reads each token by itself here; does it lack kernels of its own?")


def find_disagreement(
    source: PreTrainedModel,
    target: PreTrainedModel,
    pieces: Sequence[tuple[int, ...]],
    special: Sequence[tuple[int, int]],
    layers: Sequence[int] | None = None,
) -> str | None:
    """Run both models on a few rows of the same tokens and name what differs.

    The rows hold the special tokens, ids that are special to either model (a model may hold an id for padding
    whatever its settings say), and tokens that were kept; once without padding, once padded.

    Args:
        source: the model as it was.
        target: the word model; an MLM head of the source's must be its head.
        pieces: source ids of each new id.
        special: source id and new id of the padding, unknown, class, separator and mask token, in this order.
        layers: those of the source that the word model has, all by default.

    Returns:
        What differs and by how much, or ``None``.

    Raises:
        ValueError: the source cannot be run on ids and an attention mask alone.

    Note:
        Runs on copies, one at a time, in evaluation mode and at least fp32. Equal arithmetic on equal numbers gives
        equal numbers, so little room is left: 1e-4 of the largest, 1e-10 in fp64.
    """
    old_ids, new_ids, stand_ins = _rows(target, pieces, special)
    old_pad, new_pad = special[0]
    kept = [number for number, row in enumerate(pieces) if len(row) == 1]
    columns = [pieces[number][0] for number in kept], kept
    before = _read_source(keep_layers(_copy(source), layers), old_ids, old_pad, columns[0])
    words = _copy(target)
    new_rows: Any = words.get_input_embeddings().weight
    old_rows: Any = source.get_input_embeddings().weight
    with torch.no_grad():
        for number, old in stand_ins.items():
            new_rows[number] = old_rows[old]
    after = _readings(words, new_ids, new_pad, columns[1])
    room = 1e-10 if words.dtype == torch.float64 else 1e-4
    for name in [name for name in before if name in after]:
        apart = _relative_difference(before[name], after[name])
        if not apart <= room:
            return f"{name} differ by {apart:.2g} of the largest"
    return None


def _rows(
    target: PreTrainedModel, pieces: Sequence[tuple[int, ...]], special: Sequence[tuple[int, int]]
) -> tuple[Tensor, Tensor, dict[int, int]]:
    """The same rows in old and in new ids, and which row of the source stands in for new tokens among them."""
    old_special, (pad, _, start, end, _) = zip(*special, strict=True)
    plain = [number for number, row in enumerate(pieces) if len(row) == 1 and row[0] not in old_special]
    plain = plain[:: max(1, len(plain) // 12)] or [start]
    # An old special id is looked at as a new id, whatever token it has become.
    wanted = dict.fromkeys([*old_special, *(new for _, new in special), *plain])
    inside = [new for new in wanted if new < len(pieces) and new not in (pad, start, end)]
    inside = [new for new in inside if pieces[new] != (old_special[0],)]
    length = max(1, min(_LENGTH, room_for_tokens(target) or _LENGTH) - 2)
    inside += [plain[0]] * (-len(inside) % length)
    rows = [[start, *inside[at : at + length], end] for at in range(0, len(inside), length)]
    stand_ins = {new: pieces[plain[0]][0] for new in inside if len(pieces[new]) > 1}
    old_rows = [[stand_ins.get(new, pieces[new][0]) for new in row] for row in rows]
    return torch.tensor(old_rows), torch.tensor(rows), stand_ins


def _copy(model: PreTrainedModel) -> PreTrainedModel:
    wide = torch.promote_types(model.dtype, torch.float32)
    copied: PreTrainedModel = copy.deepcopy(model).to(dtype=wide).eval()  # type: ignore[call-arg]
    copied.config.return_dict = True
    return copied


def keep_layers(model: PreTrainedModel, layers: Sequence[int] | None) -> PreTrainedModel:
    """The model with these layers only, in place: modules as they are, whatever their settings would make of them."""
    name = layer_list(model)
    if layers is not None and name is not None:
        every = model.get_submodule(name)
        assert isinstance(every, nn.ModuleList)
        model.set_submodule(name, nn.ModuleList(every[layer] for layer in layers))
        model.config.num_hidden_layers = len(layers)
    return model


def _read_source(source: PreTrainedModel, ids: Tensor, pad: int, columns: Sequence[int]) -> dict[str, Tensor]:
    try:
        return _readings(source, ids, pad, columns)
    except Exception as error:  # whatever a model raises that wants other inputs
        raise ValueError(
            f"wordify runs both models on a few tokens to see that they agree, but {type(source).__name__} fails on "
            f"input_ids and attention_mask alone: {error}"
        ) from error


@torch.no_grad()
def _readings(model: PreTrainedModel, ids: Tensor, pad: int, columns: Sequence[int]) -> dict[str, Tensor]:
    """What a model makes of rows without and with padding: states, and logits over chosen columns."""
    found: dict[str, Tensor] = {}
    ids = ids.to(model.device)
    kept = torch.ones_like(ids, dtype=torch.bool)
    for row in range(len(ids)):
        kept[row, ids.shape[1] - row % 3 :] = False
    for batch, mask, inputs in (
        ("texts", torch.ones_like(kept), {"input_ids": ids}),
        ("padded texts", kept, {"input_ids": ids.where(kept, pad), "attention_mask": kept.long()}),
    ):
        states = _run(model.base_model, inputs)[0]
        found[f"states of {batch}"] = states[mask] if states.shape[:2] == mask.shape else states
        if model.base_model is not model:
            output = _run(model, inputs)
            logits = output.get("logits", output.get("prediction_logits"))
            if logits is not None and logits.dim() == 3 and logits.shape[-1] > max(columns):
                found[f"logits of {batch}"] = logits[mask][:, list(columns)]
    return found


def _run(model: Any, inputs: dict[str, Tensor]) -> Any:
    """What a model answers, if it draws numbers (as LSH attention does) the same ones each time."""
    with torch.random.fork_rng([model.device] if model.device.type == "cuda" else []):
        torch.manual_seed(0)
        return model(**inputs)


def _relative_difference(before: Tensor, after: Tensor) -> float:
    if before.shape != after.shape:
        return float("inf")
    same = torch.isclose(before, after, rtol=0, atol=0, equal_nan=True)
    return float((before - after)[~same].abs().max() / before.abs().max()) if not same.all() else 0.0
