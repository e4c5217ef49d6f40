"""From what a tokenizer is called with to rows, and from rows to the columns of a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from nlpkit.wobert.tokenizing.encoding import Encoding, Run, Side, TokenSequence
from nlpkit.wobert.tokenizing.truncation import Truncation, rows
from nlpkit.wobert.words.word_splitter import Span

#: How each column of a batch is read off a row, by the argument of the tokenizer's call that asks for it.
COLUMNS: dict[str, tuple[str, Callable[[Encoding], Any]]] = {
    "return_token_type_ids": ("token_type_ids", attrgetter("type_ids")),
    "return_attention_mask": ("attention_mask", attrgetter("attention_mask")),
    "return_special_tokens_mask": ("special_tokens_mask", attrgetter("special_tokens_mask")),
    "return_offsets_mapping": ("offset_mapping", attrgetter("offsets")),
    "return_length": ("length", len),
}


class Layout(NamedTuple):
    """How the tokens of one or two texts make a row: ``[CLS] A [SEP] B [SEP]``, truncated or not.

    ``start`` holds the special token before all texts, ``ends`` the one after each; empty where none are wanted.
    """

    start: Sequence[Run]
    ends: Sequence[Run]
    truncation: Truncation | None
    name_tokens: Callable[[list[int]], list[str]]

    def row(self, sequences: Sequence[TokenSequence]) -> Encoding:
        """The row of these sequences, with the rows that overflow where it was truncated.

        Raises:
            ValueError: ``max_length`` cannot be met.
        """
        if self.truncation is None:
            return Encoding(self._runs(sequences, [(0, len(part.ids)) for part in sequences]), self.name_tokens)
        room = self.truncation.max_length - len(self.start) - len(self.ends[: len(sequences)])
        if room < 0:
            raise ValueError(f"max_length={self.truncation.max_length} leaves no room for the special tokens")
        slices = rows([len(part.ids) for part in sequences], self.truncation._replace(max_length=room))
        first, *others = [Encoding(self._runs(sequences, spans), self.name_tokens) for spans in slices]
        first.overflowing = others
        return first

    def _runs(self, sequences: Sequence[TokenSequence], slices: Sequence[Span]) -> list[Run]:
        runs = [*self.start]
        for number, (sequence, (begin, stop)) in enumerate(zip(sequences, slices, strict=True)):
            runs.append(Run(sequence.ids[begin:stop], number, 1, sequence, number, begin))
            runs += self.ends[number : number + 1]
        return runs


def pad_rows(
    encodings: list[Encoding], length: int | None, multiple: int | None, pad: Run, side: Side
) -> list[Encoding]:
    """Fill rows up to ``length``, or to the longest of them, rounded up to a multiple."""
    length = max(map(len, encodings), default=0) if length is None else length
    if multiple:
        length = -(-length // multiple) * multiple
    return [encoding.padded(length, pad, side) for encoding in encodings]


def read_sources(text: Any, text_pair: Any, is_split_into_words: bool) -> tuple[list[tuple[Any, ...]], bool]:
    """The one or two sources of each row, and whether a batch was given.

    Args:
        text: a text, a batch of texts, or a batch of pairs; lists of words in place of texts where
            ``is_split_into_words``.
        text_pair: the second texts, or ``None``.
        is_split_into_words: whether a source is a list of words.

    Raises:
        TypeError: a source is no text (or no list of words); the message names the row and the fix.
        ValueError: the numbers of first and second texts differ.
    """
    is_batched = isinstance(text, (list, tuple))
    if is_split_into_words and is_batched:
        is_batched = bool(text) and isinstance(text[0], (list, tuple))
    firsts = text if is_batched else [text]
    if text_pair is None:
        sources = [item if isinstance(item, tuple) and len(item) == 2 else (item,) for item in firsts]
    else:
        seconds = text_pair if is_batched else [text_pair]
        if isinstance(seconds, str) or len(seconds) != len(firsts):
            raise ValueError(f"text has {len(firsts)} rows but text_pair has {len(seconds)}; give one pair a row")
        sources = list(zip(firsts, seconds, strict=True))
    for row, parts in enumerate(sources):
        for part in parts:
            if not (_is_word_list(part) if is_split_into_words else isinstance(part, str)):
                raise _not_a_source(part, row, is_split_into_words)
    return sources, is_batched


def _is_word_list(source: Any) -> bool:
    return isinstance(source, (list, tuple)) and all(isinstance(word, str) for word in source)


def _not_a_source(source: Any, row: int, is_split_into_words: bool) -> TypeError:
    expected = "a list of str (is_split_into_words=True)" if is_split_into_words else "a str"
    hint = {
        bytes: "; decode it first: text.decode('utf-8')",
        type(None): "; replace missing texts with '' or drop them",
        list: "" if is_split_into_words else "; for lists of words pass is_split_into_words=True",
    }.get(type(source), "")
    return TypeError(f"text of row {row} must be {expected}, got {type(source).__name__}{hint}")
