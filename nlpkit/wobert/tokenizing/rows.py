"""From tokens to the rows of a batch, and from rows to its columns."""

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
