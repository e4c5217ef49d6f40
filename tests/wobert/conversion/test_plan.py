from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import BertForMaskedLM

from nlpkit.wobert.conversion.checkpoint_source import CheckpointSource
from nlpkit.wobert.conversion.conversion import convert_checkpoint
from nlpkit.wobert.conversion.plan import plan_conversion
from nlpkit.wobert.modeling import WoBertForMaskedLM
from tests.wobert.published_checkpoints import (
    VOCABULARY,
    edit_json,
    edit_weights,
    logits,
    refused,
    with_stored_ties,
)


def test_an_untied_decoder_is_kept_when_the_configuration_says_so(bert: Path, out: Path) -> None:
    with_stored_ties(bert)
    edit_weights(bert, lambda tensors: tensors | {"cls.predictions.decoder.weight": torch.ones(len(VOCABULARY), 8)})
    edit_json(bert / "config.json", tie_word_embeddings=False)
    convert_checkpoint(bert, out)
    converted, source = WoBertForMaskedLM.from_pretrained(out), BertForMaskedLM.from_pretrained(bert)
    assert torch.equal(converted.cls.predictions.decoder.weight, torch.ones(len(VOCABULARY), 8))
    assert torch.equal(logits(converted), logits(source))


def without(name: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda tensors: {other: tensor for other, tensor in tensors.items() if other != name}


def test_a_source_with_names_of_its_own_is_refused(bert: Path, out: Path) -> None:
    edit_weights(bert, without("bert.embeddings.word_embeddings.weight"))
    refused(bert, out, ValueError, "has no word embeddings under any name of BERT's")


@pytest.mark.parametrize("name", ["bert.encoder.layer.1.output.dense.bias", "cls.predictions.bias"])
def test_a_missing_tensor_is_named(bert: Path, out: Path, name: str) -> None:
    edit_weights(bert, without(name))
    refused(bert, out, ValueError, f"has no tensor for '{name}' of shape")


def test_a_kernel_of_tensorflow_must_fit_transposed_and_is_named_with_its_target() -> None:
    name, target = "bert/encoder/layer_0/intermediate/dense/kernel", "bert.encoder.layer.0.intermediate.dense.weight"
    source = CheckpointSource("tensorflow", Path("bert_model.ckpt"), {}, {name: torch.zeros(12, 8)})
    (record,) = plan_conversion(source, {target: name}, {target: torch.zeros(8, 12)}, "bert", "")
    assert record.fate == "transposed"
    message = rf"'{name}' of shape \(12, 8\), transposed, does not fit '{target}' of shape \(12, 8\)"
    with pytest.raises(ValueError, match=message):
        plan_conversion(source, {target: name}, {target: torch.zeros(12, 8)}, "bert", "")


def test_a_configuration_of_other_sizes_is_refused(bert: Path, out: Path) -> None:
    edit_json(bert / "config.json", max_position_embeddings=20)
    message = r"'bert.embeddings.position_embeddings.weight' of shape \(16, 8\) does not fit .* of shape \(20, 8\)"
    refused(bert, out, ValueError, message)


def test_a_configuration_of_too_few_or_too_many_layers_is_refused(bert: Path, out: Path) -> None:
    edit_json(bert / "config.json", num_hidden_layers=1)
    refused(
        bert, out, ValueError, r"'bert.encoder.layer.1.*' of shape .* has no place in the encoder .* too few layers"
    )
    edit_json(bert / "config.json", num_hidden_layers=3)
    refused(
        bert, out, ValueError, r"has no tensor for 'bert.encoder.layer.2.* or its configuration has too many layers"
    )


def test_a_vocabulary_of_another_size_is_refused(bert: Path, out: Path) -> None:
    (bert / "vocab.txt").write_text("\n".join(VOCABULARY[:-1]) + "\n", "utf-8")
    message = "the vocabulary has 22 tokens, but 'bert.embeddings.word_embeddings.weight' has 23 rows; give"
    refused(bert, out, ValueError, message)


def test_a_tensor_that_is_there_under_two_names_is_refused(bert: Path, out: Path) -> None:
    edit_weights(bert, lambda tensors: tensors | {"bert.embeddings.LayerNorm.gamma": torch.ones(8)})
    message = "holds 'bert.embeddings.LayerNorm.weight' twice, as 'bert.embeddings.LayerNorm.(gamma|weight)' and as"
    refused(bert, out, ValueError, message)


def test_quantised_weights_are_refused(bert: Path, out: Path) -> None:
    name = "bert.encoder.layer.0.output.dense.weight"
    edit_weights(bert, lambda tensors: tensors | {name: torch.zeros(8, 12, dtype=torch.int8)})
    refused(bert, out, ValueError, f"'{name}' is torch.int8; quantised weights cannot be converted")


@pytest.mark.parametrize("name", ["cls.predictions.decoder.weight", "cls.predictions.decoder.bias"])
def test_a_tied_tensor_with_numbers_of_its_own_is_refused(bert: Path, out: Path, name: str) -> None:
    with_stored_ties(bert)
    edit_weights(bert, lambda tensors: tensors | {name: tensors[name] + 1})
    refused(bert, out, ValueError, f"numbers for '{name}' that differ .* write \"tie_word_embeddings\": false")
