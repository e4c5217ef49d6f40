from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertModel,
    BertTokenizer,
    ElectraConfig,
    ElectraForCausalLM,
    ErnieConfig,
    ErnieForCausalLM,
    GPT2LMHeadModel,
    RemBertConfig,
    RemBertForCausalLM,
    RobertaConfig,
    RobertaForCausalLM,
    RobertaForMaskedLM,
    T5ForConditionalGeneration,
    XLMRobertaConfig,
    XLMRobertaForCausalLM,
    XLMRobertaForMaskedLM,
)

from nlpkit import (
    UniLmConfig,
    UniLmForSequenceToSequence,
    WoBertConfig,
    WoBertForMaskedLM,
    WoBertTokenizer,
    model_path,
)
from nlpkit.seq2seq import PrefixLanguageModel, prefix_mask
from tests.reference import unilm
from tests.seq2seq.conftest import FORBIDDEN, SIZES, SOURCES, small_config

ROW = [2, 7, 8, 9, 3, 10, 11, 12, 3]
SEGMENTS = [0, 0, 0, 0, 0, 1, 1, 1, 1]


def scores(model: Any, ids: list[int] = ROW, segments: list[int] = SEGMENTS, **inputs: Any) -> Tensor:
    found: Tensor = model(torch.tensor([ids]), token_type_ids=torch.tensor([segments]), **inputs).logits[0]
    return found


