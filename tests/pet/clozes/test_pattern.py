from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpkit.pet.clozes.pattern import Pattern


def test_slots_fields_and_soft_tokens_are_counted() -> None:
    pattern = Pattern("{text_a}{mask}，{soft:3}{text_b}{sep}{mask}{text_a}{soft}")
    assert pattern.slots == 2
    assert pattern.fields == ("text_a", "text_b")
    assert pattern.soft_tokens == 4


def test_a_word_begins_where_a_text_or_a_quotation_begins() -> None:
    places = {
        "{mask}{text}": "beginning",
        "“{mask}”{text}": "beginning",
        "({mask}) {text}": "beginning",
        '"{mask}" {text}': "beginning",
        '{text} "{mask}"': "beginning",
        "{text}{sep}{mask}": "beginning",
        "{text} {mask}": "after_space",
        "{text}很{mask}": "inside",
        "{text}{mask}": "inside",
        'it"{mask}{text}': "inside",
    }
    assert {template: Pattern(template).places() for template in places} == {t: [p] for t, p in places.items()}
    assert Pattern("{mask}{mask}{text}").places() == ["beginning", "inside"]


@given(st.text(), st.text())
def test_rendering_puts_texts_where_they_belong_braces_included(text: str, word: str) -> None:
    assert Pattern("a{{{text}}}b{mask}").render({"text": text}, [word]) == "a{" + text + "}b" + word


def test_patterns_compare_by_template() -> None:
    assert Pattern("{mask}{text}") == Pattern("{mask}{text}")
    assert len({Pattern("{mask}{text}"), Pattern("{mask}{text}"), Pattern("{text}{mask}")}) == 2


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{text}很好", "has no {mask}"),
        ("{mask}满意", "has no field"),
        ("{mask}{text", "is broken"),
        ("{mask}{0}", "cannot be read"),
        ("{mask}{text!r}", "cannot be read"),
        ("{mask}{text:3}", "must say which end stays"),
        ("{mask}{text}{soft:0}", "must say how many tokens"),
    ],
)
def test_broken_patterns_are_refused(template: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Pattern(template)


def test_a_missing_field_is_named() -> None:
    with pytest.raises(ValueError, match="needs the field 'text_b'; the example has \\['text_a'\\]"):
        Pattern("{text_a}{mask}{text_b}").render({"text_a": "x"}, ["y"])
