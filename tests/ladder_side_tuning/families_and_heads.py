"""Small random models of every family that the page promises a ladder for, with every head that transformers has."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, PreTrainedModel
from transformers.models.auto import modeling_auto as auto

from tests.ladder_side_tuning.small_models import BART, BERT, GPT2, LLAMA, T5, Sizes

_WITH_PADDING_POSITIONS: Sizes = {**BERT, "max_position_embeddings": 40, "pad_token_id": 1}
_MULTIQUERY: Sizes = {**LLAMA, "num_key_value_heads": 1}
#: Settings by model type; the name on the page is the family's.
FAMILIES: dict[str, tuple[str, Sizes]] = {
    "BERT": ("bert", BERT),
    "RoBERTa": ("roberta", _WITH_PADDING_POSITIONS),
    "XLM-R": ("xlm-roberta", _WITH_PADDING_POSITIONS),
    "XLM-R-XL": ("xlm-roberta-xl", _WITH_PADDING_POSITIONS),
    "CamemBERT": ("camembert", _WITH_PADDING_POSITIONS),
    "ELECTRA": ("electra", {**BERT, "embedding_size": 8}),
    "ERNIE": ("ernie", BERT),
    "MegatronBERT": ("megatron-bert", BERT),
    "RemBERT": ("rembert", {**BERT, "input_embedding_size": 8, "output_embedding_size": 16}),
    "RoFormer": ("roformer", {**BERT, "embedding_size": 8}),
    "MPNet": ("mpnet", _WITH_PADDING_POSITIONS),
    "DistilBERT": (
        "distilbert",
        {"vocab_size": 40, "dim": 16, "n_layers": 4, "n_heads": 2, "hidden_dim": 24, "max_position_embeddings": 32},
    ),
    "DeBERTa-v2": (
        "deberta-v2",
        {
            **BERT,
            "relative_attention": True,
            "position_buckets": 4,
            "pos_att_type": ["p2c", "c2p"],
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "position_biased_input": False,
            "pooler_hidden_size": 16,
        },
    ),
    "ModernBERT": (
        "modernbert",
        {**BERT, "pad_token_id": 0, "local_attention": 4, "global_attn_every_n_layers": 2, "bos_token_id": 1},
    ),
    "WoBERT": ("wobert", BERT),
    "T5": ("t5", T5),
    "mT5": ("mt5", {**T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
    "umT5": ("umt5", {**T5, "feed_forward_proj": "gated-gelu"}),
    "BART": ("bart", BART),
    "mBART": ("mbart", BART),
    "Pegasus": ("pegasus", BART),
    "GPT-2": ("gpt2", {**GPT2, "pad_token_id": 0}),
    "OPT": (
        "opt",
        {
            **{name: BERT[name] for name in ("vocab_size", "hidden_size", "num_attention_heads")},
            "num_hidden_layers": 4,
            "ffn_dim": 24,
            "max_position_embeddings": 32,
            "word_embed_proj_dim": 8,
            "pad_token_id": 0,
        },
    ),
    "Llama": ("llama", LLAMA),
    "Mistral": ("mistral", {**LLAMA, "sliding_window": 4}),
    "Qwen 2": ("qwen2", {name: value for name, value in LLAMA.items() if name != "head_dim"}),
    "Qwen 3": ("qwen3", LLAMA),
    "Gemma": ("gemma", _MULTIQUERY),
    "Gemma 2": ("gemma2", {**_MULTIQUERY, "sliding_window": 4, "query_pre_attn_scalar": 8}),
    "Gemma 3": (
        "gemma3_text",
        {**_MULTIQUERY, "sliding_window": 4, "query_pre_attn_scalar": 8, "sliding_window_pattern": 2},
    ),
    "Olmo 2": ("olmo2", {name: value for name, value in LLAMA.items() if name != "head_dim"}),
    "SmolLM3": (
        "smollm3",
        {**{name: value for name, value in LLAMA.items() if name != "head_dim"}, "no_rope_layer_interval": 2},
    ),
    "Granite": (
        "granite",
        {
            **{name: value for name, value in LLAMA.items() if name != "head_dim"},
            "residual_multiplier": 0.5,
            "attention_multiplier": 0.3,
            "embedding_multiplier": 2.0,
        },
    ),
}
#: Names on the page, and transformers' tables.
HEADS: dict[str, Any] = {
    "bare": auto.MODEL_MAPPING_NAMES,
    "masked LM": auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    "causal LM": auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    "seq2seq LM": auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    "texts": auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    "tokens": auto.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES,
    "questions": auto.MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES,
    "choices": auto.MODEL_FOR_MULTIPLE_CHOICE_MAPPING_NAMES,
}
_MODELS: dict[str, Any] = {
    "bare": auto.AutoModel,
    "masked LM": auto.AutoModelForMaskedLM,
    "causal LM": auto.AutoModelForCausalLM,
    "seq2seq LM": auto.AutoModelForSeq2SeqLM,
    "texts": auto.AutoModelForSequenceClassification,
    "tokens": auto.AutoModelForTokenClassification,
    "questions": auto.AutoModelForQuestionAnswering,
    "choices": auto.AutoModelForMultipleChoice,
}


def _has(model_type: str, head: str) -> bool:
    if model_type == "wobert":
        return head not in ("causal LM", "seq2seq LM")
    # Of an encoder-decoder family, the decoder by itself is another one, and the head for masks is that for texts.
    is_pair = model_type in auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
    return model_type in HEADS[head] and not (is_pair and head in ("causal LM", "masked LM"))


CELLS = [(family, head) for family, (model_type, _) in FAMILIES.items() for head in HEADS if _has(model_type, head)]
GENERATING = [cell for cell in CELLS if cell[1] in ("causal LM", "seq2seq LM")]


def make(family: str, head: str) -> PreTrainedModel:
    """A seeded model in evaluation mode and fp64."""
    model_type, sizes = FAMILIES[family]
    config = AutoConfig.for_model(model_type, **sizes)
    if head == "causal LM" and model_type in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        config.is_decoder = True
    torch.manual_seed(11)
    model: PreTrainedModel = _MODELS[head].from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.double().eval()


def batch_of(model: PreTrainedModel, head: str) -> dict[str, Tensor]:
    """Two rows, one of them padded; each ends with the token that marks the end of a text."""
    generator = torch.Generator().manual_seed(5)
    padding = model.config.pad_token_id or 0
    ids, mask = torch.randint(5, 40, (2, 7), generator=generator), torch.ones(2, 7).long()
    ids[0, 6] = ids[1, 4] = 2
    ids[1, 5:], mask[1, 5:] = padding, 0
    batch = {"input_ids": ids, "attention_mask": mask}
    if head == "choices":  # of full length, since RoFormer reads the last token
        full = ids[:1].repeat(2, 1)
        batch = {
            "input_ids": torch.stack([full, full.roll(1, 1)], dim=1),
            "attention_mask": torch.ones(2, 2, 7).long(),
        }
    if head in ("bare", "seq2seq LM") and model.config.is_encoder_decoder:
        batch["decoder_input_ids"] = torch.randint(5, 40, (2, 4), generator=generator)
    return batch


def rows_of(batch: dict[str, Tensor]) -> list[dict[str, Any]]:
    """The rows of a batch without their padding."""
    found = []
    for number, mask in enumerate(batch["attention_mask"]):
        length = int(mask.flatten(0, -2).sum(-1).max()) if mask.dim() > 1 else int(mask.sum())
        row: dict[str, Any] = {"input_ids": batch["input_ids"][number][..., :length]}
        if "decoder_input_ids" in batch:
            row["decoder_input_ids"] = batch["decoder_input_ids"][number]
        found.append(row)
    return found
