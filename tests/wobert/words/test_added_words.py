"""Words given to a segmenter are cut whole."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from nlpkit.wobert import JiebaSegmenter, RjiebaSegmenter
from nlpkit.wobert.words.added_words import with_words


@pytest.mark.parametrize("cls", [RjiebaSegmenter, JiebaSegmenter])
def test_words_given_are_cut_whole_whatever_they_are_made_of(cls: Any) -> None:
    words = ["量子纠缠", "量子纠缠态", "奥司他韦", "10℃", "from α", "から", "列夫·托尔斯泰", "的的", "天气不"]
    plain = cls()
    segmenter = with_words(plain, words)
    assert all(segmenter.cut(word) == [word] for word in words)
    text = "我服用奥司他韦，列夫·托尔斯泰在10℃读量子纠缠态"
    cut = segmenter.cut(text)
    assert "".join(cut) == text
    assert {"奥司他韦", "列夫·托尔斯泰", "10℃", "量子纠缠态"} <= set(cut)
    assert pickle.loads(pickle.dumps(segmenter)).cut(text) == cut
    assert plain.cut("奥司他韦") == ["奥", "司", "他", "韦"], "the given segmenter stays as it was"


def test_a_segmenter_of_ones_own_may_take_words_or_is_refused() -> None:
    class Fixed:
        name = "fixed"

        def cut(self, text: str) -> list[str]:
            return list(text)

    class Taking(Fixed):
        def with_words(self, words: Any) -> Any:
            return RjiebaSegmenter.from_words("\n".join(words))

    with pytest.raises(TypeError, match=r"segmenter 'fixed' takes no further words; give it a method with_words"):
        with_words(Fixed(), ["奥司他韦"])
    assert with_words(Taking(), ["奥司他韦"]).cut("奥司他韦") == ["奥司他韦"]
