"""Small models with random weights, and tokenizers trained for them on lines made up here."""

from __future__ import annotations

import json
import random
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertTokenizer,
    MT5Config,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from nlpkit.mt5 import faithful_tokenizer, new_mt5
from tests.mt5.sentencepiece_files import train_file

#: Qwen2's own, as its tokenizer.json has it.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_SYLLABLES = [a + b for a in ("", *"bdfgklmnprst") for b in ("a", "e", "i", "o", "u", "en", "ing", "ar")]
_CHARACTERS = [chr(number) for number in range(ord("一"), ord("一") + 90)]


@cache
def lines(count: int, seed: int = 0) -> tuple[str, ...]:
    """Lines of made-up words of two scripts, frequent and rare ones, with numbers and marks."""
    draw = random.Random(7)
    english = ["".join(draw.choices(_SYLLABLES, k=draw.randint(1, 4))) for _ in range(400)]
    chinese = ["".join(draw.choices(_CHARACTERS, k=draw.randint(1, 4))) for _ in range(400)]
    draw = random.Random(seed)
    weights = [1 / (place + 1) for place in range(400)]

    def line() -> str:
        left = " ".join(draw.choices(english, weights, k=draw.randint(2, 8))).capitalize()
        right = "".join(draw.choices(chinese, weights, k=draw.randint(2, 8)))
        return f"{left}{draw.choice([' ', ', ', '. ', ': 1', ' 20'])}{right}{draw.choice('。！？')}"

    return tuple(line() for _ in range(count))


@cache
def bpe_content(tokens: int = 700) -> str:
    """A byte-level BPE with Qwen2's split, trained on lines, as JSON."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=tokens, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(lines(3000), trainer)
    return tokenizer.to_str()


def bpe_tokenizer(content: str | None = None) -> PreTrainedTokenizerFast:
    """The BPE as a chat model has it: added tokens behind the vocabulary, a template."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(content or bpe_content()),
        eos_token=SPECIAL[2],
        pad_token=SPECIAL[0],
        extra_special_tokens=[SPECIAL[1]],
        chat_template=TEMPLATE,
    )
    tokenizer.add_tokens(["<tool_call>"])
    return tokenizer


def qwen() -> tuple[PreTrainedModel, Any]:
    """A tied causal LM, with more rows than tokens."""
    tokenizer = bpe_tokenizer()
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=768, hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=12, tie_word_embeddings=True, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, bos_token_id=None,
    )  # fmt: skip
    model = Qwen3ForCausalLM(config)
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids([SPECIAL[2], SPECIAL[0]])
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model.eval(), tokenizer


@cache
def _sentencepiece() -> Path:
    return train_file(Path(mkdtemp()), sentinels=3, vocab_size=700)


def mt5() -> tuple[PreTrainedModel, Any]:
    """An untied mT5 with two rows in store."""
    tokenizer = faithful_tokenizer(_sentencepiece())
    torch.manual_seed(0)
    config = MT5Config(
        vocab_size=len(tokenizer) + 2, d_model=24, d_kv=12, d_ff=32, num_layers=2, num_heads=2, dropout_rate=0.0
    )
    return new_mt5(config).eval(), tokenizer


def mt5_file() -> Path:
    """The SentencePiece file of the small mT5."""
    return _sentencepiece()


def bert() -> tuple[PreTrainedModel, Any]:
    """A BERT whose tokenizer is transformers' own."""
    words = sorted({word for line in lines(400) for word in line.lower().split()[:-1] if word.isascii()})
    letters = sorted({letter for line in lines(400) for letter in line.lower() if not letter.isspace()})
    names = ["[PAD]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters]
    names += [f"##{letter}" for letter in letters if letter.isascii()] + words
    tokenizer = BertTokenizer(vocab={name: number for number, name in enumerate(dict.fromkeys(names))})
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    model = BertForMaskedLM(config)
    torch.nn.init.normal_(model.cls.predictions.bias)
    return model.eval(), tokenizer


def merged_every_way(content: str) -> str:
    """The same vocabulary with merges as of tiktoken's files: each token by all its splits, in the order of tokens."""
    made = json.loads(content)
    vocabulary = made["model"]["vocab"]
    by_id = sorted(vocabulary, key=vocabulary.__getitem__)
    made["model"]["merges"] = [
        [token[:at], token[at:]]
        for token in by_id
        for at in range(1, len(token))
        if token[:at] in vocabulary and token[at:] in vocabulary
    ]
    return json.dumps(made)
