"""Texts with spans, their units, batches, pieces and files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertTokenizer, PreTrainedTokenizerBase

from nlpkit import WoBertTokenizer
from nlpkit.labels import Span, cut_places, score_spans
from nlpkit.tasks.entities import EntityCollator, EntityConfig, cut_example, outermost, read_columns, read_entities
from nlpkit.tasks.entities.texts.pieces import cut_text
from nlpkit.tasks.entities.texts.units import bio_labels, overlapping, read_spans, to_characters, to_units

TEXT = "今天 天气不错，酒店很好"
SPANS = [Span(0, 2, "X"), Span(3, 4, "Y"), Span(3, 7, "X"), Span(8, 10, "Y")]


@pytest.fixture(scope="module")
def words(small_vocabulary: dict[str, int]) -> WoBertTokenizer:
    return WoBertTokenizer(small_vocabulary)


@pytest.fixture(scope="module")
def characters(small_vocabulary: dict[str, int]) -> PreTrainedTokenizerBase:
    return BertTokenizer(vocab=small_vocabulary)


def config(**given: Any) -> EntityConfig:
    return EntityConfig(types=["X", "Y"], **given)


def spans_of(batch: Any, offsets: Sequence[Any], text: str) -> list[tuple[int, int, int]]:
    rows = batch["entities"][0][: batch["labels"][0]].tolist()
    return [(kind, *to_characters(first, last, offsets, text)) for kind, first, last in rows]


def test_characters_of_words_keep_every_span(words: WoBertTokenizer) -> None:
    collator = EntityCollator(words, config(units="characters"))
    batch, (_, offsets) = collator([{"text": TEXT, "spans": SPANS}]), collator.read([TEXT])
    assert words.tokenize(TEXT) == ["今天", "天气", "不错", "，", "酒店", "很", "好"]
    assert batch["character_to_token"].tolist() == [[1, 1, -1, 2, 2, 3, 3, 4, 5, 5, 6, 7]]
    assert spans_of(batch, offsets[0], TEXT) == [(0, 0, 2), (1, 3, 4), (0, 3, 7), (1, 8, 10)]


def test_tokens_take_spans_as_far_as_they_reach(words: WoBertTokenizer, characters: PreTrainedTokenizerBase) -> None:
    for tokenizer, second in ((words, (1, 3, 5)), (characters, (1, 3, 4))):
        collator = EntityCollator(tokenizer, config())
        batch, (_, offsets) = collator([{"text": TEXT, "spans": SPANS}]), collator.read([TEXT])
        assert spans_of(batch, offsets[0], TEXT) == [(0, 0, 2), second, (0, 3, 7), (1, 8, 10)]
        assert not batch["unit_mask"][0, [0, -1]].any()  # special tokens
        assert batch["unit_mask"][0, 1:-1].all()


def test_labels_skip_what_is_no_unit(words: WoBertTokenizer) -> None:
    collator = EntityCollator(words, config(units="characters", head="crf"))
    batch = collator([{"text": TEXT, "spans": [(0, 7, "X")]}, {"text": "好", "labels": ["B-Y"]}])
    assert batch["labels"].tolist() == [[1, 2, -100, 2, 2, 2, 2, 0, 0, 0, 0, 0], [3] + [-100] * 11]
    batch = EntityCollator(words, config(head="softmax"))([{"text": TEXT, "spans": [(0, 7, "X")]}])
    assert batch["labels"].tolist() == [[-100, 1, 2, 2, 0, 0, 0, 0, -100]]


def test_a_span_that_begins_with_white_space_begins_behind_it(words: WoBertTokenizer) -> None:
    collator = EntityCollator(words, config(units="characters", head="crf"))
    assert collator([{"text": "好 好", "spans": [(1, 3, "X")]}])["labels"].tolist() == [[0, -100, 1]]
    spaces = EntityCollator(words, config(units="characters"))([{"text": "好 好", "spans": [(1, 2, "X")]}])
    assert spaces["labels"].tolist() == [0]


def test_nested_entities_are_for_heads_that_score_spans(words: WoBertTokenizer) -> None:
    example = {"text": TEXT, "spans": SPANS}
    with pytest.raises(
        ValueError, match=r"entities \(3, 4, 'Y'\) and \(3, 7, 'X'\) of example 0 overlap, and head='crf'"
    ):
        EntityCollator(words, config(head="crf"))([example])
    batch = EntityCollator(words, config(head="crf", units="characters"), nested="outermost")([example])
    assert batch["labels"].tolist() == [[1, 2, -100, 1, 2, 2, 2, 0, 3, 4, 0, 0]]


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ([{"text": "好", "spans": []}, {"text": "好"}], r"example 1 has neither 'spans' nor 'labels', others have"),
        ([{"text": "好", "spans": [(0, 1, "Z")]}], "example 0 has an entity of type 'Z'; the model knows X, Y"),
        ([{"text": "好", "spans": [(0, 2, "X")]}], r"span \(0, 2, 'X'\) does not lie in a text of 1 characters"),
        ([{"text": "好", "spans": [(1, 1, "X")]}], r"span \(1, 1, 'X'\) does not lie in a text of 1 characters"),
        ([{"text": "好", "spans": [], "labels": ["O"]}], "both 'labels' and 'spans'; give one"),
        ([{"text": "好好", "labels": ["O"]}], "1 labels for 2 characters; white space counts"),
        ([{"text": "好", "labels": ["X"]}], "label 0 is 'X'; BIO labels are"),
        ([{"text": "天气" * 300, "spans": []}], "has 302 tokens, max_length is 64; cut it with cut_example"),
    ],
)
def test_wrong_examples_are_named(words: WoBertTokenizer, examples: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EntityCollator(words, config(), max_length=64)(examples)


@pytest.mark.parametrize("span", [(0, 1), (0, 1, 2), "abc", {"start": 0}, (0.0, 1, "X"), 7])
def test_what_is_no_span_is_named(span: Any) -> None:
    with pytest.raises(TypeError, match=r"span .* must be"):
        read_spans({"text": "好", "spans": [span]})
    with pytest.raises(TypeError, match="needs a string as its 'text', not NoneType"):
        read_spans({"spans": []})


def test_ends_are_dropped_where_that_is_wanted(words: WoBertTokenizer) -> None:
    collator = EntityCollator(words, config(units="characters"), max_length=4, overlong="truncate")
    batch = collator([{"text": TEXT, "spans": SPANS}])
    assert batch["input_ids"].shape == (1, 4)
    assert batch["labels"].tolist() == [3]  # what reaches into the end is cut, too
    assert batch["entities"][0, -1].tolist() == [0, 3, 4]


def test_choices_and_tokenizers_that_cannot_be_are_refused(words: WoBertTokenizer) -> None:
    with pytest.raises(ValueError, match="overlong='cut' is unknown"):
        EntityCollator(words, config(), overlong="cut")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="nested='all' is unknown"):
        EntityCollator(words, config(), nested="all")  # type: ignore[arg-type]


def test_texts_alone_make_a_batch_without_labels(words: WoBertTokenizer) -> None:
    batch = EntityCollator(words, config())([{"text": "好"}, {"text": ""}])
    assert {"labels", "entities"}.isdisjoint(batch)
    assert batch["unit_mask"].tolist() == [[False, True, False], [False] * 3]


def test_outermost_spans_and_overlaps() -> None:
    assert outermost(SPANS) == [SPANS[0], SPANS[2], SPANS[3]]
    assert overlapping(outermost(SPANS)) is None
    assert overlapping([Span(0, 9, "X"), Span(1, 2, "X"), Span(3, 4, "X")]) is not None
    assert to_units([Span(2, 3, "X")], [(0, 2), (3, 4)]) == []
    assert bio_labels(to_units([Span(0, 1, "X"), Span(1, 2, "Y")], [(0, 2)]), 1) == ["B-X"]


@given(st.text("天气。 好", max_size=60), st.integers(3, 9), st.data())
@settings(max_examples=40)
def test_pieces_join_to_the_text_fit_and_cut_no_span(
    small_vocabulary: dict[str, int], text: str, length: int, data: st.DataObject
) -> None:
    tokenizer = WoBertTokenizer(small_vocabulary)
    places = data.draw(st.lists(st.integers(0, max(0, len(text) - 1)), max_size=3))
    spans = [Span(place, place + 1, "X") for place in places if text]  # cutting refuses longer ones now and then
    pieces = cut_example({"text": text, "spans": spans}, tokenizer, length)
    assert "".join(piece["text"] for piece in pieces) == text
    assert all(len(tokenizer(piece["text"])["input_ids"]) <= length for piece in pieces)
    assert sum(len(piece["spans"]) for piece in pieces) == len(set(spans))


def test_cuts_go_around_entities_or_are_refused(words: WoBertTokenizer) -> None:
    text = "好" * 12
    assert cut_text(text, words, 6) == [(0, 4), (4, 8), (8, 12)]
    assert cut_text(text, words, 6, [Span(3, 5, "X")]) == [(0, 3), (3, 7), (7, 11), (11, 12)]
    with pytest.raises(ValueError, match="a span that begins at or before character 0 is too long to fit"):
        cut_text(text, words, 6, [Span(0, 9, "X")])
    with pytest.raises(ValueError, match="max_length=2 leaves no room for text beside the special tokens"):
        cut_text(text, words, 2)
    with pytest.raises(ValueError, match="a piece has room for 0 tokens"):
        cut_places("好", [(0, 1)], 0)


COLUMNS = [
    "-DOCSTART- O",
    "",
    "EU\tB-ORG",
    "rejects\tO",
    "New\tS-LOC",
    "York\tS-LOC",
    " ",
    "北 NN B-LOC",
    "京 NN E-LOC",
    "a O",
]


def test_columns_become_texts() -> None:
    first, second = read_columns(COLUMNS)
    assert first == {"text": "EU rejects New York", "spans": [(0, 2, "ORG"), (11, 14, "LOC"), (15, 19, "LOC")]}
    assert second == {"text": "北京a", "spans": [(0, 2, "LOC")]}
    assert list(read_columns([])) == []


def test_where_lines_are_characters_numbers_and_names_have_no_spaces_in_them() -> None:
    """As in MSRA's and Weibo's files; sentences without Chinese are read like the others of their file."""
    characters = [f"{character} O" for character in "他在2015年买了iPad，"] + ["", "4 B-NUM", "0 I-NUM", "% O"]
    texts = [example["text"] for example in read_columns(characters)]
    assert texts == ["他在2015年买了iPad，", "40%"]
    whole = list(read_columns(["用 O", "New B-LOC", "York I-LOC", "4 O", "g O", "网 O"]))
    assert whole == [{"text": "用New York 4g网", "spans": [Span(1, 9, "LOC")]}]
    words = list(read_columns(["他 O", "I O", "a O", "北京 B-LOC"]))
    assert words == [{"text": "他I a北京", "spans": [Span(4, 6, "LOC")]}]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("word", "line 1 has no label: 'word'; write the word first"),
        ("word B-", "line 1 has the label 'B-'; labels are O"),
        ("word X-LOC", "line 1 has the label 'X-LOC'"),
        ("word LOC", "line 1 has the label 'LOC'"),
    ],
)
def test_broken_columns_are_named(line: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        list(read_columns([line]))


def test_words_with_spaces_stand_between_tabs() -> None:
    (found,) = read_columns(["New York\tNNP\tB-LOC", "is \tVBZ\t O"])
    assert found == {"text": "New York is", "spans": [Span(0, 8, "LOC")]}
    (mixed,) = read_columns(["New NNP\tB-LOC", "York NNP I-LOC"])  # not all lines have a tab
    assert mixed == {"text": "New York", "spans": [Span(0, 8, "LOC")]}


@pytest.mark.parametrize("head", ["crf", "softmax", "global_pointer", "efficient_global_pointer"])
def test_entities_that_are_learnt_as_others_are_told_once(head: Any, small_vocabulary: dict[str, int]) -> None:
    collate = EntityCollator(WoBertTokenizer(small_vocabulary), EntityConfig(types=["X"], head=head, units="tokens"))
    row = {"text": "酒店很好", "spans": [(0, 1, "X")]}
    with pytest.warns(UserWarning, match=r"entity \(0, 1, 'X'\) of example 1 begins or ends inside a token"):
        collate([{"text": "酒店很好", "spans": [(0, 2, "X")]}, row])
    with catch_warnings():
        simplefilter("error")
        collate([row])
        of_characters = EntityConfig(types=["X"], head=head, units="characters")
        collate = EntityCollator(WoBertTokenizer(small_vocabulary), of_characters)
        collate([row])
    with pytest.warns(UserWarning, match=r"entity \(2, 3, 'X'\) of example 0 is nothing that the tokenizer keeps"):
        collate([{"text": "酒店 很好", "spans": [(2, 3, "X")]}])


def test_files_are_read_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n".join(COLUMNS) + "\n", "utf-8")
    assert [example["text"] for example in read_entities(tmp_path / "a.txt")] == ["EU rejects New York", "北京a"]
    (tmp_path / "a.jsonl").write_text('{"text": "北京", "spans": [[0, 2, "LOC"]]}\n', "utf-8")
    assert read_entities(tmp_path / "a.jsonl") == [{"text": "北京", "spans": [Span(0, 2, "LOC")]}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no texts"),
        ('{"text": "北京"}\n', "line 1 has neither 'spans' nor 'labels'; write spans"),
        ('\n{"text": "北京", "spans": [[0, 3, "X"]]}\n', r"line 2: span \(0, 3, 'X'\) does not lie in a text of 2"),
        ('{"text": "北京", "spans": 7}\n', "line 1: "),
    ],
)
def test_broken_files_are_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "a.jsonl").write_text(content, "utf-8")
    with pytest.raises(ValueError, match=message):
        read_entities(tmp_path / "a.jsonl")


def test_batches_are_padded_as_models_take_them(words: WoBertTokenizer) -> None:
    batch = EntityCollator(words, config(units="characters"))(
        [{"text": "好", "spans": []}, {"text": TEXT, "spans": SPANS}]
    )
    assert batch["entities"].shape == (2, 4, 3)
    assert batch["labels"].tolist() == [0, 4]
    assert batch["character_to_token"][0].tolist() == [1] + [-1] * 11
    assert all(value.dtype in (torch.long, torch.bool) for value in batch.values())
    assert score_spans([SPANS], [SPANS])["all"].f1 == 1


def test_fields_of_another_kind_are_named_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    for field in ('"labels": [1, 2]', '"labels": 3', '"spans": 5', '"spans": "ab"', '"spans": [[true, 2, "X"]]'):
        path.write_text(f'{{"text": "北京", {field}}}\n', "utf-8")
        with pytest.raises(ValueError, match=r"a\.jsonl, line 1: .*give a"):
            read_entities(path)


def test_places_of_numpy_are_places() -> None:
    assert read_spans({"text": "北京", "spans": [(np.int64(0), np.int32(2), "X")]}) == [Span(0, 2, "X")]


def test_columns_stand_apart_by_tabs_and_spaces_alone() -> None:
    (found,) = read_columns(["\ufeffNew\u00a0York B-LOC"])
    assert found == {"text": "New\u00a0York", "spans": [Span(0, 8, "LOC")]}
