from __future__ import annotations

import json

import pytest
from tokenizers import Tokenizer, processors
from transformers import PreTrainedTokenizerFast

from nlpkit.vocabulary_pruning.tokenizers.loading import tokenizer_like
from nlpkit.vocabulary_pruning.tokenizers.tokenizer_file import (
    needed_tokens,
    pruned_content,
    read_tokenizer,
    token_names,
)
from tests.vocabulary_pruning.small_models import bert, bpe_tokenizer


def kept_half(tokenizer: PreTrainedTokenizerFast) -> list[int]:
    content = read_tokenizer(tokenizer)
    return sorted(needed_tokens(content) | set(list(token_names(content))[::2]))


@pytest.mark.parametrize("kind", ["template", "bert", "roberta", "sequence"])
def test_ids_in_post_processors_follow(kind: str) -> None:
    _, tokenizer = bert()
    pair = ("[SEP]", tokenizer.sep_token_id), ("[CLS]", tokenizer.cls_token_id)
    made = {
        "template": tokenizer.backend_tokenizer.post_processor,
        "bert": processors.BertProcessing(*pair),
        "roberta": processors.RobertaProcessing(*pair),
        "sequence": processors.Sequence([processors.ByteLevel(), processors.BertProcessing(*pair)]),
    }
    tokenizer.backend_tokenizer.post_processor = made[kind]
    tokenizer.backend_tokenizer.enable_padding(pad_id=tokenizer.mask_token_id, pad_token="[MASK]")
    content = read_tokenizer(tokenizer)
    kept = sorted({*kept_half(tokenizer), *tokenizer.convert_tokens_to_ids(["a", "b"])})
    after = Tokenizer.from_str(json.dumps(pruned_content(content, kept)))
    old, new = (one.encode("a", "b") for one in (tokenizer.backend_tokenizer, after))
    assert new.tokens == old.tokens
    assert [kept[number] for number in new.ids] == old.ids
    assert kept[after.padding["pad_id"]] == tokenizer.mask_token_id


def test_settings_of_the_tokenizer_stay() -> None:
    _, tokenizer = bert()
    tokenizer.model_max_length, tokenizer.padding_side = 77, "left"
    content = pruned_content(read_tokenizer(tokenizer), kept_half(tokenizer))
    found = tokenizer_like(tokenizer, content)
    assert (found.model_max_length, found.padding_side) == (77, "left")
    assert found.special_tokens_map == tokenizer.special_tokens_map
    assert found("a", "b").keys() == tokenizer("a", "b").keys() >= {"token_type_ids"}
    chat = bpe_tokenizer()
    cut = tokenizer_like(chat, pruned_content(read_tokenizer(chat), kept_half(chat)))
    assert cut.chat_template == chat.chat_template
    assert cut.all_special_tokens == chat.all_special_tokens
    assert type(cut).__name__ == "TokenizersBackend"


def test_what_cannot_be_spared_is_named() -> None:
    content = read_tokenizer(bpe_tokenizer())
    with pytest.raises(ValueError, match=r"keep lacks \d+ tokens that the tokenizer cannot go without"):
        pruned_content(content, [0, 1, 2])
