"""Texts that are too long for a model, in pieces."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from nlpkit.labels.alignment import without_overlaps
from nlpkit.labels.cutting import cut_places
from nlpkit.labels.encoding import tokenize
from nlpkit.labels.spans import Span
from nlpkit.tasks.entities.texts.units import read_spans


def cut_text(
    text: str, tokenizer: PreTrainedTokenizerBase, max_length: int, spans: Sequence[Span] = ()
) -> list[tuple[int, int]]:
    """Where to cut a text so that each piece fits into a model: by preference behind a sentence, never in an entity.

    Args:
        text: of any length.
        tokenizer: a fast one, or WoBERT's.
        max_length: tokens a piece may have, special tokens included.
        spans: entities that must stay whole.

    Returns:
        Start and end of each piece; joined they are the text. One empty piece of an empty text.

    Raises:
        ValueError: an entity is too long to fit, or ``max_length`` leaves no room for text.
    """
    room = max_length - tokenizer.num_special_tokens_to_add()
    if room < 1:
        raise ValueError(f"max_length={max_length} leaves no room for text beside the special tokens")
    joined = {place for span in spans for place in range(span.start + 1, span.end)}
    return _cut(text, 0, tokenizer, room, joined)


def _cut(
    text: str, begin: int, tokenizer: PreTrainedTokenizerBase, room: int, joined: Collection[int]
) -> list[tuple[int, int]]:
    encoded = tokenize(tokenizer, [text], add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    offsets = without_overlaps(encoded["offset_mapping"][0])
    if len(offsets) <= room:
        return [(begin, begin + len(text))]
    cuts = cut_places(text, offsets, room, {place - begin for place in joined})
    pieces: list[tuple[int, int]] = []
    for start, end in zip(cuts, [*cuts[1:], len(text)], strict=True):
        # By itself a piece may be tokenized otherwise than in its context, and then have a token too many.
        pieces += _cut(text[start:end], begin + start, tokenizer, room, joined)
    return pieces


def cut_example(
    example: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> list[dict[str, Any]]:
    """Cut a labelled text that is too long into pieces that fit.

    Args:
        example: as ``read_spans`` reads it.
        tokenizer: as for ``cut_text``.
        max_length: likewise.

    Returns:
        Pieces with ``text`` and, where the example has entities, ``spans``.

    Raises:
        ValueError: as of ``cut_text`` and ``read_spans``.

    Example:
        >>> from nlpkit import WoBertTokenizer
        >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "好", "。"]
        >>> tokenizer = WoBertTokenizer(vocab={word: index for index, word in enumerate(words)})
        >>> cut_example({"text": "好好。好好。", "spans": [(4, 5, "X")]}, tokenizer, max_length=5)
        [{'text': '好好。', 'spans': []}, {'text': '好好。', 'spans': [Span(start=1, end=2, label='X')]}]
    """
    spans = read_spans(example)
    text: str = example["text"]
    pieces = []
    for start, end in cut_text(text, tokenizer, max_length, spans or ()):
        piece: dict[str, Any] = {"text": text[start:end]}
        if spans is not None:
            own = [span for span in spans if start <= span.start and span.end <= end]
            piece["spans"] = [Span(span.start - start, span.end - start, span.label) for span in own]
        pieces.append(piece)
    return pieces
