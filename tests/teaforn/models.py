"""Small models that write, and a batch for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from nlpkit.seq2seq import UniLmConfig, UniLmForSequenceToSequence
from tests.contract.cases import VOCABULARY, small_config
from tests.contract.stock_heads import _BART, _DECODER, _T5, stock

_SMALL_T5 = _T5 | {"decoder_start_token_id": 0, "dropout_rate": 0.0}
_GPT2 = {"vocab_size": VOCABULARY, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32, "pad_token_id": 0}
_NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "eos_token_id": 1, "bos_token_id": 1}
_HEADS = _DECODER | {"num_key_value_heads": 2, "head_dim": 8}
_SMALL = {"vocab_size": VOCABULARY, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 32}
_OPT = _SMALL | {"hidden_size": 16, "word_embed_proj_dim": 16, "ffn_dim": 16, "dropout": 0.0, "attention_dropout": 0.0}
_CTRL = {name: value for name, value in _GPT2.items() if name != "pad_token_id"}
_CTRL |= {"dff": 16, "resid_pdrop": 0.0, "embd_pdrop": 0.0}
_PAIR = {"decoder_start_token_id": 2, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 1}

ENCODER_DECODERS: dict[str, Callable[[], Any]] = {
    "T5": stock("T5ForConditionalGeneration", **_SMALL_T5),
    "T5 untied": stock(
        "T5ForConditionalGeneration", **_SMALL_T5, tie_word_embeddings=False, feed_forward_proj="gated-gelu"
    ),
    "mT5": stock("MT5ForConditionalGeneration", **_SMALL_T5),
    "BART": stock("BartForConditionalGeneration", **_BART, **_PAIR),
    "BART scaled": stock("BartForConditionalGeneration", **_BART, **_PAIR, scale_embedding=True),
    "mBART": stock("MBartForConditionalGeneration", **_BART, **_PAIR, scale_embedding=True),
}
DECODERS: dict[str, Callable[[], Any]] = {
    "Llama": stock("LlamaForCausalLM", **_HEADS),
    "GPT-2": stock("GPT2LMHeadModel", **_GPT2, **_NO_DROPOUT),
    "Gemma 2": stock("Gemma2ForCausalLM", **_HEADS),
    "Qwen 3": stock("Qwen3ForCausalLM", **_HEADS),
    "OPT": stock("OPTForCausalLM", **_OPT, **_PAIR),
    "BART's decoder": stock("BartForCausalLM", **_BART, **_PAIR, is_decoder=True),
    "CTRL": stock("CTRLLMHeadModel", **_CTRL),
    "BERT": stock("BertLMHeadModel", **small_config(is_decoder=True)),
}


def unilm() -> Any:
    """Reads the prompt both ways."""
    torch.manual_seed(0)
    settings = {"unk_token_id": 1, "bos_token_id": 2, "eos_token_id": 3, "mask_token_id": 4, "pad_token_id": 0}
    return UniLmForSequenceToSequence(UniLmConfig(**small_config(**settings)))


WRITERS = ENCODER_DECODERS | DECODERS | {"UniLM": unilm}
PROMPT = 4


def batch_for(model: Any, rows: int = 3, seed: int = 0) -> dict[str, Tensor]:
    """Rows of unequal length; of a decoder, prompts of four tokens."""
    draw = torch.Generator().manual_seed(seed)
    sources, targets = torch.tensor([9, 6, 8]), torch.tensor([7, 5, 2])
    labels = torch.randint(5, VOCABULARY, (rows, 7), generator=draw)
    labels[torch.arange(7) >= targets[:rows, None]] = -100
    if model.config.is_encoder_decoder:
        ids = torch.randint(5, VOCABULARY, (rows, 9), generator=draw)
        mask = (torch.arange(9) < sources[:rows, None]).long()
        return {"input_ids": ids * mask, "attention_mask": mask, "labels": labels}
    prompts = torch.randint(5, VOCABULARY, (rows, PROMPT), generator=draw)
    whole = torch.cat([torch.full_like(prompts, -100), labels], dim=1)
    ids = torch.cat([prompts, labels.clamp(min=0)], dim=1)
    batch = {"input_ids": ids, "attention_mask": (ids != 0).long(), "labels": whole}
    if isinstance(model, UniLmForSequenceToSequence):
        batch["token_type_ids"] = (torch.arange(ids.shape[1]) >= PROMPT).long().expand_as(ids) * batch[
            "attention_mask"
        ]
    return batch
