"""Batches for tagging characters: alignment, padding, long texts, bad input."""

from __future__ import annotations

import logging
import pickle
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlpkit import WoBertTokenizer
from nlpkit.labels.spans import Span, bio_to_spans
from nlpkit.wobert.tagging.collator import CharacterTaggingCollator, character_labels, split_long_example

LABELS = {"O": 0, "B-X": 1, "I-X": 2}
WORDS = ["天气", "今天", "今天天气", "不错", "天", "气", "今", "不", "错", "abc", "##d", "e", "。", "，", "1"]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
TOKENIZER = WoBertTokenizer(vocab={word: index for index, word in enumerate(VOCABULARY)})


def ids(tokens: str) -> list[int]:
    return [VOCABULARY.index(token) for token in tokens.split()]


def test_batch_holds_tokens_characters_and_labels_padded_each_to_its_width() -> None:
    collator = CharacterTaggingCollator(TOKENIZER, LABELS)
    batch = collator(
        [
            {"text": "天气不错", "spans": [(0, 2, "X")]},
            {"text": "Abcd é\x00", "labels": ["B-X", "I-X", "I-X", "I-X", "O", "B-X", "O"]},
        ]
    )
    assert batch["input_ids"].tolist() == [
        ids("[CLS] 天气 不错 [SEP] [PAD]"),
        ids("[CLS] abc ##d e [SEP]"),
    ]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]
    assert batch["character_to_token"].tolist() == [[1, 1, 2, 2, -1, -1, -1], [1, 1, 1, 2, -1, 3, -1]]
    unknown, pad = ids("[UNK] [PAD]")
    assert batch["character_ids"].tolist() == [
        [*ids("天 气 不 错"), pad, pad, pad],
        [unknown, unknown, unknown, unknown, pad, *ids("e"), pad],
    ]
    assert batch["labels"].tolist() == [[1, 2, 0, 0, -100, -100, -100], [1, 2, 2, 2, -100, 1, -100]]
    assert set(batch) == {"input_ids", "attention_mask", "character_to_token", "character_ids", "labels"}


def test_character_that_is_no_single_token_is_unknown_by_itself() -> None:
    jamo = ["ᄒ", "ᅡ", "ᆫ"]
    tokenizer = WoBertTokenizer(vocab={word: index for index, word in enumerate([*VOCABULARY, *jamo])})
    batch = CharacterTaggingCollator(tokenizer, LABELS)([{"text": "한天", "labels": ["O", "B-X"]}])
    assert tokenizer.convert_ids_to_tokens(batch["input_ids"][0]) == ["[CLS]", *jamo, "天", "[SEP]"]
    assert batch["character_to_token"].tolist() == [[1, 4]]
    assert tokenizer.convert_ids_to_tokens(batch["character_ids"][0]) == ["[UNK]", "天"]
    assert batch["labels"].tolist() == [[0, 1]]


def test_texts_alone_make_a_batch_without_labels() -> None:
    batch = CharacterTaggingCollator(TOKENIZER, LABELS)([{"text": "天气"}, {"text": ""}])
    assert "labels" not in batch
    assert batch["character_to_token"].tolist() == [[1, 1], [-1, -1]]


def test_pickled_collator_makes_the_same_batch() -> None:
    collator = CharacterTaggingCollator(TOKENIZER, LABELS)
    examples = [{"text": "今天天气不错。", "spans": [(0, 2, "X")]}]
    before = collator(examples)
    after = pickle.loads(pickle.dumps(collator))(examples)
    assert {name: tensor.tolist() for name, tensor in before.items()} == {
        name: tensor.tolist() for name, tensor in after.items()
    }


def test_overlong_text_is_refused_by_default() -> None:
    collator = CharacterTaggingCollator(TOKENIZER, LABELS, max_length=4)
    with pytest.raises(ValueError, match=r"text 1 of the batch has 5 tokens, max_length is 4; cut it with split_long"):
        collator([{"text": "天气"}, {"text": "天气不错。"}])


def test_overlong_text_is_truncated_on_request_and_the_characters_beyond_are_masked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    collator = CharacterTaggingCollator(TOKENIZER, LABELS, max_length=4, overlong="truncate")
    with caplog.at_level(logging.WARNING):
        batch = collator(
            [{"text": "天气不错。天气", "spans": [(0, 2, "X"), (5, 7, "X")]}, {"text": "天", "spans": []}]
        )
    assert "1 of 2 texts exceed 4 tokens; cut off" in caplog.text
    assert batch["input_ids"].tolist() == [ids("[CLS] 天气 不错 [SEP]"), ids("[CLS] 天 [SEP] [PAD]")]
    assert batch["character_to_token"].tolist()[0] == [1, 1, 2, 2, -1, -1, -1]
    assert batch["labels"].tolist()[0] == [1, 2, 0, 0, -100, -100, -100]


