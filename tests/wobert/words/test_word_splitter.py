"""The splitting core against the slow reference, jieba itself and exhaustive search."""

from __future__ import annotations

import hashlib
import json
import lzma
import random
from functools import lru_cache
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlpkit.wobert.words.normalization import normalize, normalize_with_origins
from nlpkit.wobert.words.segmenters import JiebaSegmenter, RjiebaSegmenter
from nlpkit.wobert.words.vocabulary_file import read_vocabulary
from nlpkit.wobert.words.word_splitter import WordSplitter, cover
from tests.reference import word_tokenizer as reference
from tests.wobert.strategies import fuzz_string, texts

REAL_FILES = {
    "corpus-zh/reviews.txt.xz": 3000,
    "corpus-zh/web.txt.xz": 3000,
    "corpus-zh/tech.txt.xz": 3000,
    "corpus-zh/news.txt.xz": 2500,
    "corpus-zh/history.txt.xz": 2500,
    "corpus-zh/science.txt.xz": 2000,
    "corpus-zh/literature.txt.xz": 2000,
    "cws/nlpcc2016-weibo/train.utf8.xz": 4000,
}


@pytest.fixture(scope="module")
def splitter(small_vocabulary: dict[str, int]) -> WordSplitter:
    return WordSplitter(small_vocabulary, small_vocabulary["[UNK]"], RjiebaSegmenter())


@given(text=texts)
@settings(max_examples=400)
def test_ids_equal_the_reference(splitter: WordSplitter, text: str) -> None:
    assert splitter.ids(text) == reference.tokenize_plain(text, splitter.vocabulary)


@given(text=texts)
@settings(max_examples=400)
def test_ids_and_pieces_and_words_speak_of_the_same_tokens(splitter: WordSplitter, text: str) -> None:
    pieces = splitter.pieces(text)
    words = splitter.words(text)
    assert pieces.ids == splitter.ids(text)
    assert len(pieces.spans) == len(words) == len(pieces.ids)
    assert sorted(set(words)) == list(range(len(set(words)))), "word numbers run without gaps"
    assert words == sorted(words)


@given(text=texts)
@settings(max_examples=400)
def test_spans_are_monotone_and_never_overlap(splitter: WordSplitter, text: str) -> None:
    reached = 0
    for start, end in splitter.pieces(text).spans:
        assert reached <= start <= end <= len(text)
        reached = end


@given(text=texts)
@settings(max_examples=400)
def test_every_span_normalises_to_its_token(splitter: WordSplitter, text: str) -> None:
    check_spans(splitter, text)


def check_spans(splitter: WordSplitter, text: str) -> None:
    """Each span reads as its token; tokens that share one character of the text read as it together."""
    ids, spans = splitter.pieces(text)
    position = 0
    while position < len(ids):
        # Tokens that share a character are read together: one to four cover everything that NFD can decompose.
        groups = [(position, stop) for stop in range(position + 1, min(position + 5, len(ids)) + 1)]
        fitting = next((group for group in groups if _reads_as_its_tokens(splitter, text, ids, spans, *group)), None)
        assert fitting, (ascii(text), spans[position])
        position = fitting[1]


def _reads_as_its_tokens(
    splitter: WordSplitter, text: str, ids: list[int], spans: list[tuple[int, int]], begin: int, stop: int
) -> bool:
    if stop < len(ids) and normalize(text[slice(*spans[stop])]) == "":
        return False  # the next token shares this group's last character
    # A sigma alone cannot know that it ends a word.
    covered = normalize(text[spans[begin][0] : spans[stop - 1][1]]).replace("ς", "σ")
    if splitter.unknown_id in ids[begin:stop]:
        return covered != ""
    spelt = "".join(_names(splitter)[number].removeprefix("##") for number in ids[begin:stop]).replace("ς", "σ")
    return spelt in ("".join(reference.basic(covered)), covered)


@lru_cache(maxsize=4)
def _names(splitter: WordSplitter) -> dict[int, str]:
    return {number: token for token, number in splitter.vocabulary.items()}


@given(text=texts)
@settings(max_examples=300)
def test_origins_rebuild_the_normalised_text(text: str) -> None:
    normalized = normalize_with_origins(text)
    assert normalized.text == normalize(text) == reference.normalize(text)
    if normalized.starts is not None and normalized.ends is not None:
        assert len(normalized.starts) == len(normalized.ends) == len(normalized.text)
        assert all(start < end <= len(text) for start, end in zip(normalized.starts, normalized.ends, strict=True))
    else:
        assert len(normalized.text) == len(text)


