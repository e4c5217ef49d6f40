"""Rows of a tokenized batch: what ``tokenizers.Encoding`` answers, worked out when asked."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, Protocol

from nlpkit.wobert.words.word_splitter import Pieces, Span

Side = Literal["left", "right"]


class Reader(Protocol):
    """What turns a source (a text, or a list of words) into tokens."""

    def ids(self, source: Any) -> list[int]:
        """Token ids."""
        ...

    def pieces(self, source: Any) -> Pieces:
        """Ids and spans."""
        ...

    def words(self, source: Any) -> list[int]:
        """Word number of each token."""
        ...


class TokenSequence:
    """Tokens of one source; spans and word numbers are worked out when first asked for.

    Args:
        ids: token ids, shape ``(tokens,)``.
        source: the text, or the list of words.
        reader: gives the spans and word numbers of ``source``.
        spans: the spans, where they are known already.
    """

    __slots__ = ("_spans", "_words", "ids", "reader", "source")

    def __init__(self, ids: list[int], source: Any, reader: Reader, spans: list[Span] | None = None) -> None:
        self.ids, self.source, self.reader = ids, source, reader
        self._spans = spans
        self._words: list[int] | None = None

    @property
    def spans(self) -> list[Span]:
        """``(start, end)`` of each token in the source."""
        if self._spans is None:
            self._spans = self.reader.pieces(self.source).spans
        return self._spans

    @property
    def words(self) -> list[int]:
        """Word number of each token."""
        if self._words is None:
            self._words = self.reader.words(self.source)
        return self._words

    def __getstate__(self) -> tuple[list[int], list[Span], list[int]]:
        # A row sent to another process takes its answers along, not the tokenizer.
        return self.ids, self.spans, self.words

    def __setstate__(self, state: tuple[list[int], list[Span], list[int]]) -> None:
        self.ids, self._spans, self._words = state


def read(reader: Reader, source: Any, with_spans: bool) -> TokenSequence:
    """Tokens of a source; spans are worked out at once where they will be asked for anyway."""
    if not with_spans:
        return TokenSequence(reader.ids(source), source, reader)
    ids, spans = reader.pieces(source)
    return TokenSequence(ids, source, reader, spans)


@contextmanager
def collection_paused() -> Iterator[None]:
    """Hold the cyclic garbage collector while a batch is built, then hand it the batch as old objects.

    A batch is hundreds of thousands of small tuples and no cycles. Left alone, the collector walks through all of them
    again and again while they are made, and once more afterwards as new objects: half of a call's time. In a program
    that has frozen objects of its own, batches stay new ones: they would be released with the batch.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            if not _program_freezes():
                gc.freeze()
                gc.unfreeze()
            gc.enable()


_freezing_seen = False


def _program_freezes() -> bool:
    """Whether the program had frozen objects at this call or an earlier one; to count them is to walk through them."""
    global _freezing_seen
    _freezing_seen = _freezing_seen or gc.get_freeze_count() > 0
    return _freezing_seen


class Run(NamedTuple):
    """Neighbouring tokens of a row: a slice of a sequence, or one special token, or padding."""

    ids: list[int]
    type_id: int
    attended: int = 1
    sequence: TokenSequence | None = None
    number: int | None = None
    begin: int = 0


