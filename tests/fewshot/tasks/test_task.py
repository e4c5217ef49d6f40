"""Records become examples, or one clear error."""

from __future__ import annotations

from typing import Any

import pytest

from nlpkit.fewshot.tasks.task import FewShotTask
from nlpkit.pet import Example

PAIRS = FewShotTask("pairs", ("left", "right"), ("0", "1"))


@pytest.mark.parametrize("label", [1, "1"])
def test_labels_of_json_are_texts(label: Any) -> None:
    example = PAIRS.to_example({"id": 7, "right": "b", "left": "a", "label": label})
    assert example == Example({"left": "a", "right": "b"}, "1")
    assert list(example.fields) == ["left", "right"]


def test_truth_values_are_written_as_json_does() -> None:
    task = FewShotTask("truth", ("text",), ("false", "true"))
    assert task.to_example({"text": "x", "label": True}).label == "true"


def test_label_of_unlabelled_text_is_not_read() -> None:
    assert PAIRS.to_example({"left": "a", "right": "b", "label": "nonsense"}, labelled=False).label is None


def test_copy_without_label_shares_no_dictionary() -> None:
    example = Example({"text": "x"}, "1", ("a", "b"))
    copy = example.without_label()
    copy.fields["text"] = "changed"
    assert example.fields == {"text": "x"}
    assert (copy.label, copy.candidates) == (None, ("a", "b"))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"left": "a", "label": "1"}, "no field 'right'; the record has 'left', 'label'"),
        ({"left": "a", "right": "b"}, "no field 'label'; the record has 'left', 'right'"),
        ({"left": "a", "right": None, "label": "1"}, "field 'right' must be text; got None"),
        ({"left": "a", "right": "b", "label": "2"}, "label '2' is none of the labels of pairs: '0', '1'"),
        ({"left": "a", "right": "b", "label": True}, "label True is none of the labels of pairs"),
    ],
)
def test_what_is_wrong_with_a_record_is_said(record: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PAIRS.to_example(record)


def test_many_labels_are_not_all_listed() -> None:
    task = FewShotTask("many", ("text",), tuple(map(str, range(119))))
    with pytest.raises(ValueError, match=r"'11' and 107 more$"):
        task.to_example({"text": "x", "label": "200"})


def test_candidates_must_be_as_many_as_labels() -> None:
    task = FewShotTask("cloze", ("text",), ("0", "1"), read_candidates=lambda record: tuple(record["words"]))
    assert task.to_example({"text": "x", "words": ["a", "b"], "label": 1}).candidates == ("a", "b")
    with pytest.raises(ValueError, match="3 candidates, where cloze has 2 labels"):
        task.to_example({"text": "x", "words": ["a", "b", "c"], "label": 1})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": ("a",)}, r"needs two or more labels, each once; got \('a',\)"),
        ({"labels": ("a", "b", "a")}, "needs two or more labels, each once"),
        ({"labels": ("a", "b"), "text_fields": ()}, "needs at least one text field"),
        ({"labels": ("a", "b"), "label_names": {"c": "x"}}, r"names \['c'\], which are not among its labels"),
    ],
)
def test_tasks_that_make_no_sense_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FewShotTask(**{"name": "t", "text_fields": ("text",), **arguments})
