"""Encoders that a new head is put on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel


def encoder_for_head(source: str | Path, place: str | Path, inner: PreTrainedConfig, *args: Any, **kwargs: Any) -> Any:
    """An encoder by ``AutoModel``, in fp32 unless ``dtype`` says otherwise: trained in fp16, a new head ends in NaN.

    Args:
        source: what the user gave, for errors.
        place: where it is.
        inner: its configuration.
        *args: as for ``PreTrainedModel.from_pretrained``.
        **kwargs: likewise.

    Raises:
        ValueError: it is an encoder-decoder, or comes with a decoder.

    Example:
        >>> from nlpkit import model_path
        >>> from transformers import AutoConfig
        >>> place = model_path("wobert-mini-zh")
        >>> encoder_for_head(place, place, AutoConfig.from_pretrained(place)).dtype
        torch.float32
    """
    if inner.is_encoder_decoder:
        raise ValueError(f"{source} is an encoder-decoder ({inner.model_type}); give an encoder, such as a BERT")
    if not kwargs.keys() & {"dtype", "torch_dtype"}:
        kwargs["dtype"] = torch.float32
    encoder: PreTrainedModel = AutoModel.from_pretrained(place, *args, **kwargs)
    if all(isinstance(getattr(encoder, half, None), nn.Module) for half in ("encoder", "decoder")):
        raise ValueError(
            f"{source} is the encoder of a {type(encoder).__name__}, which AutoModel loads with a decoder; give an "
            "encoder that AutoModel loads alone, such as a BERT"
        )
    return encoder
