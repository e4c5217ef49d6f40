"""``generate`` of transformers on a UniLM: the same with a cache and without, alone and in a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import BertTokenizer, CompileConfig, GenerationMixin

from nlpkit import UniLmConfig, UniLmForSequenceToSequence, WoBertTokenizer
from tests.reference import unilm
from tests.seq2seq.conftest import END, FORBIDDEN, SIZES, SOURCES

Batch = dict[str, Tensor]
STEPS = 6
#: Ways of choosing tokens; those that draw are drawn with the same numbers again.
WAYS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "three beams": {"num_beams": 3},
    "four beams, longer ones favoured": {"num_beams": 4, "length_penalty": 2.0},
    "sampling": {"do_sample": True},
    "sampling from the best": {"do_sample": True, "top_k": 5, "temperature": 0.7},
    "beams that sample": {"do_sample": True, "num_beams": 3},
}


def written(model: Any, batch: Batch, **settings: Any) -> list[list[int]]:
    torch.manual_seed(1)
    ids = model.generate(**batch, max_new_tokens=STEPS, **settings)
    return [as_far_as_the_end(row) for row in ids[:, batch["input_ids"].shape[1] :].tolist()]


def as_far_as_the_end(row: list[int]) -> list[int]:
    return row[: row.index(END) + 1] if END in row else row


@pytest.fixture(params=["sdpa", "eager"])
def writer_of_either(model: UniLmForSequenceToSequence, request: pytest.FixtureRequest) -> UniLmForSequenceToSequence:
    model.set_attn_implementation(request.param)
    return model


def test_generate_is_that_of_transformers() -> None:
    assert UniLmForSequenceToSequence.generate is GenerationMixin.generate


def test_greedy_search_is_the_plain_loop(writer_of_either: UniLmForSequenceToSequence, sources: Batch) -> None:
    weights = {name: tensor.detach() for name, tensor in writer_of_either.state_dict().items()}
    expected = [unilm.greedy(weights, 2, source, END, FORBIDDEN, STEPS) for source in SOURCES]
    assert len({tuple(row) for row in expected}) == len(SOURCES)
    assert written(writer_of_either, sources) == expected
    assert written(writer_of_either, sources, num_beams=3) != expected


def test_beam_search_is_the_plain_one(model: UniLmForSequenceToSequence, sources: Batch) -> None:
    weights = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    expected = [unilm.beams(weights, 2, source, END, FORBIDDEN, 4, 3) for source in SOURCES]
    found = model.generate(**sources, max_new_tokens=4, num_beams=3)[:, sources["input_ids"].shape[1] :]
    assert [as_far_as_the_end(row) for row in found.tolist()] == expected


@pytest.mark.parametrize("way", WAYS)
def test_a_cache_changes_nothing(writer_of_either: UniLmForSequenceToSequence, sources: Batch, way: str) -> None:
    expected = written(writer_of_either, sources, **WAYS[way], use_cache=False)
    assert written(writer_of_either, sources, **WAYS[way]) == expected
    assert written(writer_of_either, sources, **WAYS[way], cache_implementation="static") == expected


@pytest.mark.parametrize("way", [way for way, settings in WAYS.items() if not settings.get("do_sample")])
def test_a_batch_padded_on_the_left_is_its_rows(
    writer_of_either: UniLmForSequenceToSequence, sources: Batch, way: str
) -> None:
    rows = [{"input_ids": torch.tensor([source])} for source in SOURCES]
    batch = written(writer_of_either, sources, **WAYS[way])
    assert [written(writer_of_either, row, **WAYS[way])[0] for row in rows] == batch
    assert [written(writer_of_either, row, **WAYS[way], cache_implementation="static")[0] for row in rows] == batch


def test_a_step_compiles_to_one_graph_as_on_a_gpu(model: UniLmForSequenceToSequence, sources: Batch) -> None:
    expected = written(model, sources)
    torch._dynamo.utils.counters.clear()
    compiled = CompileConfig(backend="aot_eager", fullgraph=True, mode=None)
    compiled._compile_all_devices = True
    assert written(model, sources, cache_implementation="static", compile_config=compiled) == expected
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


def test_it_goes_on_with_a_target_that_has_begun(model: UniLmForSequenceToSequence) -> None:
    source = SOURCES[0]
    whole = written(model, {"input_ids": torch.tensor([source])})[0]
    begun = [*source, *whole[:2]]
    segments = torch.tensor([[0] * len(source) + [1, 1]])
    rest = model.generate(torch.tensor([begun]), token_type_ids=segments, max_new_tokens=STEPS - 2)
    assert rest[0, len(begun) :].tolist() == whole[2:]


def test_embeddings_of_sources_do_as_well_as_ids(model: UniLmForSequenceToSequence, sources: Batch) -> None:
    embedded = model.get_input_embeddings()(sources["input_ids"])
    found = model.generate(inputs_embeds=embedded, attention_mask=sources["attention_mask"], max_new_tokens=STEPS)
    assert [as_far_as_the_end(row) for row in found.tolist()] == written(model, sources)


def test_embeddings_need_positions_too(model: UniLmForSequenceToSequence) -> None:
    embedded = model.get_input_embeddings()(torch.tensor([[2, *[7] * 37, 3]]))
    assert model.generate(inputs_embeds=embedded, max_new_tokens=1).shape == (1, 1)
    with pytest.raises(ValueError, match="a source of 39 tokens and a target of 2 need 41 positions"):
        model.generate(inputs_embeds=embedded, max_new_tokens=2)


def test_special_tokens_are_never_written(model: UniLmForSequenceToSequence, sources: Batch) -> None:
    with torch.no_grad():
        model.cls.predictions.bias[FORBIDDEN] = 50.0
    found = [token for settings in WAYS.values() for row in written(model, sources, **settings) for token in row]
    assert found and not set(found) & set(FORBIDDEN)
    allowed = written(model, sources, suppress_tokens=[0])
    assert {token for row in allowed for token in row} <= {1, 2, 4}


def test_it_ends_with_the_separator(model: UniLmForSequenceToSequence, sources: Batch) -> None:
    with torch.no_grad():
        model.cls.predictions.bias[END] = 50.0
    assert written(model, sources) == [[END]] * len(SOURCES)


def test_a_batch_with_targets_is_taken_by_its_sources(model: UniLmForSequenceToSequence, sources: Batch) -> None:
    targets = [[5, 6, 3], [7, 3], [3]]
    rows = [source + target for source, target in zip(SOURCES, targets, strict=True)]
    width = max(map(len, rows))
    segments = [[0] * len(source) + [1] * len(target) for source, target in zip(SOURCES, targets, strict=True)]
    batch = {
        "input_ids": torch.tensor([row + [0] * (width - len(row)) for row in rows]),
        "attention_mask": torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows]),
        "token_type_ids": torch.tensor([row + [0] * (width - len(row)) for row in segments]),
    }
    labels = batch["input_ids"].masked_fill(batch["token_type_ids"] == 0, -100)
    for settings in ({}, {"num_beams": 3}):
        found = model.generate(**batch, labels=labels, max_new_tokens=STEPS, **settings)
        assert torch.equal(found, model.generate(**sources, max_new_tokens=STEPS, **settings))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_new_tokens": 33}, "a source of 8 tokens and a target of 33 need 41 positions, and the model has 40 for "
         "both: cut sources to 7 tokens, or give a smaller max_new_tokens"),
        ({"max_new_tokens": 39}, "the model has 40 for both: give a smaller max_new_tokens"),
        ({"max_length": 50}, "a target of 42 need 50 positions"),
        ({"prompt_lookup_num_tokens": 2}, "would be read as part of the source: leave assistant_model"),
        ({"prefill_chunk_size": 4}, "prefill_chunk_size=4 would read the source in parts"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(
    model: UniLmForSequenceToSequence, sources: Batch, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        model.generate(**sources, **settings)


def test_the_last_position_can_be_written_to(model: UniLmForSequenceToSequence) -> None:
    source = torch.tensor([[2, *[7] * 37, 3]])
    assert model.generate(source, max_new_tokens=1).shape == (1, 40)
    with pytest.raises(ValueError, match="a source of 40 tokens and a target of 1 need 41 positions"):
        model.generate(torch.tensor([[2, *[7] * 38, 3]]))


def test_padding_behind_a_source_is_refused(model: UniLmForSequenceToSequence) -> None:
    ids = torch.tensor([[2, 7, 8, 3], [2, 7, 3, 0]])
    with pytest.raises(ValueError, match="pad sources on the left"):
        model.generate(ids, attention_mask=(ids != 0).long())


def test_a_model_that_does_not_know_its_tokens_says_so() -> None:
    model = UniLmForSequenceToSequence(UniLmConfig(vocab_size=20, **SIZES))
    with pytest.raises(
        ValueError, match=r"does not know which token ends a text, .* model\.use_tokens_of\(tokenizer\)"
    ):
        model.generate(torch.tensor([[2, 7, 3]]))
    assert model.generate(torch.tensor([[2, 7, 3]]), eos_token_id=3, suppress_tokens=[0], max_new_tokens=1).shape == (
        1,
        4,
    )


def test_tokens_that_do_not_fit_the_model_are_refused(
    writer: Callable[..., UniLmForSequenceToSequence], tokenizer: WoBertTokenizer
) -> None:
    model = writer()
    model.resize_token_embeddings(len(tokenizer) - 1)
    with pytest.raises(ValueError, match=rf"the tokenizer has {len(tokenizer)} tokens, the model rows for"):
        model.use_tokens_of(tokenizer)
    without = BertTokenizer({"[PAD]": 0, "[UNK]": 1}, cls_token=None, sep_token=None)
    with pytest.raises(ValueError, match="the tokenizer has no cls_token and no sep_token"):
        model.use_tokens_of(without)
