from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpkit.mt5 import common_subsequence, pseudo_summary, split_sentences
from tests.reference import pseudo_summaries as reference

FEW = st.text(alphabet="今天气好。", max_size=70)


@given(FEW, FEW)
def test_lengths_are_those_of_the_table(one: str, other: str) -> None:
    assert common_subsequence(one, other) == reference.common_subsequence(one, other)


@given(
    sentences=st.lists(
        st.text(alphabet="今天气好雨", min_size=1, max_size=9).map("{}。".format), min_size=2, max_size=7
    ),
    share=st.sampled_from([0.1, 0.25, 0.6, 0.99]),
)
def test_the_choice_is_that_of_trying_each_sentence(sentences: list[str], share: float) -> None:
    found = pseudo_summary("".join(sentences), share)
    chosen = reference.choose(sentences, share * sum(map(len, sentences)))
    assert found is not None
    assert found.summary == "".join(sentences[number] for number in chosen)
    assert found.source == "".join(text for number, text in enumerate(sentences) if number not in chosen)


@given(st.text(alphabet='今天a1.!?。！？…”\n "（）'))
def test_sentences_joined_are_the_text(text: str) -> None:
    assert "".join(split_sentences(text)) == text


def test_a_sentence_has_no_summary_and_tokens_have_common_subsequences() -> None:
    assert pseudo_summary("只有一句话。") is None
    assert pseudo_summary("") is None
    assert common_subsequence([5, 6, 7], [7, 5, 7]) == 2


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0])
def test_shares_outside_are_refused(share: float) -> None:
    with pytest.raises(ValueError, match=f"share={share} must be above 0 and below 1"):
        pseudo_summary("一。二。", share)


@pytest.mark.parametrize("text", [None, ["一。二。"]])
def test_what_is_no_document_is_named(text: Any) -> None:
    with pytest.raises(TypeError, match="text must be a document, not"):
        pseudo_summary(text)
