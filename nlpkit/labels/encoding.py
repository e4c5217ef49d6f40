"""Texts as tokens that know where they stand, within the room of a model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from transformers import BatchEncoding

logger = logging.getLogger(__name__)


def tokenize(tokenizer: Any, *texts: Sequence[str], **settings: Any) -> BatchEncoding:
    """Call a tokenizer; where it fails on half of a surrogate pair, the error shows the text.

    Args:
        tokenizer: of transformers.
        *texts: rows, or first and second texts of rows.
        **settings: of its call.

    Raises:
        ValueError: a text holds half of a surrogate pair.
    """
    try:
        encoded: BatchEncoding = tokenizer(*(list(rows) for rows in texts), **settings)
    except Exception:
        for rows in texts:
            for text in rows:
                if any("\ud800" <= character <= "\udfff" for character in text):
                    raise ValueError(
                        f"a text holds half of a surrogate pair, which no file can hold: {text[:30]!r}; repair it, or "
                        "drop it: text.encode('utf-8', 'ignore').decode()"
                    ) from None
        raise
    return encoded


def encode_with_offsets(
    tokenizer: Any,
    texts: Sequence[str],
    max_length: int,
    overlong: Literal["refuse", "truncate"],
    cut_by: str,
    **settings: Any,
) -> BatchEncoding:
    """Tokenize texts, each token with the characters that it covers.

    Args:
        tokenizer: of transformers, one that knows offsets.
        texts: one row each.
        max_length: tokens of a row, special ones included.
        overlong: whether longer texts are refused, or lose their ends with a warning.
        cut_by: what cuts longer texts without loss, for the message.
        **settings: further ones of the tokenizer's call.

    Returns:
        Rows of different lengths, with ``offset_mapping`` and ``attention_mask``.

    Raises:
        ValueError: a text is too long, or holds half of a surrogate pair.
    """
    settings = {"return_offsets_mapping": True, "return_attention_mask": True, **settings}
    encoded = tokenize(tokenizer, texts, truncation=False, verbose=False, **settings)
    lengths = [len(row) for row in encoded["input_ids"]]
    longer = [index for index, length in enumerate(lengths) if length > max_length]
    if not longer:
        return encoded
    if overlong == "refuse":
        raise ValueError(
            f"text {longer[0]} of the batch has {lengths[longer[0]]} tokens, max_length is {max_length}; cut it with "
            f"{cut_by}, or drop its end with overlong='truncate'"
        )
    logger.warning("%d of %d texts exceed %d tokens; cut off", len(longer), len(texts), max_length)
    cut: BatchEncoding = tokenizer(list(texts), truncation=True, max_length=max_length, **settings)
    return cut
