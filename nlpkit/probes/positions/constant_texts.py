"""Texts of one repeated token, and what a model makes of them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from nlpkit.token_table import token_rows

#: Which ends of a text have a token of their own.
Marks = Literal["none", "first", "last", "both"]
MARKS: tuple[Marks, ...] = ("none", "first", "last", "both")

#: By how much embeddings are changed to see what rounding makes of it: below fp32's precision, above that of fp64.
_NUDGE = 2.0**-26


def constant_texts(tokens: Tensor, length: int, marks: Marks, first: int, last: int) -> Tensor:
    """One text per token, of that token alone between its marks.

    Args:
        tokens: ids, shape ``(texts,)``.
        length: of each text without marks.
        marks: which ends have a token of their own.
        first: the id that stands before a text.
        last: the id that stands behind it.

    Returns:
        Ids, shape ``(texts, length + marks)``.

    Example:
        >>> constant_texts(torch.tensor([7, 8]), 3, "first", 1, 2).tolist()
        [[1, 7, 7, 7], [1, 8, 8, 8]]
    """
    parts = [tokens[:, None].expand(-1, length)]
    if marks in ("first", "both"):
        parts.insert(0, tokens.new_full((len(tokens), 1), first))
    if marks in ("last", "both"):
        parts.append(tokens.new_full((len(tokens), 1), last))
    return torch.cat(parts, dim=1)


def exact_copy(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of a model in fp64, in evaluation, without its head; kernels that know no fp64 give way to plain ones.

    Args:
        model: of texts.

    Raises:
        ValueError: its weights are quantised.
    """
    if getattr(model, "is_quantized", False):
        raise ValueError(f"this {type(model).__name__} is quantised, and there is no fp64 of it: load it without")
    whole = copy.deepcopy(model).eval().double()
    base: PreTrainedModel = whole.base_model
    if any(name in (base.config._attn_implementation or "") for name in ("flash", "flex")):
        base.set_attn_implementation("eager")
    return base


def states_of(base: PreTrainedModel, ids: Tensor, constant: Tensor) -> dict[str, tuple[Tensor, ...]]:
    """The states of each stack of a model, of embeddings and after each layer.

    Args:
        base: without a head.
        ids: texts, shape ``(texts, length)``.
        constant: what the encoder reads while the decoder reads the texts, so that only these are looked at.

    Returns:
        By ``"encoder"`` and ``"decoder"``, or ``"model"`` where there is one stack; shape ``(texts, length, dim)``,
        those that the model returns last.

    Raises:
        ValueError: the model is none of texts.
    """
    own = {"attention_mask": torch.ones_like(ids), "output_hidden_states": True}
    with torch.inference_mode():
        if not base.config.is_encoder_decoder:
            return {"model": _states(base(input_ids=ids, **own), base, "hidden_states")}
        encoded = base.get_encoder()(input_ids=ids, **own)
        read = {"input_ids": constant, "attention_mask": torch.ones_like(constant), "output_hidden_states": True}
        decoded = base(**read, decoder_input_ids=ids, decoder_attention_mask=torch.ones_like(ids))
        return {
            "encoder": _states(encoded, base, "hidden_states"),
            "decoder": _states(decoded, base, "decoder_hidden_states"),
        }


def vocabulary_size(model: PreTrainedModel) -> int:
    """Rows of a model's embeddings.

    Args:
        model: any.

    Raises:
        ValueError: it has none.
    """
    return len(token_rows(model))


@contextmanager
def nudged_embeddings(base: PreTrainedModel) -> Iterator[None]:
    """Within the block, embeddings of tokens differ by a share that fp32 cannot hold, up and down in turns.

    A normalisation would take back one that is the same in all dimensions.
    """
    rows = vocabulary_size(base)
    tables = [one for one in base.modules() if isinstance(one, nn.Embedding) and one.weight.shape[0] == rows]
    hooks = [table.register_forward_hook(_nudge) for table in tables]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _nudge(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    signs = 1 - 2 * (torch.arange(output.shape[-1], device=output.device, dtype=output.dtype) % 2)
    return output * (1 + _NUDGE * signs)


def _states(outputs: Any, base: PreTrainedModel, layers: str) -> tuple[Tensor, ...]:
    last = getattr(outputs, "last_hidden_state", None)
    if not isinstance(last, Tensor) or last.dim() != 3:
        raise ValueError(
            f"{type(base).__name__} returns no last_hidden_state of shape (texts, length, dim); give a model of texts "
            "from transformers"
        )
    before = getattr(outputs, layers, None) or (last,)  # the last of which comes before a last normalisation, or after
    return (*(one for one in before[:-1] if one.shape == last.shape), last)
