"""Sources and targets as token ids, within the lengths that a model has room for."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

Overlong = Literal["refuse", "truncate"]
#: From here on a tokenizer's limit means that it knows none.
_NO_LIMIT = 1_000_000


class PairEncoding:
    """``[CLS] source [SEP]`` and ``target [SEP]``, whatever brackets stand in the texts themselves.

    Args:
        tokenizer: of a BERT or WoBERT: with a token for the beginning, for the end and for padding.
        max_source_length: tokens of a source, ``[CLS]`` and ``[SEP]`` included; ``None`` means what the tokenizer's
            ``model_max_length`` leaves beside the target, or 448 where it names none.
        max_target_length: tokens of a target, ``[SEP]`` included.
        overlong: what becomes of longer ones. ``"refuse"`` raises an error; ``"truncate"`` drops their ends, those of
            a target with its ``[SEP]``, so that nobody learns to stop there, and logs the first one.

    Raises:
        ValueError: lengths without room for a token, or for more than ``model_max_length`` together; ``overlong`` is
            neither of the two; the tokenizer lacks a token.

    Example:
        >>> from nlpkit import WoBertTokenizer
        >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "天气", "很", "好"]
        >>> encoding = PairEncoding(WoBertTokenizer({word: number for number, word in enumerate(words)}))
        >>> encoding.sources(["天气很好"]), encoding.targets(["好"])
        ([[2, 5, 6, 7, 3]], [[7, 3]])
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_source_length: int | None = None,
        max_target_length: int = 64,
        overlong: Overlong = "refuse",
    ) -> None:
        if overlong not in ("refuse", "truncate"):
            raise ValueError(f"overlong={overlong!r} is unknown; use 'refuse' or 'truncate'")
        for name in ("cls_token", "sep_token", "pad_token"):
            if getattr(tokenizer, name) is None:
                raise ValueError(f"the tokenizer has no {name}; give the tokenizer of a BERT or a WoBERT")
        room = tokenizer.model_max_length if tokenizer.model_max_length < _NO_LIMIT else None
        if max_source_length is None:
            max_source_length = (512 if room is None else room) - max_target_length
        if max_source_length < 3 or max_target_length < 2:
            raise ValueError(
                f"max_source_length={max_source_length} and max_target_length={max_target_length} leave no room for "
                "a token beside [CLS] and [SEP]; give at least 3 and 2"
            )
        if room is not None and max_source_length + max_target_length > room:
            raise ValueError(
                f"max_source_length={max_source_length} and max_target_length={max_target_length} are "
                f"{max_source_length + max_target_length} tokens, and the tokenizer's model_max_length is {room} for "
                "both together; give smaller ones"
            )
        self.tokenizer, self.overlong = tokenizer, overlong
        self.max_source_length, self.max_target_length = max_source_length, max_target_length
        self._told: set[str] = set()

    def sources(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of sources; raises a ``ValueError`` for one that is too long, a ``TypeError`` for no string."""
        start, end = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        rows = self._within(texts, self._ids(texts, "source"), self.max_source_length, 2, "source")
        return [[start, *row, end] for row in rows]

    def targets(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of targets; raises as ``sources`` does."""
        whole = [[*row, self.tokenizer.sep_token_id] for row in self._ids(texts, "target")]
        return self._within(texts, whole, self.max_target_length, 0, "target")

    def _ids(self, texts: Sequence[str], kind: str) -> list[list[int]]:
        for number, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"the {kind} of row {number} must be a string, not {type(text).__name__}: {text!r}")
        if not texts:
            return []
        encoded = self.tokenizer(
            list(texts),
            add_special_tokens=False,
            split_special_tokens=True,  # a "[SEP]" that somebody wrote is text
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        rows: list[list[int]] = encoded["input_ids"]
        return rows

    def _within(
        self, texts: Sequence[str], rows: list[list[int]], length: int, around: int, kind: str
    ) -> list[list[int]]:
        room = length - around
        overlong = [number for number, row in enumerate(rows) if len(row) > room]
        if overlong and self.overlong == "refuse":
            text, tokens = texts[overlong[0]], len(rows[overlong[0]]) + around
            raise ValueError(
                f"the {kind} {text[:20]!r}... has {tokens} tokens, max_{kind}_length is {length}; give a greater one, "
                "shorten the text, or drop its end with overlong='truncate'"
            )
        if overlong and kind not in self._told:
            self._told.add(kind)
            tokens = len(rows[overlong[0]]) + around
            logger.warning("%ss are cut off at %d tokens; the first of them has %d", kind, length, tokens)
        return [row[:room] for row in rows]
