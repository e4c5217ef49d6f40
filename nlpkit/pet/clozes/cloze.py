"""From examples to token ids: the pattern around each example, with masks, cut to the model's length."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from nlpkit.pet.clozes.examples import Example
from nlpkit.pet.clozes.layout import PATTERN, Layout, Stretch, lay_out, lay_out_plainly
from nlpkit.pet.clozes.pattern import Pattern
from nlpkit.probes.room import padded_length


@dataclass(frozen=True)
class Cloze:
    """Token ids of one example in its pattern.

    Args:
        input_ids: with special tokens.
        token_type_ids: 0, and 1 after the pattern's first separator.
        slots: position of every mask, in reading order.
        field_numbers: the number of the field that a token is of, -1 for tokens of the pattern.
    """

    input_ids: list[int]
    token_type_ids: list[int]
    slots: list[int]
    field_numbers: list[int]


class _Token(NamedTuple):
    id: int
    field_number: int


class ClozeEncoder:
    """Puts examples into a pattern and encodes them.

    Args:
        pattern: the pattern.
        tokenizer: any tokenizer of transformers that gives offsets.
        max_length: tokens a cloze may have, special tokens included; by default the tokenizer's limit.
        soft_token_ids: ids of the pattern's trainable tokens, in their order.

    Raises:
        ValueError: the tokenizer has no mask token, no offsets, or no separator where the pattern wants one; or the
            pattern has another number of trainable tokens.

    Note:
        What stands between two masks is tokenised as one text, so the ids are those that the tokenizer gives for the
        rendered pattern; tokens over the border between pattern and field count as the pattern's. Special tokens
        written in an example's text are read as plain text and cannot pose as the slot. When a cloze is too long, the
        longest fields lose tokens, with a warning; the pattern never does.

    Example:
        >>> from transformers import BertTokenizer
        >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "很", "满", "意", "。", "屏", "幕"]
        >>> tokenizer = BertTokenizer(vocab={word: number for number, word in enumerate(words)})
        >>> encoder = ClozeEncoder(Pattern("{mask}满意。{text}"), tokenizer, max_length=8)
        >>> encoder.encode([Example.of("屏幕屏幕")], [1])[0].input_ids
        [2, 4, 6, 7, 8, 9, 10, 3]
    """

    def __init__(
        self,
        pattern: Pattern,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int | None = None,
        soft_token_ids: Sequence[int] = (),
    ) -> None:
        name = type(tokenizer).__name__
        if not tokenizer.is_fast:
            raise ValueError(f"{name} gives no offsets; use the fast tokenizer of this model")
        self.gaps = self._find_gaps(tokenizer, pattern.slots)
        if tokenizer.sep_token_id is None and any(part.kind == "separator" for part in pattern.parts):
            raise ValueError(f"{name} has no separator token; leave {{sep}} out of {pattern.template!r}")
        if len(soft_token_ids) != pattern.soft_tokens:
            raise ValueError(
                f"pattern {pattern.template!r} has {pattern.soft_tokens} trainable tokens, but {len(soft_token_ids)} "
                "ids were given for them; make them with nlpkit.pet.add_soft_tokens"
            )
        self.pattern, self.tokenizer = pattern, tokenizer
        self.max_length = tokenizer.model_max_length if max_length is None else max_length
        self.soft_token_ids = list(soft_token_ids)
        self.before, self.after = special_tokens_around(tokenizer)
        fields = [part for part in pattern.parts if part.kind == "field"]
        self._keep_tail = {number for number, part in enumerate(fields) if part.keep == "tail"}
        mask = tokenizer.added_tokens_decoder.get(self.gaps[0])
        self._mask_takes_space = (bool(mask and mask.lstrip), bool(mask and mask.rstrip))

    def _find_gaps(self, tokenizer: PreTrainedTokenizerBase, slots: int) -> list[int]:
        """The token that stands for each slot."""
        if tokenizer.mask_token_id is None:
            raise ValueError(f"{type(tokenizer).__name__} has no mask token; clozes need a masked language model")
        return [tokenizer.mask_token_id] * slots

    def encode(self, examples: Sequence[Example], mask_counts: Sequence[int]) -> list[Cloze]:
        """Encode examples with so many masks in each slot.

        Args:
            examples: with the fields that the pattern names.
            mask_counts: number of masks in each slot of the pattern.

        Returns:
            One cloze per example.

        Raises:
            ValueError: an example lacks a field, or the pattern alone is longer than ``max_length``.
        """
        layouts = [lay_out(self.pattern, example.fields, self._mask_takes_space) for example in examples]
        return self._assemble_all(layouts, mask_counts)

    def _assemble_all(self, layouts: list[Layout], mask_counts: Sequence[int]) -> list[Cloze]:
        stretches = {piece for layout in layouts for piece in layout if isinstance(piece, Stretch)}
        read = self._tokenize(sorted(stretches))
        return [self._assemble(layout, read, mask_counts) for layout in layouts]

    def pad(self, clozes: Sequence[Cloze]) -> dict[str, Tensor]:
        """Inputs of a model from clozes, padded at the end to a multiple of eight, but never beyond ``max_length``.

        Args:
            clozes: at least one.

        Returns:
            ``input_ids``, ``attention_mask`` and ``token_type_ids``, ``(clozes, length)``.
        """
        length = padded_length(max(len(cloze.input_ids) for cloze in clozes), self.max_length)
        padding = self.tokenizer.pad_token_id or 0
        return {
            "input_ids": pad_integers([cloze.input_ids for cloze in clozes], padding, length),
            "attention_mask": pad_integers([[1] * len(cloze.input_ids) for cloze in clozes], 0, length),
            "token_type_ids": pad_integers([cloze.token_type_ids for cloze in clozes], 0, length),
        }

    def encode_plain(self, examples: Sequence[Example]) -> list[Cloze]:
        """Encode the examples' texts alone, without pattern and masks, a separator between two texts."""
        has_separator = self.tokenizer.sep_token_id is not None
        layouts = [lay_out_plainly(self.pattern, example.fields, has_separator) for example in examples]
        return self._assemble_all(layouts, ())

    def _tokenize(self, stretches: list[Stretch]) -> dict[Stretch, list[_Token]]:
        if not stretches:  # some tokenizers refuse an empty batch
            return {}
        texts = [stretch.text for stretch in stretches]
        batch = self.tokenizer(
            texts,
            add_special_tokens=False,
            return_offsets_mapping=True,
            return_attention_mask=False,
            return_token_type_ids=False,
            split_special_tokens=True,
            truncation=False,
            verbose=False,
        )
        columns = zip(stretches, batch["input_ids"], batch["offset_mapping"], strict=True)
        return {
            stretch: [
                _Token(identifier, stretch.owner(start, end))
                for identifier, (start, end) in zip(ids, spans, strict=True)
            ]
            for stretch, ids, spans in columns
        }

    def _assemble(self, layout: Layout, read: dict[Stretch, list[_Token]], mask_counts: Sequence[int]) -> Cloze:
        gaps, soft = zip(self.gaps, mask_counts, strict=True), iter(self.soft_token_ids)
        tokens: list[_Token] = [_Token(identifier, PATTERN) for identifier in self.before]
        slots: list[int] = []
        for piece in layout:
            if isinstance(piece, Stretch):
                tokens += read[piece]
                continue
            if piece.kind == "mask":
                gap, count = next(gaps)
                ids = [gap] * count
                slots += range(len(tokens), len(tokens) + len(ids))
            elif piece.kind == "soft":
                ids = [next(soft) for _ in range(piece.length)]
            else:
                ids = [self.tokenizer.sep_token_id]
            tokens += [_Token(identifier, PATTERN) for identifier in ids]
        tokens += [_Token(identifier, PATTERN) for identifier in self.after]
        return self._cut(tokens, set(slots))

    def _cut(self, tokens: list[_Token], slots: set[int]) -> Cloze:
        lengths: dict[int, int] = {}
        for token in tokens:
            lengths[token.field_number] = lengths.get(token.field_number, 0) + 1
        fixed = lengths.pop(PATTERN, 0)
        if fixed > self.max_length:
            raise ValueError(
                f"pattern {self.pattern.template!r} takes {fixed} tokens by itself; max_length is {self.max_length}"
            )
        keep = cut_longest(lengths, self.max_length - fixed)
        if keep != lengths:
            warn_of_cuts(self.max_length)
        stays = {
            owner: range(length - keep[owner], length) if owner in self._keep_tail else range(keep[owner])
            for owner, length in lengths.items()
        }
        kept: list[_Token] = []
        places: list[int] = []
        seen = dict.fromkeys(lengths, 0)
        for number, token in enumerate(tokens):
            if token.field_number != PATTERN:
                seen[token.field_number] += 1
                if seen[token.field_number] - 1 not in stays[token.field_number]:
                    continue
            if number in slots:
                places.append(len(kept))
            kept.append(token)
        ids = [token.id for token in kept]
        return Cloze(ids, self._token_types(ids), places, [token.field_number for token in kept])

    def _token_types(self, ids: list[int]) -> list[int]:
        """0 up to the pattern's first separator, 1 after it, as in BERT's sentence pairs."""
        inner = ids[: len(ids) - len(self.after)]
        separator = self.tokenizer.sep_token_id
        if not any(part.kind == "separator" for part in self.pattern.parts) or separator not in inner:
            return [0] * len(ids)
        first = inner.index(separator) + 1
        return [0] * first + [1] * (len(ids) - first)


