"""Masks: what they touch, how many there are, and that they depend on the draw alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertTokenizer

from nlpkit.data.masking import MaskedTokenCollator, choose_positions, counter_uniforms
from tests.data.written_corpus import tokenizer

TOKENIZER = tokenizer()
SPECIAL_IDS = set(TOKENIZER.all_special_ids)
VOCABULARY_SIZE = len(TOKENIZER)

row_lists = st.lists(st.lists(st.integers(0, VOCABULARY_SIZE - 1), min_size=1, max_size=40), min_size=1, max_size=6)


def batch_of(rows, first_draw=0, **settings):
    collate = MaskedTokenCollator(TOKENIZER, **settings)
    return collate([{"input_ids": row, "draw": first_draw + number} for number, row in enumerate(rows)])


def test_uniforms_are_uniform():
    numbers = counter_uniforms(3, 0, np.arange(400), 500)
    assert 0 <= numbers.min() < numbers.max() < 1
    counts, _ = np.histogram(numbers, bins=50, range=(0, 1))
    expected = numbers.size / 50
    # 49 degrees of freedom: the statistic exceeds 110 with probability 1e-6.
    assert ((counts - expected) ** 2 / expected).sum() < 110


def test_uniforms_of_neighbouring_draws_positions_streams_and_seeds_are_uncorrelated():
    numbers = counter_uniforms(3, 0, np.arange(300), 301)
    pairs = {
        "position": (numbers[:, 1:], numbers[:, :-1]),
        "draw": (numbers[1:], numbers[:-1]),
        "stream": (numbers, counter_uniforms(3, 1, np.arange(300), 301)),
        "seed": (numbers, counter_uniforms(4, 0, np.arange(300), 301)),
        "diagonal": (numbers[1:, :-1], numbers[:-1, 1:]),
    }
    for name, (left, right) in pairs.items():
        # Five standard deviations of the correlation of so many independent pairs.
        assert abs(np.corrcoef(left.ravel(), right.ravel())[0, 1]) < 5 / np.sqrt(left.size), name


@given(st.integers(-(2**62), 2**62), st.integers(-(2**62), 2**62), st.integers(1, 30), st.integers(0, 30))
def test_a_number_depends_neither_on_the_other_rows_nor_on_the_length(seed, draw, length, more):
    alone = counter_uniforms(seed, 2, np.array([draw]), length)
    among = counter_uniforms(seed, 2, np.array([5, draw, -1]), length + more)
    assert (alone[0] == among[1, :length]).all()


@given(st.data())
def test_the_chosen_positions_are_the_lowest_scores_among_the_maskable(data):
    rows, length = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 12))
    maskable = np.array(data.draw(st.lists(st.booleans(), min_size=rows * length, max_size=rows * length)))
    maskable = maskable.reshape(rows, length)
    probability = data.draw(st.floats(0.01, 0.99))
    scores = counter_uniforms(data.draw(st.integers(0, 99)), 0, np.arange(rows), length)
    chosen = choose_positions(maskable, probability, scores)
    for row in range(rows):
        candidates = sorted((scores[row, place], place) for place in range(length) if maskable[row, place])
        count = max(1, int(len(candidates) * probability + 0.5))
        assert set(np.flatnonzero(chosen[row])) == {place for _, place in candidates[:count]}


@given(row_lists, st.integers(0, 10**12), st.floats(0.05, 0.95))
def test_only_ordinary_tokens_are_touched_and_each_row_has_its_share(rows, draw, probability):
    batch = batch_of(rows, draw, mask_probability=probability)
    for row, inputs, labels in zip(rows, batch["input_ids"].tolist(), batch["labels"].tolist(), strict=True):
        targets = [place for place, label in enumerate(labels) if label != -100]
        ordinary = sum(token not in SPECIAL_IDS for token in row)
        assert len(targets) == min(ordinary, max(1, int(ordinary * probability + 0.5)))
        for place, token in enumerate(row):
            if place in targets:
                assert labels[place] == token not in SPECIAL_IDS
                assert inputs[place] == TOKENIZER.mask_token_id or inputs[place] not in SPECIAL_IDS
            else:
                assert inputs[place] == token
        assert set(inputs[len(row) :]) <= {TOKENIZER.pad_token_id}


def test_targets_are_shown_masked_replaced_and_unchanged_in_the_given_shares():
    rows = np.full((400, 100), 7)
    batch = batch_of(rows, mask_probability=0.5, mask_share=0.6, random_share=0.3)
    shown = batch["input_ids"][batch["labels"] != -100].numpy()
    assert len(shown) == 20_000
    ordinary = VOCABULARY_SIZE - len(SPECIAL_IDS)
    # A random replacement may be the token itself.
    for share, found in [
        (0.6, shown == TOKENIZER.mask_token_id),
        (0.1 + 0.3 / ordinary, shown == 7),
    ]:
        assert abs(found.mean() - share) < 5 * np.sqrt(share * (1 - share) / len(shown))
    replaced = shown[(shown != TOKENIZER.mask_token_id) & (shown != 7)]
    counts = np.bincount(replaced, minlength=VOCABULARY_SIZE)
    drawable = [token for token in range(VOCABULARY_SIZE) if token not in SPECIAL_IDS | {7}]
    assert (counts[list(SPECIAL_IDS)] == 0).all()
    expected = len(replaced) / len(drawable)
    assert (np.abs(counts[drawable] - expected) < 6 * np.sqrt(expected)).all()


def test_the_mask_of_a_row_depends_on_its_draw_alone():
    rows = [{"input_ids": list(range(5, 45)), "draw": draw} for draw in range(8)]
    collate = MaskedTokenCollator(TOKENIZER, seed=3)
    together = collate(rows)
    backwards = collate(rows[::-1])
    torch.manual_seed(1)
    for number, row in enumerate(rows):
        alone = collate([row])
        for name in ("input_ids", "labels"):
            assert torch.equal(alone[name][0], together[name][number])
            assert torch.equal(alone[name][0], backwards[name][-1 - number])
    assert len({tuple(row) for row in together["labels"].tolist()}) == 8
    assert not torch.equal(together["labels"], MaskedTokenCollator(TOKENIZER, seed=4)(rows)["labels"])


def test_padding_changes_no_mask():
    short, long = list(range(5, 15)), list(range(5, 40))
    alone, padded = batch_of([short]), batch_of([short, long])
    assert torch.equal(padded["input_ids"][0, :10], alone["input_ids"][0])
    assert torch.equal(padded["labels"][0, :10], alone["labels"][0])
    assert padded["attention_mask"].sum(dim=1).tolist() == [10, 35]
    assert "attention_mask" not in alone


def test_rows_without_a_draw_follow_torchs_generator():
    collate = MaskedTokenCollator(TOKENIZER)
    rows = [{"input_ids": list(range(5, 45))} for _ in range(2)]
    torch.manual_seed(5)
    first, second = collate(rows)["labels"], collate(rows)["labels"]
    torch.manual_seed(5)
    assert torch.equal(first, collate(rows)["labels"])
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])


def test_the_domain_is_handed_on():
    batch = MaskedTokenCollator(TOKENIZER)([{"input_ids": [5, 6], "domain": 4}, {"input_ids": [7, 8], "domain": 0}])
    assert batch["domain"].tolist() == [4, 0]


@pytest.mark.parametrize("probability", [0.0, 1.0, -0.1])
def test_a_mask_probability_out_of_range_is_refused(probability):
    with pytest.raises(ValueError, match="mask_probability must lie between 0 and 1"):
        MaskedTokenCollator(TOKENIZER, mask_probability=probability)


@pytest.mark.parametrize("shares", [(-0.1, 0.1), (0.8, -0.1), (0.8, 0.3)])
def test_shares_that_make_no_sense_are_refused(shares):
    with pytest.raises(ValueError, match="mask_share and random_share must not be negative, nor their sum above 1"):
        MaskedTokenCollator(TOKENIZER, mask_share=shares[0], random_share=shares[1])


def test_a_tokenizer_without_a_mask_token_is_refused():
    unable = BertTokenizer(vocab={"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "好": 5})
    unable.mask_token = None
    with pytest.raises(ValueError, match="the tokenizer has no mask_token_id"):
        MaskedTokenCollator(unable)


@pytest.mark.parametrize("token", [-1, VOCABULARY_SIZE])
def test_ids_of_another_tokenizer_are_refused(token):
    with pytest.raises(ValueError, match=f"but the tokenizer knows ids 0 to {VOCABULARY_SIZE - 1}"):
        MaskedTokenCollator(TOKENIZER)([{"input_ids": [5, token]}])
