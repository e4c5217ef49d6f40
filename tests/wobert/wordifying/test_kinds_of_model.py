"""Which models become word models: found out by running them, whatever they are called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoTokenizer,
    BertForMaskedLM,
    BertGenerationDecoder,
    BertGenerationEncoder,
    BertLMHeadModel,
    BrosModel,
    CanineModel,
    DPRContextEncoder,
    DPRQuestionEncoder,
    GPT2LMHeadModel,
    LiltModel,
    MambaForCausalLM,
    MarkupLMModel,
    PreTrainedModel,
    Qwen2ForCausalLM,
    ReformerForMaskedLM,
    ReformerModel,
    SplinterModel,
)

from nlpkit import WoBertTokenizer, wordify
from nlpkit.wobert.wordifying.embedding_surgery import find_pieces
from tests.wobert.wordifying.test_families import BERT, ROBERTA, SMALL, WORDS, family_of, tokenizer_of

Model = type[PreTrainedModel]
REFORMER: dict[str, Any] = {
    "axial_pos_shape": [5, 8],
    "axial_pos_embds_dim": [8, 8],
    "attention_head_size": 8,
    "feed_forward_size": 24,
    "local_attn_chunk_length": 4,
    "lsh_attn_chunk_length": 2,
}

#: Name of a case: class, tokenizer, special tokens, settings beside ``SMALL``.
ENCODERS: dict[str, tuple[Model, str, dict[str, str], dict[str, Any]]] = {
    "DPR, questions": (DPRQuestionEncoder, "WordPiece", BERT, {}),
    "DPR, passages": (DPRContextEncoder, "WordPiece", BERT, {"projection_dim": 5}),
    "LiLT": (LiltModel, "BPE", ROBERTA, {"hidden_size": 24, "type_vocab_size": 1}),
    "MarkupLM": (MarkupLMModel, "BPE", ROBERTA, {"type_vocab_size": 1}),
    "BertGeneration": (BertGenerationEncoder, "SentencePiece", BERT, {}),
    "Splinter": (SplinterModel, "WordPiece", BERT, {"question_token_id": 5}),
    "Reformer, which hashes at random": (ReformerModel, "SentencePiece", BERT, REFORMER | {"attn_layers": ["lsh"]}),
    "Reformer": (ReformerForMaskedLM, "SentencePiece", ROBERTA, REFORMER | {"attn_layers": ["local", "lsh"]}),
}  # fmt: skip


def make(name: str) -> tuple[PreTrainedModel, Any]:
    model_class, kind, special, settings = ENCODERS[name]
    return build(model_class, kind, special, **settings)


def build(model_class: Model, kind: str, special: dict[str, str], **settings: Any) -> tuple[PreTrainedModel, Any]:
    """A random model in fp64, every number drawn, and its tokenizer."""
    tokenizer = tokenizer_of(kind, special)
    small = SMALL | {"pad_token_id": tokenizer.pad_token_id} | settings
    torch.manual_seed(0)
    model = model_class(model_class.config_class(**small, vocab_size=-(-len(tokenizer) // 8) * 8)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model.double(), tokenizer


@torch.no_grad()
def states_of(model: PreTrainedModel, rows: list[list[int]]) -> Tensor:
    torch.manual_seed(1)  # as for hashes
    states: Tensor = model.eval().base_model(input_ids=torch.tensor(rows))[0]
    return states


@pytest.mark.parametrize("name", ENCODERS)
def test_encoders_of_other_tasks_read_kept_tokens_as_before_and_load_again(name: str, tmp_path: Path) -> None:
    source, tokenizer = make(name)
    vocabulary = [*WORDS, tokenizer.convert_ids_to_tokens(5)] if name == "Splinter" else WORDS
    words = wordify(source, tokenizer, list(dict.fromkeys(vocabulary)))
    assert type(words.model) is type(source)
    pieces = find_pieces(words.tokenizer.get_vocab(), tokenizer)
    kept = [number for number, row in enumerate(pieces) if len(row) == 1 and number > 4]
    rows = [[2, *kept[:5], 3], [2, *kept[-5:], 3]]
    before = states_of(source, [[pieces[number][0] for number in row] for row in rows])
    after = states_of(words.model, rows)
    torch.testing.assert_close(after, before, rtol=0, atol=1e-10 * before.abs().max().item())
    words.model.save_pretrained(tmp_path)
    words.tokenizer.save_pretrained(tmp_path)
    assert type(AutoTokenizer.from_pretrained(tmp_path)) is WoBertTokenizer
    loaded = type(source).from_pretrained(tmp_path)
    torch.testing.assert_close(states_of(loaded, rows), after, rtol=0, atol=1e-12)
    batch = words.tokenizer("天气很好", return_tensors="pt")
    assert loaded(**batch)[0].isfinite().all()


@pytest.mark.parametrize(
    ("model_class", "kind", "settings", "reason"),
    [
        (BertForMaskedLM, "WordPiece", {"num_hidden_layers": 0}, "which reads each token by itself here"),
        (GPT2LMHeadModel, "BPE", {}, "which reads from left to right"),
        (Qwen2ForCausalLM, "BPE", {"num_key_value_heads": 2}, "which reads from left to right"),
        (MambaForCausalLM, "BPE", {}, "which reads from left to right"),
        (BertLMHeadModel, "WordPiece", {"is_decoder": True}, "which reads from left to right"),
        (BertGenerationDecoder, "SentencePiece", {"is_decoder": True}, "which reads from left to right"),
        (CanineModel, "WordPiece", {}, "which has no table of tokens"),
    ],
)
def test_models_that_are_no_encoders_of_tokens_are_refused_with_the_reason(
    model_class: Model, kind: str, settings: dict[str, Any], reason: str
) -> None:
    source, tokenizer = build(model_class, kind, BERT, **settings)
    with pytest.raises(TypeError, match=rf"needs a BERT-like masked LM or encoder .*{model_class.__name__}, {reason}"):
        wordify(source, tokenizer, WORDS)


def test_an_encoder_that_wants_places_on_a_page_is_refused_with_its_own_words() -> None:
    with pytest.raises(ValueError, match=r"BrosModel fails on input_ids and attention_mask alone: .*bbox"):
        wordify(*build(BrosModel, "WordPiece", BERT), WORDS)


def test_a_token_that_the_model_cannot_do_without_is_asked_for() -> None:
    source, tokenizer = build(SplinterModel, "WordPiece", BERT, question_token_id=5)
    token = tokenizer.convert_ids_to_tokens(5)
    with pytest.raises(
        ValueError, match=f"SplinterConfig needs a question_token_id, which is '{token}' in the source"
    ):
        wordify(source, tokenizer, WORDS)


def test_layers_of_another_kind_than_those_they_would_stand_in_for_are_refused() -> None:
    with pytest.raises(TypeError, match=r"of another vocabulary and with these layers only: .*attention"):
        wordify(*make("Reformer"), WORDS, layers=(1,))


@pytest.mark.parametrize("family", ["BERT", "RoBERTa", "ELECTRA", "ModernBERT", "DistilBERT"])
def test_a_half_precision_source_gives_a_word_model_that_is_saved_and_trained_in_float32(
    family: str, tmp_path: Path
) -> None:
    source, tokenizer = family_of(family)
    words = wordify(source.half(), tokenizer, WORDS)
    words.model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text("utf-8"))["dtype"] == "float32"
    loaded = type(words.model).from_pretrained(tmp_path)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    rows, old = loaded.get_input_embeddings().weight, source.get_input_embeddings().weight
    assert torch.equal(rows[WORDS.index("[MASK]")], old[tokenizer.mask_token_id].float())
    assert source.dtype == torch.float16
