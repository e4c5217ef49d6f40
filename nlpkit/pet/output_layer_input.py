"""Reads what a masked LM hands to its output layer, at chosen positions, without computing all logits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel


class DecoderInput:
    """The states at some positions; ``states`` is filled in by the model's forward pass.

    Args:
        rows: row of each position, shape ``(positions,)``.
        columns: column of each position, shape ``(positions,)``.
    """

    def __init__(self, rows: Tensor, columns: Tensor) -> None:
        self.rows, self.columns = rows, columns
        self.states: Tensor | None = None


#: What the running forward pass is to hand over; a context variable, so that threads do not mix their requests.
_request: ContextVar[DecoderInput | None] = ContextVar("decoder_input", default=None)


def output_layer(model: PreTrainedModel) -> nn.Module:
    """The layer from states to logits over the vocabulary, made ready for ``reading``.

    Raises:
        ValueError: the model has none.
    """
    decoder = model.get_output_embeddings()
    if not isinstance(decoder, nn.Module):
        raise ValueError(
            f"{type(model).__name__} has no layer that predicts tokens; load it with AutoModelForMaskedLM, or another "
            "model that has a masked-LM head"
        )
    if _hand_over not in decoder._forward_pre_hooks.values():
        decoder.register_forward_pre_hook(_hand_over)
    return decoder


def _hand_over(decoder: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor] | None:
    request = _request.get()
    if request is None:
        return None
    (states,) = inputs  # (rows, length, hidden)
    request.states = states[request.rows, request.columns]  # (positions, hidden)
    return (states[:0, :0],)


@contextmanager
def reading(rows: Tensor, columns: Tensor) -> Iterator[DecoderInput]:
    """Within the block, forward passes keep the states at these positions and compute no logits.

    Args:
        rows: row of each position, shape ``(positions,)``.
        columns: column of each position, shape ``(positions,)``.

    Yields:
        Where the states will be.

    Note:
        The output layer must have been prepared with ``output_layer``; it then sees an empty batch. Everything before
        it runs as always, for all positions.
    """
    request = DecoderInput(rows, columns)
    token = _request.set(request)
    try:
        yield request
    finally:
        _request.reset(token)


def logits_of(decoder: nn.Module, states: Tensor, tokens: Tensor | None) -> Tensor:
    """Logits from states, for all tokens or some.

    Args:
        decoder: the output layer.
        states: shape ``(..., hidden)``.
        tokens: ids to score, shape ``(tokens,)``; ``None`` means the whole vocabulary.

    Returns:
        Shape ``(..., tokens)``.

    Note:
        Of a linear layer only the rows of ``tokens`` are multiplied; of any other (an adapter around one, say) all.
    """
    if tokens is None:
        logits: Tensor = decoder(states)
        return logits
    if type(decoder) is not nn.Linear:
        return torch.index_select(decoder(states), -1, tokens)
    bias = None if decoder.bias is None else decoder.bias[tokens]
    return F.linear(states, decoder.weight[tokens], bias)
