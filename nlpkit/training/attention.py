"""Attention whose backward pass is fast on CPUs in bf16."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

#: The name under which transformers knows it, for ``model.set_attn_implementation``.
SDPA_IN_FP32 = "sdpa_in_fp32"


def sdpa_in_fp32(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **settings: Any
) -> tuple[Tensor, None]:
    """Fused attention, computed in fp32 where a CPU would train it in bf16; everywhere else transformers' own.

    Measured on torch 2.13, two cores with AMX, ``(16, 12, 128, d)``: the backward pass takes 35 to 48 ms in bf16 for
    any ``d`` up to 64, and 5 to 18 ms in fp32; the forward pass takes as long for ``d`` up to 24, and up to 2.5 times
    as long for 64.

    Args:
        module: the layer, as for any attention function of transformers.
        query: shape ``(batch, heads, length, head size)``.
        key: likewise.
        value: likewise.
        attention_mask: as ``transformers.masking_utils.sdpa_mask`` makes it, or ``None``.
        settings: dropout, scaling and whatever else the layer gives.

    Returns:
        What every attention function of transformers does: the result, ``(batch, length, heads, head size)``, in the
        dtype of the query, and no maps.
    """
    if not (query.device.type == "cpu" and query.dtype == torch.bfloat16 and torch.is_grad_enabled()):
        return sdpa_attention_forward(module, query, key, value, attention_mask, **settings)
    bias = settings.pop("position_bias", None)
    if bias is not None:
        settings["position_bias"] = bias.float()
    if attention_mask is not None and attention_mask.is_floating_point():
        attention_mask = attention_mask.float()
    with torch.autocast("cpu", enabled=False):
        states, _ = sdpa_attention_forward(
            module, query.float(), key.float(), value.float(), attention_mask, **settings
        )
    return states.to(query.dtype), None


AttentionInterface.register(SDPA_IN_FP32, sdpa_in_fp32)
AttentionMaskInterface.register(SDPA_IN_FP32, sdpa_mask)


@contextmanager
def fast_attention(model: PreTrainedModel) -> Iterator[None]:
    """Train a model with ``sdpa_in_fp32`` where it has transformers' ``"sdpa"``; afterwards it has its own again.

    Args:
        model: computes as before on GPUs, in evaluation and outside of bf16. Another kind of attention than ``"sdpa"``
            was somebody's choice and stays.

    Example:
        >>> from transformers import BertConfig, BertModel
        >>> model = BertModel(BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        ...                              intermediate_size=8))
        >>> with fast_attention(model):
        ...     model.config._attn_implementation
        'sdpa_in_fp32'
        >>> model.config._attn_implementation
        'sdpa'
    """
    if model.config._attn_implementation != "sdpa":
        yield
        return
    model.set_attn_implementation(SDPA_IN_FP32)
    try:
        yield
    finally:
        model.set_attn_implementation("sdpa")
