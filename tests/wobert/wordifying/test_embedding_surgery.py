from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers
from transformers import BertTokenizer, TokenizersBackend

from nlpkit.wobert.wordifying.embedding_surgery import find_pieces, find_weights, log_unigram, mean_rows, select_layers

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def numbered(tokens: list[str]) -> dict[str, int]:
    return {token: number for number, token in enumerate(tokens)}


def wordpiece(*tokens: str) -> BertTokenizer:
    return BertTokenizer(vocab=numbered([*SPECIAL, *tokens]))


def backend(tokenizer: Tokenizer) -> TokenizersBackend:
    tokenizer.add_special_tokens([AddedToken(name) for name in ("<s>", "<pad>", "</s>", "<unk>", "<mask>")])
    return TokenizersBackend(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        cls_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        sep_token="</s>",
        unk_token="<unk>",
        mask_token="<mask>",
    )


def sentencepiece(*tokens: str) -> TokenizersBackend:
    scored = [(name, 0.0) for name in ("<s>", "<pad>", "</s>", "<unk>", "<mask>")]
    # Long pieces score best, so that cutting prefers them.
    scored += [(token, len(token) - 20.0) for token in tokens]
    tokenizer = Tokenizer(models.Unigram(scored, unk_id=3))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return backend(tokenizer)


def byte_level(*merges: tuple[str, str]) -> TokenizersBackend:
    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(pair) for pair in merges)]
    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *tokens]
    tokenizer = Tokenizer(models.BPE(numbered(names), list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return backend(tokenizer)


def names_of(tokenizer: TokenizersBackend, *words: str) -> list[list[str]]:
    pieces = find_pieces(numbered([*SPECIAL, *words]), tokenizer)
    return [tokenizer.convert_ids_to_tokens(list(row)) for row in pieces[len(SPECIAL) :]]


@pytest.mark.parametrize("source", [wordpiece("天"), sentencepiece("▁", "天"), byte_level()])
def test_special_tokens_correspond_by_role(source: TokenizersBackend) -> None:
    roles = [source.pad_token_id, source.unk_token_id, source.cls_token_id, source.sep_token_id, source.mask_token_id]
    assert find_pieces(numbered(SPECIAL), source) == [(role,) for role in roles]


def test_rows_follow_the_new_ids_whatever_the_order_of_the_dictionary() -> None:
    source = wordpiece("天", "气")
    vocabulary = {"天气": 6, "气": 5} | numbered(SPECIAL)
    assert find_pieces(vocabulary, source) == [(0,), (1,), (2,), (3,), (4,), (6,), (5, 6)]


@pytest.mark.parametrize(
    ("word", "pieces"),
    [
        ("天气", ["天", "气"]),
        ("天", ["天"]),
        ("##天", ["天"]),
        ("flying", ["fly", "##ing"]),
        ("##ing", ["##ing"]),
        ("##flying", ["##fly", "##ing"]),
        ("##oning", ["on", "##ing"]),
        ("[unused1]", ["[unused1]"]),
        ("##", ["#", "#"]),
        ("龘", ["[UNK]"]),
        ("天龘气", ["天", "气"]),
    ],
)
def test_pieces_of_a_wordpiece_source(word: str, pieces: list[str]) -> None:
    source = wordpiece("天", "气", "fly", "##fly", "##ing", "on", "#", "[unused1]")
    assert names_of(source, word) == [pieces]


@pytest.mark.parametrize(
    ("word", "pieces"),
    [
        ("酒店", ["酒店"]),
        ("中国", ["中国"]),  # Chinese is written without spaces
        ("上海", ["上海"]),  # cut as ▁上海, though the bare piece exists
        ("北京", ["▁北京"]),
        ("酒店服务", ["酒店", "服务"]),
        ("hello", ["▁hello"]),
        ("world", ["world"]),
        ("worldly", ["world", "ly"]),  # cut as ▁ world ly: a bare mark is no piece
        ("##ly", ["ly"]),
        ("##lyly", ["ly", "ly"]),
        ("，", [","]),  # the source normalises it
        ("2", ["2"]),
        ("龘", ["<unk>"]),  # not the bare mark before it
        ("酒店龘", ["酒店"]),
    ],
)
def test_pieces_of_a_sentencepiece_source(word: str, pieces: list[str]) -> None:
    source = sentencepiece(
        "▁",
        "酒店",
        "服务",
        "中国",
        "▁中国",
        "上海",
        "▁上海",
        "▁北京",
        "▁hello",
        "hello",
        "world",
        "ly",
        ",",
        "2",
        "▁2",
    )
    assert names_of(source, word) == [pieces]


def test_pieces_of_a_byte_level_source() -> None:
    source = byte_level(("l", "y"), ("Ġ", "a"), ("Ġa", "ly"), ("ä", "¸"), ("ä¸", "Ń"))
    assert names_of(source, "aly", "##ly", "中", "Ń") == [["Ġaly"], ["ly"], ["ä¸Ń"], ["Å", "ĥ"]]


def test_pieces_know_only_the_source_vocabulary_of_a_word_model(small_vocabulary: dict[str, int]) -> None:
    from nlpkit import WoBertTokenizer

    source = WoBertTokenizer(small_vocabulary)
    assert find_pieces(small_vocabulary, source) == [(number,) for number in range(len(small_vocabulary))]


rows = st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=20), min_size=1, max_size=8)