def warn_of_cuts(max_length: int) -> None:
    """Say, once in a process, that a text was longer than the model takes."""
    warnings.warn(
        f"a text is longer than max_length={max_length} tokens allows, and was cut; of what is cut nothing is seen",
        stacklevel=3,
    )


def pad_integers(rows: Iterable[Sequence[int]], filling: int, length: int | None = None) -> Tensor:
    """Stack rows of integers, filled up at the end to ``length`` or to the longest.

    Returns:
        Shape ``(rows, length)``, int64.

    Example:
        >>> pad_integers([[1], [2, 3]], -1)
        tensor([[ 1, -1],
                [ 2,  3]])
    """
    listed = [list(row) for row in rows]
    width = max(map(len, listed)) if length is None else length
    return torch.tensor([row + [filling] * (width - len(row)) for row in listed], dtype=torch.long)


def filled(cloze: Cloze, tokens: Sequence[int]) -> Cloze:
    """A cloze with its masks filled in."""
    ids = list(cloze.input_ids)
    for place, token in zip(cloze.slots, tokens, strict=True):
        ids[place] = token
    return Cloze(ids, cloze.token_type_ids, cloze.slots, cloze.field_numbers)


def special_tokens_around(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """The special tokens that a tokenizer puts before and after a single text.

    Example:
        >>> from transformers import BertTokenizer
        >>> tokenizer = BertTokenizer(vocab={"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "a": 5})
        >>> special_tokens_around(tokenizer)
        ([2], [3])
    """
    encoding = tokenizer("a", return_special_tokens_mask=True)
    ids, special = encoding["input_ids"], encoding["special_tokens_mask"]
    first = special.index(0)
    last = len(ids) - special[::-1].index(0)
    return ids[:first], ids[last:]


def cut_longest(lengths: Mapping[int, int], budget: int) -> dict[int, int]:
    """How many tokens each field keeps when the longest fields are cut first.

    Args:
        lengths: tokens of each field.
        budget: tokens that all fields together may keep, not negative.

    Returns:
        Tokens that each field keeps; fields shorter than the cut keep all, and earlier fields get the odd tokens.

    Example:
        >>> cut_longest({0: 10, 1: 3, 2: 9}, 14)
        {0: 6, 1: 3, 2: 5}
    """
    level, left = 0, budget
    while (growing := [number for number, length in lengths.items() if length > level]) and len(growing) <= left:
        level, left = level + 1, left - len(growing)
    odd = set(sorted(growing)[:left])
    return {number: min(length, level + (number in odd)) for number, length in lengths.items()}
