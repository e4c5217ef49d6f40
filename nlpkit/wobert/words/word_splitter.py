"""The functional core of the word tokenizer: text to ids and spans, in linear time."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from math import log
from typing import Any, Literal, NamedTuple

from nlpkit.wobert.words.dictionaries import jieba_dictionary
from nlpkit.wobert.words.normalization import normalize, normalize_with_origins
from nlpkit.wobert.words.segmenters import Segmenter

Fallback = Literal["faithful", "constrained"]
Span = tuple[int, int]
#: Ids of a word that the vocabulary lacks, and their spans within it: ``None`` where each is one character.
_Spelling = tuple[tuple[int, ...], tuple[Span, ...] | None]

#: A word longer than this is one unknown token, as in the reference.
LONGEST_WORD = 200
_REMEMBERED_WORDS = 200_000
_SHARED_SPANS_REACH = 1024


class Pieces(NamedTuple):
    """Tokens of a text: ``ids[k]`` covers ``text[spans[k][0]:spans[k][1]]``."""

    ids: list[int]
    spans: list[Span]


class WordSplitter:
    """Cuts text into words; a word of the vocabulary is one token, any other falls back to smaller pieces.

    Source: WoBERT's tokenizer (kexue.fm/archives/7758): normalise, segment the whole text, emit a segment that is in
    the vocabulary whole, run BERT's basic tokenizer and WordPiece on any other.

    Args:
        vocabulary: token to id.
        unknown_id: id of what cannot be spelt.
        segmenter: text to words.
        fallback: ``"faithful"`` splits the Chinese part of an unknown word into characters, as published checkpoints
            were trained; ``"constrained"`` covers it by the most probable sequence of vocabulary words, with jieba's
            word frequencies.
        lower_case: normalise as uncased BERT does.

    Raises:
        ValueError: ``fallback`` is neither of the two.

    Note:
        One look-up per word: about twice as fast as BERT's own tokenizer in Rust. Unknown words are remembered once
        split; the memory is bounded and neither pickled nor hashed. Safe to share between threads.

    Example:
        >>> from nlpkit.wobert.words.segmenters import RjiebaSegmenter
        >>> splitter = WordSplitter({"[UNK]": 0, "天气": 1, "不": 2, "错": 3}, 0, RjiebaSegmenter())
        >>> splitter.ids("天气不错")
        [1, 2, 3]
        >>> splitter.pieces("天气 不错").spans
        [(0, 2), (3, 4), (4, 5)]
    """

    def __init__(
        self,
        vocabulary: Mapping[str, int],
        unknown_id: int,
        segmenter: Segmenter,
        fallback: Fallback = "faithful",
        lower_case: bool = True,
    ) -> None:
        if fallback not in ("faithful", "constrained"):
            raise ValueError(f"fallback={fallback!r} is unknown; use 'faithful' or 'constrained'")
        self.vocabulary, self.unknown_id, self.segmenter = vocabulary, unknown_id, segmenter
        self.fallback, self.lower_case = fallback, lower_case
        self._remembered: dict[str, _Spelling] = {}
        self._shared_spans = [_spans_of_length(length) for length in range(max(map(len, vocabulary), default=1) + 1)]

    def __reduce__(self) -> tuple[Any, ...]:
        # What is remembered must not reach pickles: dataset fingerprints would change with use.
        return WordSplitter, (self.vocabulary, self.unknown_id, self.segmenter, self.fallback, self.lower_case)

    def ids(self, text: str) -> list[int]:
        """Token ids of a text without special tokens, shape ``(tokens,)``."""
        known = self.vocabulary.get
        ids: list[int] = []
        for word in self.segmenter.cut(normalize(text) if self.lower_case else text):
            identifier = known(word)
            if identifier is not None:
                ids.append(identifier)
            else:
                ids += self._spelling(word)[0]
        return ids

    def pieces(self, text: str) -> Pieces:
        """Token ids of a text with the span of each in ``text``, both ``(tokens,)``.

        Spans are monotone and never overlap: where normalisation made several tokens of one character (Hangul
        syllables), the character belongs to the first of them and the others get an empty span at its end.

        Raises:
            ValueError: the segmenter lost or added characters.
        """
        normalized, starts, ends = normalize_with_origins(text) if self.lower_case else (text, None, None)
        known = self.vocabulary.get
        # Making a tuple per token is what costs most here; those of the first characters are made once for all texts.
        shared = self._shared_spans if len(normalized) <= _SHARED_SPANS_REACH else None
        ids, spans, begin = list[int](), list[Span](), 0
        for word in self.segmenter.cut(normalized):
            stop = begin + len(word)
            identifier = known(word)
            if identifier is not None:
                ids.append(identifier)
                spans.append(shared[stop - begin][begin] if shared else (begin, stop))
            else:
                spelt, places = self._spelling(word)
                ids += spelt
                if places is None:
                    spans += shared[1][begin:stop] if shared else [(place, place + 1) for place in range(begin, stop)]
                else:
                    spans += [(begin + start, begin + end) for start, end in places]
            begin = stop
        if begin != len(normalized):
            raise ValueError(
                f"segmenter {self.segmenter.name!r} gave {begin} characters for a text of {len(normalized)};"
                " the words it returns must concatenate to the text"
            )
        if starts is not None and ends is not None:
            spans = _to_original(spans, starts, ends)
        return Pieces(ids, spans)

    def words(self, text: str) -> list[int]:
        """The number of the word that each token of a text belongs to, counting words that have tokens."""
        numbers: list[int] = []
        number = 0
        for word in self.segmenter.cut(normalize(text) if self.lower_case else text):
            tokens = 1 if word in self.vocabulary else len(self._spelling(word)[0])
            numbers += [number] * tokens
            number += tokens > 0
        return numbers

    def _spelling(self, word: str) -> _Spelling:
        spelling = self._remembered.get(word)
        if spelling is None:
            pieces = list(self._spell(word))
            places = None if len(pieces) == len(word) else tuple([(start, end) for _, start, end in pieces])
            spelling = tuple([identifier for identifier, _, _ in pieces]), places
            if len(self._remembered) < _REMEMBERED_WORDS and len(word) <= LONGEST_WORD:
                self._remembered[word] = spelling
        return spelling

    def _spell(self, word: str) -> Iterable[tuple[int, int, int]]:
        for positions, is_chinese in _basic_words(word):
            text = "".join([word[position] for position in positions])
            if is_chinese and self.fallback == "constrained":
                covering = cover(text, *_logarithmic_frequencies(), self.vocabulary)
            else:
                covering = [(0, len(text))] if not is_chinese else [(k, k + 1) for k in range(len(text))]
            for begin, stop in covering:
                for identifier, start, end in self._wordpiece(text[begin:stop]):
                    yield identifier, positions[begin + start], positions[begin + end - 1] + 1

    def _wordpiece(self, word: str) -> list[tuple[int, int, int]]:
        if len(word) > LONGEST_WORD:
            return [(self.unknown_id, 0, len(word))]
        pieces: list[tuple[int, int, int]] = []
        start = 0
        while start < len(word):
            prefix = "##" if start else ""
            for end in range(len(word), start, -1):
                identifier = self.vocabulary.get(prefix + word[start:end])
                if identifier is not None:
                    pieces.append((identifier, start, end))
                    start = end
                    break
            else:
                return [(self.unknown_id, 0, len(word))]
        return pieces


def cover(text: str, frequencies: Mapping[str, float], rarest: float, vocabulary: Mapping[str, int]) -> list[Span]:
    """The most probable way to write a text in vocabulary words: jieba's best path over this vocabulary alone.

    Args:
        text: an unknown word, normalised.
        frequencies: word to natural logarithm of its relative frequency.
        rarest: what counts for words that ``frequencies`` lacks.
        vocabulary: the words that may be used; single characters always may.

    Returns:
        Spans of the words, in order.

    Note:
        Quadratic in the length of ``text`` up to the longest dictionary word (16 characters), linear beyond.

    Example:
        >>> cover("随时随地", {"随时": -9.0, "随地": -11.0}, -20.0, {"随时": 0, "随地": 1, "时随": 2})
        [(0, 2), (2, 4)]
    """
    best = [0.0] * (len(text) + 1)
    ends = [0] * len(text)
    for start in range(len(text) - 1, -1, -1):
        options = []
        for end in range(start + 1, min(start + 16, len(text)) + 1):
            piece = text[start:end]
            if end == start + 1 or piece in vocabulary:
                options.append((frequencies.get(piece, rarest) + best[end], end))
        best[start], ends[start] = max(options)
    spans: list[Span] = []
    start = 0
    while start < len(text):
        spans.append((start, ends[start]))
        start = ends[start]
    return spans


@cache
def _spans_of_length(length: int) -> list[Span]:
    return [(begin, begin + length) for begin in range(_SHARED_SPANS_REACH)]


@lru_cache(maxsize=1)
def _logarithmic_frequencies() -> tuple[dict[str, float], float]:
    entries = [line.split(" ") for line in jieba_dictionary().read_text("utf-8").split("\n") if line]
    total = log(sum(int(entry[1]) for entry in entries))
    return {normalize(entry[0]): log(max(1, int(entry[1]))) - total for entry in entries}, -total


def _to_original(spans: list[Span], starts: list[int], ends: list[int]) -> list[Span]:
    original: list[Span] = []
    reached = 0
    for start, end in spans:
        begin = max(starts[start], reached)
        reached = max(ends[end - 1], begin)
        original.append((begin, reached))
    return original


def _basic_words(word: str) -> Iterable[tuple[list[int], bool]]:
    """Positions of the characters of each basic token, and whether it is a run of Chinese characters."""
    run: list[int] = []
    run_is_chinese = False
    for position, character in enumerate(word):
        kind = _kind(character)
        if kind == "dropped":
            continue
        if run and (kind != "letter" or run_is_chinese) and not (kind == "chinese" and run_is_chinese):
            yield run, run_is_chinese
            run = []
        if kind == "punctuation":
            yield [position], False
        elif kind != "space":
            run.append(position)
            run_is_chinese = kind == "chinese"
    if run:
        yield run, run_is_chinese


@lru_cache(maxsize=1 << 16)
def _kind(character: str) -> Literal["letter", "chinese", "punctuation", "space", "dropped"]:
    """What BERT's basic tokenizer makes of a character."""
    category = unicodedata.category(character)
    if is_punctuation(character):
        return "punctuation"
    if is_chinese(character):
        return "chinese"
    if character in " \n\r\t" or category in ("Zs", "Zl", "Zp"):
        return "space"
    if category in ("Cc", "Cf") or character in "\x00\ufffd":
        return "dropped"
    return "letter"


def is_punctuation(character: str) -> bool:
    """Whether BERT treats a character as punctuation: any ASCII symbol, and Unicode category P.

    Example:
        >>> [is_punctuation(character) for character in "+，a"]
        [True, True, False]
    """
    return character in "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~" or unicodedata.category(character).startswith("P")


def is_chinese(character: str) -> bool:
    """Whether a character is a CJK ideograph by BERT's ranges.

    Example:
        >>> [is_chinese(character) for character in "中あa"]
        [True, False, False]
    """
    code = ord(character)
    return (
        0x4E00 <= code <= 0x9FFF
        or 0x3400 <= code <= 0x4DBF
        or 0xF900 <= code <= 0xFAFF
        or 0x20000 <= code <= 0x2A6DF
        or 0x2A700 <= code <= 0x2CEAF
        or 0x2F800 <= code <= 0x2FA1F
    )
