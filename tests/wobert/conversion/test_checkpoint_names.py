from __future__ import annotations

import pytest
from transformers import BertConfig, BertForPreTraining

from nlpkit.wobert.conversion.checkpoint_names import (
    is_training_state,
    reason_to_leave_out,
    rename_tensorflow,
    rename_transformers,
)

TINY = BertConfig(vocab_size=7, hidden_size=4, num_hidden_layers=11, num_attention_heads=1, intermediate_size=4)
NAMES_OF_BERT = set(BertForPreTraining(TINY).state_dict())


def tensorflow_names() -> list[str]:
    """The variables of Google's BERT with 11 layers, as its graph declares them."""
    names = [f"bert/embeddings/{kind}_embeddings" for kind in ("word", "position", "token_type")]
    norms = ["bert/embeddings/LayerNorm", "cls/predictions/transform/LayerNorm"]
    dense = ["bert/pooler/dense", "cls/predictions/transform/dense"]
    for layer in range(11):
        stem = f"bert/encoder/layer_{layer}"
        norms += [f"{stem}/attention/output/LayerNorm", f"{stem}/output/LayerNorm"]
        dense += [f"{stem}/attention/self/{part}" for part in ("query", "key", "value")]
        dense += [f"{stem}/attention/output/dense", f"{stem}/intermediate/dense", f"{stem}/output/dense"]
    names += [f"{norm}/{end}" for norm in norms for end in ("gamma", "beta")]
    names += [f"{layer}/{end}" for layer in dense for end in ("kernel", "bias")]
    heads = ["cls/predictions/output_bias", "cls/seq_relationship/output_weights", "cls/seq_relationship/output_bias"]
    return names + heads


def test_every_name_of_googles_bert_becomes_that_of_transformers_and_none_is_forgotten() -> None:
    renamed = [rename_tensorflow(name, "bert") for name in tensorflow_names()]
    tied = {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}
    assert sorted(renamed) == sorted(NAMES_OF_BERT - tied)


def test_names_of_today_stay_and_those_of_old_become_them() -> None:
    for name in NAMES_OF_BERT:
        assert rename_transformers(name, "bert") == name
        old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        assert rename_transformers(old, "bert") == name
        assert rename_transformers(old.removeprefix("bert."), "bert") == name


def test_a_bare_encoder_gets_the_name_of_its_architecture() -> None:
    assert rename_transformers("encoder.layer.3.output.dense.bias", "roformer") == (
        "roformer.encoder.layer.3.output.dense.bias"
    )


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("global_step", (), True),
        ("beta1_power", (), True),
        ("a/kernel/adam_m", (2, 2), True),
        ("a/kernel/Adam_1", (2, 2), True),
        ("a/kernel", (2, 2), False),
        ("b/kernel/adam_m", (2, 2), False),  # nothing is called b/kernel, so this is no slot of it
        ("top", (3,), False),
    ],
)
def test_counters_and_what_is_filed_below_a_weight_is_training_state(name: str, shape: tuple, expected: bool) -> None:
    names = {"global_step", "beta1_power", "a/kernel", "a/kernel/adam_m", "a/kernel/Adam_1", "b/kernel/adam_m", "top"}
    assert is_training_state(name, shape, names) is expected


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("bert.pooler.dense.bias", "pooler, which the converted model does not have"),
        ("bert.embeddings.position_ids", "index buffer, which the model makes itself"),
        ("cls.seq_relationship.weight", "next-sentence head"),
        ("classifier.weight", "head of another task"),
        ("bert.encoder.layer.0.attention.self.distance_embedding.weight", None),
        ("bert.embeddings.position_embeddings.weight", None),
    ],
)
def test_only_what_no_encoder_needs_may_be_left_out(name: str, reason: str | None) -> None:
    assert reason_to_leave_out(name, "bert") == reason
