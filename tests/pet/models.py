"""Small prompted models for the tests, and texts written for them."""

from __future__ import annotations

from typing import Any

import torch

from nlpkit.pet.classifiers.pet_classifier import PetClassifier
from nlpkit.pet.clozes.examples import Example
from nlpkit.wobert.configuration import WoBertConfig
from nlpkit.wobert.modeling import WoBertForMaskedLM
from nlpkit.wobert.tokenizing.tokenizer import WoBertTokenizer

TEXTS = [
    "今天天气不错",
    "酒店服务态度很好，房间干净",
    "我们随时随地满意",
    "朋友推荐的酒店，房间不错！",
    "hello world",
    "的",
    "今天酒店的服务态度不好，房间不干净，我们不满意，不推荐朋友",
    "一了是人",
]
WORDS = {"good": ["很", "满意"], "bad": "不", "mixed": ["不错", "好人"]}


def small_model(vocabulary_size: int, seed: int = 5, **settings: Any) -> WoBertForMaskedLM:
    """In fp64, so that equalities hold on any processor."""
    torch.manual_seed(seed)
    config = WoBertConfig(
        vocab_size=vocabulary_size,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.5,
        **settings,
    )
    return WoBertForMaskedLM(config).double().eval()


def small_classifier(
    vocabulary: dict[str, int], pattern: str = "{mask}满意。{text}", **settings: Any
) -> PetClassifier:
    tokenizer = WoBertTokenizer(vocabulary)
    model = small_model(len(tokenizer), settings.pop("seed", 5))
    return PetClassifier(model, tokenizer, pattern, settings.pop("verbalizer", WORDS), **settings)


def labelled_examples() -> list[Example]:
    labels = ["good", "bad", "mixed"]
    return [Example({"text": text}, labels[number % 3]) for number, text in enumerate(TEXTS)]
