from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast, T5Tokenizer

from nlpkit.vocabulary_pruning import complete_tokens, prune_vocabulary
from nlpkit.wobert import WoBertTokenizer
from tests.vocabulary_pruning.small_models import bert, lines, mt5, qwen

TEXTS = lines(5)


def test_wrapped_models_are_refused() -> None:
    model, tokenizer = qwen()
    for wrapped in (torch.nn.DataParallel(model), torch.compile(model)):
        with pytest.raises(TypeError, match="which cannot be pruned: give the model inside it"):
            prune_vocabulary(wrapped, tokenizer, corpus=TEXTS)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="model is a str, which cannot be pruned: give a model of transformers"):
        prune_vocabulary("a folder", tokenizer, corpus=TEXTS)  # type: ignore[arg-type]


def test_adapters_are_refused() -> None:
    model, tokenizer = qwen()
    with pytest.raises(TypeError, match=r"trained on the old ids; merge them first: model\.merge_and_unload"):
        prune_vocabulary(get_peft_model(model, LoraConfig(target_modules=["q_proj"])), tokenizer, corpus=TEXTS)
    model, tokenizer = qwen()
    model.add_adapter(LoraConfig(target_modules=["q_proj"]))
    with pytest.raises(ValueError, match="has adapters, which were trained on the old ids"):
        prune_vocabulary(model, tokenizer, corpus=TEXTS)


def test_models_that_are_quantised_or_not_in_memory_are_refused() -> None:
    model, tokenizer = qwen()
    model.config.quantization_config = {"bits": 4}
    with pytest.raises(ValueError, match="is quantised; prune the model that it was made from"):
        prune_vocabulary(model, tokenizer, corpus=TEXTS)
    model, tokenizer = qwen()
    with pytest.raises(ValueError, match="are not in memory"):
        prune_vocabulary(model.to("meta"), tokenizer, corpus=TEXTS)


