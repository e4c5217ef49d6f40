from __future__ import annotations

import json
import os
import subprocess
import sys
import unicodedata
from functools import cache
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor
from transformers import PreTrainedTokenizerFast

from nlpkit.mt5 import faithful_tokenizer
from nlpkit.text_files import read_lines
from tests.mt5.sentencepiece_files import train_file

ROOT = Path(__file__).resolve().parents[2]
#: What tokenizers of transformers get wrong: rare characters, joined and decomposed ones, white space, reserved words.
PROBES = {
    "beyond the basic plane": "𠮷野家",
    "joined emoji": "👨‍👩‍👧‍👦 家",
    "accent": "café é",
    "decomposed accents": unicodedata.normalize("NFD", "café Tiếng Việt"),
    "decomposed kana and jamo": unicodedata.normalize("NFD", "がぎパ 한국 각"),
    "half-width kana": "ｶﾞｷﾞﾊﾟ",
    "a half-width mark between a letter and its accent": "Aﾞ\u0301 eﾟ\u0302",
    "marks that NFKC would reorder": "بِسْمِ اللَّهِ שִׁבָּ",
    "ligature": "ﷺ ﬁ",
    "full width": "ＡＢＣ１２３，（）！～",
    "compatibility characters": "①㎡㈱🈻",
    "tabs and lines": "天\t气\t\n好 \r\n",
    "blanks": "  天  气  ",
    "ideographic space": "　天　气　",
    "zero width": "天\u200b气\ufeff",
    "SentencePiece's mark": "▁天▁ 气▁",
    "underscore and bytes spelt": "snake_case <0x41>2> <0x4A>",
    "reserved words": "天</s>气 <pad> <unk>",
    "nothing": " ",
}
ALPHABET = st.sampled_from(
    [*"天气好酒店的，。 \t▁_<>/sx04Aae１～𠮷", "\u0301", "ﾞ", "ｶ", "ᄀ", "ᅡ", "ّ", "َ", "ب", "</s>", "<0x41>"]
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_file(tmp_path_factory.mktemp("trained"), sentinels=3)


@pytest.fixture(scope="module")
def released(shared_models: Path) -> Path:
    """The released cut of mT5's vocabulary to Chinese."""
    return shared_models / "vocab" / "mt5-cn-pruned.spiece.model"


@cache
def both(path: Path) -> tuple[PreTrainedTokenizerFast, SentencePieceProcessor]:
    """Our tokenizer of a file, and SentencePiece's."""
    return faithful_tokenizer(path), SentencePieceProcessor(model_file=str(path))


def ids(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    found: list[int] = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return found


@pytest.mark.parametrize("text", PROBES.values(), ids=PROBES.keys())
def test_hard_texts_are_cut_as_sentencepiece_cuts_them(file: Path, text: str) -> None:
    tokenizer, theirs = both(file)
    assert ids(tokenizer, text) == theirs.encode(text)
    assert tokenizer.decode(theirs.encode(text)) == theirs.decode(theirs.encode(text))


@pytest.mark.shared
@pytest.mark.parametrize("text", PROBES.values(), ids=PROBES.keys())
def test_hard_texts_with_the_released_file(released: Path, text: str) -> None:
    tokenizer, theirs = both(released)
    assert ids(tokenizer, text) == theirs.encode(text)
    assert tokenizer.decode(theirs.encode(text)) == theirs.decode(theirs.encode(text))


@settings(max_examples=60)
@given(text=st.lists(ALPHABET, max_size=12).map("".join))
@example(text="天</s> <extra_id_0")
def test_any_text_is_cut_as_sentencepiece_cuts_it(file: Path, text: str) -> None:
    tokenizer, theirs = both(file)
    # Where the sums of two paths are equal, rounding decides: the pieces are the same, in another order.
    assert sorted(ids(tokenizer, text)) == sorted(theirs.encode(text))


def lines(data: Path, each: int) -> list[str]:
    return [
        line
        for path in sorted((data / "corpus-zh").glob("*.xz"))
        for line in islice(read_lines(path), 0, 40 * each, 40)
    ]


def differing(path: Path, texts: list[str]) -> list[tuple[list[int], list[int]]]:
    tokenizer, processor = both(path)
    ours = tokenizer(texts, add_special_tokens=False)["input_ids"]
    return [pair for pair in zip(processor.encode(texts), ours, strict=True) if pair[0] != pair[1]]


@pytest.mark.shared
def test_corpus_lines_are_cut_as_sentencepiece_cuts_them(released: Path, shared_data: Path) -> None:
    assert differing(released, lines(shared_data, 100)) == []


@pytest.mark.slow
@pytest.mark.shared
def test_twenty_thousand_corpus_lines(released: Path, shared_data: Path) -> None:
    texts = [
        line for path in sorted((shared_data / "corpus-zh").glob("*.xz")) for line in islice(read_lines(path), 2300)
    ]
    assert len(texts) > 20_000
    wrong = differing(released, texts)
    assert [pair for pair in wrong if sorted(pair[0]) != sorted(pair[1])] == []
    assert len(wrong) <= 2  # ties, which SentencePiece's fp32 decides by rounding


@pytest.mark.shared
def test_sentinels_have_the_ids_that_the_model_knows(released: Path) -> None:
    tokenizer, _ = both(released)
    assert len(tokenizer) == 32_596
    assert tokenizer.convert_tokens_to_ids(["<extra_id_0>", "<extra_id_99>"]) == [32_595, 32_496]
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (0, 1, 2)


def test_sentinels_are_found_anywhere_and_no_space_is_put_behind_them(file: Path) -> None:
    tokenizer, theirs = both(file)
    # Behind white space and at the beginning, SentencePiece knows them, too.
    for text in ("<extra_id_0> 天气", "天气 <extra_id_1> 很好 <extra_id_0>", "<extra_id_2>天气"):
        assert tokenizer(text, add_special_tokens=False)["input_ids"] == theirs.encode(text)
    assert tokenizer.tokenize("天气<extra_id_0>很好") == tokenizer.tokenize("天气 <extra_id_0>很好")
    assert tokenizer.decode(tokenizer("天气<extra_id_0>很好")["input_ids"], skip_special_tokens=True) == "天气很好"


def test_texts_and_pairs_end_as_t5s_do(file: Path) -> None:
    tokenizer, _ = both(file)
    assert tokenizer("天", "气")["input_ids"] == [*ids(tokenizer, "天"), 1, *ids(tokenizer, "气"), 1]


def test_auto_tokenizer_loads_it_in_another_process_beside_the_sentencepiece_file(file: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mt5", "tokenizer_class": "T5Tokenizer"}))
    (tmp_path / "spiece.model").write_bytes(file.read_bytes())
    tokenizer = faithful_tokenizer(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    script = (
        "import sys, json; from transformers import AutoTokenizer;"
        "tokenizer = AutoTokenizer.from_pretrained(sys.argv[1]);"
        "tokenizer.save_pretrained(sys.argv[1]); tokenizer = AutoTokenizer.from_pretrained(sys.argv[1]);"
        "print(json.dumps([len(tokenizer), tokenizer(json.loads(sys.argv[2]))['input_ids']]))"
    )
    texts = [*PROBES.values(), "天 <extra_id_0>"]
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), json.dumps(texts)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == [len(tokenizer), tokenizer(texts)["input_ids"]]


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({}, 100),
        ({"extra_ids": 7}, 7),
        ({"additional_special_tokens": [f"<extra_id_{number}>" for number in range(300)]}, 300),
        ({"added_tokens_decoder": {"{}": {"content": "<extra_id_1>"}, "{}+1": {"content": "<extra_id_0>"}}}, 2),
    ],
)
def test_sentinels_behind_the_pieces_as_umt5_and_t5_have_them(
    tmp_path: Path, settings: dict[str, object], count: int
) -> None:
    pieces = SentencePieceProcessor(model_file=str(train_file(tmp_path))).get_piece_size()
    written = json.dumps(settings).replace('"{}+1"', f'"{pieces + 1}"').replace('"{}"', f'"{pieces}"')
    (tmp_path / "tokenizer_config.json").write_text(written)
    tokenizer = faithful_tokenizer(tmp_path)
    assert len(tokenizer) == pieces + count
    assert tokenizer.convert_tokens_to_ids(["<extra_id_0>", f"<extra_id_{count - 1}>"]) == [pieces + count - 1, pieces]


def test_what_cannot_be_read_is_named(tmp_path: Path, file: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no SentencePiece file"):
        faithful_tokenizer(tmp_path)
    (tmp_path / "spiece.model").write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"spiece\.model is no SentencePiece file, or damaged"):
        faithful_tokenizer(tmp_path)
    (tmp_path / "spiece.model").write_bytes(file.read_bytes())
    (tmp_path / "config.json").write_text('{"vocab_size": 300}')
    with pytest.raises(ValueError, match=r"the tokenizer has \d+ ids, but the model in .* has 300 rows"):
        faithful_tokenizer(tmp_path)


def test_vocabularies_of_byte_pairs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a vocabulary of kind 2, not Unigram"):
        faithful_tokenizer(train_file(tmp_path, model_type="bpe"))
    with pytest.raises(ValueError, match="marks white space behind words"):
        faithful_tokenizer(train_file(tmp_path, treat_whitespace_as_suffix=True))


@pytest.mark.parametrize("name", ["add_dummy_prefix", "remove_extra_whitespaces"])
def test_files_that_read_beginnings_in_a_way_of_their_own_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has only one of add_dummy_prefix and remove_extra_whitespaces"):
        faithful_tokenizer(train_file(tmp_path, **{name: False}))


def test_a_file_without_an_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no end of a text \(eos_id=-1\)"):
        faithful_tokenizer(train_file(tmp_path, eos_id=-1, unk_id=1))