@given(pieces=rows, seed=st.integers(0, 99), dimensions=st.sampled_from([(), (5,)]))
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_mean_rows_are_numpys_means_bit_for_bit(
    dtype: torch.dtype, pieces: list[list[int]], seed: int, dimensions: tuple[int, ...]
) -> None:
    matrix = torch.randn(7, *dimensions, generator=torch.Generator().manual_seed(seed)).to(dtype)
    table = matrix.float().numpy()
    total = np.zeros((len(pieces), *dimensions), np.float32)
    for number, row in enumerate(pieces):
        total[number] = table[row[0]]
        for piece in row[1:]:
            total[number] = total[number] + table[piece]
        total[number] = total[number] / np.float32(len(row))
    expected = torch.from_numpy(total).to(dtype)
    assert torch.equal(mean_rows(matrix, [tuple(row) for row in pieces]), expected)


@given(pieces=rows, seed=st.integers(0, 99))
def test_weighted_rows_are_numpys_weighted_averages(pieces: list[list[int]], seed: int) -> None:
    generator = np.random.default_rng(seed)
    matrix = generator.normal(size=(7, 3))
    weights = [tuple(generator.uniform(0.1, 1, len(row))) for row in pieces]
    expected = [np.average(matrix[row], axis=0, weights=weight) for row, weight in zip(pieces, weights, strict=True)]
    found = mean_rows(torch.from_numpy(matrix), [tuple(row) for row in pieces], weights)
    np.testing.assert_allclose(found.numpy(), np.stack(expected), rtol=1e-12, atol=1e-12)


def test_a_row_of_one_piece_keeps_every_bit() -> None:
    matrix = torch.tensor([[-0.0, 1e-45], [float("inf"), 65504.0], [1 + 2**-52, 1 / 3]], dtype=torch.float64)
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        source = matrix.to(dtype)
        kept = mean_rows(source, [(2,), (0,), (1,), (0, 1)])[:3]
        assert kept.dtype == dtype
        assert kept.view(torch.uint8).equal(source[[2, 0, 1]].view(torch.uint8))


def test_equal_weights_are_no_weights() -> None:
    matrix = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    pieces = [(0, 1, 2), (3,), (4, 4)]
    assert torch.equal(mean_rows(matrix, pieces, [(1, 1, 1), (1,), (1, 1)]), mean_rows(matrix, pieces))


def test_weights_are_asked_for_words_of_several_pieces_only() -> None:
    source = wordpiece("天", "气")
    vocabulary = numbered([*SPECIAL, "天气", "气"])
    asked = []

    def by_position(word: str, pieces: list[str]) -> list[float]:
        asked.append((word, pieces))
        return [2.0, 0.0]

    weights = find_weights(vocabulary, find_pieces(vocabulary, source), source, by_position)
    assert asked == [("天气", ["天", "气"])]
    assert weights == [(1.0,)] * 5 + [(2.0, 0.0), (1.0,)]


@pytest.mark.parametrize(
    ("given_weights", "message"),
    [
        ([1.0], r"1 weights for '天气', whose pieces are \['天', '气'\]; give one a piece"),
        ([0.0, 0.0], r"\[0.0, 0.0\] for '天气'; weights must be finite, not negative and not all 0"),
        ([2.0, -1.0], "not negative"),
        ([math.nan, 1.0], "finite"),
    ],
)
def test_impossible_weights_are_refused(given_weights: list[float], message: str) -> None:
    source = wordpiece("天", "气")
    vocabulary = numbered([*SPECIAL, "天气"])
    with pytest.raises(ValueError, match=message):
        find_weights(vocabulary, find_pieces(vocabulary, source), source, lambda word, pieces: given_weights)


@given(counts=st.dictionaries(st.sampled_from("abcdexyz"), st.integers(0, 1000)))
def test_log_unigram_is_a_smoothed_distribution(counts: dict[str, int]) -> None:
    vocabulary = numbered(list("abcde"))
    known = {token: counts.get(token, 0) for token in vocabulary}
    if not any(known.values()):
        with pytest.raises(ValueError, match="token_counts counts no token of the vocabulary"):
            log_unigram(counts, vocabulary)
        return
    probabilities = log_unigram(counts, vocabulary).exp()
    assert math.isclose(probabilities.sum().item(), 1)
    for token, number in vocabulary.items():
        assert math.isclose(probabilities[number].item(), (known[token] + 1) / (sum(known.values()) + 5))


def test_negative_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="token_counts has -1 for 'a'; counts cannot be negative"):
        log_unigram({"a": -1, "b": 4}, {"a": 0, "b": 1})


def test_selected_layers_are_renumbered_in_order() -> None:
    state = {f"bert.encoder.layer.{layer}.w": torch.tensor(layer) for layer in range(12)} | {
        "layers.3.w": torch.ones(1)
    }
    selected = select_layers(state, (0, 4, 11), "bert.encoder.layer")
    assert [(name, tensor.item()) for name, tensor in selected.items()] == [
        ("bert.encoder.layer.0.w", 0),
        ("bert.encoder.layer.1.w", 4),
        ("bert.encoder.layer.2.w", 11),
        ("layers.3.w", 1),
    ]
