"""Batches of texts with entities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple
from warnings import warn

import torch
from torch import Tensor
from transformers import BatchEncoding, PreTrainedTokenizerBase

from nlpkit.batches import refuse_no_rows
from nlpkit.labels.alignment import UNCOVERED, map_characters, without_overlaps
from nlpkit.labels.encoding import encode_with_offsets
from nlpkit.labels.spans import Span
from nlpkit.tasks.entities.configuration import EntityConfig
from nlpkit.tasks.entities.heads.bio_heads import bio_names
from nlpkit.tasks.entities.texts.units import (
    Offsets,
    UnitRange,
    beside_units,
    bio_labels,
    outermost,
    overlapping,
    read_spans,
    to_units,
    without_blanks,
)

Example = Mapping[str, Any]
_IGNORED = -100


class ReadTexts(NamedTuple):
    """Texts as a model reads them.

    Args:
        batch: padded inputs.
        offsets: the characters of each unit of each text, empty ones for positions that are no unit.
    """

    batch: BatchEncoding
    offsets: list[Offsets]


class EntityCollator:
    """Make padded batches for ``EntityModel`` from texts with spans.

    Args:
        tokenizer: of the encoder; a fast one, or WoBERT's, since others know no offsets.
        config: of the model: its types, its head and its units.
        max_length: tokens a text may have, special tokens included.
        overlong: what to do with longer texts. ``"refuse"`` raises an error; ``"truncate"`` drops the tokens beyond,
            and the entities that reach there, and logs how many texts were cut. To lose nothing, cut the texts
            beforehand with ``cut_example``.
        nested: what to do with entities that overlap where the head gives one label per unit: ``"refuse"``, or
            ``"outermost"``, train on the longest. Heads that score spans take them all.

    Raises:
        ValueError: the tokenizer knows no offsets, or a choice is unknown.

    Example:
        >>> from transformers import BertConfig
        >>> from nlpkit import WoBertTokenizer
        >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "天气", "天", "气", "好"]
        >>> tokenizer = WoBertTokenizer(vocab={word: index for index, word in enumerate(words)})
        >>> config = EntityConfig(types=["X", "Y"], units="characters")
        >>> batch = EntityCollator(tokenizer, config)([{"text": "天气 好", "spans": [(0, 2, "X"), (1, 4, "Y")]}])
        >>> batch["character_to_token"].tolist(), batch["entities"].tolist(), batch["labels"].tolist()
        ([[1, 1, -1, 2]], [[[0, 0, 1], [1, 1, 3]]], [2])
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        config: EntityConfig,
        *,
        max_length: int = 512,
        overlong: Literal["refuse", "truncate"] = "refuse",
        nested: Literal["refuse", "outermost"] = "refuse",
    ) -> None:
        if overlong not in ("refuse", "truncate"):
            raise ValueError(f"overlong={overlong!r} is unknown; use 'refuse' or 'truncate'")
        if nested not in ("refuse", "outermost"):
            raise ValueError(f"nested={nested!r} is unknown; use 'refuse' or 'outermost'")
        if not tokenizer.is_fast:
            raise ValueError(
                f"{type(tokenizer).__name__} does not know where its tokens stand in a text; take a fast tokenizer"
            )
        self.tokenizer, self.config = tokenizer, config
        self.max_length, self.overlong, self.nested = max_length, overlong, nested
        self._numbers = {name: number for number, name in enumerate(config.entity_types)}
        self._labels = {name: number for number, name in enumerate(bio_names(config.entity_types))}
        self._character_ids: dict[str, int] = {}
        self._has_warned = False

    def __call__(self, examples: Sequence[Example]) -> BatchEncoding:
        """Tokenize, align and pad.

        Args:
            examples: as ``read_spans`` reads them; all with entities (or an empty list of them), or none.

        Returns:
            What ``EntityModel.forward`` takes.

        Raises:
            ValueError: there are no examples, a text is too long, a type is unknown, entities overlap that must not,
                or only some examples have any.
        """
        refuse_no_rows(examples)
        spans = [read_spans(example) for example in examples]
        texts, offsets = self.read([example["text"] for example in examples])
        known = [row for row in spans if row is not None]
        if not known:
            return texts
        if len(known) < len(spans):
            missing = spans.index(None)
            raise ValueError(
                f"example {missing} has neither 'spans' nor 'labels', others have; give all or none (spans=[] where "
                "there is no entity)"
            )
        ranges = []
        for number, (row, unit_offsets) in enumerate(zip(known, offsets, strict=True)):
            allowed = self._allowed(row, number)
            self._warn_of_unreachable(allowed, unit_offsets, number)
            ranges.append(to_units(allowed, unit_offsets))
        if self.config.scores_spans:
            texts["entities"] = self._entities(ranges)
            texts["labels"] = torch.tensor([len(row) for row in ranges])
        else:
            texts["labels"] = self._bio(ranges, offsets)
        return texts

    def read(self, texts: Sequence[str]) -> ReadTexts:
        """Tokenize and pad texts, and say where their units stand; as ``__call__`` otherwise."""
        encoded = encode_with_offsets(self.tokenizer, texts, self.max_length, self.overlong, "cut_example")
        offsets = [
            without_blanks(without_overlaps(row), text)
            for row, text in zip(encoded.pop("offset_mapping"), texts, strict=True)
        ]
        # To the right, wherever the tokenizer pads: units are counted from the left.
        batch = self.tokenizer.pad(encoded, padding_side="right", return_tensors="pt")
        if self.config.units == "tokens":
            batch["unit_mask"] = _padded([[start < end for start, end in row] for row in offsets], False)
            return ReadTexts(batch, list(offsets))
        tokens = [
            [UNCOVERED if character.isspace() else int(token) for character, token in zip(text, row, strict=True)]
            for text, row in zip(texts, map(map_characters, offsets, map(len, texts)), strict=True)
        ]
        batch["character_to_token"] = _padded(tokens, UNCOVERED)
        if self.config.use_characters:
            batch["character_ids"] = _padded(self._ids_of_characters(texts), self.tokenizer.pad_token_id or 0)
        covered = [
            [(place, place + 1) if token != UNCOVERED else (place, place) for place, token in enumerate(row)]
            for row in tokens
        ]
        return ReadTexts(batch, list(covered))

    def _allowed(self, spans: list[Span], number: int) -> list[Span]:
        unknown = next((span.label for span in spans if span.label not in self._numbers), None)
        if unknown is not None:
            raise ValueError(
                f"example {number} has an entity of type {unknown!r}; the model knows {', '.join(self._numbers)}"
            )
        pair = None if self.config.scores_spans else overlapping(spans)
        if pair is None:
            return spans
        if self.nested == "refuse":
            first, second = pair
            raise ValueError(
                f"entities {tuple(first)} and {tuple(second)} of example {number} overlap, and head="
                f"{self.config.head!r} gives one label per unit: take head='global_pointer', or train on the longest "
                "with nested='outermost'"
            )
        return outermost(spans)

    def _warn_of_unreachable(self, spans: list[Span], offsets: Offsets, number: int) -> None:
        """Say once that there are entities which are learnt as others, or not at all."""
        if self._has_warned or not (unreachable := beside_units(spans, offsets)):
            return
        self._has_warned = True
        learnt = (
            "begins or ends inside a token, of which all is learnt in its place; units='characters' finds it as it is"
            if to_units(unreachable[:1], offsets)
            else "is nothing that the tokenizer keeps, as white space is not, and cannot be learnt"
        )
        warn(
            f"entity {tuple(unreachable[0])} of example {number} {learnt}. There may be more: this is said once",
            stacklevel=3,
        )

    def _entities(self, ranges: list[list[UnitRange]]) -> Tensor:
        most = max(map(len, ranges))
        rows = [[(self._numbers[one.label], one.first, one.last) for one in row] for row in ranges]
        padded = [[*row, *[(0, 0, 0)] * (most - len(row))] for row in rows]
        return torch.tensor(padded, dtype=torch.long).reshape(len(ranges), most, 3)

    def _bio(self, ranges: list[list[UnitRange]], offsets: list[Offsets]) -> Tensor:
        rows = []
        for row, unit_offsets in zip(ranges, offsets, strict=True):
            places = [place for place, (start, end) in enumerate(unit_offsets) if start < end]
            position = {place: number for number, place in enumerate(places)}
            packed = [UnitRange(position[first], position[last], label) for first, last, label in sorted(row)]
            ids = [_IGNORED] * len(unit_offsets)
            for place, label in zip(places, bio_labels(packed, len(places)), strict=True):
                ids[place] = self._labels[label]
            rows.append(ids)
        return _padded(rows, _IGNORED)

    def _ids_of_characters(self, texts: Sequence[str]) -> list[list[int]]:
        """The token of each character by itself; of several the last: some tokenizers put a word's beginning first."""
        known = self._character_ids
        new = sorted(set().union(*texts) - known.keys())
        if new:
            rows = self.tokenizer(new, add_special_tokens=False)["input_ids"]
            empty = self.tokenizer.pad_token_id or 0
            known.update({character: row[-1] if row else empty for character, row in zip(new, rows, strict=True)})
        return [[known[character] for character in text] for text in texts]


def _padded(rows: Sequence[Sequence[Any]], filling: int | bool) -> Tensor:
    width = max((len(row) for row in rows), default=0) or 1  # of empty texts alone, one position that is no unit
    dtype = torch.bool if isinstance(filling, bool) else torch.long
    padded = [[*row, *[filling] * (width - len(row))] for row in rows]
    return torch.tensor(padded, dtype=dtype).reshape(len(rows), width)
