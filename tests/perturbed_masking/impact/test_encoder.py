"""The encoder: no more work than asked for, and nothing left behind in the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    CanineConfig,
    CanineModel,
    FunnelConfig,
    FunnelForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    LongformerConfig,
    LongformerForMaskedLM,
    PerceiverConfig,
    PerceiverForMaskedLM,
    SqueezeBertConfig,
    SqueezeBertForMaskedLM,
    T5Config,
    T5ForConditionalGeneration,
)

from nlpkit.perturbed_masking.impact.copies import LengthGroup
from nlpkit.perturbed_masking.impact.encoder import MaskedEncoder
from nlpkit.perturbed_masking.impact.measurement import Measure
from nlpkit.perturbed_masking.perturbed_masking import PerturbedMasking
from tests.perturbed_masking.small_models import MODELS, SENTENCES, SIZES, TOKENS, bert, seeded, tokenizer


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


def test_models_whose_layers_are_not_what_they_seem_are_read_as_they_list_their_states() -> None:
    torch.manual_seed(0)
    groups = dict.fromkeys(("q_groups", "k_groups", "v_groups", "intermediate_groups", "output_groups"), 2)
    config = SqueezeBertConfig(**SIZES, embedding_size=16, post_attention_groups=1, **groups)
    model = SqueezeBertForMaskedLM(config).eval()
    listed = model(torch.tensor([[2, 5, 6, 3]]), output_hidden_states=True).hidden_states
    rows = (torch.tensor([0, 0]), torch.tensor([1, 2]))
    found = MaskedEncoder(model).states(torch.tensor([[2, 5, 6, 3]]), rows, [1, 3])
    for layer in (1, 3):
        torch.testing.assert_close(found[layer], listed[layer][rows])


@pytest.mark.parametrize("blocks", [[1, 1, 1], [2, 2, 2], [3, 1]])
def test_a_model_that_shortens_the_sentence_is_refused_but_for_its_last_layer(blocks: list[int]) -> None:
    torch.manual_seed(0)
    config = FunnelConfig(
        vocab_size=len(TOKENS), block_sizes=blocks, d_model=16, n_head=2, d_head=8, d_inner=24, num_decoder_layers=1
    )
    model = FunnelForMaskedLM(config)
    with pytest.raises(
        ValueError, match=r"FunnelForMaskedLM gives .* not one state per layer and token; use its last"
    ):
        masking(model, measure=Measure(1)).impact(SENTENCES[:1])
    assert masking(model, measure=Measure(-1)).impact(SENTENCES[:1])[0].shape == (6, 6)
    one = masking(model, measure=Measure(-1))
    with pytest.raises(ValueError, match="use its last"):
        list(one.iter_measures(SENTENCES[:1], [Measure(1)]))
    assert one.impact(SENTENCES[:1])[0].shape == (6, 6)  # what the message says, with the same object


@pytest.mark.parametrize("layer", [1, 3])
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_states_that_are_no_numbers_are_told(layer: int, distance: str, number: float) -> None:
    model = bert()
    model.get_input_embeddings().weight.data[5] = number  # 今
    broken = masking(model, measure=Measure(layer, distance))  # type: ignore[arg-type]
    assert broken.impact(["the cat"])[0].shape == (2, 2)
    for measure in (broken.impact, broken.dependencies, broken.segment):
        with pytest.raises(ValueError, match="of BertForMaskedLM are not finite: its weights hold NaN"):
            measure(SENTENCES[:1])
    with pytest.raises(ValueError, match="are not finite"):
        masking(model).constituents(SENTENCES[:1], decoder="distortion")


def test_a_head_may_ask_an_encoders_output_for_more_than_states() -> None:
    torch.manual_seed(0)
    model = LongformerForMaskedLM(LongformerConfig(**SIZES, attention_window=[4] * 3))
    predicting = masking(model, measure=Measure(distance="probability"))
    assert predicting.impact(["the cat sat"])[0].shape == (3, 3)


def test_what_is_no_model_with_weights_of_its_own_is_refused() -> None:
    adapted = get_peft_model(bert(), LoraConfig(target_modules=["query"]))
    with pytest.raises(TypeError, match=r"PeftModel is no model of transformers; .* give merge_and_unload\(\)"):
        masking(adapted)  # type: ignore[arg-type]
    assert masking(adapted.merge_and_unload()).impact(["the cat"])[0].shape == (2, 2)
    with torch.device("meta"):
        empty = bert()
    with pytest.raises(ValueError, match="BertForMaskedLM is on the meta device and has no weights; load them"):
        masking(empty)
    with pytest.raises(ValueError, match=r"gives the id 2\d, and BertForMaskedLM has 20 embeddings; use"):
        masking(bert(vocab_size=20)).impact(["the un"])


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
    ("model", "config", "settings"),
    [
        (CanineModel, CanineConfig, {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}),
        (PerceiverForMaskedLM, PerceiverConfig, {"d_model": 8, "d_latents": 8, "num_latents": 2, "vocab_size": 9}),
    ],
)
def test_models_without_a_table_of_tokens_are_refused(model: Any, config: Any, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{model.__name__} is no stack of layers over a table of token embeddings"):
        MaskedEncoder(model(config(**settings)))


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