def test_logits_are_those_of_the_papers(model: UniLmForSequenceToSequence) -> None:
    weights = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    expected = unilm.logits(weights, 2, ROW, SEGMENTS)
    torch.testing.assert_close(scores(model), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("place", range(len(ROW)))
def test_another_token_changes_what_may_see_it_and_nothing_else(
    model: UniLmForSequenceToSequence, place: int, attention: str
) -> None:
    model.set_attn_implementation(attention)
    changed = [*ROW[:place], 17, *ROW[place + 1 :]]
    moved = (scores(model) - scores(model, changed)).abs().amax(dim=1) > 1e-6
    assert moved.tolist() == [place in unilm.visible(other, SEGMENTS) for other in range(len(ROW))]


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_gradients_reach_what_a_state_may_see_and_nothing_else(
    model: UniLmForSequenceToSequence, attention: str
) -> None:
    """By a random projection: behind a layer norm, the gradient of a plain sum is 0 for all."""
    model.set_attn_implementation(attention)
    embedded = model.get_input_embeddings()(torch.tensor([ROW])).detach().requires_grad_()
    segments = torch.tensor([SEGMENTS])
    states = model(inputs_embeds=embedded, token_type_ids=segments, output_hidden_states=True).hidden_states[-1]
    projection = torch.randn(states.shape[-1], dtype=states.dtype)
    for place in range(len(ROW)):
        (found,) = torch.autograd.grad(states[0, place] @ projection, embedded, retain_graph=True)
        reached = (found[0].abs().amax(dim=1) > 0).nonzero().flatten().tolist()
        assert reached == unilm.visible(place, SEGMENTS)


def test_the_loss_is_of_the_next_token_of_the_target(model: UniLmForSequenceToSequence) -> None:
    labels = [token if segment else -100 for token, segment in zip(ROW, SEGMENTS, strict=True)]
    found = model(torch.tensor([ROW]), token_type_ids=torch.tensor([SEGMENTS]), labels=torch.tensor([labels])).loss
    probabilities = scores(model).log_softmax(-1)
    places = [place for place, segment in enumerate(SEGMENTS) if segment]
    expected = -sum(probabilities[place - 1, ROW[place]] for place in places) / len(places)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("left", [True, False])
def test_padding_on_either_side_changes_nothing(model: UniLmForSequenceToSequence, attention: str, left: bool) -> None:
    model.set_attn_implementation(attention)

    def padded(row: list[int]) -> Tensor:
        return torch.tensor([[0] * 4 + row if left else row + [0] * 4])

    mask = padded([1] * len(ROW))
    found = model(padded(ROW), attention_mask=mask, token_type_ids=padded(SEGMENTS)).logits[0][mask[0] == 1]
    torch.testing.assert_close(found, scores(model), rtol=0, atol=1e-12)


def test_eager_and_fused_attention_agree(model: UniLmForSequenceToSequence) -> None:
    fused = scores(model)
    model.set_attn_implementation("eager")
    torch.testing.assert_close(scores(model), fused, rtol=0, atol=1e-12)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_near_and_finite_beside_padding(
    model: UniLmForSequenceToSequence, dtype: torch.dtype, attention: str
) -> None:
    model.set_attn_implementation(attention)
    expected = scores(model).softmax(-1)
    row, segments = torch.tensor([[0, 0, *ROW]]), torch.tensor([[0, 0, *SEGMENTS]])
    found = model.to(dtype)(row, attention_mask=(row != 0).long(), token_type_ids=segments).logits
    assert found.isfinite().all()
    assert (found[0, 2:].double().softmax(-1) - expected).abs().max() < 0.08


@pytest.mark.parametrize("attention", ["eager", "sdpa", "sdpa_in_fp32"])
def test_autocast_is_near(model: UniLmForSequenceToSequence, attention: str) -> None:
    import nlpkit.training.attention  # noqa: F401 - which registers the third

    model = model.float()
    model.set_attn_implementation(attention)
    expected = scores(model).softmax(-1)
    with torch.autocast("cpu", torch.bfloat16):
        found = scores(model)
    found.float().square().mean().backward()
    assert (found.float().softmax(-1) - expected).abs().max() < 0.08
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_recomputed_layers_give_the_same_gradient(model: UniLmForSequenceToSequence) -> None:
    def gradient() -> list[Tensor]:
        model.zero_grad()
        scores(model).square().sum().backward()
        return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]

    for part in model.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    model.train()
    plain = gradient()
    model.activation_checkpointing_enable()
    for found, expected in zip(gradient(), plain, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_a_compiled_model_gives_the_same(model: UniLmForSequenceToSequence) -> None:
    labels = torch.tensor([[-100] * 5 + ROW[5:]])
    expected = model(torch.tensor([ROW]), token_type_ids=torch.tensor([SEGMENTS]), labels=labels)
    compiled: Any = torch.compile(model, backend="aot_eager")
    found = compiled(torch.tensor([ROW]), token_type_ids=torch.tensor([SEGMENTS]), labels=labels)
    torch.testing.assert_close(found.logits, expected.logits, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.loss, expected.loss, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"labels": torch.tensor([ROW])}, "labels need token_type_ids, 1 for the target"),
        (
            {"labels": torch.tensor([ROW]), "token_type_ids": torch.tensor([SEGMENTS])},
            r"labels\[0, 0\] is a token of segment 0, which all tokens see",
        ),
        ({"attention_mask": torch.ones(1, 1, 9, 9, dtype=torch.bool)}, r"holds torch\.bool, and attention would add"),
        ({"attention_mask": torch.ones(1, 9, 9)}, r"attention_mask of shape \(1, 9, 9\) must be \(batch, length\)"),
        ({"token_type_ids": torch.tensor([[0, 1]])}, r"token_type_ids of shape \(1, 2\) do not fit tokens of shape"),
    ],
)
def test_what_would_be_silently_wrong_is_refused(
    model: UniLmForSequenceToSequence, inputs: dict[str, Tensor], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        model(torch.tensor([ROW]), **inputs)


def test_a_mask_of_ones_own_is_taken_as_it_is(model: UniLmForSequenceToSequence) -> None:
    mask = prefix_mask(torch.tensor([SEGMENTS]), None, torch.float64)
    assert torch.equal(scores(model, attention_mask=mask), scores(model))


def test_attention_that_knows_no_such_mask_is_refused(model: UniLmForSequenceToSequence) -> None:
    with pytest.raises(ValueError, match="flex_attention"):
        model.set_attn_implementation("flex_attention")
    model.config._attn_implementation = "flex_attention"
    with pytest.raises(ValueError, match=r"takes no additive mask of four dimensions, .* use 'sdpa' or 'eager'"):
        scores(model)


def test_too_many_tokens_are_named(model: UniLmForSequenceToSequence) -> None:
    with pytest.raises(ValueError, match="input_ids have 45 tokens per row, but the model has 40 positions"):
        model(torch.tensor([ROW * 5]))


def test_the_source_cannot_be_read_in_parts(model: UniLmForSequenceToSequence) -> None:
    first = model(torch.tensor([ROW[:3]]), use_cache=True)
    with pytest.raises(ValueError, match="hold 0 behind a cache: the source is read both ways"):
        model(torch.tensor([ROW[3:5]]), token_type_ids=torch.tensor([[0, 0]]), past_key_values=first.past_key_values)


def test_a_target_may_be_read_behind_a_cache_of_its_source(model: UniLmForSequenceToSequence) -> None:
    first = model(torch.tensor([ROW[:5]]), use_cache=True)
    rest = model(torch.tensor([ROW[5:]]), past_key_values=first.past_key_values)
    torch.testing.assert_close(torch.cat([first.logits, rest.logits], dim=1)[0], scores(model), rtol=0, atol=1e-12)


def test_rows_of_a_batch_go_on_behind_a_cache_from_their_own_positions(model: UniLmForSequenceToSequence) -> None:
    ids, mask = torch.tensor([[0, 0, *ROW[:3]], ROW[:5]]), torch.tensor([[0, 0, 1, 1, 1], [1] * 5])
    first = model(ids, attention_mask=mask, use_cache=True)
    longer = torch.nn.functional.pad(mask, (0, 2), value=1)
    rest = model(torch.tensor([ROW[5:7]] * 2), attention_mask=longer, past_key_values=first.past_key_values).logits
    for row, source in zip(rest, (ROW[:3], ROW[:5]), strict=True):
        expected = scores(model, [*source, *ROW[5:7]], [0] * len(source) + [1, 1])[-2:]
        torch.testing.assert_close(row, expected, rtol=0, atol=1e-12)


class RobertaUniLm(PrefixLanguageModel, RobertaForCausalLM):
    pass


class ElectraUniLm(PrefixLanguageModel, ElectraForCausalLM):
    pass


class XlmRobertaUniLm(PrefixLanguageModel, XLMRobertaForCausalLM):
    pass


class ErnieUniLm(PrefixLanguageModel, ErnieForCausalLM):
    pass


class RemBertUniLm(PrefixLanguageModel, RemBertForCausalLM):
    pass


#: ``type_vocab_size=1`` is what RoBERTa and XLM-R have; their first position is the one behind the padding's.
OTHERS: list[tuple[type[Any], Any]] = [
    (RobertaUniLm, RobertaConfig(vocab_size=20, type_vocab_size=1, **SIZES)),
    (XlmRobertaUniLm, XLMRobertaConfig(vocab_size=20, type_vocab_size=1, **SIZES)),
    (ElectraUniLm, ElectraConfig(vocab_size=20, embedding_size=8, **SIZES)),
    (ErnieUniLm, ErnieConfig(vocab_size=20, **SIZES)),
    (RemBertUniLm, RemBertConfig(vocab_size=20, input_embedding_size=8, output_embedding_size=8, **SIZES)),
]


@pytest.mark.parametrize(("kind", "config"), OTHERS, ids=[kind.__name__ for kind, _ in OTHERS])
def test_other_encoders_read_and_write_by_the_same_mask(kind: type[Any], config: Any, sources: Any) -> None:
    torch.manual_seed(0)
    config.initializer_range = 0.5
    model = kind(config).double().eval()
    assert model.config.is_decoder
    for place in range(len(ROW)):
        changed = [*ROW[:place], 17, *ROW[place + 1 :]]
        moved = (scores(model) - scores(model, changed)).abs().amax(dim=1) > 1e-6
        assert moved.tolist() == [place in unilm.visible(other, SEGMENTS) for other in range(len(ROW))]
    settings: dict[str, Any] = {
        "max_new_tokens": 6,
        "eos_token_id": 3,
        "pad_token_id": 0,
        "suppress_tokens": FORBIDDEN,
    }
    batch = model.generate(**sources, **settings, num_beams=3)
    assert torch.equal(batch, model.generate(**sources, **settings, num_beams=3, use_cache=False))
    width = sources["input_ids"].shape[1]
    for row, found in zip(SOURCES, batch[:, width:].tolist(), strict=True):
        alone = model.generate(torch.tensor([row]), **settings, num_beams=3)[0, len(row) :].tolist()
        assert alone == found[: len(alone)]


def test_roberta_reads_the_positions_that_it_was_trained_on() -> None:
    torch.manual_seed(0)
    config = RobertaConfig(vocab_size=20, type_vocab_size=1, pad_token_id=1, **SIZES)
    bidirectional = RobertaForMaskedLM(config).double().eval()
    model = RobertaUniLm(config).double().eval()
    model.load_state_dict(bidirectional.state_dict())
    expected = bidirectional(torch.tensor([ROW])).logits[0]
    torch.testing.assert_close(scores(model, segments=[0] * len(ROW)), expected, rtol=0, atol=1e-12)


def test_a_head_without_a_place_for_the_mask_is_refused() -> None:
    class MaskedUniLm(PrefixLanguageModel, BertForMaskedLM):
        pass

    named = "(cache, )?logits_to_keep, (past_key_values, )?use_cache"  # transformers renamed it
    with pytest.raises(TypeError, match=f"MaskedUniLm: .* does not name {named}"):
        MaskedUniLm(BertConfig(vocab_size=9, **SIZES))


@pytest.fixture(params=["BERT", "BERT, pre-training", "BERT, encoder", "WoBERT"])
def plain(request: pytest.FixtureRequest, small_vocabulary: dict[str, int], tmp_path: Path) -> tuple[Path, Any]:
    """A folder of an encoder with its tokenizer, and the encoder."""
    torch.manual_seed(0)
    sizes = {"vocab_size": len(small_vocabulary), **SIZES}
    kinds = {"BERT": BertForMaskedLM, "BERT, pre-training": BertForPreTraining, "BERT, encoder": BertModel}
    if request.param == "WoBERT":
        model: Any = WoBertForMaskedLM(WoBertConfig(sparse_prediction=True, **sizes))
        WoBertTokenizer(small_vocabulary).save_pretrained(tmp_path)
    else:
        model = kinds[request.param](BertConfig(**sizes))
        BertTokenizer(small_vocabulary).save_pretrained(tmp_path)
    model.save_pretrained(tmp_path)
    return tmp_path, model.eval()


def test_plain_encoders_become_one_with_their_tokens(plain: tuple[Path, Any]) -> None:
    folder, encoder = plain
    model = UniLmForSequenceToSequence.from_pretrained(folder).eval()
    assert isinstance(model.config, UniLmConfig) and model.config.is_decoder and not model.config.sparse_prediction
    assert (model.generation_config.eos_token_id, model.generation_config.suppress_tokens) == (3, [0, 1, 2, 4])
    ids = torch.tensor([[2, 7, 8, 3]])
    expected = encoder.base_model(ids).last_hidden_state  # all is source, so that all see all
    found = model.base_model(ids, attention_mask=prefix_mask(torch.zeros_like(ids), None, torch.float32))
    torch.testing.assert_close(found.last_hidden_state, expected)
    if not isinstance(encoder, BertModel):
        torch.testing.assert_close(model(ids).logits, encoder(ids)[0])


def test_its_own_folder_is_found_by_auto_classes(plain: tuple[Path, Any], tmp_path: Path) -> None:
    folder, _ = plain
    model = UniLmForSequenceToSequence.from_pretrained(folder).eval()
    model.save_pretrained(tmp_path / "own")
    AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path / "own")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "own").eval()
    assert type(again) is UniLmForSequenceToSequence
    assert type(AutoConfig.from_pretrained(tmp_path / "own")) is UniLmConfig
    assert type(AutoTokenizer.from_pretrained(tmp_path / "own")) is type(AutoTokenizer.from_pretrained(folder))
    ids = torch.tensor([[2, 7, 8, 3]])
    assert torch.equal(again(ids).logits, model(ids).logits)
    assert torch.equal(again.generate(ids, max_new_tokens=4), model.generate(ids, max_new_tokens=4))


