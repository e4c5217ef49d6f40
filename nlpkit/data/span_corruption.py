"""Spans taken out of a text and written in their order: T5's objective, as a function of a row's number and a seed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from nlpkit.batches import refuse_no_rows
from nlpkit.data.masking import counter_uniforms

_SENTINEL = re.compile(r"<extra_id_(\d+)>")


class Corrupted(NamedTuple):
    """A row taken apart, without what ends a sequence."""

    source: NDArray[np.int64]  #: what was left, with a sentinel for each span
    target: NDArray[np.int64]  #: each span behind its sentinel


class SpanCounts(NamedTuple):
    """How much of a row is taken out."""

    tokens: int  #: in all spans together
    spans: int


def span_counts(length: int, share: float = 0.15, mean_length: float = 3.0) -> SpanCounts:
    """How many tokens of a row are taken out, in how many spans: the nearest numbers, at least one of each.

    Args:
        length: tokens of the row, at least 1.
        share: of the tokens to take out.
        mean_length: tokens of a span.

    Example:
        >>> span_counts(141)
        SpanCounts(tokens=21, spans=7)
    """
    tokens = min(max(int(length * share + 0.5), 1), length)
    # Between two spans a token stays, or they would be one.
    return SpanCounts(tokens, min(max(int(tokens / mean_length + 0.5), 1), length - tokens + 1))


def choose_spans(length: int, counts: SpanCounts, scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Choose spans at random: all ways to cut the chosen tokens, and to lay the spans, are equally likely.

    Source: T5 (arXiv 1910.10683), section 3.3.4. In its code a row always begins with a kept token and ends with a
    span; here a span may lie anywhere.

    Args:
        length: tokens of the row.
        counts: as ``span_counts`` gives them.
        scores: random numbers, shape ``(length,)``.

    Returns:
        The tokens to take out, shape ``(length,)``; spans do not touch.
    """
    cuts, kept = scores[: counts.tokens - 1], scores[counts.tokens - 1 :]  # (tokens - 1,), (length - tokens + 1,)
    taken = _parts(cuts, counts.spans - 1)  # (spans,)
    # One more on either side, so that nothing may be kept before the first span and behind the last one.
    left = _parts(kept, counts.spans)  # (spans + 1,)
    left[[0, -1]] -= 1
    lengths = np.empty(2 * counts.spans + 1, dtype=np.int64)
    lengths[::2], lengths[1::2] = left, taken
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)


def _parts(scores: NDArray[np.float64], cuts: int) -> NDArray[np.int64]:
    """Lengths, at least 1, of what so many cuts make of a row with ``len(scores)`` places to cut at."""
    places = np.sort(scores.argsort(kind="stable")[:cuts]) + 1
    return np.diff(np.concatenate([[0], places, [len(scores) + 1]]))


def corrupt_spans(ids: NDArray[Any], chosen: NDArray[np.bool_], sentinels: NDArray[np.int64]) -> Corrupted:
    """Take spans out of a row.

    Args:
        ids: tokens, shape ``(length,)``.
        chosen: those to take out, shape ``(length,)``; neighbours are one span.
        sentinels: their ids in the order of use, at least one per span.

    Returns:
        Source and target. Together they give the row back: put each span in the place of its sentinel.

    Raises:
        ValueError: there are more spans than sentinels.

    Example:
        >>> chosen = np.array([False, True, True, False, True])
        >>> source, target = corrupt_spans(np.array([11, 12, 13, 14, 15]), chosen, np.array([99, 98]))
        >>> source.tolist(), target.tolist()
        ([11, 99, 14, 98], [99, 12, 13, 98, 15])
    """
    begins = chosen & ~np.concatenate([[False], chosen[:-1]])  # (length,)
    spans = int(begins.sum())
    if spans > len(sentinels):
        raise ValueError(f"a row has {spans} spans, but there are {len(sentinels)} sentinels; take out longer spans")
    marked = np.asarray(ids, dtype=np.int64).copy()
    marked[begins] = sentinels[:spans]
    target = np.insert(np.asarray(ids, dtype=np.int64)[chosen], np.flatnonzero(begins[chosen]), sentinels[:spans])
    return Corrupted(marked[~chosen | begins], target)


def longest_row(source_length: int, target_length: int, share: float = 0.15, mean_length: float = 3.0) -> int:
    """Tokens of the longest row whose source and target fit, each with a token that ends it.

    Args:
        source_length: tokens of a source.
        target_length: tokens of a target.
        share: as for ``span_counts``.
        mean_length: likewise.

    Raises:
        ValueError: not even two tokens fit, of which one is taken out; or a share or length that is none.

    Example:
        >>> longest_row(128, 64)
        141
    """
    if not 0 < share < 1 or mean_length < 1:
        raise ValueError(
            f"noise_share must lie between 0 and 1, exclusive, and mean_span_length be at least 1; got {share} and "
            f"{mean_length}"
        )
    for length in range(source_length + target_length, 1, -1):
        tokens, spans = span_counts(length, share, mean_length)
        if length - tokens + spans < source_length and tokens + spans < target_length:
            return length
    raise ValueError(
        f"source_length={source_length} and target_length={target_length} leave no room for a token, a sentinel and "
        "the end of the sequence; both must be at least 3"
    )


