"""Counted links of texts, and the table that comes with nlpkit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from nlpkit.perturbed_masking import CorpusCounts, CountedLinks, segment, split_characters
from nlpkit.perturbed_masking.counts.corpus_counts import count_part
from nlpkit.perturbed_masking.counts.runs import find_runs
from nlpkit.text_files import read_lines
from tests.perturbed_masking.counts.texts import ALPHABET

SHIPPED = CountedLinks.from_pretrained(show_progress=False)


@settings(max_examples=30)
@given(st.lists(st.text(ALPHABET, max_size=12), max_size=6))
def test_a_text_has_the_same_links_alone_and_among_others(texts: list[str]) -> None:
    for text, linked in zip(texts, SHIPPED.linked_texts(texts), strict=True):
        assert linked.text == text and linked.spans == tuple(split_characters(text))
        (alone,) = SHIPPED.linked_texts([text])
        np.testing.assert_array_equal(linked.strengths, alone.strengths)


@given(st.text(ALPHABET, max_size=20))
def test_links_stand_between_the_characters_that_they_link(text: str) -> None:
    (linked,) = SHIPPED.linked_texts([text])
    codes = find_runs(text).codes
    expected = SHIPPED.table.links(codes)[(codes[:-1] != 0) & (codes[1:] != 0)]
    ties = linked.ties()
    chinese = [text[start] in ALPHABET[:9] for start, _ in linked.spans]
    np.testing.assert_allclose(ties[~np.isnan(ties) & np.array(chinese, dtype=bool)], expected)


def test_common_words_are_found_without_a_model() -> None:
    texts = ["今天天气不错，我们去公园散步。", "WiFi很快，酒店 位置好。", ""]
    assert segment(SHIPPED, texts[:1]) == [["今天", "天气", "不错", "，", "我们", "去", "公园", "散步", "。"]]
    assert ["".join(words) for words in segment(SHIPPED, texts)] == [text.replace(" ", "") for text in texts]


def test_the_shipped_table_is_small_and_says_what_it_is_made_of() -> None:
    folder = Path(__file__).parents[3] / "nlpkit" / "perturbed_masking" / "counts" / "counts-zh"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 4_000_000
    card = (folder / "README.md").read_text("utf-8")
    assert f"{SHIPPED.facts['characters_counted']:,}" in card and f"{len(SHIPPED.table.pairs):,}" in card
    assert SHIPPED.facts["most_forgotten"] == [0, 0, 0]
    assert (SHIPPED.table.pair_counts > 9.5).all()


def test_a_table_is_saved_and_loaded(tmp_path: Path) -> None:
    counts = CorpusCounts()
    counts.add(count_part("今天天气很好，酒店很好，天气好" * 5))
    links = CountedLinks.from_counts(counts, min_count=2, facts={"files": ["a"]})
    links.save_pretrained(tmp_path / "links")
    loaded = CountedLinks.from_pretrained(tmp_path / "links")
    assert loaded.facts == {"files": ["a"], "characters_counted": 65, "min_count": 2, "most_forgotten": [0, 0, 0]}
    text = "今天天气很好，酒店好"
    (one,), (other,) = links.linked_texts([text]), loaded.linked_texts([text])
    np.testing.assert_allclose(one.strengths, other.strengths, atol=0.1)
    loaded.save_pretrained(tmp_path / "again")
    assert segment(CountedLinks.from_pretrained(tmp_path / "again"), [text]) == segment(loaded, [text])


def test_borders_can_be_left_out() -> None:
    (information,) = CountedLinks(SHIPPED.table, borders=0.0).linked_texts(["天气"])
    (both,) = SHIPPED.linked_texts(["天气"])
    assert information.strengths[0] > both.strengths[0]
    with pytest.raises(ValueError, match=r"borders=-1\.0 must be 0 or more"):
        CountedLinks(SHIPPED.table, borders=-1.0)


def test_what_is_no_text_or_no_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="texts is one text, '天气'; give a list of them"):
        list(SHIPPED.linked_texts("天气"))
    with pytest.raises(TypeError, match=r"only texts can be linked, not \['天气'\]"):
        list(SHIPPED.linked_texts([["天气"]]))  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"wobert-mini-zh holds no counted_links\.safetensors.*give counts-zh, or a"):
        CountedLinks.from_pretrained("wobert-mini-zh")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        CountedLinks.from_pretrained(tmp_path / "none")
    save_file({"a": np.zeros(1)}, tmp_path / "counted_links.safetensors")
    with pytest.raises(ValueError, match="is of another kind"):
        CountedLinks.from_pretrained(tmp_path)
    (tmp_path / "counted_links.safetensors").write_bytes(b"cut off")
    with pytest.raises(ValueError, match=r"is damaged or cut off .* copy it again"):
        CountedLinks.from_pretrained(tmp_path)


@pytest.mark.shared
def test_the_shipped_counts_are_those_of_the_corpus(shared_data: Path) -> None:
    """On a part of the corpus: no pair occurs there more often than in all of it."""
    counts = CorpusCounts()
    counts.add(count_part("\n".join(read_lines(shared_data / "corpus-zh" / "literature.txt.xz"))))
    part = CountedLinks.from_counts(counts, min_count=50).table
    table = SHIPPED.table
    names = {int(code): number for number, code in enumerate(table.codes)}
    numbers = np.array([names[int(code)] for code in part.codes])
    pairs = (numbers[part.pairs >> 16] << 16) + numbers[part.pairs & 0xFFFF]
    places = np.searchsorted(table.pairs, pairs)
    np.testing.assert_array_equal(table.pairs[places], pairs)
    assert (table.pair_counts[places] > 0.95 * part.pair_counts).all()


def test_an_unknown_name_lists_counts(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"'nope' is no folder .* none of the counted links by name \(counts-zh\)"
    ):
        CountedLinks.from_pretrained("nope", cache_dir=tmp_path, local_files_only=True)
