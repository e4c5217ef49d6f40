"""User dictionaries: entries match text however it is normalised, and lines that never can are named."""

from __future__ import annotations

import copy
import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest

from nlpkit.wobert import JiebaSegmenter, RjiebaSegmenter, WoBertTokenizer

SEGMENTERS = [RjiebaSegmenter, JiebaSegmenter]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.mark.parametrize("cls", SEGMENTERS)
@pytest.mark.parametrize("entry", ["T恤衫", "5G网络", "AB测试", "café店", "İ店"])
def test_an_entry_that_normalisation_changes_matches_text_raw_and_normalised(cls: Any, entry: str) -> None:
    from nlpkit.wobert.words.normalization import normalize

    segmenter = cls.from_words(entry)
    for form in {entry, normalize(entry)} - {"café店", "İ店"}:  # jieba cuts off accented letters before it looks up
        assert segmenter.cut(f"我的{form}在") == ["我", "的", form, "在"]


@pytest.mark.parametrize("name", ["rjieba", "jieba"])
def test_the_tokenizer_finds_an_entry_with_capitals(name: str, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("T恤衫 5 n\n5G网络\n", "utf-8")
    vocabulary = {token: number for number, token in enumerate([*SPECIAL, "t恤衫", "5g网络", "和"])}
    tokenizer = WoBertTokenizer(vocabulary, segmenter=name, user_dict=tmp_path / "words.txt")
    assert tokenizer.tokenize("T恤衫和5G网络") == ["t恤衫", "和", "5g网络"]
    tokenizer.save_pretrained(tmp_path / "saved")
    loaded = WoBertTokenizer.from_pretrained(tmp_path / "saved")
    assert loaded.tokenize("T恤衫和5g网络") == ["t恤衫", "和", "5g网络"]
    assert type(loaded.segmenter) is type(tokenizer.segmenter)


def test_entries_that_normalisation_leaves_cut_as_jieba_cuts() -> None:
    import jieba

    words = "量子纠缠\n云计算 3 n\n酒店服务 100000 n\n"
    theirs = jieba.Tokenizer()
    theirs.initialize()
    theirs.load_userdict(words.split("\n"))
    for cls in SEGMENTERS:
        for text in ("量子纠缠和云计算", "酒店服务态度", "计算云计算量子"):
            assert cls.from_words(words).cut(text) == theirs.lcut(text, HMM=False)


@pytest.mark.parametrize("cls", SEGMENTERS)
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("new york 5 n", "'new york': white space always ends a word"),
        ("纽 约", "'纽 约': white space always ends a word"),
        ("云计算\t5\tn", r"'云计算\\t5\\tn': white space always ends a word"),
        ("云计算 5 N", "'云计算 5 N': white space always ends a word"),
        ("云\u3000计算", r"white space always ends a word"),
        ("列夫·托尔斯泰 5 nr", "'列夫·托尔斯泰': jieba always cuts at ·"),
        ("你好，世界", "'你好，世界': jieba always cuts at ，"),
        ("Ｔ恤", "'Ｔ恤': jieba always cuts at ｔ"),
        ("α粒子", "'α粒子': jieba always cuts at α"),
        ("\u0301", "nothing is left of it once normalised"),
        ("我们是 1", "'我们是': jieba cuts it into 我们 是; raise its frequency"),
    ],
)
def test_a_line_that_can_never_match_is_named_with_its_file(cls: Any, line: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text(f"\ufeff好词\n\n{line}\n另一词 5\n", "utf-8")
    with pytest.warns(UserWarning, match=rf"words\.txt: 1 lines can never match.*\n  line 3 .*{reason}"):
        segmenter = cls(path)
    assert segmenter.cut("好词") == ["好词"]


@pytest.mark.parametrize("cls", SEGMENTERS)
def test_entries_that_can_match_bring_no_warning_nor_do_copies(cls: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        segmenter = cls.from_words("c++语言\n5G网络 3\nno.1店 2 n\n\nAT&T公司\n的\n，\n我们是\n天气预报 0\n")
        for other in (segmenter, copy.deepcopy(segmenter), pickle.loads(pickle.dumps(segmenter))):
            assert other.cut("学c++语言") == ["学", "c++语言"]
    dead = cls.__new__(cls)
    with pytest.warns(UserWarning):
        dead = cls.from_words("α粒子")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pickle.loads(pickle.dumps(dead)).user_words == "α粒子"


def test_many_dead_lines_are_counted() -> None:
    with pytest.warns(UserWarning, match=r"user_words: 25 lines can never match(.|\n)*and 15 more"):
        RjiebaSegmenter.from_words("\n".join(f"α粒{number}" for number in range(25)))