class Encoding:
    """One row, with the attributes and look-ups of ``tokenizers.Encoding``.

    Args:
        runs: the row's tokens in order.
        name_tokens: ids to token strings.
        overflowing: further rows of the same text, where truncation made them.
    """

    __slots__ = ("name_tokens", "overflowing", "runs")

    def __init__(
        self, runs: list[Run], name_tokens: Callable[[list[int]], list[str]], overflowing: Sequence[Encoding] = ()
    ) -> None:
        self.runs, self.name_tokens, self.overflowing = runs, name_tokens, list(overflowing)

    def __reduce__(self) -> tuple[Any, ...]:
        names = dict(zip(self.ids, self.tokens, strict=True))
        return Encoding, (self.runs, _Names(names), self.overflowing)

    def __len__(self) -> int:
        return sum([len(run.ids) for run in self.runs])

    def __repr__(self) -> str:
        return f"Encoding(num_tokens={len(self)}, attributes=[ids, type_ids, tokens, offsets, word_ids, ...])"

    @property
    def ids(self) -> list[int]:
        """Token ids, shape ``(length,)`` as all that follow."""
        ids: list[int] = []
        for run in self.runs:
            ids += run.ids
        return ids

    @property
    def tokens(self) -> list[str]:
        """Token strings."""
        return self.name_tokens(self.ids)

    @property
    def type_ids(self) -> list[int]:
        """Segment of each token."""
        return self._spread([run.type_id for run in self.runs])

    @property
    def attention_mask(self) -> list[int]:
        """1 for tokens, 0 for padding."""
        return self._spread([run.attended for run in self.runs])

    @property
    def special_tokens_mask(self) -> list[int]:
        """1 for tokens that the tokenizer put in, 0 for those of the text."""
        return self._spread([int(run.sequence is None) for run in self.runs])

    @property
    def sequence_ids(self) -> list[int | None]:
        """0 for tokens of the first text, 1 for those of the second."""
        return self._spread([run.number for run in self.runs])

    @property
    def offsets(self) -> list[Span]:
        """``(start, end)`` of each token in its text; ``(0, 0)`` for tokens that stand in no text."""
        offsets: list[Span] = []
        for run in self.runs:
            end = run.begin + len(run.ids)
            offsets += run.sequence.spans[run.begin : end] if run.sequence else [(0, 0)] * len(run.ids)
        return offsets

    @property
    def word_ids(self) -> list[int | None]:
        """Number of each token's word within its sequence."""
        words: list[int | None] = []
        for run in self.runs:
            end = run.begin + len(run.ids)
            words += run.sequence.words[run.begin : end] if run.sequence else [None] * len(run.ids)
        return words

    words = word_ids

    @property
    def n_sequences(self) -> int:
        """How many texts stand in the row."""
        return len({run.number for run in self.runs if run.number is not None}) or 1

    def _spread(self, values: Sequence[Any]) -> list[Any]:
        """One value a token from one value a run."""
        if not values:
            return []
        if values.count(values[0]) == len(values):
            return [values[0]] * len(self)
        spread: list[Any] = []
        for run, value in zip(self.runs, values, strict=True):
            spread += [value] * len(run.ids)
        return spread

    def token_to_sequence(self, token: int) -> int | None:
        """Which text a token is of."""
        return self.sequence_ids[token]

    def token_to_chars(self, token: int) -> Span | None:
        """Span of a token in its text."""
        return None if self.sequence_ids[token] is None else self.offsets[token]

    def token_to_word(self, token: int) -> int | None:
        """Word of a token."""
        return self.word_ids[token]

    def word_to_tokens(self, word: int, sequence: int = 0) -> Span | None:
        """First token of a word and one past its last."""
        owners = list(zip(self.word_ids, self.sequence_ids, strict=True))
        places = [token for token, owner in enumerate(owners) if owner == (word, sequence)]
        return (places[0], places[-1] + 1) if places else None

    def word_to_chars(self, word: int, sequence: int = 0) -> Span | None:
        """Span of a word in its text."""
        tokens = self.word_to_tokens(word, sequence)
        return (self.offsets[tokens[0]][0], self.offsets[tokens[1] - 1][1]) if tokens else None

    def char_to_token(self, position: int, sequence: int = 0) -> int | None:
        """The token that covers a character."""
        for token, ((start, end), number) in enumerate(zip(self.offsets, self.sequence_ids, strict=True)):
            if number == sequence and start <= position < end:
                return token
        return None

    def char_to_word(self, position: int, sequence: int = 0) -> int | None:
        """The word that covers a character."""
        token = self.char_to_token(position, sequence)
        return None if token is None else self.word_ids[token]

    def padded(self, length: int, pad: Run, side: Side) -> Encoding:
        """The row, and its overflowing ones, filled up to ``length`` with the token of ``pad``."""
        missing = length - len(self)
        overflowing = [row.padded(length, pad, side) for row in self.overflowing]
        if missing <= 0:
            return Encoding(self.runs, self.name_tokens, overflowing)
        padding = pad._replace(ids=pad.ids * missing)
        runs = [padding, *self.runs] if side == "left" else [*self.runs, padding]
        return Encoding(runs, self.name_tokens, overflowing)


class _Names:
    """Token strings of the ids of one row, for a row that has left its tokenizer."""

    def __init__(self, names: dict[int, str]) -> None:
        self.names = names

    def __call__(self, ids: list[int]) -> list[str]:
        return [self.names[identifier] for identifier in ids]
