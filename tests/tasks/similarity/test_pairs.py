"""Files of pairs as they are: with and without names of columns, quotes, and rows that cannot be read."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import pytest

from nlpkit.tasks.similarity import (
    TextPair,
    entailment_rows,
    index_texts,
    likeness_rows,
    likenesses,
    read_pairs,
    text_rows,
)

PAIRS = [TextPair("天冷", '他说"冷"', "1"), TextPair("雨,大", "天冷", "0")]
FILES = {
    "plain.tsv": '天冷\t他说"冷"\t1\n雨,大\t天冷\t0\n',
    "with_ids.tsv": '7\t天冷\t他说"冷"\t1\n\n8\t雨,大\t天冷\t0\n',
    "named.txt": 'id\tsentence1\tsentence2\tlabel\n7\t天冷\t他说"冷"\t1\n8\t雨,大\t天冷\t0\n',
    "named.csv": 'sentence1,sentence2,Label\n天冷,"他说""冷""",1\n"雨,大",天冷,0\n',
    "lines.jsonl": '{"sentence1": "天冷", "sentence2": "他说\\"冷\\"", "label": 1}\n'
    '{"id": 3, "sentence1": "雨,大", "sentence2": "天冷", "label": "0"}\n',
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("packed", [False, True])
def test_all_forms_are_read(name: str, packed: bool, tmp_path: Path) -> None:
    path = tmp_path / (f"{name}.xz" if packed else name)
    path.write_bytes(lzma.compress(FILES[name].encode()) if packed else FILES[name].encode())
    assert read_pairs(path) == PAIRS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("一\t二\t1\n一\t2\n", r"a\.tsv, line 2 has 2 columns; two texts and a label are three"),
        ("一\t\t1\n", r"a\.tsv, line 1 has an empty text or label: '一', ''"),
        ("sentence1\tsentence2\tlabel\n", r"a\.tsv holds no pairs"),
        ("", r"a\.tsv holds no pairs"),
    ],
)
def test_rows_that_cannot_be_read_are_named(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text(text, "utf-8")
    with pytest.raises(ValueError, match=message):
        read_pairs(path)


def test_a_name_that_is_missing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"sentence1": "一", "text": "二"}\n', "utf-8")
    with pytest.raises(ValueError, match=r"line 1 has no 'sentence2'; it has sentence1, text"):
        read_pairs(path)
    with pytest.raises(FileNotFoundError, match=r"there is no file"):
        read_pairs(tmp_path / "b.tsv")


def test_texts_stand_once() -> None:
    texts, places = index_texts(PAIRS)
    assert texts == ["天冷", '他说"冷"', "雨,大"] and places.tolist() == [[0, 1], [2, 0]]
    with pytest.raises(ValueError, match=r"there are no pairs"):
        index_texts([])
    for of_pairs in (likenesses, index_texts, likeness_rows, entailment_rows):
        with pytest.raises(TypeError, match=r"pair 0, counted from 0, is \('一', '二'\); give \(text, text, label\)"):
            of_pairs([("一", "二")])  # type: ignore[list-item]
        with pytest.raises(TypeError, match=r"pair 0, .* its first two must be texts"):
            of_pairs([("一", 2, 1.0)])  # type: ignore[list-item]


def test_pairs_may_be_triples_of_any_kind() -> None:
    triples = [("一", "二", 1.0), ["二", "三", 4]]
    assert likenesses(iter(triples)).tolist() == [1, 4]
    assert likeness_rows(triples)["score"][:] == [1, 4]
    assert index_texts(iter(triples)).texts == ["一", "二", "三"]
    said = [("一", "二", "entailment"), ("一", "三", "contradiction")]
    assert entailment_rows(iter(said))[0] == {"anchor": "一", "positive": "二", "negative": "三"}


@pytest.mark.parametrize("label", ["neutral", "nan", "inf"])
def test_a_label_that_is_no_number_is_named(label: str) -> None:
    assert likenesses(PAIRS).tolist() == [1, 0]
    with pytest.raises(ValueError, match=rf"pair 1, counted from 0, has the label '{label}', which is no number"):
        likenesses([PAIRS[0], TextPair("一", "二", label)])


@pytest.mark.shared
def test_public_sets_are_read(shared_data: Path) -> None:
    """As many as their SOURCE.md says, less the names of columns."""
    sets = {"stsb/test.tsv": 1361, "bq/dev.csv": 10_000, "pawsx/test.tsv": 2000, "lcqmc/dev.tsv": 8802}
    for name, count in sets.items():
        pairs = read_pairs(shared_data / "similarity-zh" / f"{name}.xz")
        assert len(pairs) == count and set(likenesses(pairs).tolist()) <= set(range(6))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"sentence1": None, "sentence2": "二", "label": 1}, "has None as a sentence; give a text"),
        ({"sentence1": "一", "sentence2": ["二"], "label": 1}, r"has \['二'\] as a sentence"),
        ({"sentence1": "一", "sentence2": "二", "label": None}, "has the label None; give a text or a number"),
        ({"sentence1": "一", "sentence2": "二", "label": True}, "has the label True; give a text or a number"),
    ],
)
def test_json_of_another_kind_is_named(record: dict[str, object], message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(record) + "\n", "utf-8")
    with pytest.raises(ValueError, match=rf"a\.jsonl, line 1 {message}"):
        read_pairs(path)


def test_headers_are_those_of_tables(tmp_path: Path) -> None:
    table, lines = tmp_path / "a.tsv", tmp_path / "a.jsonl"
    table.write_text("\n\nsentence1\tsentence2\tlabel\n一\t二\t1\n三\t四\tscore\n", "utf-8")
    assert read_pairs(table) == [TextPair("一", "二", "1"), TextPair("三", "四", "score")]
    lines.write_text('{"sentence1": "一", "sentence2": "二", "label": "score"}\n', "utf-8")
    assert read_pairs(lines) == [TextPair("一", "二", "score")]


def test_what_are_no_pairs_of_texts_is_named() -> None:
    with pytest.raises(ValueError, match=r"pair 0, counted from 0, has the label None, which is no number"):
        likenesses([TextPair("一", "二", None)])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"pairs is one text, 'x'"):
        likenesses("x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"not one text"):
        text_rows("天气好")
    with pytest.raises(TypeError, match=r"text 1 is a float"):
        text_rows(["好", float("nan")])  # type: ignore[list-item]
