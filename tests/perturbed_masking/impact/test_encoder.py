"""The encoder: no more work than asked for, and nothing left behind in the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, T5Config, T5ForConditionalGeneration

from nlpkit.perturbed_masking.impact.copies import LengthGroup
from nlpkit.perturbed_masking.impact.encoder import MaskedEncoder
from nlpkit.perturbed_masking.impact.measurement import Measure
from nlpkit.perturbed_masking.perturbed_masking import PerturbedMasking
from tests.perturbed_masking.small_models import MODELS, SENTENCES, bert, seeded, tokenizer


def masking(model: Any, **settings: Any) -> PerturbedMasking:
    return PerturbedMasking(model, tokenizer(), show_progress=False, **settings)


def test_padding_a_copy_changes_nothing() -> None:
    model, parser = bert().double(), masking(bert().double())
    units = parser.units("今天天气不错")
    group = LengthGroup([units], mask_id=4)
    batch = next(group.batches(1000))
    padded = torch.nn.functional.pad(batch.input_ids, (0, 5), value=0)
    states = model(padded, attention_mask=(padded != 0).long(), output_hidden_states=True).hidden_states[3]
    mine = parser.encoder.states(batch.input_ids, (batch.copies, batch.positions), [3])[3]
    torch.testing.assert_close(states[batch.copies, batch.positions], mine, rtol=0, atol=1e-12)


def test_layers_above_the_deepest_do_not_run() -> None:
    model = bert()
    runs = [0, 0, 0]
    for number, layer in enumerate(model.base_model.encoder.layer):
        layer.intermediate.register_forward_hook(lambda *_, number=number: runs.__setitem__(number, runs[number] + 1))
    masking(model, measure=Measure(2)).impact(SENTENCES[:1])
    assert runs == [1, 1, 0]


def test_the_deepest_layer_runs_its_second_half_on_the_rows_alone() -> None:
    model = bert()
    shapes: list[tuple[int, ...]] = []
    for layer in model.base_model.encoder.layer:
        layer.intermediate.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape)))
    masking(model).impact(["今天天气不错"])
    assert shapes == [(21, 8, 24), (21, 8, 24), (1, 6 + 15 * 2, 24)]


def test_distances_of_states_leave_the_vocabulary_alone() -> None:
    model = bert()
    calls: list[int] = []
    model.get_output_embeddings().register_forward_hook(lambda *_: calls.append(1))
    masking(model).impact(SENTENCES[:2])
    assert not calls
    predicting = masking(
        model, measure=Measure(distance="jensen_shannon")
    )  # its head is a copy that shares weights and hooks
    predicting.impact(SENTENCES[:2])
    assert calls


def test_hooks_are_gone_afterwards() -> None:
    model = bert()
    expected = model(torch.tensor([[2, 5, 6, 3]])).logits
    parser = masking(model, measure=Measure(1))
    parser.impact(SENTENCES[:1])
    assert torch.equal(model(torch.tensor([[2, 5, 6, 3]])).logits, expected)


def test_dropout_is_off_even_if_the_model_was_training() -> None:
    model = bert()
    parser = masking(model)
    expected = parser.impact(SENTENCES[:1])
    model.train()
    np.testing.assert_array_equal(parser.impact(SENTENCES[:1]), expected)


def test_weights_that_a_folder_lacks_are_named(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    bert().save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights.pop("bert.encoder.layer.1.output.dense.weight")
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        ValueError, match=r"lacks weights of the encoder: bert\.encoder\.layer\.1\.output\.dense\.weight"
    ):
        MaskedEncoder.from_pretrained(str(tmp_path))


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (lambda: GPT2LMHeadModel(GPT2Config(vocab_size=9, n_embd=8, n_layer=1, n_head=2)), "GPT2LMHeadModel"),
        (
            lambda: T5ForConditionalGeneration(
                T5Config(vocab_size=9, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
            ),
            "T5ForConditionalGeneration",
        ),
        (lambda: bert(is_decoder=True), "BertForMaskedLM"),
    ],
)
def test_decoders_are_refused(model: Any, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is, or has, a decoder, which does not see both sides of a mask"):
        MaskedEncoder(model())


@pytest.mark.parametrize(
    ("name", "positions"), [("bert", 40), ("roberta", 39), ("modernbert", 40), ("distilbert", 40)]
)
def test_the_limit_is_that_of_the_positions(name: str, positions: int) -> None:
    model = seeded(MODELS[name])
    assert MaskedEncoder(model).max_positions == positions
    ids = torch.full((1, positions), 5)
    model(ids)  # fits; what counts from behind the padding has no room for one more
    if name == "roberta":
        with pytest.raises((IndexError, RuntimeError)):
            model(torch.full((1, positions + 1), 5))