@pytest.mark.parametrize(
    ("example", "message"),
    [
        ({"text": "天气", "labels": ["O"]}, "1 labels for 2 characters; white space counts"),
        ({"text": "天气", "labels": ["O", "O"], "spans": []}, "both 'labels' and 'spans'; give one"),
        ({"text": "天气", "spans": [(1, 3, "X")]}, "does not lie in a text of 2 characters"),
        ({"text": "天气", "labels": ["O", "B-Y"]}, "example 0 has label 'B-Y'; label2id knows O, B-X, I-X"),
    ],
)
def test_labels_that_do_not_fit_are_refused(example: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CharacterTaggingCollator(TOKENIZER, LABELS)([example])


@pytest.mark.parametrize("example", [{"text": b"abc"}, {"text": None}, {"spans": []}])
def test_examples_without_a_string_are_refused(example: dict[str, object]) -> None:
    with pytest.raises(TypeError, match="an example needs a string as its 'text', not"):
        CharacterTaggingCollator(TOKENIZER, LABELS)([example])


def test_batches_with_labels_here_and_none_there_are_refused() -> None:
    with pytest.raises(ValueError, match="example 1 has no labels, others have; give all or none"):
        CharacterTaggingCollator(TOKENIZER, LABELS)([{"text": "天", "spans": []}, {"text": "气"}])


def test_unknown_way_with_overlong_texts_is_refused() -> None:
    with pytest.raises(ValueError, match="overlong='split' is unknown; use 'refuse' or 'truncate'"):
        CharacterTaggingCollator(TOKENIZER, LABELS, overlong="split")  # type: ignore[arg-type]


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="今天气不错abcd é。，\n1中한", max_size=60), st.integers(8, 12), st.data())
def test_pieces_fit_join_to_the_whole_and_keep_spans_together(text: str, length: int, data: st.DataObject) -> None:
    borders = sorted({len(text), *data.draw(st.sets(st.integers(0, len(text))))})
    spans = [Span(start, min(start + 2, following), "X") for start, following in pairwise(borders)]
    example = {"text": text, "spans": spans}
    pieces = split_long_example(example, TOKENIZER, length)
    assert "".join(piece["text"] for piece in pieces) == text
    assert [label for piece in pieces for label in piece["labels"]] == character_labels(example)
    joined = sum(len(bio_to_spans(piece["labels"])) for piece in pieces)
    assert joined == len(spans)
    for piece in pieces:
        assert len(TOKENIZER(piece["text"])["input_ids"]) <= length
    assert split_long_example({"text": text}, TOKENIZER, 1000) == [{"text": text}]


def test_spans_that_end_within_one_token_are_parted_there() -> None:
    example = {"text": "1한1111한", "spans": [Span(0, 1, "X"), Span(1, 3, "X"), Span(5, 7, "X")]}
    pieces = split_long_example(example, TOKENIZER, 8)
    assert [piece["text"] for piece in pieces] == ["1", "한111", "1한"]
    assert [len(bio_to_spans(piece["labels"])) for piece in pieces] == [1, 1, 1]


def test_long_texts_are_cut_after_sentences_when_one_ends_in_the_second_half() -> None:
    pieces = split_long_example({"text": "天气不错。今天天气不错"}, TOKENIZER, 6)
    assert [piece["text"] for piece in pieces] == ["天气不错。", "今天天气不错"]
    pieces = split_long_example({"text": "不错" * 3 + "。天。气" * 2}, TOKENIZER, 9)
    assert [piece["text"] for piece in pieces] == ["不错" * 3 + "。天。", "气。天。气"]
    pieces = split_long_example({"text": "天。" + "天气" * 6}, TOKENIZER, 8)
    assert [piece["text"] for piece in pieces] == ["天。" + "天气" * 4, "天气" * 2]


def test_pieces_that_need_more_tokens_alone_than_in_their_word_are_cut_again() -> None:
    words = [*VOCABULARY[:5], "ab", "##cde", "c", "##d", "##e"]
    tokenizer = WoBertTokenizer(vocab={word: index for index, word in enumerate(words)})
    text = "ab" + "cde" * 7  # one token each; but three for a "cde" that begins a piece
    pieces = split_long_example({"text": text}, tokenizer, 6)
    assert "".join(piece["text"] for piece in pieces) == text
    assert max(len(tokenizer(piece["text"])["input_ids"]) for piece in pieces) == 6


def test_span_that_cannot_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="a span that begins at or before character 0 is too long to fit"):
        split_long_example({"text": "不错" * 10, "spans": [(0, 20, "X")]}, TOKENIZER, 6)


def test_length_without_room_for_text_is_refused() -> None:
    with pytest.raises(ValueError, match="max_length=2 leaves no room for text"):
        split_long_example({"text": "天气"}, TOKENIZER, 2)
