"""Layouts: every character knows its field, and mask tokens that swallow spaces do so before anything is tokenised."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpkit.pet import Pattern
from nlpkit.pet.clozes.layout import PATTERN, Marker, Stretch, lay_out, lay_out_plainly


@pytest.mark.parametrize(("before", "after"), list(product([False, True], repeat=2)))
def test_spaces_at_masks_go_on_the_sides_where_the_mask_takes_them(before: bool, after: bool) -> None:
    layout = lay_out(Pattern("{text} {mask}  {mask} 。 {soft:2} "), {"text": " 好 "}, (before, after))
    texts = [piece.text for piece in layout if isinstance(piece, Stretch)]
    assert texts == [" 好" if before else " 好  ", "" if before or after else "  ", "。 " if after else " 。 ", " "]
    assert all(len(piece.text) == len(piece.owners) for piece in layout if isinstance(piece, Stretch))
    assert [piece for piece in layout if isinstance(piece, Marker)] == [
        Marker("mask"),
        Marker("mask"),
        Marker("soft", 2),
    ]


@given(st.text(" 好。", max_size=4), st.text(" ab", max_size=4), st.booleans(), st.booleans())
def test_every_character_belongs_to_its_field(one: str, other: str, before: bool, after: bool) -> None:
    layout = lay_out(Pattern("甲{a}乙{b}丙{mask}{a}"), {"a": one, "b": other}, (before, after))
    read: dict[int, str] = {}
    for piece in layout:
        if isinstance(piece, Stretch):
            for character, owner in zip(piece.text, piece.owners, strict=True):
                read[owner] = read.get(owner, "") + character
    assert read.pop(PATTERN) == "甲乙丙"
    assert read.pop(0, "") == one
    assert read.pop(1, "") == other
    assert read.pop(2, "") == (one.lstrip() if after else one)


def test_a_token_over_a_border_is_the_patterns() -> None:
    stretch = Stretch("好快", (PATTERN, 0))
    assert [stretch.owner(0, 1), stretch.owner(1, 2), stretch.owner(0, 2), stretch.owner(1, 1)] == [-1, 0, -1, -1]


def test_plain_texts_stand_side_by_side_where_no_separator_exists() -> None:
    pattern, fields = Pattern("{b}很{mask}{a}"), {"a": "今天", "b": "好"}
    texts = [Stretch("好", (0,)), Stretch("今天", (1, 1))]
    assert lay_out_plainly(pattern, fields, has_separator=False) == texts
    assert lay_out_plainly(pattern, fields, has_separator=True) == [texts[0], Marker("separator"), texts[1]]
