"""Between the characters that have labels and the word tokens that have states.

A word token may cross the border of an entity; then no labelling of tokens can express the entity. These functions
measure how much is lost that way, and expand token states over characters so that nothing is lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nlpkit.labels.spans import Span, bio_to_spans, spans_to_bio

#: What ``map_characters`` gives to a character that lies in no token: white space, dropped control characters.
UNCOVERED = -1


def map_characters(offsets: Sequence[tuple[int, int]], length: int) -> NDArray[np.int64]:
    """Index of the token that covers each character.

    Args:
        offsets: the span of each token in the original text, ``(0, 0)`` for special tokens, as
            ``return_offsets_mapping`` gives them: monotone, not overlapping.
        length: number of characters of the text.

    Returns:
        Token indices, shape ``(length,)``; ``UNCOVERED`` (-1) for characters in no token.

    Raises:
        ValueError: a span ends before it starts, overlaps the one before it, or leaves the text.

    Example:
        >>> map_characters([(0, 0), (0, 2), (3, 4), (0, 0)], 5).tolist()
        [1, 1, -1, 2, -1]
    """
    tokens = np.full(length, UNCOVERED, dtype=np.int64)
    covered = 0
    for index, (start, end) in enumerate(offsets):
        if start == end:
            continue
        if not covered <= start < end <= length:
            raise ValueError(
                f"offsets[{index}] is {(start, end)}; after character {covered} of a text of {length} characters, "
                "spans must ascend without overlap (give the offsets of one text, not of a pair)"
            )
        tokens[start:end] = index
        covered = end
    return tokens


def without_overlaps(offsets: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Let each character belong to the last token that covers it.

    SentencePiece's mark of a word's beginning, where it is a token by itself, covers the character behind it, too.

    Args:
        offsets: the span of each token, as ``return_offsets_mapping`` gives them.

    Returns:
        Spans that do not overlap, as ``map_characters`` takes them.

    Example:
        >>> without_overlaps([(0, 0), (0, 1), (0, 1), (1, 3), (0, 0)])
        [(0, 0), (0, 0), (0, 1), (1, 3), (0, 0)]
    """
    parted = list(offsets)
    following: int | None = None
    for number in reversed(range(len(parted))):
        start, end = parted[number]
        if start < end:
            parted[number] = (start, end if following is None else min(end, following))
            following = start
    return parted


def place_in_token(character_to_token: Tensor, reach: int) -> Tensor:
    """Where in its token each character stands: one number for the distances to both ends of the token.

    Args:
        character_to_token: token indices, -1 for characters in no token, shape ``(batch, characters)``.
        reach: distances of ``reach - 1`` and more count as the same.

    Returns:
        ``reach * from_start + from_end`` in ``[0, reach ** 2)``, shape ``(batch, characters)``: 0 is a token of one
        character; every character of a token of up to ``reach`` characters has a number of its own.

    Example:
        >>> place_in_token(torch.tensor([[1, 1, 1, 2]]), reach=4)
        tensor([[2, 5, 8, 0]])
    """
    index = torch.arange(character_to_token.shape[-1], device=character_to_token.device).expand_as(character_to_token)
    border = character_to_token.diff(dim=-1) != 0  # (batch, characters - 1)
    edge = torch.ones_like(character_to_token[:, :1], dtype=torch.bool)
    starts, ends = torch.cat([edge, border], dim=-1), torch.cat([border, edge], dim=-1)  # (batch, characters)
    last = index.shape[-1] - 1
    from_start = index - (index * starts).cummax(dim=-1).values
    from_end = last - index - ((last - index) * ends).flip(-1).cummax(dim=-1).values.flip(-1)
    place = reach * from_start.clamp(max=reach - 1) + from_end.clamp(max=reach - 1)
    return place.masked_fill(character_to_token == UNCOVERED, 0)


def expand_to_characters(token_states: Tensor, character_to_token: Tensor) -> Tensor:
    """Give each character the state of the token that covers it.

    Args:
        token_states: shape ``(batch, tokens, hidden)``.
        character_to_token: token indices, -1 for characters in no token, shape ``(batch, characters)``.

    Returns:
        Shape ``(batch, characters, hidden)``; zeros where there is no token.

    Raises:
        ValueError: an index lies beyond the tokens given; on a GPU the device stops instead.

    Note:
        One gather; linear maps commute with it, so apply them to the tokens, which are fewer.

    Example:
        >>> expand_to_characters(torch.tensor([[[1.0], [2.0]]]), torch.tensor([[0, 1, 1, -1]])).squeeze(-1)
        tensor([[1., 2., 2., 0.]])
    """
    uncovered = (character_to_token == UNCOVERED).unsqueeze(-1)  # (batch, characters, 1)
    index = character_to_token.clamp(min=0).unsqueeze(-1).expand(-1, -1, token_states.shape[-1])
    try:
        states = token_states.gather(1, index)  # (batch, characters, hidden)
    except RuntimeError as error:  # not looked for before: that would hold up a GPU, and break a compiled graph
        if character_to_token.device.type != "cpu" or int(character_to_token.max()) < token_states.shape[1]:
            raise
        raise ValueError(
            f"character_to_token points at token {int(character_to_token.max())}, but token_states holds "
            f"{token_states.shape[1]}; truncate both by the same encoding"
        ) from error
    return states.masked_fill(uncovered, 0)


