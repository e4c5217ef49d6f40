"""Building vocabularies: the released file rebuilt, corpora counted, files read and refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nlpkit.wobert.words.token_counts import count_tokens
from nlpkit.wobert.words.vocabulary import base_tokens, build_vocabulary, from_sentencepiece
from nlpkit.wobert.words.vocabulary_file import check_vocabulary, read_vocabulary, write_vocabulary

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
BASE = [*SPECIAL, "[unused1]", "天", "气", "，", "##天", "a", "##a", "hotel", "##!"]
CORPUS = ["今天天气很好，天气不错。", "天气预报说明天天气很好", "hotel 很好"]


@pytest.mark.shared
def test_the_released_vocabulary_comes_out_but_for_ties(shared_models: Path) -> None:
    """Dossier fact: 13,586 entries in order, then 20,000 words of which 15 tie at frequency 209 with others."""
    released = list(read_vocabulary(shared_models / "vocab" / "wobert-base.vocab.txt"))
    rebuilt = list(build_vocabulary(shared_models / "vocab" / "bert-base-chinese.vocab.txt"))
    assert len(rebuilt) == len(released) == 33_586
    assert rebuilt[:13_586] == released[:13_586]
    only_released, only_rebuilt = set(released) - set(rebuilt), set(rebuilt) - set(released)
    assert len(only_released) == len(only_rebuilt) == 15
    frequencies = _jieba_frequencies()
    assert {frequencies[word] for word in only_released | only_rebuilt} == {209}


def _jieba_frequencies() -> dict[str, int]:
    from nlpkit.wobert.words.dictionaries import jieba_dictionary

    entries = [line.split(" ") for line in jieba_dictionary().read_text("utf-8").split("\n") if line]
    return {entry[0].lower(): int(entry[1]) for entry in entries}


def test_redundant_tokens_go_and_frequent_words_come() -> None:
    vocabulary = build_vocabulary(BASE, words=3)
    assert list(vocabulary) == [*SPECIAL, "天", "气", "，", "a", "##a", "hotel", "了", "是", "在"]
    assert list(vocabulary.values()) == list(range(len(vocabulary)))


def test_a_counted_vocabulary_keeps_what_the_corpus_uses() -> None:
    vocabulary = build_vocabulary(BASE, corpus=CORPUS, size=200, characters=12, keep=["酒店"])
    ranks = {token: number for token, number in vocabulary.items() if number >= 5}
    assert list(vocabulary)[:5] == SPECIAL
    assert {"天气", "很", "好", "hotel", "酒店"} <= ranks.keys()
    assert ranks["天气"] < ranks["hotel"]
    assert "经济" not in vocabulary
    assert "。" in ranks, "a mark of the corpus that the base lacks"
    assert len(vocabulary) <= 200


def test_counts_equal_a_plain_count() -> None:
    assert count_tokens(["天气，天，天气"], ["[UNK]", "天气", "天", "气"]) == {"[UNK]": 2, "天气": 2, "天": 1, "气": 0}


def test_sentencepiece_pieces_become_berts_notation() -> None:
    pieces = ["<s>", "▁", "▁Hotel", "ing", "▁天气", "天", "，", "a", "▁a"]
    assert from_sentencepiece(pieces)[5:] == ["hotel", "##ing", "天", "气", "，", "a", "##a"]


@pytest.mark.shared
def test_the_base_of_a_real_sentencepiece_model(shared_models: Path) -> None:
    from transformers import AutoTokenizer

    tokens = base_tokens(AutoTokenizer.from_pretrained(shared_models / "zh-en-minilm-l12-h384"))
    assert tokens[:5] == SPECIAL
    assert {"酒", "店", "hotel", "##s", ","} <= set(tokens)
    assert not [token for token in tokens if "▁" in token]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"corpus": CORPUS}, "give corpus and size together"),
        ({"size": 100}, "give corpus and size together"),
        ({"corpus": ["only latin words here"], "size": 100}, "the corpus yields no words: is it Chinese text"),
        ({"corpus": [], "size": 100}, "the corpus yields no words"),
        ({"corpus": CORPUS, "size": 20}, "size=20 leaves no room for words beside the"),
    ],
)
def test_a_corpus_that_cannot_make_a_vocabulary_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_vocabulary(BASE, **arguments)


def test_a_vocabulary_file_round_trips(tmp_path: Path) -> None:
    vocabulary = {token: number for number, token in enumerate([*SPECIAL, "天气", "\u2028", "\u00a0"])}
    write_vocabulary(vocabulary, tmp_path / "vocab.txt")
    assert read_vocabulary(tmp_path / "vocab.txt") == vocabulary
    assert [path.name for path in tmp_path.iterdir()] == ["vocab.txt"]


def test_windows_line_ends_are_read(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_bytes("[PAD]\r\n天气\r\n".encode())
    assert read_vocabulary(tmp_path / "vocab.txt") == {"[PAD]": 0, "天气": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[PAD]\n天\n\n气\n".encode(), r"has an empty line 3; every line must hold one token"),
        ("[PAD]\n天\n天\n".encode(), r"has '天' on line 2 and again on line 3; every token must stand once"),
        ("[PAD]\n天气\n".encode("gb18030"), r"is not UTF-8 at line 2; convert it"),
        (b"", r"has an empty line 1"),
    ],
)
def test_a_broken_vocabulary_file_is_refused_by_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "vocab.txt").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_vocabulary(tmp_path / "vocab.txt")


def test_the_empty_line_of_the_released_vocabulary_is_known(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_bytes("[PAD]\n\u2027\n\n\u2030\n".encode())
    assert read_vocabulary(tmp_path / "vocab.txt") == {"[PAD]": 0, "\u2027": 1, "": 2, "\u2030": 3}


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        ({"[PAD]": 0, "[UNK]": 2}, "ids must run from 0 to 1 without gaps, but 1 is missing"),
        (dict.fromkeys(SPECIAL, 0), "without gaps, but 1 is missing"),
        ({**{token: number for number, token in enumerate(SPECIAL)}, "a\nb": 5}, r"'a\\nb' contains a line break"),
        ({"[PAD]": 0}, r"lacks \[UNK\], \[CLS\], \[SEP\], \[MASK\]"),
    ],
)
def test_a_broken_vocabulary_is_refused(vocabulary: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_vocabulary(vocabulary)


def test_a_vocabulary_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "vocab.txt"
    write_vocabulary({"[PAD]": 0}, target)

    def full(path: Path, data: str, **options: Any) -> int:
        path.open("wb").close()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        write_vocabulary({"[PAD]": 0, "天": 1}, target)
    assert target.read_text("utf-8") == "[PAD]\n"
    assert [path.name for path in tmp_path.iterdir()] == ["vocab.txt"]


@pytest.mark.parametrize("name", ["words", "candidates", "characters"])
def test_fewer_than_none_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}=-5"):
        build_vocabulary(["[PAD]", "[UNK]", "天"], **{name: -5})
