"""Names in texts against every substring, and what folding and whole words change."""

from __future__ import annotations

import copy
import pickle
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpkit.tasks.linking import AliasIndex, Entry, KnowledgeBase, fold
from nlpkit.tasks.linking.mentions.alias_index import stands_alone
from tests.reference.linking import all_matches, longest_matches

names = st.sets(st.text("北京大学生𠮷", min_size=1, max_size=4), min_size=1, max_size=8)


@given(names, st.text("北京大学生𠮷。", max_size=14))
def test_every_name_is_found_where_it_stands(given_names: set[str], text: str) -> None:
    index = AliasIndex({name: (name,) for name in sorted(given_names)})
    found = index.find_all(text)
    assert [(match.start, match.end) for match in found] == all_matches(text, given_names)
    assert all(text[match.start : match.end] == match.alias for match in found)
    assert [match[:2] for match in index.find_longest(text)] == longest_matches(text, given_names)


@given(st.text(max_size=20))
def test_folding_keeps_places(text: str) -> None:
    assert len(fold(text)) == len(text)
    assert fold(fold(text)) == fold(text)


@given(st.text(min_size=1, max_size=5), st.text(max_size=5))
def test_any_name_is_found_in_any_text_around_it(name: str, around: str) -> None:
    index = AliasIndex({name: ("Q1",)}, whole_words=False)
    spans = [match[:2] for match in index.find_all(around + name + around)]
    assert (len(around), len(around) + len(name)) in spans


def test_capitals_and_full_width_letters_are_alike_and_places_are_those_of_the_text() -> None:
    index = AliasIndex({"ＬＰＬ": ("Q1",), "İstanbul": ("Q2",)})
    text = "看İlpl与ISTANBUL、Ｌpl"
    assert [(text[start:end], alias) for start, end, alias in index.find_all(text)] == [
        ("ISTANBUL", "istanbul"),
        ("Ｌpl", "lpl"),
    ]
    assert index.entities("lPl") == ("Q1",)
    assert index.entities("nobody") == ()
    assert AliasIndex({"A": ("Q1",), "a": ("Q2", "Q1")}).entities("a") == ("Q1", "Q2")


def test_half_a_surrogate_pair_is_no_error() -> None:
    assert [match[:2] for match in AliasIndex({"北京": ("Q1",)}).find_all("\ud800北京\udfff")] == [(1, 3)]


@pytest.mark.parametrize(
    ("text", "found"),
    [("mario", 0), ("看rio", 1), ("rio2", 1), ("Rio。", 1), ("riö", 0), ("трио rio", 1), ("rio", 1), ("riorio", 0)],
)
def test_words_are_whole(text: str, found: int) -> None:
    assert len(AliasIndex({"rio": ("Q1",)}).find_all(text)) == found
    assert len(AliasIndex({"rio": ("Q1",)}, whole_words=False).find_all("mario")) == 1


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("cafe", "cafe\u0301s", 0),  # the mark is part of the letter, as in the composed form
        ("cafe", "cafés", 0),
        ("cafe\u0301", "un cafe\u0301.", 1),
        ("cafe\u0301", "cafe\u0301s", 0),
        ("s", "cafe\u0301s", 0),
        ("राम", "रामा", 0),
        ("北京", "北京\ufe00好", 1),  # a mark that chooses the form of a character
    ],
)
def test_marks_belong_to_their_letters(name: str, text: str, found: int) -> None:
    assert len(AliasIndex({name: ("Q1",)}).find_all(text)) == found


def test_letters_with_two_small_forms_are_one() -> None:
    index = AliasIndex({"ΟΔΟΣ": ("Q1",), "Straße": ("Q2",)})
    for text, alias in (("η οδος", "οδοσ"), ("ΟΔΟΣ", "οδοσ"), ("straße", "straße"), ("STRAẞE", "straße")):
        assert [match.alias for match in index.find_all(text)] == [alias]
    assert [fold(one) for one in ("ſ", "µ", "ϐ", "ß")] == ["s", "μ", "β", "ß"]


def test_digits_are_whole_numbers() -> None:
    assert not stands_alone("2010", 2, 4)
    assert stands_alone("共10人", 1, 3)


def test_an_index_is_copied_and_pickled() -> None:
    index = AliasIndex.of(KnowledgeBase([Entry("Q1", "北京", ("帝都",))]), whole_words=False)
    for twin in (pickle.loads(pickle.dumps(index)), copy.deepcopy(index)):
        assert twin.find_all("帝都北京") == index.find_all("帝都北京") != []
        assert twin.whole_words is False
        assert len(twin) == 2


def test_names_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="a name is empty; every text would hold it everywhere"):
        AliasIndex({"": ("Q1",)})
    with pytest.raises(ValueError, match="there are no names to look for"):
        AliasIndex({})
    with pytest.raises(TypeError, match="names is a list; give the ids of each name"):
        AliasIndex([("北京", "Q1")])  # type: ignore[arg-type]
    for text in (None, 5, ["北京"]):
        with pytest.raises(TypeError, match="give one text"):
            AliasIndex({"北京": ("Q1",)}).find_all(text)  # type: ignore[arg-type]


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ahocorasick_rs", None)
    with pytest.raises(
        ModuleNotFoundError, match=r"ahocorasick_rs, which is not installed; install the extra 'linking'"
    ):
        AliasIndex({"北京": ("Q1",)})
