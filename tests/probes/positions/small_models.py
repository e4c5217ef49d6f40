"""One small model of each architecture, with random weights that are large enough for attention not to be uniform."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModel, PreTrainedModel

import nlpkit.auto  # noqa: F401  (WoBERT)

_WIDTHS = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
_ENCODER = {**_WIDTHS, "max_position_embeddings": 64}
_T5 = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}
_STACKS = {f"{stack}_{part}": 2 for stack in ("encoder", "decoder") for part in ("layers", "attention_heads")}
_BART = {"d_model": 32, "max_position_embeddings": 64, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, **_STACKS}

#: Those with a table of positions, or that add them to the embeddings.
ABSOLUTE: dict[str, dict[str, Any]] = {
    "bert": _ENCODER,
    "wobert": _ENCODER,
    "roberta": _ENCODER,
    "albert": {**_ENCODER, "embedding_size": 16},
    "electra": {**_ENCODER, "embedding_size": 16},
    "bart": _BART,
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64},
}
#: Those that know positions by attention alone, to both sides.
RELATIVE: dict[str, dict[str, Any]] = {
    "t5": _T5,
    "mt5": _T5,
    "roformer": _ENCODER,
    "deberta-v2": {**_ENCODER, "relative_attention": True, "pos_att_type": ["p2c", "c2p"],
                   "position_biased_input": False},
    "xlnet": {"d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 64},
    "modernbert": {**_ENCODER, "cls_token_id": 1, "sep_token_id": 2},
}  # fmt: skip
#: And those that see what is before alone.
CAUSAL: dict[str, dict[str, Any]] = {
    "llama": {**_ENCODER, "num_key_value_heads": 1},
    "qwen2": {**_ENCODER, "num_key_value_heads": 2},
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 2},
    "gpt_neox": _ENCODER,
}
ALL = {**ABSOLUTE, **RELATIVE, **CAUSAL}


def small_model(name: str, scale: float = 5.0, vocabulary: int = 99) -> PreTrainedModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        name,
        vocab_size=vocabulary,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=0,
        **ALL[name],
    )
    model: PreTrainedModel = AutoModel.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(scale)
    return model
