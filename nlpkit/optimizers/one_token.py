"""Running a model on a text of a single token, to see what its modules do."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from nlpkit.modes import evaluating


def run_one_token(model: Any) -> Any:
    """What a model makes of one token, in evaluation mode and without gradients; it is left as it was.

    Args:
        model: one that runs as ``model(input_ids=...)``, an encoder-decoder with ``decoder_input_ids`` too, or PEFT's
            wrapper around one; it runs without its head, where it has a ``base_model``.

    Returns:
        What its ``base_model``, or itself, returns.

    Example:
        >>> from transformers import GPT2Config, GPT2LMHeadModel
        >>> run_one_token(GPT2LMHeadModel(GPT2Config(vocab_size=9, n_embd=8, n_layer=1, n_head=2)))[0].shape
        torch.Size([1, 1, 8])
    """
    inner: nn.Module = getattr(model, "base_model", model)
    token = torch.ones(1, 1, dtype=torch.long, device=next(inner.parameters()).device)
    inputs = {"input_ids": token}
    if getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        inputs["decoder_input_ids"] = token
    with evaluating(inner), torch.no_grad():
        return inner(**inputs)
