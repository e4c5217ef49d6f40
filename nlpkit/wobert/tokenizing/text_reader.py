"""Texts and pre-split words to tokens, with added tokens (``[MASK]`` and friends) recognised inside them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from nlpkit.wobert.words.normalization import Normalized, normalize_with_origins
from nlpkit.wobert.words.word_splitter import Pieces, Span, WordSplitter, is_chinese

_WORD = re.compile(r"\w")


class AddedTokenRule(NamedTuple):
    """How one added token is found in a text; the fields are those of ``tokenizers.AddedToken``."""

    content: str
    token_id: int
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False
    normalized: bool = False


class TextReader:
    """Tokens of texts in which added tokens may stand.

    Args:
        splitter: tokens of the text between added tokens.
        rules: the added tokens to look for.
    """

    def __init__(self, splitter: WordSplitter, rules: Sequence[AddedTokenRule]) -> None:
        self._splitter, self._rules = splitter, tuple(rules)
        verbatim = {rule.content: rule for rule in rules if not rule.normalized}
        normalized = {self._normalize(rule.content).text: rule for rule in rules if rule.normalized}
        self._ids = {content: rule.token_id for content, rule in {**normalized, **verbatim}.items()}
        self._verbatim, self._normalized = _pattern(verbatim), _pattern(normalized)
        self._single = {
            content for rules in (verbatim, normalized) for content, rule in rules.items() if rule.single_word
        }
        # A text without a character that all of them hold, "[" as a rule, need not be searched for any.
        self._sign = min(set.intersection(*map(set, verbatim)), default="") if verbatim else ""

    def __reduce__(self) -> tuple[Any, ...]:
        return TextReader, (self._splitter, self._rules)

    def _normalize(self, text: str) -> Normalized:
        return normalize_with_origins(text) if self._splitter.lower_case else Normalized(text, None, None)

    def ids(self, text: str) -> list[int]:
        """Token ids of a text, shape ``(tokens,)``."""
        if not self._has_added_tokens(text):
            return self._splitter.ids(text)
        return [identifier for chunk in self._chunks(text) for identifier in self._chunk_pieces(text, chunk).ids]

    def pieces(self, text: str) -> Pieces:
        """Token ids and spans of a text, both ``(tokens,)``."""
        if not self._has_added_tokens(text):
            return self._splitter.pieces(text)
        ids: list[int] = []
        spans: list[Span] = []
        for chunk in self._chunks(text):
            pieces = self._chunk_pieces(text, chunk)
            ids += pieces.ids
            spans += [(chunk[0] + start, chunk[0] + end) for start, end in pieces.spans]
        return Pieces(ids, spans)

    def words(self, text: str) -> list[int]:
        """The number of each token's word, shape ``(tokens,)``; an added token is a word of its own."""
        numbers: list[int] = []
        for start, end, token_id in self._chunks(text):
            local = self._splitter.words(text[start:end]) if token_id is None else [0]
            first = numbers[-1] + 1 if numbers else 0
            numbers += [first + number for number in local]
        return numbers

    def _has_added_tokens(self, text: str) -> bool:
        if self._normalized is not None:
            return True
        return self._verbatim is not None and self._sign in text and self._verbatim.search(text) is not None

    def _chunk_pieces(self, text: str, chunk: tuple[int, int, int | None]) -> Pieces:
        start, end, token_id = chunk
        if token_id is not None:
            return Pieces([token_id], [(0, end - start)])
        return self._splitter.pieces(text[start:end])

    def _chunks(self, text: str) -> list[tuple[int, int, int | None]]:
        """Stretches of the text in order, ``(start, end, id of the added token or None)``."""
        chunks: list[tuple[int, int, int | None]] = []
        for start, end, token_id in self._cut(text, self._verbatim):
            if token_id is not None or self._normalized is None:
                chunks.append((start, end, token_id))
                continue
            normalized = self._normalize(text[start:end])
            for begin, stop, added in self._cut(normalized.text, self._normalized):
                if normalized.starts is not None and normalized.ends is not None:
                    begin, stop = normalized.starts[begin], normalized.ends[stop - 1]
                chunks.append((start + begin, start + stop, added))
        return chunks

    def _cut(self, text: str, pattern: re.Pattern[str] | None) -> list[tuple[int, int, int | None]]:
        chunks: list[tuple[int, int, int | None]] = []
        reached = 0
        for match in pattern.finditer(text) if pattern is not None else ():
            content = match[0].strip()
            if content in self._single and not self._stands_alone(text, *match.span(match.lastindex or 0)):
                continue
            if match.start() > reached:
                chunks.append((reached, match.start(), None))
            chunks.append((match.start(), match.end(), self._ids[content]))
            reached = match.end()
        if reached < len(text):
            chunks.append((reached, len(text), None))
        return chunks

    def _stands_alone(self, text: str, start: int, end: int) -> bool:
        """Whether a token ends at borders of words on both sides; between Chinese characters the segmenter says."""
        return self._is_border(text, start) and self._is_border(text, end)

    def _is_border(self, text: str, place: int) -> bool:
        if place in (0, len(text)):
            return True
        before, after = text[place - 1], text[place]
        if not (_WORD.match(before) and _WORD.match(after)):
            return True
        if not (is_chinese(before) and is_chinese(after)):
            return is_chinese(before) or is_chinese(after)
        begin, stop = place, place
        while begin and is_chinese(text[begin - 1]):
            begin -= 1
        while stop < len(text) and is_chinese(text[stop]):
            stop += 1
        ends = accumulate(map(len, self._splitter.segmenter.cut(text[begin:stop])))
        return place - begin in ends


class PresplitReader:
    """Tokens of lists of words: spans are relative to each word, and a token's word is its place in the list.

    Args:
        reader: tokens of each word.
    """

    def __init__(self, reader: TextReader) -> None:
        self._reader = reader

    def ids(self, words: Sequence[str]) -> list[int]:
        """Token ids of all words, shape ``(tokens,)``."""
        return [identifier for word in words for identifier in self._reader.ids(word)]

    def pieces(self, words: Sequence[str]) -> Pieces:
        """Token ids and spans of all words, both ``(tokens,)``."""
        parts = [self._reader.pieces(word) for word in words]
        return Pieces([i for part in parts for i in part.ids], [span for part in parts for span in part.spans])

    def words(self, words: Sequence[str]) -> list[int]:
        """The place in the list of each token's word, shape ``(tokens,)``."""
        return [number for number, word in enumerate(words) for _ in self._reader.ids(word)]


def _pattern(rules: Mapping[str, AddedTokenRule]) -> re.Pattern[str] | None:
    """Finds any of the contents, the longest where several begin at one place."""
    if not rules:
        return None
    alternatives = []
    for content in sorted(rules, key=len, reverse=True):
        rule = rules[content]
        alternatives.append(
            (r"\s*" if rule.lstrip else "") + f"({re.escape(content)})" + (r"\s*" if rule.rstrip else "")
        )
    return re.compile("|".join(alternatives))
