"""Rows from a donor: the pursuit against its reference, and the words it gives a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertConfig, BertModel, BertTokenizer

from nlpkit.wobert import WoBertConfig, WoBertModel, WoBertTokenizer, orthogonal_matching_pursuit, wordify
from tests.reference import matching_pursuit as reference

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CHARACTERS = ["今", "天", "气", "不", "错", "很", "好"]
WORDS = [*SPECIAL, *CHARACTERS, "今天", "天气", "不错"]


@pytest.mark.parametrize("size", [1.0, 1e-25, 1e20])
def test_a_row_is_as_near_as_its_direction_whatever_its_size(size: float) -> None:
    dictionary = torch.tensor([[1.0, 0.0], [0.6 * size, 0.8 * size]])
    chosen, coefficients = orthogonal_matching_pursuit(dictionary, torch.tensor([[3.0, 4.0]]), 1)
    assert chosen.tolist() == [[1]]
    torch.testing.assert_close(coefficients * size, torch.tensor([[5.0]]))


@given(seed=st.integers(0, 10_000), rows=st.integers(4, 9), hidden=st.integers(3, 6), sparsity=st.integers(1, 3))
def test_the_pursuit_equals_the_reference(seed: int, rows: int, hidden: int, sparsity: int) -> None:
    generator = np.random.default_rng(seed)
    dictionary, targets = generator.normal(size=(rows, hidden)), generator.normal(size=(5, hidden))
    chosen, coefficients = orthogonal_matching_pursuit(torch.tensor(dictionary), torch.tensor(targets), sparsity)
    for row, target in enumerate(targets):
        expected, weights = reference.combine(dictionary, target, sparsity)
        assert chosen[row].tolist() == expected
        assert np.allclose(coefficients[row].numpy(), weights, rtol=1e-8, atol=1e-9)


def test_a_sparse_combination_of_orthogonal_rows_is_recovered() -> None:
    torch.manual_seed(0)
    dictionary = torch.linalg.qr(torch.randn(32, 32, dtype=torch.float64))[0] * torch.arange(1, 33)[:, None]
    places, coefficients = [3, 17, 30], [2.0, -1.5, 0.25]
    target = sum(c * dictionary[p] for p, c in zip(places, coefficients, strict=True))
    chosen, found = orthogonal_matching_pursuit(dictionary, target[None], 5)  # type: ignore[index]
    weights = torch.zeros(32, dtype=torch.float64).index_add(0, chosen[0], found[0])
    expected = torch.zeros(32, dtype=torch.float64)
    expected[places] = torch.tensor(coefficients, dtype=torch.float64)
    assert len(set(chosen[0].tolist())) == 5, "no row is taken twice, though nothing is left to explain"
    torch.testing.assert_close(weights, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("sparsity", [0, 4])
def test_impossible_sparsity_is_refused(sparsity: int) -> None:
    with pytest.raises(ValueError, match=rf"sparsity={sparsity} must be from 1 to 3"):
        orthogonal_matching_pursuit(torch.eye(3), torch.ones(1, 3), sparsity)


def small_model() -> tuple[BertModel, BertTokenizer]:
    torch.manual_seed(0)
    tokens = [*SPECIAL, *CHARACTERS]
    config = BertConfig(
        vocab_size=len(tokens), hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    return BertModel(config, add_pooling_layer=False), BertTokenizer(vocab={t: n for n, t in enumerate(tokens)})


def donor_that_knows(words: list[str]) -> tuple[WoBertModel, WoBertTokenizer]:
    """A donor whose rows of words are twice the first character less half the last."""
    vocabulary = {token: number for number, token in enumerate([*SPECIAL, *CHARACTERS, *words])}
    config = WoBertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    donor = WoBertModel(config)
    rows = donor.get_input_embeddings().weight.detach()
    rows[: len(SPECIAL) + len(CHARACTERS)] = torch.eye(16)[: len(SPECIAL) + len(CHARACTERS)]
    for word in words:
        rows[vocabulary[word]] = 2 * rows[vocabulary[word[0]]] - 0.5 * rows[vocabulary[word[-1]]]
    return donor, WoBertTokenizer(vocabulary)


def test_words_that_the_donor_knows_become_its_combinations_and_others_means() -> None:
    model, tokenizer = small_model()
    words = wordify(model, tokenizer, WORDS, donor=donor_that_knows(["今天", "天气"]), show_progress=False)
    rows, ids = words.model.get_input_embeddings().weight.double(), words.tokenizer.get_vocab()
    for word in ("今天", "天气"):
        expected = 2 * rows[ids[word[0]]] - 0.5 * rows[ids[word[1]]]
        torch.testing.assert_close(rows[ids[word]], expected, rtol=0, atol=1e-4)
    plain = wordify(model, tokenizer, WORDS).model.get_input_embeddings().weight
    assert torch.equal(words.model.get_input_embeddings().weight[ids["不错"]], plain[ids["不错"]])
    kept = len(SPECIAL) + len(CHARACTERS)
    assert torch.equal(words.model.get_input_embeddings().weight[:kept], plain[:kept])
    assert words.report.donor_rows == 2
    assert "3 new (means of their pieces, 2 from the donor)" in str(words.report)


def test_a_donor_may_be_a_folder(tmp_path: Path) -> None:
    donor = donor_that_knows(["今天"])
    for part in donor:
        part.save_pretrained(tmp_path)
    model, tokenizer = small_model()
    found, given_ = (
        wordify(model, tokenizer, WORDS, donor=source, show_progress=False).model.get_input_embeddings().weight
        for source in (tmp_path, donor)
    )
    assert torch.equal(found, given_)


def test_a_donor_that_knows_no_new_word_is_refused() -> None:
    model, tokenizer = small_model()
    donor: Any = donor_that_knows([])
    with pytest.raises(ValueError, match="the donor knows 0 of the new words and shares 11 tokens with the model"):
        wordify(model, tokenizer, WORDS, donor=donor)