def test_a_tokenizer_that_does_not_fit_is_told_of(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    BertForMaskedLM(BertConfig(vocab_size=20, **SIZES)).save_pretrained(tmp_path)
    BertTokenizer(small_vocabulary).save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match=r"the tokenizer has \d+ tokens, the model rows for 20"):
        model = UniLmForSequenceToSequence.from_pretrained(tmp_path)
    assert model.generation_config.suppress_tokens is None


@pytest.mark.parametrize("kind", [XLMRobertaForMaskedLM, GPT2LMHeadModel, T5ForConditionalGeneration])
def test_a_model_of_another_kind_is_refused(kind: Any, tmp_path: Path) -> None:
    """It would be a BERT of random weights."""
    sizes = SIZES if kind is XLMRobertaForMaskedLM else {}
    small = {"n_embd": 8, "n_layer": 1, "n_head": 2} if kind is GPT2LMHeadModel else {"d_model": 8, "num_layers": 1}
    kind(kind.config_class(vocab_size=20, **(sizes or small))).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds no weights of a BERT or WoBERT; of other encoders make a UniLM by"):
        UniLmForSequenceToSequence.from_pretrained(tmp_path)


def test_loading_says_what_was_there_where_it_is_asked(tmp_path: Path) -> None:
    BertForMaskedLM(BertConfig(vocab_size=20, **SIZES)).save_pretrained(tmp_path)
    model, info = UniLmForSequenceToSequence.from_pretrained(tmp_path, output_loading_info=True)
    assert isinstance(model, UniLmForSequenceToSequence) and not info["missing_keys"]


def test_a_folder_without_a_tokenizer_loads_and_says_what_it_needs(tmp_path: Path) -> None:
    BertForMaskedLM(BertConfig(vocab_size=20, **SIZES)).save_pretrained(tmp_path)
    model = UniLmForSequenceToSequence.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="does not know which token ends a text"):
        model.generate(torch.tensor([[2, 7, 3]]))


def test_a_configuration_of_another_class_is_refused() -> None:
    with pytest.raises(TypeError, match="UniLmForSequenceToSequence needs a UniLmConfig, got BertConfig"):
        UniLmForSequenceToSequence(BertConfig(vocab_size=9, **SIZES))  # type: ignore[arg-type]


def test_a_configuration_is_kept_whole() -> None:
    config = small_config()
    assert UniLmConfig.from_dict(config.to_dict()).to_dict() == config.to_dict()


def test_a_model_is_found_by_its_name() -> None:
    model = UniLmForSequenceToSequence.from_pretrained("wobert-mini-zh")
    expected = UniLmForSequenceToSequence.from_pretrained(model_path("wobert-mini-zh"))
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), expected.parameters(), strict=True))