def test_a_word_out_of_vocabulary_falls_back_to_characters_or_to_known_words(small_vocabulary: dict[str, int]) -> None:
    names = list(small_vocabulary)
    unknown = small_vocabulary["[UNK]"]
    faithful = WordSplitter(small_vocabulary, unknown, RjiebaSegmenter())
    constrained = WordSplitter(small_vocabulary, unknown, RjiebaSegmenter(), "constrained")
    assert [names[number] for number in faithful.ids("随时随地")] == ["随", "时", "随", "地"]
    assert [names[number] for number in constrained.ids("随时随地")] == ["随时", "随地"]
    assert faithful.words("随时随地，好") == [0, 0, 0, 0, 1, 2]
    assert constrained.pieces("随时 随地").spans == [(0, 2), (3, 5)]


@given(
    text=st.text("天地人和", min_size=1, max_size=9),
    known=st.sets(st.text("天地人和", min_size=2, max_size=4), max_size=12),
    seed=st.integers(0, 99),
)
def test_the_cover_is_the_most_probable_one(text: str, known: set[str], seed: int) -> None:
    from math import isclose, log

    generator = random.Random(seed)
    vocabulary = {word: number for number, word in enumerate([*"天地人和", *sorted(known)])}
    counts = {word: generator.randrange(1, 1000) for word in vocabulary}
    total = sum(counts.values())
    frequencies = {word: log(count / total) for word, count in counts.items()}
    spans = cover(text, frequencies, min(frequencies.values()), vocabulary)
    assert "".join(text[start:end] for start, end in spans) == text
    score = sum(frequencies[text[start:end]] for start, end in spans)
    assert isclose(score, reference.best_cover(text, counts, vocabulary), rel_tol=1e-9)


def test_a_segmenter_that_loses_characters_is_refused(small_vocabulary: dict[str, int]) -> None:
    class Lossy:
        name = "lossy"

        def cut(self, text: str) -> list[str]:
            return text.split()

    with pytest.raises(ValueError, match=r"segmenter 'lossy' gave 2 characters for a text of 3"):
        WordSplitter(small_vocabulary, 1, Lossy()).pieces("今 天")


def test_an_unknown_fallback_is_refused(small_vocabulary: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="fallback='charming' is unknown; use 'faithful' or 'constrained'"):
        WordSplitter(small_vocabulary, 1, RjiebaSegmenter(), "charming")  # type: ignore[arg-type]


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize("name", ["wobert-base", "wobert-plus"])
def test_twenty_thousand_real_lines_equal_the_reference(shared_data: Path, shared_models: Path, name: str) -> None:
    vocabulary = read_vocabulary(shared_models / "vocab" / f"{name}.vocab.txt")
    splitter = WordSplitter(vocabulary, vocabulary["[UNK]"], RjiebaSegmenter())
    compared = 0
    for file, count in REAL_FILES.items():
        with lzma.open(shared_data / file, "rt", encoding="utf-8", newline="\n") as lines:
            for line in islice(lines, count):
                text = line.removesuffix("\n")
                assert splitter.ids(text) == reference.tokenize_plain(text, vocabulary), text
                check_spans(splitter, text)
                compared += 1
    assert compared >= 20_000


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize("name", ["wobert-base", "wobert-plus"])
def test_real_lines_get_the_ids_that_bert4keras_gave_them(shared_data: Path, shared_models: Path, name: str) -> None:
    vocabulary = read_vocabulary(shared_models / "vocab" / f"{name}.vocab.txt")
    splitter = WordSplitter(vocabulary, vocabulary["[UNK]"], RjiebaSegmenter())
    recorded = json.loads((Path(__file__).parent / "fixtures" / "bert4keras_ids.json").read_text("utf-8"))["ids"][name]
    for file, expected in recorded.items():
        digest, tokens = hashlib.sha256(), 0
        with lzma.open(shared_data / file, "rt", encoding="utf-8", newline="\n") as lines:
            for line in islice(lines, expected["lines"]):
                ids = splitter.ids(line.removesuffix("\n"))
                digest.update((" ".join(map(str, ids)) + "\n").encode())
                tokens += len(ids)
        assert tokens == expected["tokens"], file
        assert digest.hexdigest() == expected["sha256"], file


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize("name", ["wobert-base", "wobert-plus"])
def test_twenty_thousand_fuzz_strings_equal_the_reference(shared_models: Path, name: str) -> None:
    vocabulary = read_vocabulary(shared_models / "vocab" / f"{name}.vocab.txt")
    splitter = WordSplitter(vocabulary, vocabulary["[UNK]"], RjiebaSegmenter())
    generator = random.Random(name)
    for _ in range(20_000):
        text = fuzz_string(generator)
        assert splitter.ids(text) == reference.tokenize_plain(text, vocabulary), ascii(text)
        check_spans(splitter, text)


def test_rjieba_cuts_as_jieba_does() -> None:
    ours, theirs = RjiebaSegmenter(), JiebaSegmenter()
    generator = random.Random(0)
    for _ in range(500):
        text = fuzz_string(generator)
        assert ours.cut(text) == theirs.cut(text), ascii(text)