def sentinel_ids(tokenizer: PreTrainedTokenizerBase) -> NDArray[np.int64]:
    """Ids of ``<extra_id_0>`` and so on, in the order of their numbers.

    Raises:
        ValueError: the vocabulary has no ``<extra_id_0>``, or leaves a number out.
    """
    names = ((_SENTINEL.fullmatch(token), number) for token, number in tokenizer.get_vocab().items())
    found = {int(match[1]): number for match, number in names if match}
    if not found or sorted(found) != list(range(len(found))):
        raise ValueError(
            f"the tokenizer has {len(found)} sentinels, and they must be <extra_id_0>, <extra_id_1> and so on; take "
            "a tokenizer of T5's kind, see nlpkit.mt5.faithful_tokenizer"
        )
    return np.array([found[number] for number in range(len(found))])


class SpanCorruptionCollator:
    """Batch rows for an encoder-decoder: take spans out of those that have no labels, anew at each draw.

    Source: T5 (arXiv 1910.10683), section 3.3.4.

    Args:
        tokenizer: with sentinels, padding and an end of sequence.
        noise_share: of each row's tokens that are taken out (rounded, at least one).
        mean_span_length: tokens of a span, on average.
        seed: the seed of all spans.

    Raises:
        ValueError: the tokenizer has no sentinels; a share or length that is none.

    Note:
        A row's spans are a function of ``seed`` and the row's ``"draw"``, as the masks of ``MaskedTokenCollator`` are,
        and for the same reason.

    Example:
        >>> from tokenizers import Tokenizer, models
        >>> from transformers import PreTrainedTokenizerFast
        >>> words = ["<pad>", "</s>", "天气", "很", "好", "<extra_id_1>", "<extra_id_0>"]
        >>> backend = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}))
        >>> tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", eos_token="</s>")
        >>> batch = SpanCorruptionCollator(tokenizer)([{"input_ids": [2, 3, 4], "draw": 0}])
        >>> {name: values.tolist() for name, values in batch.items()}
        {'input_ids': [[2, 3, 6, 1]], 'labels': [[6, 4, 1]]}
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        noise_share: float = 0.15,
        mean_span_length: float = 3.0,
        seed: int = 0,
    ) -> None:
        longest_row(3, 3, noise_share, mean_span_length)  # refuses what is out of range
        self.sentinels = sentinel_ids(tokenizer)
        self.pad_id, self.end_id = int(tokenizer.pad_token_id), int(tokenizer.eos_token_id)
        self.noise_share, self.mean_span_length, self.seed = noise_share, mean_span_length, seed

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Corrupt and pad a batch.

        Args:
            rows: each with ``"input_ids"``, and ``"labels"`` if it is a pair, or an integer ``"draw"`` if spans are
                to be taken out of it; an integer ``"domain"`` is handed on.

        Returns:
            ``input_ids`` of shape ``(rows, source)`` and ``labels`` of shape ``(rows, target)``, padded with -100;
            ``attention_mask`` only when sources differ in length.

        Raises:
            ValueError: there are no rows.
        """
        refuse_no_rows(rows)
        pairs = [self._pair(row) for row in rows]
        inputs, present = _padded([source for source, _ in pairs], self.pad_id)
        labels, _ = _padded([target for _, target in pairs], -100)
        batch = {"input_ids": torch.from_numpy(inputs), "labels": torch.from_numpy(labels)}
        if not present.all():
            batch["attention_mask"] = torch.from_numpy(present.astype(np.int64))
        if "domain" in rows[0]:
            batch["domain"] = torch.tensor([row["domain"] for row in rows])
        return batch

    def _pair(self, row: Mapping[str, Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        ids = np.asarray(row["input_ids"], dtype=np.int64)
        if row.get("labels") is not None:
            return ids, np.asarray(row["labels"], dtype=np.int64)
        scores = counter_uniforms(self.seed, 0, np.array([row["draw"]]), len(ids))[0]
        counts = span_counts(len(ids), self.noise_share, self.mean_span_length)
        source, target = corrupt_spans(ids, choose_spans(len(ids), counts, scores), self.sentinels)
        return np.append(source, self.end_id), np.append(target, self.end_id)


def _padded(rows: list[NDArray[np.int64]], value: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Rows padded on the right, and where they are; both ``(rows, length)``."""
    lengths = np.array([len(row) for row in rows])
    present = np.arange(lengths.max())[None, :] < lengths[:, None]
    padded = np.full(present.shape, value, dtype=np.int64)
    padded[present] = np.concatenate(rows)
    return padded, present
