"""A small UniLM in fp64, sources of unequal length for it, and a tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from nlpkit import UniLmConfig, UniLmForSequenceToSequence, WoBertTokenizer

#: [CLS] tokens [SEP], none as long as another.
SOURCES = [[2, 7, 8, 9, 3], [2, 10, 3], [2, 11, 12, 13, 14, 15, 16, 3]]
END, FORBIDDEN = 3, [0, 1, 2, 4]
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}


def small_config(**settings: Any) -> UniLmConfig:
    return UniLmConfig(
        **{
            "vocab_size": 20,
            **SIZES,
            "max_position_embeddings": 40,
            "initializer_range": 0.8,
            "unk_token_id": 1,
            "bos_token_id": 2,
            "eos_token_id": 3,
            "mask_token_id": 4,
            **settings,
        }
    )


@pytest.fixture
def model() -> UniLmForSequenceToSequence:
    torch.manual_seed(42)  # of 60 seeds, one whose targets differ, some of which end, and by beams otherwise
    return UniLmForSequenceToSequence(small_config()).double().eval()


@pytest.fixture
def sources() -> dict[str, torch.Tensor]:
    """The sources as a batch, padded on the left."""
    width = max(map(len, SOURCES))
    ids = torch.tensor([[0] * (width - len(row)) + row for row in SOURCES])
    return {"input_ids": ids, "attention_mask": (ids != 0).long()}


@pytest.fixture(scope="session")
def tokenizer(small_vocabulary: dict[str, int]) -> WoBertTokenizer:
    return WoBertTokenizer(small_vocabulary)


@pytest.fixture
def writer(tokenizer: WoBertTokenizer) -> Callable[..., UniLmForSequenceToSequence]:
    """Makes a seeded model for the tokenizer."""

    def make(**settings: Any) -> UniLmForSequenceToSequence:
        torch.manual_seed(0)
        config = small_config(vocab_size=len(tokenizer), max_position_embeddings=64, **settings)
        model = UniLmForSequenceToSequence(config)
        model.use_tokens_of(tokenizer)
        return model.eval()

    return make
