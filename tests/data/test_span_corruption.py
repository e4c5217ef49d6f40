"""Spans against putting them back by hand, their shares, and batches that depend on nothing but a row's number."""

from __future__ import annotations

import pickle
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from nlpkit.data import (
    SpanCorruptionCollator,
    choose_spans,
    corrupt_spans,
    counter_uniforms,
    longest_row,
    sentinel_ids,
    span_counts,
)
from tests.reference.span_corruption import placements, restore


def small_tokenizer(sentinels: int = 20, skipped: int | None = None) -> PreTrainedTokenizerFast:
    words = ["<pad>", "</s>", *(f"w{number}" for number in range(50))]
    words += [f"<extra_id_{number}>" for number in reversed(range(sentinels)) if number != skipped]
    backend = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}))
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", eos_token="</s>")


shapes = st.tuples(st.integers(1, 200), st.floats(0.01, 0.99), st.floats(1.0, 8.0))


@given(shapes, st.integers(0, 2**32))
def test_source_and_target_give_the_row_back(shape: tuple[int, float, float], draw: int) -> None:
    length, share, mean_length = shape
    counts = span_counts(length, share, mean_length)
    chosen = choose_spans(length, counts, counter_uniforms(0, 0, np.array([draw]), length)[0])
    ids = np.arange(length) + 5
    source, target = corrupt_spans(ids, chosen, np.arange(2000, 1000, -1))
    assert restore(source.tolist(), target.tolist(), range(1001, 2001)) == ids.tolist()
    assert int(chosen.sum()) == counts.tokens
    assert len(source) == length - counts.tokens + counts.spans and len(target) == counts.tokens + counts.spans


@given(shapes)
def test_shares_are_right_to_rounding(shape: tuple[int, float, float]) -> None:
    length, share, mean_length = shape
    tokens, spans = span_counts(length, share, mean_length)
    assert tokens == 1 or abs(tokens - length * share) <= 0.5
    assert 1 <= spans <= tokens
    assert spans == 1 or abs(spans - tokens / mean_length) <= 0.5 or spans == length - tokens + 1


@pytest.mark.parametrize(("length", "tokens", "spans"), [(6, 3, 2), (7, 2, 1), (7, 3, 3), (5, 5, 1), (1, 1, 1)])
def test_all_ways_to_take_spans_are_equally_likely(length: int, tokens: int, spans: int) -> None:
    scores = counter_uniforms(3, 0, np.arange(6000), length)
    counts = span_counts(length)._replace(tokens=tokens, spans=spans)
    found = Counter(tuple(choose_spans(length, counts, row).tolist()) for row in scores)
    ways = list(placements(length, tokens, spans))
    assert set(found) == set(ways)
    expected = len(scores) / len(ways)
    assert all(abs(count - expected) < 5 * expected**0.5 for count in found.values())


@given(st.integers(3, 60), st.integers(3, 60), st.floats(0.05, 0.6), st.floats(1.0, 5.0))
def test_the_longest_row_fits_and_a_longer_one_does_not(
    source_length: int, target_length: int, share: float, mean_length: float
) -> None:
    def fits(length: int) -> bool:
        tokens, spans = span_counts(length, share, mean_length)
        return length - tokens + spans + 1 <= source_length and tokens + spans + 1 <= target_length

    length = longest_row(source_length, target_length, share, mean_length)
    assert fits(length) and not any(map(fits, range(length + 1, source_length + target_length + 1)))


@pytest.mark.parametrize(("source", "target"), [(2, 64), (128, 2), (0, 0)])
def test_lengths_that_leave_no_room_are_refused(source: int, target: int) -> None:
    message = f"source_length={source} and target_length={target} leave no room for a token, a sentinel and the end"
    with pytest.raises(ValueError, match=message):
        longest_row(source, target)


@pytest.mark.parametrize(("share", "mean_length"), [(0.0, 3.0), (1.0, 3.0), (0.15, 0.5)])
def test_shares_that_are_none_are_refused(share: float, mean_length: float) -> None:
    with pytest.raises(ValueError, match="noise_share must lie between 0 and 1, exclusive, and mean_span_length"):
        SpanCorruptionCollator(small_tokenizer(), share, mean_length)


def test_more_spans_than_sentinels_are_refused() -> None:
    with pytest.raises(ValueError, match="a row has 2 spans, but there are 1 sentinels; take out longer spans"):
        corrupt_spans(np.arange(3), np.array([True, False, True]), np.array([99]))


def test_a_tokenizer_without_all_sentinels_is_refused() -> None:
    for tokenizer in (small_tokenizer(0), small_tokenizer(5, skipped=3)):
        with pytest.raises(ValueError, match=r"sentinels, and they must be <extra_id_0>, <extra_id_1> and so on"):
            sentinel_ids(tokenizer)


def rows(lengths: list[int]) -> list[dict[str, Any]]:
    generator = np.random.default_rng(0)
    return [{"input_ids": generator.integers(2, 52, length), "draw": number} for number, length in enumerate(lengths)]


def test_a_row_is_corrupted_alike_in_any_batch_and_otherwise_at_another_draw_or_seed() -> None:
    collate = SpanCorruptionCollator(small_tokenizer(), seed=1)
    one, two = rows([40, 25])
    both = collate([one, two])
    alone = pickle.loads(pickle.dumps(collate))([two])
    width = alone["input_ids"].shape[1]
    assert both["input_ids"][1, :width].equal(alone["input_ids"][0])
    assert both["labels"][1][both["labels"][1] != -100].equal(alone["labels"][0])
    others = [collate([two | {"draw": 9}]), SpanCorruptionCollator(small_tokenizer(), seed=2)([two])]
    assert not any(alone["input_ids"].equal(other["input_ids"]) for other in others)


def test_a_batch_is_padded_and_holds_whole_rows() -> None:
    tokenizer = small_tokenizer()
    pair = {"input_ids": [5, 6, 1], "labels": [7, 1], "draw": 7, "domain": 2}
    first = rows([30])[0] | {"domain": 0}
    batch = SpanCorruptionCollator(tokenizer)([first, pair])
    assert batch["domain"].tolist() == [0, 2]
    assert batch["input_ids"][1].tolist()[:3] == [5, 6, 1] and batch["labels"][1].tolist()[:2] == [7, 1]
    assert set(batch["input_ids"][1].tolist()[3:]) == {0} and set(batch["labels"][1].tolist()[2:]) == {-100}
    assert batch["attention_mask"].sum(1).tolist() == [batch["input_ids"].shape[1], 3]
    source, target = batch["input_ids"][0].tolist(), batch["labels"][0].tolist()
    assert source[-1] == target[-1] == 1
    assert restore(source[:-1], target[:-1], sentinel_ids(tokenizer).tolist()) == first["input_ids"].tolist()


def test_rows_of_one_length_come_without_a_mask() -> None:
    assert set(SpanCorruptionCollator(small_tokenizer())(rows([20, 20]))) == {"input_ids", "labels"}
