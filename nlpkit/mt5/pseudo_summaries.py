"""Pseudo-summaries: the sentences of a document that say most of what its other sentences say, to pre-train on."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from typing import NamedTuple

#: Behind what ends a sentence, with the quotes and brackets that close after it.
_END = re.compile(
    r"(?<=[。！？；!?…\n])(?![。！？；!?…\n”’」』）)\"'])|(?<=[。！？；!?…][”’」』）)\"'])|(?<=[.!?])(?=\s+\S)"
)


class PseudoSummary(NamedTuple):
    """A document taken apart."""

    source: str  #: the sentences that were left, in their order
    summary: str  #: the sentences that were chosen, in their order


def split_sentences(text: str) -> list[str]:
    """Cut a text behind what ends its sentences; joined, the sentences are the text again.

    Example:
        >>> split_sentences("天气很好。“去公园吗？”我们去了! It rained. So be it.")
        ['天气很好。', '“去公园吗？”', '我们去了!', ' It rained.', ' So be it.']
    """
    return [sentence for sentence in _END.split(text) if sentence]


def common_subsequence(one: Sequence[Hashable], other: Sequence[Hashable]) -> int:
    """Length of the longest common subsequence.

    Source: Hyyrö, Bit-parallel LCS-length computation revisited (2004): a row of the table is one number, whose bit is
    0 where the length grows.

    Args:
        one: characters, or tokens.
        other: likewise.

    Example:
        >>> common_subsequence("今天天气很好", "今天的天气好")
        5
    """
    places = _places(other)
    return _length(one, places, (1 << len(other)) - 1, len(other))


def pseudo_summary(text: str, share: float = 0.25) -> PseudoSummary | None:
    """Choose sentences of a document as its summary: those with the longest common subsequence with the others.

    Source: T5-PEGASUS (kexue.fm/archives/8209), the greedy choice: one sentence after the other, each time the one
    with which the chosen sentences, in their order, have most in common with those that are left.

    Args:
        text: a document.
        share: of its characters that the summary has at least, in (0, 1); one sentence is always left.

    Returns:
        The two parts; ``None`` for a text of one sentence, which cannot be taken apart.

    Raises:
        TypeError: ``text`` is no text.
        ValueError: ``share`` outside (0, 1).

    Note:
        The time grows with the square of the sentences, times the characters of the summary: cut long documents first.

    Example:
        >>> pseudo_summary("今天天气很好。我们去公园散步。今天天气好，我们散步去了公园。晚上下雨。")
        PseudoSummary(source='今天天气很好。我们去公园散步。晚上下雨。', summary='今天天气好，我们散步去了公园。')
    """
    if not isinstance(text, str):
        raise TypeError(f"text must be a document, not {type(text).__name__}: {text!r}")
    if not 0 < share < 1:
        raise ValueError(f"share={share} must be above 0 and below 1: of the characters that become the summary")
    sentences = split_sentences(text)
    if len(sentences) < 2:
        return None
    chosen = set(_choose(sentences, share * len(text)))
    parts = ["".join(s for number, s in enumerate(sentences) if (number in chosen) is kept) for kept in (False, True)]
    return PseudoSummary(*parts)


def _choose(sentences: Sequence[str], wanted: float) -> list[int]:
    """Numbers of the chosen sentences, in order."""
    text = "".join(sentences)
    places, spans = _places(text), _spans(sentences)
    left = (1 << len(text)) - 1  # a bit for each character that is left; the others match nothing
    alone = [
        _length(sentence, places, left & ~span, len(text)) for sentence, span in zip(sentences, spans, strict=True)
    ]
    chosen = [max(range(len(sentences)), key=alone.__getitem__)]
    length, characters = alone[chosen[0]], len(sentences[chosen[0]])
    while characters < wanted and len(chosen) < len(sentences) - 1:
        left &= ~spans[chosen[-1]]
        most = length
        best, length = len(sentences), -1
        for number in sorted(set(range(len(sentences))) - set(chosen), key=lambda number: -alone[number]):
            if most + alone[number] < length:  # a sentence adds no more than it has in common alone
                break
            summary = "".join(sentences[at] for at in sorted([*chosen, number]))
            found = _length(summary, places, left & ~spans[number], len(text))
            if (found, -number) > (length, -best):
                best, length = number, found
        chosen.append(best)
        characters += len(sentences[best])
    return sorted(chosen)


def _spans(sentences: Sequence[str]) -> list[int]:
    """For each sentence a number with a bit at each of its characters' places."""
    spans, start = list[int](), 0
    for sentence in sentences:
        spans.append(((1 << len(sentence)) - 1) << start)
        start += len(sentence)
    return spans


def _places(text: Sequence[Hashable]) -> dict[Hashable, int]:
    """A number for each character, with a bit at each of its places."""
    places: dict[Hashable, int] = {}
    for start in range(0, len(text), 50):  # small numbers first, which are cheaper to add to
        part: dict[Hashable, int] = {}
        bit = 1
        for character in text[start : start + 50]:
            part[character] = part.get(character, 0) | bit
            bit <<= 1
        for character, found in part.items():
            places[character] = places.get(character, 0) | found << start
    return places


def _length(one: Sequence[Hashable], places: dict[Hashable, int], left: int, size: int) -> int:
    row = full = (1 << size) - 1
    get = places.get
    for match in [match for character in one if (match := get(character, 0) & left)]:
        found = row & match
        row = (row + found) | (row - found)
    return size - (row & full).bit_count()