def find_inexpressible_spans(spans: Iterable[Span], offsets: Sequence[tuple[int, int]], length: int) -> list[Span]:
    """Return the spans that no labelling of the tokens can express.

    Args:
        spans: gold spans of characters.
        offsets: the span of each token, as ``map_characters`` takes them.
        length: number of characters of the text.

    Returns:
        Those that do not start at the start of a token and end at the end of one.

    Example:
        >>> find_inexpressible_spans([Span(0, 2, "LOC"), Span(4, 5, "LOC")], [(0, 4), (4, 5)], 5)
        [Span(start=0, end=2, label='LOC')]
    """
    map_characters(offsets, length)
    starts = {start for start, end in offsets if start < end}
    ends = {end for start, end in offsets if start < end}
    return [span for span in spans if span.start not in starts or span.end not in ends]


@dataclass(frozen=True)
class AlignmentLoss:
    """What labels lose when characters' labels become tokens' labels; add two to join corpora.

    Args:
        spans: labelled spans.
        lost_spans: those no labelling of tokens can express.
        characters: characters.
        lost_characters: those whose label changes when token labels are spread back over characters.
    """

    spans: int = 0
    lost_spans: int = 0
    characters: int = 0
    lost_characters: int = 0

    def __add__(self, other: AlignmentLoss) -> AlignmentLoss:
        return AlignmentLoss(
            self.spans + other.spans,
            self.lost_spans + other.lost_spans,
            self.characters + other.characters,
            self.lost_characters + other.lost_characters,
        )

    @property
    def oracle_f1(self) -> float:
        """Highest exact-match F1 of any tagger of tokens: it finds all that it can express, and nothing else.

        With ``n`` spans and ``l`` lost, precision is 1 and recall ``(n - l) / n``; 1 when there are no spans.
        """
        return 2 * (self.spans - self.lost_spans) / (2 * self.spans - self.lost_spans) if self.spans else 1.0


def align_labels(
    character_labels: Sequence[str], offsets: Sequence[tuple[int, int]]
) -> tuple[list[str | None], AlignmentLoss]:
    """Turn BIO labels of characters into BIO labels of tokens, and count what that loses.

    A token belongs to the span that holds most of its characters, or to none when most are outside (a tie goes to
    what comes first).

    Args:
        character_labels: one BIO label per character.
        offsets: the span of each token, as ``map_characters`` takes them.

    Returns:
        One label per token, ``None`` for tokens without characters; and the loss.

    Raises:
        ValueError: a label is not BIO, or the offsets do not fit the text.

    Example:
        >>> labels, loss = align_labels(["B-LOC", "I-LOC", "O", "B-PER"], [(0, 0), (0, 3), (3, 4)])
        >>> labels, loss.lost_spans, loss.lost_characters, round(loss.oracle_f1, 3)
        ([None, 'B-LOC', 'B-PER'], 1, 1, 0.667)
    """
    length, spans = len(character_labels), bio_to_spans(character_labels)
    span_of_character = np.full(length, -1, dtype=np.int64)
    for number, span in enumerate(spans):
        span_of_character[span.start : span.end] = number
    token_labels: list[str | None] = []
    previous = -1
    for start, end in offsets:
        if start == end:
            token_labels.append(None)
            continue
        number = Counter(span_of_character[start:end].tolist()).most_common(1)[0][0]
        prefix = "I" if number == previous else "B"
        token_labels.append("O" if number < 0 else f"{prefix}-{spans[number].label}")
        previous = number
    spread = spread_labels(token_labels, offsets, length)
    reference = spans_to_bio(spans, length)
    return token_labels, AlignmentLoss(
        spans=len(spans),
        lost_spans=len(find_inexpressible_spans(spans, offsets, length)),
        characters=length,
        lost_characters=sum(a != b for a, b in zip(spread, reference, strict=True)),
    )


def spread_labels(token_labels: Sequence[str | None], offsets: Sequence[tuple[int, int]], length: int) -> list[str]:
    """Turn BIO labels of tokens into BIO labels of characters.

    Args:
        token_labels: one per token; those of special tokens are ignored.
        offsets: the span of each token, as ``map_characters`` takes them.
        length: number of characters of the text.

    Returns:
        ``length`` labels. Characters in no token are ``"O"``, except between two tokens of one span: they are in it.

    Raises:
        ValueError: there are not as many labels as tokens, or the offsets do not fit the text.

    Example:
        >>> spread_labels(["B-PER", "I-PER", "O"], [(0, 2), (3, 4), (5, 6)], 6)
        ['B-PER', 'I-PER', 'I-PER', 'I-PER', 'O', 'O']
    """
    if len(token_labels) != len(offsets):
        raise ValueError(f"{len(token_labels)} token labels for {len(offsets)} tokens; give one per token")
    map_characters(offsets, length)
    labelled = [
        (start, end, label)
        for (start, end), label in zip(offsets, token_labels, strict=True)
        if start < end and label is not None
    ]
    spans = [
        Span(labelled[first][0], labelled[last - 1][1], name)
        for first, last, name in bio_to_spans([label for _, _, label in labelled])
    ]
    return spans_to_bio(spans, length)


def close_gaps(labels: Sequence[str], character_to_token: Sequence[int] | NDArray[np.int64]) -> list[str]:
    """Let characters that no token covers continue the span around them; without one they are outside.

    Args:
        labels: BIO labels of characters; those of uncovered characters are ignored.
        character_to_token: of each character, -1 for those in no token, shape ``(characters,)``.

    Returns:
        One label per character.

    Example:
        >>> close_gaps(["B-PER", "O", "I-PER", "B-LOC", "B-LOC"], [0, -1, 1, 2, -1])
        ['B-PER', 'I-PER', 'I-PER', 'B-LOC', 'O']
    """
    covered = [index for index, token in enumerate(character_to_token) if token != UNCOVERED]
    offsets = [(index, index + 1) for index in covered]
    return spread_labels([labels[index] for index in covered], offsets, len(labels))
