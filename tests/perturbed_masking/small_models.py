"""Masked language models of several architectures, small, with random weights, and a vocabulary of characters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import (
    AlbertConfig,
    AlbertForMaskedLM,
    BertConfig,
    BertForMaskedLM,
    BertTokenizer,
    DistilBertConfig,
    DistilBertForMaskedLM,
    ElectraConfig,
    ElectraForMaskedLM,
    ModernBertConfig,
    ModernBertForMaskedLM,
    PreTrainedModel,
    RobertaConfig,
    RobertaForMaskedLM,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
)

from nlpkit import WoBertConfig, WoBertForMaskedLM

SENTENCES: list[Any] = [
    "今天天气不错",
    ["今天", "天气", "不", "错"],
    "the cat sat unhappily, on 3.5 mats。",
    ["unhappily", "sat", "the", "cats"],
    "龘",
    "",
    "我们去X吧",
    "，。！",
    [],
    ["天", "\u200b", "ꙮ"],
]

TOKENS = (
    "[PAD] [UNK] [CLS] [SEP] [MASK] 今 天 气 不 错 我 们 去 吧 ， 。 ！ , . 3 5 the cat ##s sat un ##happ ##ily on mat"
    " x 3.5 ##. ##5"
).split()
SIZES: dict[str, Any] = {
    "vocab_size": len(TOKENS),
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 3,
    # Wide enough that masking anything moves everything visibly.
    "initializer_range": 0.4,
}


def tokenizer() -> BertTokenizer:
    """Characters, and a few English words in pieces."""
    return BertTokenizer(vocab={token: number for number, token in enumerate(TOKENS)}, model_max_length=40)


def seeded(make: Callable[[], PreTrainedModel]) -> PreTrainedModel:
    """A model with the same weights on every call."""
    torch.manual_seed(5)
    return make().eval()


MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "bert": lambda: BertForMaskedLM(BertConfig(**SIZES)),
    "wobert": lambda: WoBertForMaskedLM(WoBertConfig(**SIZES)),
    "roberta": lambda: RobertaForMaskedLM(RobertaConfig(**SIZES)),
    "xlm-roberta": lambda: XLMRobertaForMaskedLM(XLMRobertaConfig(**SIZES)),
    "electra": lambda: ElectraForMaskedLM(ElectraConfig(**SIZES, embedding_size=8)),
    "distilbert": lambda: DistilBertForMaskedLM(
        DistilBertConfig(
            vocab_size=len(TOKENS),
            dim=16,
            n_layers=3,
            n_heads=2,
            hidden_dim=24,
            max_position_embeddings=40,
            initializer_range=0.4,
        )
    ),
    "modernbert": lambda: ModernBertForMaskedLM(
        ModernBertConfig(**SIZES, cls_token_id=2, sep_token_id=3, initializer_cutoff_factor=3.0)
    ),
    # Its layers share their weights and stand in no list, so that all of them run.
    "albert": lambda: AlbertForMaskedLM(AlbertConfig(**SIZES, embedding_size=8)),
}


def bert(**changes: Any) -> PreTrainedModel:
    """The BERT of ``MODELS`` with some settings changed."""
    return seeded(lambda: BertForMaskedLM(BertConfig(**{**SIZES, **changes})))
