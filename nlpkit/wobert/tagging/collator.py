"""Batches for tagging characters: texts with a label a character, or with spans."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch

from nlpkit.batches import refuse_no_rows
from nlpkit.labels.alignment import UNCOVERED, map_characters
from nlpkit.labels.cutting import cut_places
from nlpkit.labels.encoding import encode_with_offsets
from nlpkit.labels.spans import Span, spans_to_bio

if TYPE_CHECKING:
    from transformers import BatchEncoding

    from nlpkit.wobert.tokenizing.tokenizer import WoBertTokenizer

Example = Mapping[str, Any]
_IGNORED = -100


def character_labels(example: Example) -> list[str] | None:
    """Read the labels of an example, one a character.

    Args:
        example: ``text``; and ``labels`` (a sequence of strings, one a character), or ``spans`` (triples of start,
            end and type, or mappings with ``start``, ``end`` and ``label``, as ``datasets`` can hold), or neither.

    Returns:
        The labels, BIO where they come from spans; ``None`` where there are neither.

    Raises:
        TypeError: ``text`` is not a string.
        ValueError: there are both, or not as many labels as characters, or a span does not fit.

    Example:
        >>> character_labels({"text": "在北京", "spans": [(1, 3, "LOC")]})
        ['O', 'B-LOC', 'I-LOC']
    """
    text = example.get("text")
    if not isinstance(text, str):
        raise TypeError(f"an example needs a string as its 'text', not {type(text).__name__}")
    labels, spans = example.get("labels"), example.get("spans")
    if labels is not None and spans is not None:
        raise ValueError("an example has both 'labels' and 'spans'; give one")
    if spans is not None:
        found = [Span(**span) if isinstance(span, Mapping) else Span(*span) for span in spans]
        return spans_to_bio(found, len(text))
    if labels is not None and len(labels) != len(text):
        raise ValueError(f"{len(labels)} labels for {len(text)} characters; white space counts")
    return None if labels is None else list(labels)


class CharacterTaggingCollator:
    """Make padded batches for ``WoBertForCharacterClassification`` from texts.

    Args:
        tokenizer: the word tokenizer of the model.
        label2id: label to class id, as in the model's configuration.
        max_length: tokens a text may have, special tokens included.
        overlong: what to do with longer texts. ``"refuse"`` raises an error; ``"truncate"`` drops the tokens beyond,
            leaves their characters without a token and without a label, and logs how many texts were cut. To lose
            nothing, cut the texts beforehand with ``split_long_example``.

    Raises:
        ValueError: ``overlong`` is neither of the two.

    Note:
        Characters in no token (white space, dropped control characters) get -1 in ``character_to_token`` and -100 in
        ``labels``.

    Example:
        >>> from nlpkit import WoBertTokenizer
        >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "天气", "天", "气", "好"]
        >>> tokenizer = WoBertTokenizer(vocab={word: index for index, word in enumerate(words)})
        >>> collator = CharacterTaggingCollator(tokenizer, {"O": 0, "B-X": 1, "I-X": 2})
        >>> batch = collator([{"text": "天气 好", "spans": [(0, 2, "X")]}])
        >>> batch["character_to_token"].tolist(), batch["character_ids"].tolist(), batch["labels"].tolist()
        ([[1, 1, -1, 2]], [[6, 7, 0, 8]], [[1, 2, -100, 0]])
    """

    def __init__(
        self,
        tokenizer: WoBertTokenizer,
        label2id: Mapping[str, int],
        *,
        max_length: int = 512,
        overlong: Literal["refuse", "truncate"] = "refuse",
    ) -> None:
        if overlong not in ("refuse", "truncate"):
            raise ValueError(f"overlong={overlong!r} is unknown; use 'refuse' or 'truncate'")
        self.tokenizer, self.label2id = tokenizer, dict(label2id)
        self.max_length, self.overlong = max_length, overlong
        self._character_ids: dict[str, int] = {}

    def __call__(self, examples: Sequence[Example]) -> BatchEncoding:
        """Tokenize, align and pad.

        Args:
            examples: as ``character_labels`` reads them; all with labels, or none.

        Returns:
            ``input_ids`` and ``attention_mask`` of shape ``(batch, tokens)``; ``character_to_token``,
            ``character_ids`` and, where the examples have labels, ``labels`` of shape ``(batch, characters)``.

        Raises:
            ValueError: there are no examples, a text is too long, a label is unknown, or only some have labels.
        """
        refuse_no_rows(examples)
        labels = [character_labels(example) for example in examples]
        texts = [example["text"] for example in examples]
        encoded = encode_with_offsets(
            self.tokenizer, texts, self.max_length, self.overlong, "split_long_example", return_token_type_ids=False
        )
        tokens = [
            map_characters(offsets, len(text)).tolist()
            for offsets, text in zip(encoded.pop("offset_mapping"), texts, strict=True)
        ]
        batch = self.tokenizer.pad(encoded, padding_side="right", return_tensors="pt")
        batch["character_to_token"] = _pad(tokens, UNCOVERED)
        batch["character_ids"] = _pad(self._ids_of_characters(texts), self.tokenizer.pad_token_id)
        if any(row is not None for row in labels):
            batch["labels"] = _pad(self._class_ids(labels, tokens), _IGNORED)
        return batch

    def _ids_of_characters(self, texts: Iterable[str]) -> list[list[int]]:
        known = self._character_ids
        texts = list(texts)
        new = sorted(set().union(*texts) - known.keys())
        if new:
            rows = self.tokenizer(new, add_special_tokens=False)["input_ids"]
            empty, unknown = self.tokenizer.pad_token_id, self.tokenizer.unk_token_id
            for character, row in zip(new, rows, strict=True):
                known[character] = row[0] if len(row) == 1 else unknown if row else empty
        return [[known[character] for character in text] for text in texts]

    def _class_ids(self, labels: list[list[str] | None], tokens: list[list[int]]) -> list[list[int]]:
        rows = []
        for index, (names, covering) in enumerate(zip(labels, tokens, strict=True)):
            if names is None:
                raise ValueError(f"example {index} has no labels, others have; give all or none")
            unknown = sorted(set(names) - self.label2id.keys())
            if unknown:
                raise ValueError(
                    f"example {index} has label {unknown[0]!r}; label2id knows {', '.join(self.label2id)}"
                )
            rows.append(
                [
                    _IGNORED if token == UNCOVERED else self.label2id[name]
                    for name, token in zip(names, covering, strict=True)
                ]
            )
        return rows


def split_long_example(example: Example, tokenizer: WoBertTokenizer, max_length: int) -> list[dict[str, Any]]:
    """Cut a text that is too long into pieces that fit, never inside a span.

    Args:
        example: as ``character_labels`` reads it; labels other than BIO may be cut anywhere.
        tokenizer: the word tokenizer of the model.
        max_length: tokens a piece may have, special tokens included.

    Returns:
        Pieces with ``text`` and, if the example has any, ``labels``; joined they are the whole again. They end after
        a sentence where one ends in the second half of a piece, else between two tokens; within a token only where
        spans leave no other place.

    Raises:
        ValueError: a span is too long to fit, or ``max_length`` leaves no room for text.

    Note:
        Linear in the length of the text.
    """
    labels = character_labels(example)
    text = example["text"]
    budget = max_length - tokenizer.num_special_tokens_to_add()
    if budget < 1:
        raise ValueError(f"max_length={max_length} leaves no room for text beside the special tokens")
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)["offset_mapping"]
    if len(offsets) <= budget:
        return [{"text": text} if labels is None else {"text": text, "labels": labels}]
    joined = {index for index, label in enumerate(labels or []) if label.startswith("I-")}
    cuts = cut_places(text, offsets, budget, joined)
    pieces: list[dict[str, Any]] = []
    for start, end in zip(cuts, [*cuts[1:], len(text)], strict=True):
        piece: dict[str, Any] = {"text": text[start:end]}
        if labels is not None:
            piece["labels"] = labels[start:end]
        # By itself a piece may be segmented otherwise than in its context, and then have a token too many.
        pieces += split_long_example(piece, tokenizer, max_length)
    return pieces


def _pad(rows: list[list[int]], value: int) -> torch.Tensor:
    width = max((len(row) for row in rows), default=0)
    padded = [row + [value] * (width - len(row)) for row in rows]
    return torch.tensor(padded, dtype=torch.long).reshape(len(rows), width)
