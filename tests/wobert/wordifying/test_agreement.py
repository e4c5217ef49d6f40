from __future__ import annotations

import copy

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, RobertaConfig, RobertaForMaskedLM

from nlpkit.wobert.wordifying.agreement import find_disagreement
from nlpkit.wobert.wordifying.source_model import room_for_tokens, tables

SMALL = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 8}
PIECES = [(number,) for number in range(12)]
SPECIAL = [(number, number) for number in range(5)]


def bert() -> BertForMaskedLM:
    torch.manual_seed(0)
    return BertForMaskedLM(BertConfig(vocab_size=12, max_position_embeddings=16, **SMALL))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_a_model_agrees_with_its_copy(dtype: torch.dtype) -> None:
    source = bert().to(dtype)
    assert find_disagreement(source, copy.deepcopy(source), PIECES, SPECIAL) is None


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ("bert.embeddings.position_embeddings.weight", "states of texts"),
        ("bert.encoder.layer.1.output.dense.weight", "states of texts"),
        ("bert.embeddings.word_embeddings.weight", "states of texts"),
        ("cls.predictions.bias", "logits of texts"),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_what_differs_is_named(changed: str, named: str, dtype: torch.dtype) -> None:
    source = bert().to(dtype)
    target = copy.deepcopy(source)
    with torch.no_grad():
        target.get_parameter(changed)[1] += (
            0.1 * torch.arange(target.get_parameter(changed)[1].numel()).view(target.get_parameter(changed)[1].shape)
            + 0.1
        )
    assert str(find_disagreement(source, target, PIECES, SPECIAL)).startswith(f"{named} differ by ")


def test_new_words_and_a_swapped_padding_id_are_no_disagreement() -> None:
    source, target = bert().double(), bert().double()
    order = [1, 0, *range(2, 12)]
    with torch.no_grad():
        for name in tables(source, "vocab_size"):
            target.state_dict()[name].copy_(source.state_dict()[name][order])
        target.get_input_embeddings().weight[7] = 9.0
    pieces = [(order[number],) if number != 7 else (5, 6) for number in range(12)]
    special = [(0, 1), (1, 0), (2, 2), (3, 3), (4, 4)]
    assert find_disagreement(source, target, pieces, special) is None


def test_tables_are_found_wherever_the_model_keeps_them() -> None:
    assert tables(bert(), "vocab_size") == {
        "bert.embeddings.word_embeddings.weight": 0,
        "cls.predictions.bias": 0,
        "cls.predictions.decoder.weight": 0,
        "cls.predictions.decoder.bias": 0,
    }
    assert tables(bert(), "max_position_embeddings") == {"bert.embeddings.position_embeddings.weight": 0}


def test_the_room_of_a_roberta_ends_before_its_positions_do() -> None:
    roberta = RobertaForMaskedLM(RobertaConfig(vocab_size=12, max_position_embeddings=16, pad_token_id=1, **SMALL))
    assert (room_for_tokens(bert()), room_for_tokens(roberta)) == (16, 14)
