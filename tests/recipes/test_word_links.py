"""The recipe that compares sources of links, on a small model and sets written for the test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nlpkit.perturbed_masking import (
    CountedLinks,
    MaskedEncoder,
    PerturbedMasking,
    SegmentationScores,
    score_segmentation,
    segment,
)
from nlpkit.runs import parse_recipe_arguments
from nlpkit.wobert import RjiebaSegmenter
from recipes import word_links
from recipes.word_links import LinksArguments, bare, main, ranks_of, rows_of, stands_in
from tests.perturbed_masking.small_models import bert, tokenizer

CONFIGS = Path(word_links.__file__).parent / "configs" / "word_links"
OLD = "我们 今天 去 看看 天气 不错 吧"
GOLD = ["今天 天气 不错 。", "我们 去 吧 ， 天气 不错", "天气 今天 不错", "不错 ， 我们 去"]


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    bert().save_pretrained(tmp_path / "model")
    tokenizer().save_pretrained(tmp_path / "model")
    (tmp_path / "dev.txt").write_text("\n".join([OLD, *GOLD]), "utf-8")
    (tmp_path / "test.txt").write_text("\n".join([*GOLD[:3], OLD, ""]), "utf-8")
    (tmp_path / "corpus.txt").write_text("。".join(["那天", OLD.replace(" ", ""), "很好"]), "utf-8")
    settings = {"dev_files": f"a dev={tmp_path / 'dev.txt'}", "test_files": f"a test={tmp_path / 'test.txt'}"}
    settings |= {"corpus": tmp_path / "corpus.txt", "model": tmp_path / "model", "output_dir": tmp_path / "run"}
    return [option for name, value in (settings | {"bf16": "false"}).items() for option in (f"--{name}", str(value))]


def test_sources_are_chosen_without_labels_and_scored_on_new_texts(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = main(options)
    assert results["texts"] == {
        "a dev": {"all": 5, "in_the_corpus": 1, "scored": 4},
        "a test": {"all": 4, "in_the_corpus": 1, "scored": 3},
    }
    lengths = results["nats_per_character_of_dev"]
    assert results["chosen"] == min(lengths, key=lengths.get)
    golds = [line.split() for line in GOLD[:3]]
    texts = ["".join(words) for words in golds]
    masking = PerturbedMasking.from_pretrained(tmp_path / "model", device="cpu", show_progress=False)
    for name, source in (("counts", CountedLinks.from_pretrained(show_progress=False)), ("impact", masking)):
        pairs = zip(golds, segment(source, texts), strict=True)
        expected = sum((score_segmentation(*pair) for pair in pairs), SegmentationScores(0, 0, 0))
        assert results["scores"]["a test"][name]["f1"] == pytest.approx(expected.f1)
    pairs = zip(golds, map(RjiebaSegmenter().cut, texts), strict=True)
    expected = sum((score_segmentation(*pair) for pair in pairs), SegmentationScores(0, 0, 0))
    jieba = results["scores"]["a test"]["jieba, with its dictionary"]
    assert (jieba["f1"], jieba["precision"]) == pytest.approx((expected.f1, expected.precision))
    table = (tmp_path / "run" / "results.md").read_text("utf-8")
    assert f"| **{results['chosen']}** |" in table and "- a test: 4, 1 of them in the corpus; 3 scored" in table
    assert json.loads((tmp_path / "run" / "results.json").read_text("utf-8")) == results

    def never(*_: Any) -> None:
        raise AssertionError("all is on disk")

    monkeypatch.setattr(MaskedEncoder, "states", never)
    assert main(options) == results
    with pytest.raises(ValueError, match="max_characters was 100 and is now 9"):
        main([*options, "--max_characters", "9"])
    with pytest.raises(ValueError, match="has no text outside the corpus of at most max_characters; raise it"):
        main([*options, "--max_characters", "1", "--output_dir", str(tmp_path / "other")])


def test_a_text_stands_in_the_corpus_where_half_of_its_rows_do() -> None:
    assert bare("今天，天 气_A1。") == "今天天气A1"
    text = "一二三四五六七八九十百千"  # three rows of ten
    assert len(rows_of(text)) == 3 and rows_of("一二") == {hash("一二")}
    assert stands_in(text, rows_of(text[:11]))
    assert not stands_in(text, rows_of(text[:10]))


def test_ranks() -> None:
    assert ranks_of(np.array([3.0, -1.0, 7.0])).tolist() == [0.5, 0.0, 1.0]


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_settings_are_read(path: Path) -> None:
    (settings,) = parse_recipe_arguments([LinksArguments], [str(path)])
    assert settings.output_dir == f"runs/word_links/{path.stem}"
    assert path.read_text("utf-8").startswith(f"# python recipes/word_links.py recipes/configs/word_links/{path.name}")
