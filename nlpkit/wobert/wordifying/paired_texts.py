"""The same texts in two tokenizations, and the stretches of text by which their tokens are compared."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nlpkit.wobert.tokenizing.tokenizer import WoBertTokenizer

Span = tuple[int, int]

#: Texts are sorted by length within pools of so many batches, whose order is then shuffled.
_POOL = 16


class Reading(NamedTuple):
    """A batch as both models read it; tensors are of shape ``(texts, length)``, each model's length its own."""

    old: dict[str, Tensor]
    new: dict[str, Tensor]
    old_stretches: Tensor
    new_stretches: Tensor
    number: int

    def to(self, device: torch.device) -> Reading:
        """The same batch there."""
        old, new = ({name: tensor.to(device) for name, tensor in inputs.items()} for inputs in (self.old, self.new))
        return Reading(old, new, self.old_stretches.to(device), self.new_stretches.to(device), self.number)


def shared_stretches(old: Sequence[Span], new: Sequence[Span]) -> tuple[list[int], list[int], int]:
    """Number the stretches of a text between the places where both tokenizations end a token.

    Args:
        old: the span of each token in the text; empty spans (special tokens) belong to no stretch.
        new: likewise, of the other tokenization.

    Returns:
        The stretch of each token of ``old``, of each token of ``new``, -1 for none, and how many stretches there are.

    Example:
        >>> shared_stretches([(0, 0), (0, 1), (1, 2), (2, 3)], [(0, 0), (0, 2), (2, 3)])
        ([-1, 0, 0, 1], [-1, 0, 1], 2)
    """
    ends = sorted({end for start, end in old if end > start} & {end for start, end in new if end > start})

    def stretch(span: Span) -> int:
        place = bisect_left(ends, span[1])
        return place if span[1] > span[0] and place < len(ends) else -1

    return [stretch(span) for span in old], [stretch(span) for span in new], len(ends)


def mean_states(states: Tensor, stretches: Tensor, count: int) -> Tensor:
    """Mean state of each stretch.

    Args:
        states: shape ``(texts, length, hidden)``.
        stretches: number of each token's stretch in the batch, -1 for none, shape ``(texts, length)``.
        count: how many stretches there are; each has a token.

    Returns:
        At least fp32, shape ``(count, hidden)``.
    """
    chosen = stretches >= 0
    numbers, states = stretches[chosen], states[chosen]  # (tokens,), (tokens, hidden)
    states = states.to(torch.promote_types(states.dtype, torch.float32))
    sums = states.new_zeros(count, states.shape[-1]).index_add(0, numbers, states)
    return sums / torch.bincount(numbers, minlength=count)[:, None]


class _Pair(NamedTuple):
    """One text in both tokenizations."""

    old: dict[str, list[int]]
    new: dict[str, list[int]]
    old_stretches: list[int]
    new_stretches: list[int]
    number: int


def read_pairs(
    texts: Iterable[str], tokenizer: WoBertTokenizer, teacher_tokenizer: Any, new_ids: Sequence[int], max_length: int
) -> Iterator[_Pair]:
    """Texts with a new word in both tokenizations, from the beginning again when they end.

    Args:
        texts: any texts; those without a new word are passed over.
        tokenizer: the word model's.
        teacher_tokenizer: the old model's, with offsets.
        new_ids: the new words.
        max_length: tokens of the old model per text; what is longer is cut off.

    Yields:
        Texts, without end.

    Raises:
        TypeError: what is no text.
        ValueError: no texts, none with a new word, a lone surrogate in one, or an iterator that has ended.
    """
    wanted = frozenset(new_ids)
    used = 0
    while True:
        read, before = 0, used
        for text in texts:
            if not isinstance(text, str):
                raise TypeError(f"distil must hold texts, but text {read} is a {type(text).__name__}")
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise ValueError(f"text {read} of distil is no Unicode text: {error.reason}") from error
            read += 1
            pair = _pair(text, tokenizer, teacher_tokenizer, max_length)
            if not wanted.isdisjoint(pair.new["input_ids"]):
                used += 1
                yield pair
        if used == before:
            if not read and not used:
                raise ValueError("distil holds no texts; give texts in which new words occur")
            raise ValueError(
                f"none of the {read:,} texts of distil holds a new word: give texts in which new words occur"
                if not used
                else f"distil is an iterator that ended after {used:,} texts with a new word, before the last step; "
                "give a list or another iterable that can be read again, or fewer steps"
            )


def _pair(text: str, tokenizer: WoBertTokenizer, teacher_tokenizer: Any, max_length: int) -> _Pair:
    options = {"truncation": True, "max_length": max_length, "return_offsets_mapping": True}
    old = dict(teacher_tokenizer(text, **options))
    reached = max((end for _, end in old["offset_mapping"]), default=0)
    new = dict(tokenizer(text[:reached], **options))
    old_stretches, new_stretches, count = shared_stretches(old.pop("offset_mapping"), new.pop("offset_mapping"))
    return _Pair(old, new, old_stretches, new_stretches, count)


def read_batches(
    pairs: Iterator[_Pair], batch_size: int, tokenizer: WoBertTokenizer, teacher_tokenizer: Any, order: random.Random
) -> Iterator[Reading]:
    """Batches of texts of about the same length, in random order.

    Args:
        pairs: the texts; so many batches as stand in a pool are held in memory.
        batch_size: texts per batch.
        tokenizer: the word model's.
        teacher_tokenizer: the old model's.
        order: shuffles the batches of a pool.

    Yields:
        The batches.
    """
    while pool := list(islice(pairs, _POOL * batch_size)):
        pool.sort(key=lambda pair: len(pair.old["input_ids"]))
        batches = [pool[start : start + batch_size] for start in range(0, len(pool), batch_size)]
        order.shuffle(batches)
        for batch in batches:
            yield _reading(batch, tokenizer, teacher_tokenizer)


def _reading(batch: Sequence[_Pair], tokenizer: WoBertTokenizer, teacher_tokenizer: Any) -> Reading:
    old = teacher_tokenizer.pad([pair.old for pair in batch], padding_side="right", return_tensors="pt")
    new = tokenizer.pad([pair.new for pair in batch], padding_side="right", return_tensors="pt")
    old_stretches, new_stretches = torch.full_like(old["input_ids"], -1), torch.full_like(new["input_ids"], -1)
    first = 0
    for row, pair in enumerate(batch):
        for into, numbers in ((old_stretches, pair.old_stretches), (new_stretches, pair.new_stretches)):
            row_numbers = torch.tensor(numbers)
            into[row, : len(numbers)] = torch.where(row_numbers >= 0, row_numbers + first, -1)
        first += pair.number
    return Reading(dict(old), dict(new), old_stretches, new_stretches, first)
