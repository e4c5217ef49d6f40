from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForMaskedLM,
    BertTokenizer,
    GenerationConfig,
    GPT2Config,
    GPT2LMHeadModel,
    T5Config,
    T5ForConditionalGeneration,
)

from nlpkit import UniLmForSequenceToSequence, WoBertTokenizer, generate_texts
from nlpkit.seq2seq import decode_written

Writer = Callable[..., UniLmForSequenceToSequence]
START = {"decoder_start_token_id": 0, "pad_token_id": 0}
TEXTS = ["今天天气不错", "", "酒店的服务态度很好，房间干净。", " \u3000", "好", "我们随时推荐朋友"]


@pytest.mark.parametrize("beams", [1, 3])
def test_texts_come_back_in_their_order_whatever_the_batches(
    writer: Writer, tokenizer: WoBertTokenizer, beams: int
) -> None:
    model = writer().double()
    alone = [generate_texts(model, tokenizer, [text], max_new_tokens=6, num_beams=beams)[0] for text in TEXTS]
    assert [text == "" for text in alone] == [not text.strip() for text in TEXTS]
    assert len(set(alone)) > 2
    for size in (2, 16):
        found = generate_texts(model, tokenizer, TEXTS, max_new_tokens=6, num_beams=beams, batch_size=size)
        assert found == alone


def test_the_model_keeps_its_mode(writer: Writer, tokenizer: WoBertTokenizer) -> None:
    model = writer()
    for mode in (True, False):
        model.train(mode)
        first, second = (generate_texts(model, tokenizer, TEXTS, max_new_tokens=4) for _ in range(2))
        assert first == second and model.training is mode


def test_parts_in_another_mode_stay_in_it(writer: Writer, tokenizer: WoBertTokenizer) -> None:
    model = writer().train()
    model.base_model.embeddings.eval()
    before = [part.training for part in model.modules()]
    generate_texts(model, tokenizer, TEXTS, max_new_tokens=2)
    assert [part.training for part in model.modules()] == before


@pytest.mark.parametrize(("size", "error"), [(0, ValueError), (-1, ValueError), (2.0, TypeError), (True, TypeError)])
def test_batches_of_no_size_are_refused(
    writer: Writer, tokenizer: WoBertTokenizer, size: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match=f"batch_size={size}: give a whole number at least 1"):
        generate_texts(writer(), tokenizer, TEXTS, max_new_tokens=2, batch_size=size)


def test_settings_of_generate_are_passed_on(writer: Writer, tokenizer: WoBertTokenizer) -> None:
    model = writer()
    most = generate_texts(model, tokenizer, ["好"], max_new_tokens=6, min_new_tokens=6)
    assert len(tokenizer(most[0], add_special_tokens=False)["input_ids"]) > 0
    with pytest.raises(ValueError, match="not used by the model"):
        generate_texts(model, tokenizer, ["好"], max_new_tokens=4, num_beems=3)


def test_sources_too_long_are_refused_or_cut(writer: Writer, tokenizer: WoBertTokenizer) -> None:
    model = writer()
    text = "酒店服务" * 30  # 60 tokens, and 64 positions for all
    with pytest.raises(ValueError, match="has 62 tokens, max_source_length is 54"):
        generate_texts(model, tokenizer, [text], max_new_tokens=10)
    cut = generate_texts(model, tokenizer, [text], max_new_tokens=10, overlong="truncate")
    assert cut == generate_texts(model, tokenizer, ["酒店服务" * 26], max_new_tokens=10)
    assert generate_texts(model, tokenizer, [text], max_new_tokens=1, overlong="truncate") != []


def test_adapters_of_peft_write_what_they_do_merged(writer: Writer, tokenizer: WoBertTokenizer) -> None:
    peft = pytest.importorskip("peft")
    settings = peft.LoraConfig(task_type="CAUSAL_LM", target_modules=["query", "value"], init_lora_weights=False)
    adapted = peft.get_peft_model(writer().double(), settings)
    found = generate_texts(adapted, tokenizer, TEXTS, max_new_tokens=6, num_beams=2, batch_size=2)
    assert found != generate_texts(writer().double(), tokenizer, TEXTS, max_new_tokens=6, num_beams=2)
    assert found == generate_texts(adapted.merge_and_unload(), tokenizer, TEXTS, max_new_tokens=6, num_beams=2)


def t5(tokenizer: BertTokenizer) -> T5ForConditionalGeneration:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    config = T5Config(vocab_size=len(tokenizer), decoder_start_token_id=0, eos_token_id=3, pad_token_id=0, **sizes)
    return T5ForConditionalGeneration(config).double().eval()


