"""Encoders that a new head is put on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from nlpkit.pet.head_check import lengths_for_padding, refuse_reading_padding


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


def refuse_padding_in_states(encoder: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse an encoder whose states of a text depend on the padding behind it, as FNet's do.

    Args:
        encoder: in any mode, which stays.
        tokenizer: of it.

    Raises:
        ValueError: they do.

    Note:
        Six passes over one text.
    """
    for length in lengths_for_padding(encoder, tokenizer):
        row = tokenizer("a " * length, truncation=True, max_length=length, return_tensors="pt")["input_ids"]

        def states(inputs: dict[str, Tensor], own: int = row.shape[1]) -> Tensor:
            return encoder(**inputs, return_dict=True).last_hidden_state[0, :own]

        refuse_reading_padding(encoder, tokenizer, {"input_ids": row}, states)
