"""Tokenizers of transformers' own classes, each with the settings and post-processor that its class makes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import (
    AlbertTokenizer,
    BertTokenizer,
    GPT2Tokenizer,
    LlamaTokenizer,
    MBartTokenizer,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3ForCausalLM,
    RobertaTokenizer,
    T5Tokenizer,
    XLMRobertaTokenizer,
)

from nlpkit.sentencepiece_file import PieceType, read_sentencepiece
from nlpkit.vocabulary_pruning import prune_vocabulary
from tests.vocabulary_pruning.small_models import bert, bpe_content, lines, mt5_file


def byte_level(kind: Callable[..., Any], **settings: Any) -> Any:
    model = json.loads(bpe_content())["model"]
    special = {"<pad>": len(model["vocab"]), "<s>": len(model["vocab"]) + 1, "</s>": len(model["vocab"]) + 2}
    special |= {"<unk>": len(model["vocab"]) + 3, "<mask>": len(model["vocab"]) + 4}
    return kind(vocab=model["vocab"] | special, merges=[tuple(pair) for pair in model["merges"]], **settings)


def pieces(**settings: Any) -> list[tuple[str, float]]:
    found = [
        (piece.piece, piece.score) for piece in read_sentencepiece(mt5_file()).pieces if piece.type == PieceType.NORMAL
    ]
    return [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *found]


def llama() -> Any:
    """Pairs of characters of which the first merges make words, and bytes."""
    letters = sorted({letter for line in lines(300) for letter in line.replace(" ", "▁")} | {"▁"})
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters]
    merges = [(a, b) for a in "▁bdfgklm" for b in "aeiou"] + [
        (a + b, c) for a in "bdfg" for b in "aeiou" for c in "nr"
    ]
    names += ["".join(pair) for pair in merges if "".join(pair) not in names]
    return LlamaTokenizer(vocab={name: number for number, name in enumerate(dict.fromkeys(names))}, merges=merges)


KINDS: dict[str, Callable[[], Any]] = {
    "gpt2": lambda: byte_level(GPT2Tokenizer, unk_token="</s>", bos_token="</s>", eos_token="</s>", pad_token="<pad>"),
    "qwen2": lambda: byte_level(Qwen2Tokenizer, unk_token=None, eos_token="</s>", pad_token="<pad>"),
    "roberta": lambda: byte_level(RobertaTokenizer),
    "llama": llama,
    "xlm-r": lambda: XLMRobertaTokenizer(vocab=[*pieces(), ("<mask>", 0.0)]),
    "mbart": lambda: MBartTokenizer(vocab=pieces(), src_lang="en_XX", tgt_lang="zh_CN"),
    "t5": lambda: T5Tokenizer(vocab=[*pieces()[1:], *pieces()[:1]], unk_token="<unk>"),
    "albert": lambda: AlbertTokenizer(
        vocab=[*pieces(), ("[CLS]", 0.0), ("[SEP]", 0.0), ("[MASK]", 0.0)], unk_token="<unk>"
    ),
    "bert": lambda: bert()[1],
    "bert, cased": lambda: BertTokenizer(vocab=bert()[1].get_vocab(), do_lower_case=False),
}


@pytest.mark.parametrize("kind", KINDS)
def test_texts_are_cut_as_before_special_tokens_included(kind: str, tmp_path: Any) -> None:
    tokenizer = KINDS[kind]()
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "head_dim": 8}
    config = Qwen3Config(vocab_size=len(tokenizer) + 3, num_key_value_heads=1, **sizes, bos_token_id=None)
    torch.manual_seed(0)
    texts = list(lines(25, seed=3))
    found = prune_vocabulary(Qwen3ForCausalLM(config), tokenizer, corpus=texts)
    assert len(found.tokenizer) < len(tokenizer) - 10
    for added in (True, False):
        old, new = (one(texts, texts[::-1], add_special_tokens=added) for one in (tokenizer, found.tokenizer))
        assert old.keys() == new.keys()
        assert [[found.id_map.new_ids[number] for number in row] for row in old["input_ids"]] == new["input_ids"]
        assert old.get("token_type_ids") == new.get("token_type_ids")
    ids = new["input_ids"][0]
    assert found.tokenizer.decode(ids) == tokenizer.decode([found.id_map.kept[number] for number in ids])
    assert found.tokenizer.all_special_tokens == tokenizer.all_special_tokens
    found.tokenizer.save_pretrained(tmp_path)
    assert type(found.tokenizer).from_pretrained(tmp_path)(texts)["input_ids"] == found.tokenizer(texts)["input_ids"]