def test_tokenizers_of_another_size_are_refused() -> None:
    model, _ = mt5()
    too_many = T5Tokenizer(
        vocab=[("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((f"x{n}", -1.0) for n in range(900))]
    )
    with pytest.raises(ValueError, match=r"tokenizer has \d+ tokens, but the model has \d+ rows.*faithful_tokenizer"):
        prune_vocabulary(model, too_many, corpus=TEXTS)
    _, tokenizer = bert()
    config = BertConfig(
        vocab_size=9000, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    with pytest.raises(ValueError, match="but the model has 9000 rows; give the model's own tokenizer"):
        prune_vocabulary(BertForMaskedLM(config), tokenizer, corpus=TEXTS)


def test_what_an_earlier_call_left_of_truncation_does_not_count() -> None:
    model, tokenizer = qwen()
    expected = prune_vocabulary(model, tokenizer, corpus=TEXTS).id_map
    tokenizer(list(TEXTS), truncation=True, max_length=2, padding="max_length")
    assert prune_vocabulary(model, tokenizer, corpus=TEXTS).id_map == expected


def test_tokenizers_of_other_kinds_are_refused(small_vocabulary: dict[str, int]) -> None:
    model, _ = bert()
    with pytest.raises(TypeError, match=r"WoBertTokenizer cuts texts otherwise than its tokenizer\.json"):
        prune_vocabulary(model, WoBertTokenizer(small_vocabulary), corpus=TEXTS)
    words = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"a": 0})))
    with pytest.raises(ValueError, match="the tokenizer's model is WordLevel; only Unigram, BPE, WordPiece"):
        prune_vocabulary(model, words, corpus=TEXTS)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"corpus": []}, ValueError, "corpus holds no text"),
        ({"corpus": "text"}, TypeError, "corpus is one text"),
        ({"corpus": TEXTS, "held_out": "text"}, TypeError, "held_out is one text"),
        (
            {"corpus": TEXTS, "coverage": 1.01},
            ValueError,
            r"coverage=1\.01: give a finite number above 0 and at most 1",
        ),
        ({"corpus": TEXTS, "coverage": 0}, ValueError, "coverage=0: give a finite number above 0 and at most 1"),
        ({"corpus": TEXTS, "size": 20}, ValueError, r"size=20 is below \d+, the tokens that are always kept"),
        ({"corpus": TEXTS, "keep": [1]}, ValueError, "give either corpus, .*, or keep"),
        ({}, ValueError, "give either corpus, .*, or keep"),
        ({"keep": [1], "size": 5}, ValueError, "size=5 chooses by counts; keep names the ids itself"),
        ({"keep": [1, 9999]}, ValueError, "keep holds 9999; ids of this model run from 0 to 767"),
        ({"keep": ["a"]}, TypeError, "keep holds 'a'; it must hold ids"),
        ({"keep": [True]}, TypeError, "keep holds True; it must hold ids"),
        ({"keep": range(700, 704)}, ValueError, "bytes, digits, ids in settings and chat template"),
    ],
)
def test_what_is_asked_for_must_make_sense(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        prune_vocabulary(*qwen(), **options)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"coverage": 1.5}, ValueError, r"coverage=1\.5: give a finite number"),
        ({"coverage": "0.9"}, TypeError, r"coverage='0\.9': give a finite number"),
        ({"min_count": 0}, ValueError, "min_count=0: give a whole number at least 1"),
        ({"min_count": 2.5}, TypeError, r"min_count=2\.5: give a whole number at least 1"),
        ({"size": float("nan")}, TypeError, "size=nan: give a whole number at least 1"),
        ({"size": 20}, ValueError, r"size=20 is below \d+, the tokens that are always kept"),
        ({"size": 300, "min_count": 2}, ValueError, "give one of min_count, coverage and size"),
        ({"multiple_of": 0}, ValueError, "multiple_of=0: give a whole number at least 1"),
        ({"multiple_of": 7.5}, TypeError, r"multiple_of=7\.5: give a whole number at least 1"),
        ({"held_out": "text"}, TypeError, "held_out is one text"),
        ({"held_out": [None]}, TypeError, "held_out holds None, which is no text"),
        ({"held_out": ["\ud83d"]}, ValueError, "held_out holds half of a surrogate pair"),
    ],
)
def test_what_cannot_be_done_is_said_before_the_corpus_is_read(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    read = []
    with pytest.raises(error, match=message):
        prune_vocabulary(*qwen(), corpus=(read.append(text) or text for text in TEXTS), **options)  # type: ignore[func-returns-value]
    assert not read


@pytest.mark.parametrize(("keep", "error"), [([-1], ValueError), ([10**6], ValueError), ([True], TypeError)])
def test_only_ids_are_completed(keep: list[Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=f"keep holds {keep[0]}; "):
        complete_tokens(*qwen(), keep)


def test_settings_of_another_size_are_refused() -> None:
    model, tokenizer = bert()
    model.config.vocab_size = 999
    with pytest.raises(ValueError, match=r"settings of BertForMaskedLM have vocab_size=999, its embedding \d+ rows"):
        prune_vocabulary(model, tokenizer, corpus=TEXTS)


def test_a_model_that_answers_nan_is_named() -> None:
    model, tokenizer = bert()
    model.get_input_embeddings().weight.data.fill_(float("nan"))
    with pytest.raises(ValueError, match="BertForMaskedLM answers NaN, as it is, so that nothing can be compared"):
        prune_vocabulary(model, tokenizer, corpus=TEXTS)


def test_rows_come_back_from_a_model_of_the_same_class_alone() -> None:
    model, tokenizer = bert()
    found = prune_vocabulary(model, tokenizer, corpus=TEXTS)
    with pytest.raises(ValueError, match="the pruned model is a BertForMaskedLM, the original a BertModel; give one"):
        found.expand(model.bert)


def test_a_list_without_what_a_token_is_merged_from_is_refused() -> None:
    model, tokenizer = qwen()
    whole = complete_tokens(model, tokenizer, [650])
    lacking = max(set(whole) - set(complete_tokens(model, tokenizer, [])) - {650})
    with pytest.raises(ValueError, match=rf"keep lacks .* \({lacking}\), from which .* is merged"):
        prune_vocabulary(model, tokenizer, keep=set(whole) - {lacking})


def test_settings_that_name_no_row_are_refused() -> None:
    model, tokenizer = qwen()
    model.generation_config.forced_bos_token_id = 5000
    with pytest.raises(ValueError, match="settings have forced_bos_token_id=5000, but it has 768 rows"):
        prune_vocabulary(model, tokenizer, corpus=TEXTS)


def test_a_model_that_would_answer_otherwise_is_refused() -> None:
    model, tokenizer = qwen()

    def forward(input_ids: torch.Tensor, **inputs: Any) -> Any:
        return type(model).forward(model_here[0], input_ids=input_ids.where(input_ids != 300, 5), **inputs)

    model_here = [model]
    model.forward = forward  # type: ignore[method-assign]  which knows an id that no setting names
    with pytest.raises(ValueError, match="with fewer rows would read the same tokens otherwise"):
        prune_vocabulary(model, tokenizer, corpus=TEXTS)
