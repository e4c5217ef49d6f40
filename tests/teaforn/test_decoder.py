"""Decoders of many families, run through inputs that are open to all."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import BertConfig, BertLMHeadModel, BertModel, EncoderDecoderModel

from nlpkit.teaforn import (
    Argmax,
    Decoder,
    Level,
    Raw,
    RmsMatched,
    Runner,
    decoder_runner,
    levels,
    repeated,
    teaforn_loss,
)
from tests.contract.cases import VOCABULARY
from tests.contract.stock_heads import HEADS
from tests.reference import teaforn as reference
from tests.teaforn.models import DECODERS, ENCODER_DECODERS, PROMPT, WRITERS, batch_for

each_writer = pytest.mark.parametrize("name", WRITERS)


def found(runner: Runner, n: int, feed: Any = None) -> list[Level]:
    return levels(
        runner.run, runner.embeddings, n, feed or RmsMatched(), replaced=runner.replaced, vocabulary=runner.vocabulary
    )


def gradients(model: Any, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@each_writer
@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_one_level_is_the_bare_model_bit_for_bit(name: str, scale: float) -> None:
    model = WRITERS[name]()
    with torch.no_grad():  # other numbers, to be rounded otherwise
        for weight in model.parameters():
            weight.mul_(scale)
    batch = batch_for(model)
    runner = decoder_runner(model, batch)
    (level,) = found(runner, 1)
    ours = teaforn_loss([level], runner.labels, replaced=runner.replaced)
    by_us = gradients(model, ours)
    outputs = model(**batch)
    theirs = outputs.loss
    if name == "BART's decoder":  # whose own loss takes each token to foresee itself
        behind = F.pad(batch["labels"][:, 1:], (0, 1), value=-100)
        theirs = F.cross_entropy(outputs.logits.flatten(0, 1), behind.flatten())
    by_them = gradients(model, theirs)
    tolerance = 1e-6 if name == "Gemma 2" else 0.0
    assert abs(ours - theirs) <= tolerance
    assert by_us.keys() == by_them.keys()
    assert max((by_us[key] - by_them[key]).abs().max().item() for key in by_us) <= tolerance


@each_writer
def test_a_level_depends_on_tokens_of_its_distance_alone(name: str) -> None:
    model = WRITERS[name]().double().eval()
    batch = batch_for(model, rows=1)
    runner = decoder_runner(model, batch)
    embeddings = runner.embeddings.detach().requires_grad_()
    projection = torch.randn(embeddings.shape[-1], dtype=torch.float64)  # a sum is 0 behind a norm
    first = int(runner.replaced[0].int().argmax()) if runner.replaced.any() else 0
    for number, level in enumerate(found(runner._replace(embeddings=embeddings), 4), start=1):
        for place in range(embeddings.shape[1]):
            (by,) = torch.autograd.grad(level.hidden[0, place] @ projection, embeddings, retain_graph=True)
            depends = (by[0].abs().sum(-1) > 1e-12).tolist()
            # What was written is read as embeddings only where it lies number - 1 positions before, or earlier.
            prompt = PROMPT if name == "UniLM" else 0  # which all tokens see
            expected = [
                (j <= place or j < prompt) and (j < first or j <= place - (number - 1)) for j in range(len(depends))
            ]
            assert depends == expected


@each_writer
def test_levels_agree_where_they_have_read_the_same_and_differ_elsewhere(name: str) -> None:
    model = WRITERS[name]().double().eval()
    runner = decoder_runner(model, batch_for(model))
    four = found(runner, 4)
    for number in (2, 3, 4):
        apart = (four[number - 1].hidden - four[number - 2].hidden).abs().amax(-1)
        same = repeated(runner.replaced, number)
        assert apart[same].max() < 1e-12
        written = runner.labels != -100
        assert apart[~same & written].min() > 1e-9


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "UniLM"])  # which reads ahead in the prompt
def test_each_position_is_that_of_a_decoder_which_ran_up_to_there(name: str) -> None:
    model = WRITERS[name]().double().eval()
    batch = batch_for(model, rows=1)
    runner = decoder_runner(model, batch)
    rms = runner.vocabulary.embed(torch.arange(VOCABULARY)).square().mean().sqrt()
    prompt = {key: value for key, value in batch.items() if key != "labels"}
    encoded = model.get_encoder()(**prompt) if model.config.is_encoder_decoder else None
    body = model.get_decoder() if encoded is not None else model.base_model

    def state_at(read: Tensor) -> Tensor:
        if encoded is None:
            return body(inputs_embeds=read[None]).last_hidden_state[0, -1]
        return body(
            inputs_embeds=read[None],
            encoder_hidden_states=encoded.last_hidden_state,
            encoder_attention_mask=batch["attention_mask"],
        ).last_hidden_state[0, -1]

    def feed(state: Tensor) -> Tensor:
        return state * rms / state.square().mean().sqrt()

    positions = 4 if encoded is not None else 7  # the slow way doubles with each
    replaced = runner.replaced[0].tolist()
    for number, level in enumerate(found(runner, 3), start=1):
        for position in range(positions):
            expected = reference.state(state_at, runner.embeddings[0], replaced, feed, number, position)
            # of Gemma's norms 1e-6 is a part of the square, of ours next to nothing
            torch.testing.assert_close(level.hidden[0, position], expected, rtol=1e-5, atol=1e-7)


@each_writer
def test_further_padding_changes_nothing(name: str) -> None:
    model = WRITERS[name]().double()
    batch = batch_for(model)
    wider = {key: F.pad(value, (0, 3), value=-100 if key == "labels" else 0) for key, value in batch.items()}
    values = []
    for each in (batch, wider):
        runner = decoder_runner(model, each)
        values.append(gradients(model, teaforn_loss(found(runner, 3), runner.labels, replaced=runner.replaced)))
    tolerance = 1e-8 if name == "Gemma 2" else 1e-12  # its norms are in fp32
    for key, value in values[0].items():
        torch.testing.assert_close(value, values[1][key], rtol=0, atol=tolerance)


@each_writer
def test_what_is_not_labelled_counts_at_no_level(name: str) -> None:
    model = WRITERS[name]().double()
    batch = batch_for(model)
    runner = decoder_runner(model, batch)
    three = found(runner, 3)
    alone = []
    for number in range(3):
        weights = [float(place == number) for place in range(3)]
        alone.append(
            teaforn_loss(three, runner.labels, weights, replaced=runner.replaced) * (runner.labels != -100).sum()
        )
    for number, value in enumerate(alone, start=1):
        logits = three[number - 1].logits
        counted = (runner.labels != -100) & ~repeated(runner.replaced, number)
        targets = (runner.labels != -100).sum(1).tolist()
        assert counted.sum(1).tolist() == [max(0, count - (number - 1)) for count in targets]
        assert logits is not None
        expected = F.cross_entropy(logits[counted], runner.labels[counted], reduction="sum")
        torch.testing.assert_close(value, expected)


def test_a_hole_in_the_labels_keeps_its_embedding() -> None:
    model = DECODERS["Llama"]().double()
    batch = batch_for(model, rows=1)
    batch["labels"][0, 7] = -100
    runner = decoder_runner(model, batch)
    assert runner.replaced[0].tolist() == [False] * 4 + [True] * 3 + [False] + [True] * 3
    encoder_decoder = ENCODER_DECODERS["T5"]().double()
    batch = batch_for(encoder_decoder, rows=1)
    batch["labels"][0, 2] = -100
    assert decoder_runner(encoder_decoder, batch).replaced[0].tolist() == [False, True, True, False] + [True] * 3


def test_a_first_token_that_is_a_label_keeps_its_embedding() -> None:
    model = DECODERS["Llama"]().double()
    batch = batch_for(model, rows=1)
    runner = decoder_runner(model, batch | {"labels": batch["input_ids"]})
    assert runner.replaced[0].tolist() == [False] + [True] * 10


def test_pairs_of_models_run_too() -> None:
    torch.manual_seed(0)
    config = {"vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = (
        EncoderDecoderModel(
            encoder=BertModel(BertConfig(**config, intermediate_size=16)),
            decoder=BertLMHeadModel(
                BertConfig(**config, intermediate_size=16, is_decoder=True, add_cross_attention=True)
            ),
        )
        .double()
        .eval()
    )
    model.config.decoder_start_token_id, model.config.pad_token_id = 2, 0
    runner = decoder_runner(model, batch_for(model))
    first, second = found(runner, 2)
    assert first.hidden.shape[-1] == 16
    assert not torch.isclose(first.hidden[:, 1:], second.hidden[:, 1:]).all()


def test_the_encoder_runs_once() -> None:
    model = ENCODER_DECODERS["BART"]()
    runs = []
    model.get_encoder().register_forward_hook(lambda *_: runs.append(1))
    found(decoder_runner(model, batch_for(model)), 3, Argmax())
    assert len(runs) == 1


def test_what_cannot_write_is_refused() -> None:
    for name in ("BertForMaskedLM", "BertForTokenClassification", "BertForSequenceClassification"):
        model = next(case for case in HEADS if case.name == name).model()
        with pytest.raises(
            ValueError, match=rf"{name} does not predict the next token of a text: give an encoder-dec"
        ):
            Decoder(model)


def test_a_forward_pass_that_takes_no_embeddings_is_refused() -> None:
    model = DECODERS["Llama"]()

    class Closed(type(model)):  # type: ignore[misc]
        def forward(self, input_ids: Tensor, **others: Any) -> Any:
            return super().forward(input_ids, **others)

    model.__class__ = Closed
    with pytest.raises(ValueError, match=r"Closed takes no inputs_embeds=, through which its decoder is to read its"):
        Decoder(model)


def test_labels_that_do_not_fit_are_told_with_what_the_batch_has() -> None:
    model = DECODERS["Llama"]()
    batch = batch_for(model)
    with pytest.raises(ValueError, match=r"needs input_ids and labels of one shape.*'labels': \(3, 5\)"):
        decoder_runner(model, batch | {"labels": batch["labels"][:, :5]})
    with pytest.raises(ValueError, match=r"needs decoder_input_ids and labels of one shape"):
        t5 = ENCODER_DECODERS["T5"]()
        decoder_runner(t5, {"input_ids": batch["input_ids"]})


def test_a_bool_mask_of_four_dimensions_is_refused_where_it_would_be_added() -> None:
    model = DECODERS["Llama"]()
    batch = batch_for(model)
    mask = torch.ones(11, 11).tril().bool().expand(3, 1, 11, 11)
    decoder_runner(model, batch | {"attention_mask": mask})
    model.set_attn_implementation("eager")
    with pytest.raises(
        ValueError, match=r"attention_mask is a bool mask of four dimensions, which eager attention adds"
    ):
        decoder_runner(model, batch | {"attention_mask": mask})


def test_raw_states_are_fed_as_they_are() -> None:
    model = ENCODER_DECODERS["T5"]().double().eval()
    runner = decoder_runner(model, batch_for(model))
    read: list[Tensor] = []

    def run(embeddings: Tensor) -> Level:
        read.append(embeddings)
        return runner.run(embeddings)

    first, _ = levels(run, runner.embeddings, 2, Raw(), replaced=runner.replaced)
    assert torch.equal(read[1][:, 1:][runner.replaced[:, 1:]], first.hidden[:, :-1][runner.replaced[:, 1:]])
    assert torch.equal(read[1][~runner.replaced], runner.embeddings[~runner.replaced])
