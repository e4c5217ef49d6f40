"""Sentences as units to mask: which tokens each word, character or piece is made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from nlpkit.perturbed_masking.treebanks.sentences import Sentence
from nlpkit.perturbed_masking.words.script import Span, kind_of, split_characters, stands_apart
from nlpkit.wobert.tokenizing.sources import not_unicode

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: What is measured: a text, a list of words, or a sentence of a treebank, which stands for its words.
TextOrWords = str | Sequence[str] | Sentence
Granularity = Literal["characters", "tokens"]
Overlong = Literal["refuse", "split"]

#: How tokenizers of the SentencePiece and of the byte-level kind write a space.
_SPACE_MARKS = "▁Ġ"
_REMEMBERED_WORDS = 100_000
#: A "[MASK]" that somebody wrote is text.
_AS_TEXT = {"add_special_tokens": False, "split_special_tokens": True, "verbose": False}


@dataclass(frozen=True)
class Units:
    """A sentence cut into the units that are masked, each as a whole.

    Args:
        sentence: what was cut, as it was given.
        words: the units' texts.
        token_ids: tokens of the sentence, special tokens included.
        owners: the unit of each token, -1 for special tokens; every unit has a token.
        spans: the units' ranges in the text; ``None`` where the sentence was given in words.
        parts: of a sentence that is longer than the model takes: the parts that are measured apart.
    """

    sentence: TextOrWords
    words: tuple[str, ...]
    token_ids: tuple[int, ...]
    owners: tuple[int, ...]
    spans: tuple[Span, ...] | None = None
    parts: tuple[Units, ...] = ()

    def __len__(self) -> int:
        return len(self.words)


class UnitTokenizer:
    """Turns sentences into ``Units`` with any tokenizer of transformers that has a mask token.

    A list of words has one unit per word. Its words are tokenized one by one, so no token ever straddles two of them,
    and stand apart by a space except beside Chinese characters. A text is cut into the units that ``granularity``
    names: ``"characters"`` (``split_characters``), which are then treated as words are, or ``"tokens"``, as the
    tokenizer cuts the running text.

    Args:
        tokenizer: with a mask token; ``"tokens"`` needs a fast one, for its offsets.
        granularity: units of a text.
        max_length: tokens a sentence may have, special ones included.
        overlong: ``"refuse"`` longer sentences, or ``"split"`` them where a part is full, or after its last mark if
            that is in its second half.

    Raises:
        ValueError: the tokenizer has no mask token, or ``granularity`` or ``overlong`` is unknown.

    Note:
        What the tokenizer drops (control characters) or does not know becomes its unknown token, which is masked like
        any other.

    Example:
        >>> from nlpkit import WoBertTokenizer
        >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "天气", "很", "好"]
        >>> tokenizer = WoBertTokenizer(vocab={word: number for number, word in enumerate(words)})
        >>> units = UnitTokenizer(tokenizer, "tokens", max_length=16)("天气很好")
        >>> units.words, units.token_ids, units.owners
        (('天气', '很', '好'), (2, 5, 6, 7, 3), (-1, 0, 1, 2, -1))
        >>> UnitTokenizer(tokenizer, "tokens", max_length=16)(["天气很", "好"]).owners
        (-1, 0, 0, 1, -1)
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        granularity: Granularity,
        max_length: int,
        overlong: Overlong = "refuse",
    ) -> None:
        if tokenizer.mask_token_id is None:
            raise ValueError(
                f"{type(tokenizer).__name__} has no mask token, so nothing can be masked; "
                "use the tokenizer of a masked language model (BERT, RoBERTa, XLM-R, ELECTRA, ...)"
            )
        if granularity not in ("characters", "tokens"):
            raise ValueError(f"units={granularity!r} is unknown; use 'characters' or 'tokens'")
        if overlong not in ("refuse", "split"):
            raise ValueError(f"overlong={overlong!r} is unknown; use 'refuse' or 'split'")
        if granularity == "tokens" and not tokenizer.is_fast:
            raise ValueError(
                f"{type(tokenizer).__name__} gives no offsets, which units='tokens' needs; use 'characters'"
            )
        self.tokenizer, self.granularity, self.max_length, self.overlong = tokenizer, granularity, max_length, overlong
        self._prefix, self._suffix = _special_tokens(tokenizer)
        self._remembered: dict[tuple[str, bool], tuple[int, ...]] = {}

    def __call__(self, sentence: TextOrWords) -> Units:
        """Units of one sentence, and its parts if it is longer than the model takes.

        Raises:
            TypeError: neither a text nor a list of words.
            ValueError: a word is empty or holds half of a surrogate pair; or the sentence is too long, and
                ``overlong`` is ``"refuse"``; or one unit alone is too long.
        """
        try:
            units = self._units(sentence)
        except ValueError as error:
            broken = error.__cause__
            if not isinstance(broken, UnicodeEncodeError):
                raise
            words = sentence.forms if isinstance(sentence, Sentence) else sentence
            raise not_unicode([("".join(words),)], broken, are_the_users=False) from broken  # the tokenizer saw units
        if len(units.token_ids) <= self.max_length:
            return units
        begins = "".join(units.words)[:20]
        if self.overlong == "refuse":
            raise ValueError(
                f"the sentence {begins!r}... has {len(units.token_ids)} tokens, the model takes {self.max_length}; "
                "shorten it, or give overlong='split' to handle it in parts"
            )
        return replace(units, parts=tuple(self._split(units, begins)))

    def _units(self, sentence: TextOrWords) -> Units:
        if isinstance(sentence, str):
            if self.granularity == "tokens":
                return self._from_offsets(sentence)
            spans = split_characters(sentence)
            characters = [sentence[start:end] for start, end in spans]
            return self._from_words(sentence, characters, _spaces(sentence, spans), tuple(spans))
        words = sentence.forms if isinstance(sentence, Sentence) else sentence
        if not isinstance(words, Sequence) or any(not isinstance(word, str) for word in words):
            raise TypeError(f"a sentence is a text or a list of words, not {sentence!r}")
        if any(not word for word in words):
            raise ValueError(f"word {list(words).index('') + 1} of {list(words)!r} is empty; leave it out")
        apart = [False, *(stands_apart(left, right) for left, right in pairwise(words))][: len(words)]
        return self._from_words(sentence, words, apart, None)

    def _split(self, units: Units, begins: str) -> Iterator[Units]:
        room = self.max_length - len(self._prefix) - len(self._suffix)
        sizes = [0] * len(units)
        for owner in units.owners:
            if owner >= 0:
                sizes[owner] += 1
        if max(sizes) > room:
            word = units.words[sizes.index(max(sizes))]
            raise ValueError(f"the unit {word[:20]!r}... of {begins!r}... has {max(sizes)} tokens alone, over {room}")
        start = 0
        while start < len(units):
            end, taken = start, 0
            while end < len(units) and taken + sizes[end] <= room:
                taken += sizes[end]
                end += 1
            if end < len(units):
                marks = [place for place in range((start + end) // 2, end) if _is_mark(units.words[place])]
                end = marks[-1] + 1 if marks else end
            yield self._slice(units, start, end)
            start = end

    def _slice(self, units: Units, start: int, end: int) -> Units:
        tokens = [
            (identifier, owner - start)
            for identifier, owner in zip(units.token_ids, units.owners, strict=True)
            if start <= owner < end
        ]
        spans = None if units.spans is None else units.spans[start:end]
        return self._assemble(units.sentence, units.words[start:end], tokens, spans)

    def _from_words(
        self, sentence: TextOrWords, words: Sequence[str], apart: list[bool], spans: tuple[Span, ...] | None
    ) -> Units:
        tokens = [
            (identifier, number)
            for number, (word, after_space) in enumerate(zip(words, apart, strict=True))
            for identifier in self.pieces(word, after_space)
        ]
        return self._assemble(sentence, tuple(words), tokens, spans)

    def pieces(self, word: str, after_space: bool) -> tuple[int, ...]:
        """The tokens of one word; never none.

        Args:
            word: not empty.
            after_space: whether a space stands before it.
        """
        pieces = self._remembered.get((word, after_space))
        if pieces is None:
            pieces = self._tokenize(word, after_space)
            if len(self._remembered) < _REMEMBERED_WORDS:
                self._remembered[word, after_space] = pieces
        return pieces

    def _tokenize(self, word: str, after_space: bool) -> tuple[int, ...]:
        text = f" {word}" if after_space else word
        ids: list[int] = self.tokenizer(text, **_AS_TEXT)["input_ids"]
        # SentencePiece begins every text with a space; in the middle of a line of Chinese there is none.
        if (
            not after_space
            and len(ids) > 1
            and not str(self.tokenizer.convert_ids_to_tokens(ids[0])).strip(_SPACE_MARKS)
        ):
            ids = ids[1:]
        if not ids and self.tokenizer.unk_token_id is None:
            raise ValueError(f"{type(self.tokenizer).__name__} makes no token of the word {word!r}; leave it out")
        return tuple(ids) or (self.tokenizer.unk_token_id,)

    def _from_offsets(self, text: str) -> Units:
        encoded = self.tokenizer(text, return_offsets_mapping=True, **_AS_TEXT)
        spans: list[Span] = []
        tokens: list[tuple[int, int]] = []
        pending: list[int] = []  # marks of a space before a word belong to the word
        for identifier, (start, end) in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True):
            while start < end and text[start].isspace():
                start += 1
            if spans and start < spans[-1][1]:  # several tokens of one character
                spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
            elif start < end:
                spans.append((start, end))
            else:
                pending.append(identifier)
                continue
            tokens += [(waiting, len(spans) - 1) for waiting in pending]
            tokens.append((identifier, len(spans) - 1))
            pending.clear()
        tokens += [(waiting, len(spans) - 1) for waiting in pending if spans]
        return self._assemble(text, tuple(text[start:end] for start, end in spans), tokens, tuple(spans))

    def _assemble(
        self,
        sentence: TextOrWords,
        words: tuple[str, ...],
        tokens: list[tuple[int, int]],
        spans: tuple[Span, ...] | None,
    ) -> Units:
        ids = (*self._prefix, *(identifier for identifier, _ in tokens), *self._suffix)
        owners = (*[-1] * len(self._prefix), *(owner for _, owner in tokens), *[-1] * len(self._suffix))
        return Units(sentence, words, ids, owners, spans)


def _special_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """What the tokenizer puts before and after a text."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    ids: list[int] = tokenizer("a")["input_ids"]
    start = next(place for place in range(len(ids)) if ids[place : place + len(bare)] == bare)
    return ids[:start], ids[start + len(bare) :]


def _spaces(text: str, spans: Sequence[Span]) -> list[bool]:
    """Whether white space stands before each range."""
    return [number > 0 and spans[number - 1][1] < start for number, (start, _) in enumerate(spans)]


def _is_mark(word: str) -> bool:
    return kind_of(word[-1]) == "punctuation"
