"""Texts with their entities marked for a browser."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlpkit.labels import Span
from nlpkit.tasks.entities import Entity, save_entity_page
from nlpkit.tasks.entities.page import marked

COLOURS = {"A": "0", "B": "90"}


class Reader(HTMLParser):
    """Finds out again which characters stand in which boxes; a box that goes on is the same entity."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.open, self.found, self.in_label = "", [], [], False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag == "mark":
            given = dict(attributes)
            self.open.append((len(self.text), given["title"], given.get("class", "")))
        self.in_label = tag == "b"

    def handle_endtag(self, tag: str) -> None:
        if tag == "mark":
            start, title, classes = self.open.pop()
            self.found.append((start, len(self.text), title, classes))
        self.in_label = False

    def handle_data(self, data: str) -> None:
        self.text += "" if self.in_label else data


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    assert not reader.open
    return reader


spans = st.builds(
    lambda start, length, label: Span(start, min(10, start + length), label),
    st.integers(0, 9), st.integers(1, 10), st.sampled_from("AB"),
)  # fmt: skip


@given(st.sets(spans, max_size=5))
@settings(max_examples=60)
def test_every_character_stands_in_the_boxes_of_its_entities(entities: set[Span]) -> None:
    text = '01<3&5"789'
    reader = read(marked(text, sorted(entities, key=lambda one: (one.start, -one.end, one.label)), COLOURS))
    assert reader.text == text
    for place in range(len(text)):
        boxes = sorted(title for start, end, title, _ in reader.found if start <= place < end)
        assert boxes == sorted(one.label for one in entities if one.start <= place < one.end)


def test_nested_boxes_are_whole_and_crossing_ones_open() -> None:
    nested = read(marked("北京大学", [Span(0, 4, "A"), Span(0, 2, "B")], COLOURS))
    assert sorted(nested.found) == [(0, 2, "B", ""), (0, 4, "A", "")]
    crossing = read(marked("北京大学", [Span(0, 3, "A"), Span(2, 4, "B")], COLOURS))
    assert sorted(crossing.found) == [(0, 3, "A", ""), (2, 3, "B", "goes-on"), (3, 4, "B", "comes-from")]


def test_a_page_needs_nothing_else_and_shows_gold_where_it_differs(tmp_path: Path) -> None:
    texts = ["<b>北京</b>", "大学"]
    found = [[Entity(3, 5, "LOC", 0.91234)], [Entity(0, 2, "ORG", 0.6)]]
    save_entity_page(texts, found, tmp_path / "page.html", gold=[[Span(3, 5, "LOC")], []], title="A & B")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "http" not in page
    assert "<title>A &amp; B</title>" in page
    assert "LOC 0.912" in page
    assert len(re.findall('<p class="gold">', page)) == 1
    assert "&lt;b&gt;" in page


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1 texts, 0 entities; give as many of each"):
        save_entity_page(["北京"], [], tmp_path / "page.html")
    with pytest.raises(ValueError, match=r"entity \(0, 3, 'LOC'\) does not lie in a text of 2 characters"):
        save_entity_page(["北京"], [[Span(0, 3, "LOC")]], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_what_no_page_can_show_is_named(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"texts is one text, 'ab'; give a list of them"):
        save_entity_page("ab", [[], []], tmp_path / "page.html")
    with pytest.raises(ValueError, match=r"text of row 1 has a lone surrogate, '\\ud83d', at character 1"):
        save_entity_page(["好", "a\ud83d"], [[], []], tmp_path / "page.html")
    assert not list(tmp_path.iterdir())
