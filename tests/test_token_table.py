"""Models without a table of tokens are told by every door, in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel, CanineConfig, CanineModel, CanineTokenizer

from nlpkit.probes import add_urpe, position_identifiability
from nlpkit.probes.room import room_for_tokens
from nlpkit.tasks.entities import EntityRecognizer
from nlpkit.tasks.linking import EntityLinker, Entry, KnowledgeBase
from nlpkit.tasks.similarity import sentence_encoder
from nlpkit.token_table import token_rows, token_table

SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    place = str(tmp_path_factory.mktemp("canine"))
    CanineModel(CanineConfig(num_hash_buckets=16, **SIZES)).save_pretrained(place)
    CanineTokenizer().save_pretrained(place)
    return place


@pytest.mark.parametrize(
    "door",
    [
        lambda place: EntityRecognizer.from_pretrained(place, types=["X"]),
        lambda place: EntityRecognizer.from_pretrained(place, types=["X"], units="tokens"),
        lambda place: EntityLinker.from_pretrained(place, KnowledgeBase([Entry("Q1", "酒店")])),
        lambda place: sentence_encoder(place, device="cpu"),
        lambda place: position_identifiability(CanineModel.from_pretrained(place)),
        lambda place: add_urpe(CanineModel.from_pretrained(place)),
        lambda place: token_rows(CanineModel.from_pretrained(place)),
    ],
)
def test_it_is_told(door: Callable[[str], Any], folder: str) -> None:
    with pytest.raises(ValueError, match="CanineModel has no table of tokens, as models that hash characters"):
        door(folder)


def test_a_table_has_a_row_for_each_token(folder: str) -> None:
    model = BertModel(BertConfig(vocab_size=9, **SIZES))
    assert token_table(model) is model.embeddings.word_embeddings
    assert token_rows(model).shape == (9, 16)
    assert token_table(CanineModel.from_pretrained(folder)) is None
    assert room_for_tokens(CanineModel.from_pretrained(folder)) == 16384