def test_encoder_decoders_write_too(small_vocabulary: dict[str, int]) -> None:
    tokenizer = BertTokenizer(small_vocabulary)
    model = t5(tokenizer)
    found = generate_texts(model, tokenizer, TEXTS, max_new_tokens=5, batch_size=4)
    for text, written in zip(TEXTS, found, strict=True):
        ids = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
        expected = decode_written(model.generate(**ids, max_new_tokens=5)[0], tokenizer) if text.strip() else ""
        assert written == expected
    with pytest.raises(ValueError, match="a source has 8 tokens, and 4 are the most"):
        generate_texts(model, tokenizer, ["今天天气不错"], max_source_length=4)


@pytest.mark.parametrize(
    ("texts", "settings", "error", "message"),
    [
        ("今天", {}, TypeError, "texts is one text, '今天'; give a list"),
        (["今天", None], {}, TypeError, "text 1 must be a string, not NoneType"),
        (["今天"], {"num_return_sequences": 2}, ValueError, "num_return_sequences must be 1"),
        (["今天"], {"return_dict_in_generate": True}, ValueError, "return_dict_in_generate must be False"),
        (["今天"], {"num_beams": 0}, ValueError, "num_beams=0: give a whole number at least 1"),
        (["今天"], {"max_new_tokens": "4"}, TypeError, "max_new_tokens='4': give a whole number at least 1"),
        (["今天"], {"max_new_tokens": None, "max_length": 9}, ValueError, "max_length counts the source, too"),
        (["今天"], {"max_new_tokens": 63}, ValueError, "max_new_tokens=63 leaves 1 of the model's 64 positions"),
    ],
)
def test_bad_input_is_named(
    writer: Writer, tokenizer: WoBertTokenizer, texts: Any, settings: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        generate_texts(writer(), tokenizer, texts, **{"max_new_tokens": 4, **settings})


@pytest.mark.parametrize(
    ("settings", "plain"),
    [
        ({}, {"max_new_tokens": 64}),
        ({"generation_config": GenerationConfig(max_new_tokens=3, num_beams=3, eos_token_id=3, **START)}, {}),
        ({"generation_config": GenerationConfig(num_beams=3, **START)}, {"max_new_tokens": 64}),
        ({"max_length": 7, "num_beams": 2}, {}),
        ({"max_new_tokens": 5, "generation_config": GenerationConfig(max_new_tokens=3, **START)}, {}),
    ],
)
def test_what_settings_of_generation_say_is_done(
    settings: dict[str, Any], plain: dict[str, Any], small_vocabulary: dict[str, int]
) -> None:
    """As ``generate`` does it, where something is said, there or in the model's own settings."""
    tokenizer = BertTokenizer(small_vocabulary)
    model = t5(tokenizer)
    ids = tokenizer("今天天气", return_tensors="pt", return_token_type_ids=False)
    expected = model.generate(**ids, **settings, **plain)[0]
    assert generate_texts(model, tokenizer, ["今天天气"], **settings) == [decode_written(expected, tokenizer)]
    model.generation_config.max_new_tokens, model.generation_config.num_beams = 4, 2
    assert generate_texts(model, tokenizer, iter(["今天天气"])) == [
        decode_written(model.generate(**ids)[0], tokenizer)
    ]


def test_tokens_and_positions_that_a_model_lacks_are_named(small_vocabulary: dict[str, int]) -> None:
    tokenizer = BertTokenizer(small_vocabulary)
    parts = {
        f"{part}_{name}": 2 for part in ("encoder", "decoder") for name in ("layers", "ffn_dim", "attention_heads")
    }
    model = BartForConditionalGeneration(
        BartConfig(vocab_size=len(tokenizer), d_model=8, max_position_embeddings=16, pad_token_id=0, **parts)
    )
    assert len(generate_texts(model, tokenizer, ["今天"], max_new_tokens=16, min_new_tokens=16)) == 1
    with pytest.raises(ValueError, match="max_new_tokens=17 is over the model's 16 positions; give fewer"):
        generate_texts(model, tokenizer, ["今天"], max_new_tokens=17)
    larger = BertTokenizer({**small_vocabulary, "今天": len(small_vocabulary)})
    larger.add_tokens(["今天"])
    with pytest.raises(ValueError, match=r"the tokenizer has token .*, the model .* rows; give the model's own"):
        generate_texts(model, larger, ["今天"], max_new_tokens=4)


def test_a_model_that_only_goes_on_is_refused(tokenizer: WoBertTokenizer) -> None:
    model = GPT2LMHeadModel(GPT2Config(vocab_size=9, n_embd=8, n_layer=1, n_head=2))
    with pytest.raises(TypeError, match="GPT2LMHeadModel is neither a UniLM nor an encoder-decoder"):
        generate_texts(model, tokenizer, ["今天"])


def test_a_model_that_does_not_write_is_named() -> None:
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    model = BertForMaskedLM(BertConfig(vocab_size=9, **sizes))
    with pytest.raises(TypeError, match="BertForMaskedLM is neither a UniLM nor an encoder-decoder"):
        generate_texts(model, BertTokenizer(vocab={"[PAD]": 0, "[UNK]": 1}), ["好"])
