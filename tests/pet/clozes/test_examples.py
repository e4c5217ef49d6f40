from __future__ import annotations

import pytest

from nlpkit.pet.clozes.examples import NO_LABEL, Example, as_examples, label_number


def test_texts_and_mappings_become_examples() -> None:
    assert as_examples(["a", {"x": "b"}, Example({"y": "c"}, "1")]) == [
        Example({"text": "a"}),
        Example({"x": "b"}),
        Example({"y": "c"}, "1"),
    ]


def test_one_text_is_not_a_list_of_texts() -> None:
    with pytest.raises(TypeError, match="give a list of texts"):
        as_examples("abc")


@pytest.mark.parametrize("wrong", [None, 3, b"abc"])
def test_what_is_no_text_is_refused(wrong: object) -> None:
    with pytest.raises(TypeError, match="an example is a text"):
        Example.of(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="field 'text' must be a text"):
        Example.of({"text": wrong})  # type: ignore[dict-item]


def test_label_numbers() -> None:
    assert label_number(Example({}, None), ["a"]) == NO_LABEL
    assert label_number(Example({}, "1", ("x", "y")), []) == 1
    with pytest.raises(ValueError, match="label 'c' is not one of 'a', 'b'"):
        label_number(Example({}, "c"), ["a", "b"])
