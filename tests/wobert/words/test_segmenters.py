"""What segmenters of one process share, and what they do not."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from nlpkit.wobert.words.segmenters import JiebaSegmenter, RjiebaSegmenter, describe

CLASSES = [RjiebaSegmenter, JiebaSegmenter]


@pytest.mark.parametrize("kind", CLASSES)
def test_words_of_one_are_not_those_of_another(kind: type[RjiebaSegmenter | JiebaSegmenter], tmp_path: Path) -> None:
    before = kind()
    added, other = kind.from_words("量子纠缠 100000"), kind.from_words("子纠 1000000000")
    (tmp_path / "blank.txt").write_text("\n \n", "utf-8")
    plain = [before, kind(), kind(tmp_path / "blank.txt"), pickle.loads(pickle.dumps(before))]
    assert [segmenter.cut("量子纠缠") for segmenter in plain] == [["量子", "纠缠"]] * 4
    for segmenter in (added, pickle.loads(pickle.dumps(added))):
        assert segmenter.cut("量子纠缠") == ["量子纠缠"]
    assert other.cut("量子纠缠") == ["量", "子纠", "缠"]
    assert describe(before) == describe(kind()) and describe(before) != describe(added) != describe(other)


@pytest.mark.parametrize("kind", CLASSES)
def test_segmenters_are_equal_when_they_cut_alike(kind: type[RjiebaSegmenter | JiebaSegmenter]) -> None:
    added = kind.from_words("量子纠缠")
    assert kind() == kind() and hash(kind()) == hash(kind()) and added == kind.from_words("量子纠缠")
    assert added != kind() and added != kind.from_words("量子")
    assert RjiebaSegmenter() != JiebaSegmenter() and JiebaSegmenter(hmm=True) != JiebaSegmenter()
    assert describe(JiebaSegmenter(hmm=True))["dictionary"] != describe(JiebaSegmenter())["dictionary"]


@pytest.mark.parametrize("kind", CLASSES)
def test_without_words_of_their_own_they_read_one_dictionary(
    kind: type[RjiebaSegmenter | JiebaSegmenter], monkeypatch: pytest.MonkeyPatch
) -> None:
    kind()
    monkeypatch.setattr(kind, "_dictionary", lambda: pytest.fail("read again"))
    assert kind().cut("今天天气不错") == ["今天天气", "不错"]
