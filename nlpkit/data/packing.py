"""Packing of tokenised documents into rows of one length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray


def pack(
    documents: Iterable[Sequence[int]], block_size: int, cls_id: int | None, sep_id: int | None
) -> Iterator[NDArray[np.int32]]:
    """Join documents with ``[SEP]`` and cut the stream into rows, each with ``[CLS]`` in front.

    Nothing is lost or padded: what does not fit a row begins the next one, and only the last row may be shorter.
    Tokens are never split, so with word tokens no word is.

    Args:
        documents: token ids without special tokens; empty documents are skipped.
        block_size: tokens per row, ``[CLS]`` included.
        cls_id: id of ``[CLS]``; ``None`` for a vocabulary that has none, such as T5's.
        sep_id: id of ``[SEP]``, put after each document; ``None`` likewise.

    Returns:
        Rows of shape ``(block_size,)``, the last one ``(<= block_size,)``.

    Raises:
        ValueError: ``block_size`` leaves no room for text.

    Example:
        >>> [row.tolist() for row in pack([[11, 12, 13], [14]], block_size=4, cls_id=2, sep_id=3)]
        [[2, 11, 12, 13], [2, 3, 14, 3]]
    """
    first, last = ([] if special is None else [special] for special in (cls_id, sep_id))
    least = 1 + len(first) + len(last)
    if block_size < least:
        needed = "[CLS], a token and [SEP]" if least == 3 else "a token and what stands beside it"
        raise ValueError(f"block_size must be at least {least}, to hold {needed}; got {block_size}")
    return _cut(documents, block_size - len(first), first, last)


def _cut(
    documents: Iterable[Sequence[int]], room: int, first: list[int], last: list[int]
) -> Iterator[NDArray[np.int32]]:
    waiting: list[int] = []
    for document in documents:
        if not len(document):
            continue
        waiting.extend(document)
        waiting.extend(last)
        full = len(waiting) // room * room
        for start in range(0, full, room):
            yield np.array([*first, *waiting[start : start + room]], dtype=np.int32)
        del waiting[:full]
    if waiting:
        yield np.array([*first, *waiting], dtype=np.int32)
