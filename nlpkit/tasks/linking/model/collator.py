"""Batches of mentions beside the descriptions of their candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import BatchEncoding, PreTrainedTokenizerBase

from nlpkit.batches import refuse_no_rows
from nlpkit.labels.alignment import without_overlaps
from nlpkit.labels.encoding import tokenize
from nlpkit.tasks.linking.knowledge.descriptions import Descriptions

Row = Mapping[str, Any]


class LinkingCollator:
    """Make padded batches for ``LinkingModel`` of mentions.

    A row is a mention: ``text``, ``mention`` (its start and end), ``candidates`` (ids of entities) and, in training,
    ``labels`` (0 for NIL, else 1 more than the place among the candidates). Each candidate is read as the pair of text
    and description, NIL as that of text and mention.

    Args:
        tokenizer: of the encoder; a fast one, or WoBERT's, since others know no offsets.
        descriptions: of the entities.
        max_length: tokens of a pair, special tokens included. Of longer texts only what is around the mention is read.

    Raises:
        ValueError: the tokenizer knows no offsets, or ``max_length`` leaves no room for a text.

    Example:
        >>> from nlpkit import WoBertTokenizer
        >>> from nlpkit.tasks.linking import Entry, KnowledgeBase
        >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "我", "吃", "苹果", "水果", "，"]
        >>> tokenizer = WoBertTokenizer({word: number for number, word in enumerate(words)})
        >>> base = KnowledgeBase([Entry("Q1", "苹果", description="水果")])
        >>> collate = LinkingCollator(tokenizer, Descriptions(base, tokenizer, budget=3), max_length=16)
        >>> row = {"text": "我吃苹果", "mention": (2, 4), "candidates": ["Q1"], "labels": 1}
        >>> for name, values in collate([row]).items():
        ...     print(name, values.int().tolist())
        input_ids [[[2, 5, 6, 7, 3, 7, 3, 0, 0], [2, 5, 6, 7, 3, 7, 9, 8, 3]]]
        token_type_ids [[[0, 0, 0, 0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 0, 1, 1, 1, 1]]]
        attention_mask [[[1, 1, 1, 1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1, 1, 1, 1]]]
        mention_mask [[[0, 0, 0, 1, 0, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0, 0, 0, 0]]]
        labels [1]
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, descriptions: Descriptions, max_length: int = 128) -> None:
        if not tokenizer.is_fast:
            raise ValueError(
                f"{type(tokenizer).__name__} does not know where its tokens stand in a text; take a fast tokenizer"
            )
        self.tokenizer, self.descriptions, self.max_length = tokenizer, descriptions, max_length
        self._room = max_length - tokenizer.num_special_tokens_to_add(pair=True) - descriptions.budget
        if self._room < 1:
            raise ValueError(
                f"max_length={max_length} leaves no room for a text beside descriptions of {descriptions.budget} "
                "tokens and the special tokens; give more, or a smaller budget"
            )

    def __call__(self, rows: Sequence[Row]) -> BatchEncoding:
        """Tokenize and pad.

        Args:
            rows: all with ``labels``, or none.

        Returns:
            What ``LinkingModel.forward`` takes.

        Raises:
            ValueError: there are no rows, a mention does not lie in its text, an entity is unknown, a label is none of
                the row's choices, or only some rows have labels.
        """
        refuse_no_rows(rows)
        firsts: list[str] = []
        seconds: list[str] = []
        places: list[tuple[int, int]] = []
        for row in rows:
            text, (start, end) = row["text"], row["mention"]
            if not 0 <= start < end <= len(text):
                raise ValueError(f"mention {(start, end)} does not lie in a text of {len(text)} characters")
            left, right = self.window(text, start, end)
            own = [self.descriptions.shortened(text[start:end]), *map(self.descriptions, row["candidates"])]
            firsts += [text[left:right]] * len(own)
            seconds += own
            places += [(start - left, end - left)] * len(own)
        encoded = tokenize(
            self.tokenizer, firsts, seconds, return_offsets_mapping=True, return_attention_mask=True, verbose=False
        )
        mentions = [
            [
                sequence == 0 and begin < end and begin < stop and start < end
                for sequence, (begin, end) in zip(encoded.sequence_ids(number), offsets, strict=True)
            ]
            for number, (offsets, (start, stop)) in enumerate(zip(encoded.pop("offset_mapping"), places, strict=True))
        ]
        padded = self.tokenizer.pad(encoded, padding_side="right", return_tensors="pt")
        width = padded["input_ids"].shape[1]
        padded["mention_mask"] = torch.tensor([row + [False] * (width - len(row)) for row in mentions])
        sizes = [1 + len(row["candidates"]) for row in rows]
        padding = self.tokenizer.pad_token_id or 0
        batch = {
            name: _by_mention(values, sizes, padding if name == "input_ids" else 0) for name, values in padded.items()
        }
        return BatchEncoding(batch | self._labels(rows, sizes))

    def window(self, text: str, start: int, end: int) -> tuple[int, int]:
        """The characters around a mention that there is room for.

        Args:
            text: of any length.
            start: first character of the mention.
            end: one past its last.

        Returns:
            Start and end: all of the text where it fits; else as many tokens before the mention as behind it, or more
            on one side where the other one ends. Of a mention that does not fit itself, its beginning.
        """
        offsets = self._offsets(text)
        if len(offsets) <= self._room:
            return 0, len(text)
        spans = [(begin, stop) for begin, stop in without_overlaps(offsets) if begin < stop]
        left, right = 0, len(text)
        for room in range(min(self._room, len(spans)), 0, -1):
            left, right = _around(spans, start, end, room)
            # By itself the part may be tokenized otherwise than in its context; of a byte-level tokenizer, several
            # tokens cover one character.
            if len(self._offsets(text[left:right])) <= self._room:
                break
        return left, right

    def _offsets(self, text: str) -> list[tuple[int, int]]:
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        offsets: list[tuple[int, int]] = encoded["offset_mapping"]
        return offsets

    def _labels(self, rows: Sequence[Row], sizes: Sequence[int]) -> dict[str, Tensor]:
        labels = [row.get("labels") for row in rows]
        if all(label is None for label in labels):
            return {}
        for number, (label, size) in enumerate(zip(labels, sizes, strict=True)):
            if label is None:
                raise ValueError(f"row {number} has no 'labels', others have; give all or none (0 is NIL)")
            if label != -100 and not 0 <= label < size:
                raise ValueError(f"row {number} has the label {label}, and choices 0 (NIL) to {size - 1}")
        return {"labels": torch.tensor(labels)}


def _around(offsets: Sequence[tuple[int, int]], start: int, end: int, room: int) -> tuple[int, int]:
    """The characters of ``room`` tokens, at most all there are, with a span in their middle or at its beginning."""
    first = next((place for place, (_, stop) in enumerate(offsets) if stop > start), len(offsets) - 1)
    last = max((place for place, (begin, _) in enumerate(offsets) if begin < end), default=first)
    begin = min(first, len(offsets) - room, max(0, (first + last + 1 - room) // 2))
    return offsets[begin][0], offsets[begin + room - 1][1]


def _by_mention(values: Tensor, sizes: Sequence[int], filling: int) -> Tensor:
    """Rows of choices as ``(mentions, choices, tokens)``, filled up with choices that are none."""
    return torch.nn.utils.rnn.pad_sequence(list(values.split(list(sizes))), batch_first=True, padding_value=filling)
