"""Small models of the families whose tensors optimizers must know."""

from __future__ import annotations

from typing import Any

import torch
import transformers

_DECODER = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
}
_GPT2 = {"vocab_size": 40, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32}
_T5 = {"vocab_size": 40, "d_model": 16, "d_kv": 8, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0}

#: The class of a model, and the settings of its configuration.
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("BertForMaskedLM", _DECODER),
    "bert-sequence": ("BertForSequenceClassification", _DECODER),
    "t5": ("T5ForConditionalGeneration", {**_T5, "d_ff": 40}),
    "t5-gated": ("T5ForConditionalGeneration", {**_T5, "d_ff": 40, "feed_forward_proj": "gated-gelu"}),
    "llama": ("LlamaForCausalLM", {**_DECODER, "num_key_value_heads": 2}),
    "gpt2": ("GPT2LMHeadModel", _GPT2),
    "modernbert": ("ModernBertForMaskedLM", _DECODER),
    "phi3": ("Phi3ForCausalLM", {**_DECODER, "num_key_value_heads": 2}),
    "gpt-neox": ("GPTNeoXForCausalLM", _DECODER),
}


def small_model(name: str, **settings: Any) -> Any:
    torch.manual_seed(0)
    class_name, own = MODELS[name]
    cls = getattr(transformers, class_name)
    return cls(cls.config_class(**{**own, **settings}))
